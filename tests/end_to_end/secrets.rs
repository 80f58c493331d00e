//! No byte of a key where somebody else could find it: state directory, journal, command line, environment, core files.

use crate::harness::Leshan;
use crate::site::{Process, Site, app_key, confirmed_uplink, endpoint, eui, uplink};
use lpwad::io::seal_key;
use lpwad::store::record::device_from_bytes;
use nix::sys::signal::{Signal, kill};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Shortest piece of a key that is looked for, in bytes.
const PIECE: usize = 8;

/// RFC 4648 §4, without padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for sextet in 0..=chunk.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * sextet)) as usize & 63]));
        }
    }
    text
}

/// Pieces of a key in every form in which it could lie about.
fn forms(key: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for piece in key.windows(PIECE) {
        let hex = lpwad_link::hex::encode(piece);
        forms.extend([piece.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()]);
    }
    for start in 0..3 {
        // Base64 of a text that has the key in it, at any of the three ways it can be cut.
        let whole = &key[start..key.len() - (key.len() - start) % 3];
        forms.push(base64(whole).into_bytes());
        forms.push(base64(whole).replace('+', "-").replace('/', "_").into_bytes());
    }
    forms
}

/// Where one of the keys is found.
fn found(place: &str, bytes: &[u8], keys: &[(&str, Vec<u8>)]) -> Vec<String> {
    let holds = |form: &[u8]| bytes.windows(form.len()).any(|window| window == form);
    keys.iter()
        .filter(|(_, key)| forms(key).iter().any(|form| holds(form)))
        .map(|(name, _)| format!("{name} in {place}"))
        .collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn s_11_s_21_after_traffic_and_an_abort_no_key_byte_lies_anywhere_but_in_its_file() {
    let mut leshan = Leshan::with(&["--coap", "127.0.0.1:0", "--coaps", "127.0.0.1:0"]);
    let site = Site::new(1, "");
    site.configure_secure(1, leshan.coaps_port.unwrap(), "");
    let made = site.ask(&["key", "new", &eui(0)]);
    leshan.permit_psk(&endpoint(0), made["identity"].as_str().unwrap(), made["psk"].as_str().unwrap());
    let psk = lpwad_link::hex::decode(made["psk"].as_str().unwrap()).unwrap();
    let mut modem = site.modem(71);
    let journal = site.path("journal");
    // Whoever starts it may want core files.
    let run = site.lpwad(&["run", "--json", "--verbose"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -c unlimited 2>/dev/null; exec \"$0\" \"$@\""])
        .arg(run.get_program())
        .args(run.get_args());
    command.stderr(File::create(&journal).unwrap()).current_dir(site.dir.path());
    let mut gateway = Process::start("gateway", &mut command);
    modem.wait_event("joined");
    uplink(&mut modem, &mut gateway, 0, "01670110");
    leshan.process.wait_event("registered");
    confirmed_uplink(&mut modem, 0, "01670111");
    // What people ask for goes to standard output too.
    let asked = ["status", "node"].map(|what| match what {
        "node" => site.ask(&["node", "show", &eui(0)]),
        _ => site.ask(&[what]),
    });
    let proc = PathBuf::from(format!("/proc/{}", gateway.pid()));
    let (cmdline, environ) = (fs::read(proc.join("cmdline")).unwrap(), fs::read(proc.join("environ")));

    let limits = fs::read_to_string(proc.join("limits")).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"]);

    kill(gateway.pid(), Signal::SIGABRT).unwrap();
    let end = gateway.wait_end();
    assert_eq!((end.signal(), end.core_dumped()), (Some(Signal::SIGABRT as i32), false));

    let state = site.path("state");
    let sealing = fs::read(state.join(seal_key::FILE)).unwrap();
    let (device, export) = sealed_records(&state);
    let device = device_from_bytes(&device).unwrap();
    let session = device.session.or(device.pending).unwrap();
    let keys = [
        ("the AppKey", lpwad_link::hex::decode(&app_key(0)).unwrap()),
        ("the NwkSKey", session.nwk_s_key.expose().to_vec()),
        ("the AppSKey", session.app_s_key.expose().to_vec()),
        ("the PSK", psk),
        ("the master secret", master_secret(&export)),
        ("the sealing key", sealing),
    ];
    let mut leaks = Vec::new();
    let said: String = gateway.seen().iter().map(|line| format!("{line}\n")).collect();
    assert!(said.contains("uplink"), "there was traffic");
    leaks.extend(found("standard output", said.as_bytes(), &keys));
    leaks.extend(found("answers", serde_json::to_string(&asked).unwrap().as_bytes(), &keys));
    leaks.extend(found("the command line", &cmdline, &keys));
    leaks.extend(environ.iter().flat_map(|environ| found("the environment", environ, &keys)));
    assert!(fs::metadata(&journal).unwrap().len() > 100, "the journal has something");
    leaks.extend(found("the journal", &fs::read(&journal).unwrap(), &keys));
    for path in files(&state) {
        let meta = fs::symlink_metadata(&path).unwrap();
        let owner = nix::unistd::geteuid().as_raw();
        assert_eq!((meta.permissions().mode() & 0o7777, meta.uid()), (0o600, owner), "{}", path.display());
        if meta.is_file() && path.file_name().unwrap() != seal_key::FILE {
            leaks.extend(found(&path.display().to_string(), &fs::read(&path).unwrap(), &keys));
        }
    }
    assert_eq!(leaks, Vec::<String>::new());
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o7777, 0o700);
    let cores: Vec<_> = files(site.dir.path())
        .into_iter()
        .chain(files(&state))
        .filter(|path| path.to_string_lossy().contains("core"))
        .collect();
    assert_eq!(cores, Vec::<PathBuf>::new());

    // The search finds what is there.
    for (name, key) in &keys {
        let hex = lpwad_link::hex::encode(key);
        for text in [
            key.clone(),
            hex.to_uppercase().into_bytes(),
            hex.into_bytes(),
            base64(&[b"a", &key[..]].concat()).into_bytes(),
        ] {
            assert_eq!(found("a text", &[b"x", &text[..], b"y"].concat(), &keys), [format!("{name} in a text")]);
        }
    }
    let open = fs::read(site.path("keys.toml")).unwrap();
    assert_eq!(found("the key file", &open, &keys).len(), 2, "the AppKey and the PSK");
}

/// The bytes of the first node's device record and exported session in the store of a gateway that has ended.
fn sealed_records(state: &Path) -> (Vec<u8>, Vec<u8>) {
    let (inputs, _done) = tokio::sync::mpsc::channel(1);
    let (mut disk, opened) = lpwad::io::disk::Disk::open(state, inputs).unwrap();
    let node = eui(0).parse().unwrap();
    let export = disk.export(node).expect("the session was exported").to_vec();
    disk.close();
    (opened.loaded.get(lpwad::store::Table::Device, node).unwrap().to_vec(), export)
}

/// The one OCTET STRING of 48 bytes in an exported session (RFC 5246 §8.1).
fn master_secret(export: &[u8]) -> Vec<u8> {
    let at = export.windows(2).position(|tag| tag == [0x04, 48]).unwrap();
    export[at + 2..at + 50].to_vec()
}

#[test]
fn s_21_a_lost_or_wrong_sealing_key_is_refused_at_start_and_a_credential_wins() {
    let site = Site::new(1, "");
    site.configure(1, "coap://127.0.0.1:9");
    let credentials = site.path("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join(seal_key::CREDENTIAL), [0x5b; 32]).unwrap();
    let mut command = site.lpwad(&["run", "--json"]);
    let mut gateway = Process::start("gateway", command.env("CREDENTIALS_DIRECTORY", &credentials));
    gateway.wait_event("started");
    assert_eq!(gateway.terminate(), Some(0));
    assert!(!site.path("state").join(seal_key::FILE).exists(), "with a credential no key lies beside the store");
    let refused = |command: &mut Command, words: &[&str]| {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(74), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert!(said.contains("counters would be used twice") && said.contains("hint"), "{said}");
    };
    refused(&mut site.lpwad(&["run"]), &["seal.key", "not there", "lpwad-seal-key"]);
    fs::write(credentials.join(seal_key::CREDENTIAL), "5c".repeat(32)).unwrap();
    refused(site.lpwad(&["run"]).env("CREDENTIALS_DIRECTORY", &credentials), &["lpwad.redb", "another key"]);
}
