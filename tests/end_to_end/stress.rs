//! A plugin that misbehaves in every way that we could think of, and one that wants out of its sandbox. The daemon stays,
//! names what it saw, keeps its other radios, and takes the plugin back when it is well.

use crate::site::{Process, Site, app_key, confirmed_uplink, eui, executable, uplink};
use lorawan::creator::JoinRequestCreator;
use lorawan::default_crypto::DefaultFactory;
use lorawan::keys::AppKey;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::process::{Command, Stdio};

/// Each mode, and the event that names it; whether the plugin is then ended and started again.
const FAULTS: [(&str, &str, bool); 15] = [
    ("garbage", "plugin-garbage", true),
    ("wrong-version", "plugin-incompatible", true),
    ("early-exit", "plugin-ended", true),
    ("flood", "plugin-flood", true),
    ("endless-line", "plugin-line-too-long", true),
    ("bad-sheet", "plugin-sheet-refused", true),
    ("silent", "plugin-silent", true),
    ("not-reading", "plugin-not-reading", true),
    ("stderr-flood", "plugin-log-flood", false),
    ("time-jump", "radio-clock-jumped", false),
    ("missing-txdone", "txdone-missing", false),
    ("late-txdone", "txdone-missing", false),
    ("late-txdone", "txdone-unexpected", false),
    ("fact-flood", "plugin-flood", true),
    ("mute", "plugin-silent", true),
];

/// A plugin of its own for each mode: a copy of `stress` under that name, whose file `mode` a test can change.
fn plugin(site: &Site, mode: &str) -> String {
    plugin_with(site, mode, mode, r#"["device"]"#)
}

fn plugin_with(site: &Site, name: &str, mode: &str, needs: &str) -> String {
    let plugin = format!("stress-{name}");
    let (from, to) = (executable("plugins/stress/stress"), site.path("plugins").join(&plugin));
    fs::create_dir_all(&to).unwrap();
    fs::copy(&from, to.join("stress")).unwrap();
    let mut manifest = fs::read_to_string(from.with_file_name("plugin.toml")).unwrap();
    for (old, new) in
        [("name = \"stress\"", format!("name = \"{plugin}\"")), ("needs = [\"device\"]", format!("needs = {needs}"))]
    {
        assert!(manifest.contains(old), "{old}");
        manifest = manifest.replace(old, &new);
    }
    site.write(&format!("plugins/{plugin}/plugin.toml"), &manifest);
    set_mode(site, name, mode);
    plugin
}

/// What the plugin of a mode does from its next run on. The file is whole whenever it is read.
fn set_mode(site: &Site, plugin: &str, mode: &str) {
    let new = format!("plugins/stress-{plugin}/mode.new");
    site.write(&new, mode);
    let owner = fs::metadata(site.path(&new).parent().unwrap()).unwrap().uid();
    std::os::unix::fs::chown(site.path(&new), Some(owner), None).unwrap();
    fs::rename(site.path(&new), site.path(&new).with_extension("")).unwrap();
}

fn radio(site: &Site, mode: &str, settings: &str) -> String {
    radio_of(mode, &plugin(site, mode), settings)
}

fn radio_of(name: &str, plugin: &str, settings: &str) -> String {
    format!("[[radio]]\nname = \"{name}\"\nplugin = \"{plugin}\"\nsettings = {{ {settings} }}\n")
}

/// What a radio's plugin reports of itself, once it has `counter`. The report is a line that follows `radio-ready`.
fn report_with(site: &Site, radio: &str, counter: &str) -> Value {
    let report = || {
        let status = site.ask(&["status"]);
        let radios = status["radios"].as_array().unwrap();
        radios.iter().find(|one| one["name"] == radio).unwrap()["plugin"].clone()
    };
    (0..10_000).map(|_| report()).find(|report| !report[counter].is_null()).expect("a report")
}

/// Settings with join requests of the n-th node, with time for an answer to each: a busy machine may miss a window.
fn join_requests(n: usize) -> String {
    format!("frames = {:?}, interval_s = 4", [1, 2, 3, 4].map(|nonce| join_request(n, nonce)))
}

/// A join request of the n-th node, as hex.
fn join_request(n: usize, nonce: u8) -> String {
    let bytes = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let key: [u8; 16] = bytes(&app_key(n)).try_into().unwrap();
    let dev_eui: [u8; 8] = bytes(&eui(n)).try_into().unwrap();
    let dev_eui = u64::from_be_bytes(dev_eui).to_le_bytes();
    let mut creator = JoinRequestCreator::<[u8; 23], DefaultFactory>::with_options([0; 23], DefaultFactory).unwrap();
    creator.set_app_eui([0; 8]).set_dev_eui(&dev_eui).set_dev_nonce([nonce, 0]);
    creator.build(&AppKey::from(key)).iter().map(|byte| format!("{byte:02x}")).collect()
}

const SERVER: &str = "[[server]]\nname = \"site\"\nuri = \"coap://127.0.0.1:5683\"\n";

fn of<'a>(event: &'a str, radio: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |line| line["event"] == event && line["radio"] == radio
}

/// The node that speaks by a radio that works, while others speak by those that do not.
const ROOF_NODE: usize = 3;

#[test]
fn every_fault_of_a_plugin_has_its_event_and_ends_by_itself() {
    let site = Site::new(ROOF_NODE + 1, "");
    // The node of the radio that works is the last one.
    let nodes = fs::read_to_string(site.path("nodes.toml")).unwrap();
    site.write("nodes.toml", &nodes[nodes.rfind("[[node]]").unwrap()..]);
    let mut modem = site.modem(72);
    let mut config = String::from("[gateway]\nrx1_delay_s = 2\nplugin_dirs = [\"plugins\"]\n");
    config += &radio(&site, "good", "");
    let settings = format!("device = {:?}, dialect = \"rn2483\"", site.path("modem"));
    config += &radio_of("roof", "lora-serial", &settings);
    let modes: std::collections::BTreeSet<&str> = FAULTS.iter().map(|(mode, _, _)| *mode).collect();
    for mode in &modes {
        config += &radio(
            &site,
            mode,
            &match *mode {
                "not-reading" => format!("padding = \"{}\"", "x".repeat(20_000)),
                "time-jump" => format!("frames = [\"{}\"]", join_request(0, 1)),
                "missing-txdone" => join_requests(1),
                "late-txdone" => join_requests(2),
                _ => String::new(),
            },
        );
    }
    config += SERVER;
    for n in 0..=ROOF_NODE {
        config += &format!("[[node]]\ndev_eui = \"{}\"\nprofile = \"cayenne-lpp\"\n", eui(n));
    }
    site.write("lpwad.toml", &config);
    let mut gateway = site.gateway();
    gateway.wait("the good radio", of("radio-ready", "good"));

    for (mode, event, restarts) in FAULTS {
        gateway.wait(event, of(event, mode));
        let status = site.ask(&["status"]);
        let good = status["radios"].as_array().unwrap().iter().find(|radio| radio["name"] == "good").unwrap();
        assert_eq!((&good["state"], &good["starts"]), (&"ready".into(), &1.into()), "after {mode}: {status}");
        if restarts {
            let lost = gateway.wait("its loss", of("radio-lost", mode));
            assert!(lost["retry_in_ms"].is_string() && lost["reason"].is_string(), "{lost}");
            // The run that begins after this is a good one.
            let mark = gateway.mark();
            set_mode(&site, mode, "good");
            gateway.wait_since(mark, &format!("recovery from {mode}"), of("radio-ready", mode));
        }
    }
    // What each mode causes, and nothing else.
    let named: Vec<(String, String)> = gateway
        .seen()
        .iter()
        .filter(|line| {
            ["plugin-", "radio-clock", "txdone-"]
                .iter()
                .any(|of| line["event"].as_str().is_some_and(|e| e.starts_with(of)))
        })
        .map(|line| (line["radio"].as_str().unwrap_or_default().into(), line["event"].as_str().unwrap().into()))
        .collect();
    for (radio, event) in &named {
        assert!(FAULTS.iter().any(|(mode, of_mode, _)| radio == mode && event == of_mode), "{radio}: {event}");
    }
    // On a busy machine a good plugin too may be late with something, and recovers.
    let status = loop {
        let mark = gateway.mark();
        let status = site.ask(&["status"]);
        let radios = status["radios"].as_array().unwrap();
        let Some(failed) = radios.iter().find(|radio| radio["state"] != "ready") else { break status };
        let name = failed["name"].as_str().unwrap();
        gateway.wait_since(mark, &format!("another recovery of {name}"), of("radio-ready", name));
    };
    assert!(status["network"]["tx_no_report"].as_u64().unwrap() >= 2, "{status}");
    assert!(status["sessions"]["send_failures"].is_u64(), "{status}");
    assert!(status["network"]["tx_unknown_report"].as_u64().unwrap() >= 1, "{status}");
    // And frames go through, both ways.
    uplink(&mut modem, &mut gateway, ROOF_NODE, "01670110");
    confirmed_uplink(&mut modem, ROOF_NODE, "01670111");
    assert_eq!(gateway.terminate(), Some(0));
}

const EPERM: u64 = 1;
const ENOMEM: u64 = 12;
const EACCES: u64 = 13;
const EMFILE: u64 = 24;
const ENOSYS: u64 = 38;

/// What must be refused, and by which `errno`. By EACCES refuses Landlock, by EPERM and ENOSYS seccomp, by ENOMEM and EMFILE a limit.
const REFUSED: [(&str, u64); 51] = [
    ("open lpwad.redb", EACCES),
    ("chmod lpwad.redb", EPERM),
    ("chown lpwad.redb", EPERM),
    ("truncate lpwad.redb", EPERM),
    ("open seal.key", EACCES),
    ("open keys.sealed", EACCES),
    ("open keys.toml", EACCES),
    ("open test.toml", EACCES),
    ("open lpwad.toml", EACCES),
    ("list outside", EACCES),
    ("create outside", EACCES),
    ("mkdir outside", EACCES),
    ("symlink outside", EACCES),
    ("mkfifo outside", EACCES),
    ("read passwd", EACCES),
    ("read victim", EACCES),
    ("ptrace", EPERM),
    ("process_vm_readv", EPERM),
    ("process_vm_writev", EPERM),
    ("kcmp", EPERM),
    ("kill", EPERM),
    ("tkill", EPERM),
    ("tgkill", EPERM),
    ("pidfd_open", EPERM),
    ("setown", EPERM),
    ("prlimit", EPERM),
    ("setpriority", EPERM),
    ("sched_setaffinity", EPERM),
    ("outlive", EPERM),
    ("socket inet", EPERM),
    ("socket inet stream", EPERM),
    ("socket inet6", EPERM),
    ("socket unix", EPERM),
    ("socket netlink", EPERM),
    ("map memory", ENOMEM),
    ("fill memory", ENOMEM),
    ("share memory", EPERM),
    ("descriptors", EMFILE),
    ("raise limits", EPERM),
    ("spare itself", EACCES),
    ("memfd_create", EPERM),
    ("shmget", EPERM),
    ("io_uring_setup", EPERM),
    ("bpf", EPERM),
    ("userfaultfd", EPERM),
    ("keyctl", EPERM),
    ("unshare", EPERM),
    ("clone3", ENOSYS),
    ("newer call", ENOSYS),
    ("fork", EPERM),
    ("exec shell", EACCES),
];
/// The same, but a user who is not root would be refused without a sandbox too, or it fails for another reason.
const REFUSED_ANYWAY: [(&str, u64); 4] =
    [("perf_event_open", EPERM), ("setns", EPERM), ("mount", EPERM), ("chroot", EPERM)];
/// What a sandboxed plugin with a device may do.
const PERMITTED: [&str; 7] = [
    "may read itself",
    "may list libraries",
    "may write null",
    "may read locks",
    "may start a thread",
    "may open its device",
    "may control its device",
];
/// What a plugin has that needs a network.
const SOCKETS: [&str; 3] = ["socket inet", "socket inet stream", "socket inet6"];
/// Attempts that an old kernel, or one without a feature, refuses by itself.
const NOT_EVERYWHERE: [&str; 5] = ["bpf", "io_uring_setup", "userfaultfd", "keyctl", "newer call"];

/// The files that nobody but the daemon may read, of a site whose gateway has run.
fn secrets(site: &Site) -> String {
    [
        "state/lpwad.redb",
        "state/seal.key",
        "state/keys.sealed",
        "keys.toml",
        "threat-analysis.d/test.toml",
        "lpwad.toml",
    ]
    .map(|file| {
        assert!(site.path(file).is_file(), "{file}");
        format!("{:?}", site.path(file))
    })
    .join(", ")
}

fn hostile_site() -> (Site, Process) {
    let site = Site::new(1, "");
    site.configure(1, "coap://127.0.0.1:5683");
    let modem = site.modem(71);
    // An imported key and a run before, so that all is there that could be read.
    let config = fs::read_to_string(site.path("lpwad.toml")).unwrap();
    let node = format!("[[node]]\ndev_eui = \"{}\"\nprofile = \"cayenne-lpp\"\nkeys = \"store\"\n", eui(7));
    site.write("lpwad.toml", &(config + &node));
    fs::DirBuilder::new().mode(0o700).create(site.path("state")).unwrap();
    let mut import = site.lpwad(&["key", "import", &eui(7), "--app-key"]);
    let mut import = import.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(app_key(7).as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    let mut gateway = site.gateway();
    gateway.wait_event("radio-ready");
    assert_eq!(gateway.terminate(), Some(0));
    (site, modem)
}

#[test]
fn a_hostile_plugin_is_refused_all_that_it_tries_and_the_daemon_lives() {
    let (site, _modem) = hostile_site();
    let settings = format!(
        "device = {:?}, secrets = [{}], outside = {:?}",
        site.path("modem"),
        secrets(&site),
        site.path("state")
    );
    for (name, needs) in [("hostile", r#"["device"]"#), ("networked", r#"["device", "network"]"#)] {
        let radio = radio_of(name, &plugin_with(&site, name, "hostile", needs), &settings);
        site.write("lpwad.toml", &format!("[gateway]\nplugin_dirs = [\"plugins\"]\n{radio}{SERVER}"));
        let mut gateway = site.gateway();
        gateway.wait("the radio", of("radio-ready", name));
        let report = report_with(&site, name, "exec shell");
        // With the need of a network it has sockets, and nothing else that it would not have.
        let has = |attempt: &str| name == "networked" && SOCKETS.contains(&attempt);
        let wrong: Vec<String> = REFUSED
            .iter()
            .chain(&REFUSED_ANYWAY)
            .map(|(attempt, errno)| (*attempt, if has(attempt) { 0 } else { *errno }))
            .chain(PERMITTED.map(|attempt| (attempt, 0)))
            // Nobody goes before it when memory ends.
            .chain([("oom_score_adj", 1000)])
            .filter(|(attempt, errno)| report[attempt] != *errno)
            .map(|(attempt, errno)| format!("{name}: {attempt}: {} instead of {errno}", report[attempt]))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let known = REFUSED.len() + REFUSED_ANYWAY.len() + PERMITTED.len() + 1;
        assert_eq!(report.as_object().unwrap().len(), known, "an attempt is missing in this test: {report}");
        assert!(gateway.seen().iter().all(|line| line["event"] != "sandbox-incomplete"));
        let status = site.ask(&["status"]);
        assert_eq!((&status["radios"][0]["state"], &status["radios"][0]["starts"]), (&"ready".into(), &1.into()));
        assert_eq!(gateway.terminate(), Some(0));
    }
}

/// Without this the test above could pass because an attempt is made wrongly.
#[test]
fn without_the_sandbox_the_same_attempts_succeed() {
    let (site, _modem) = hostile_site();
    let mut victim = Process::start("victim", &mut Command::new("/bin/cat"));
    let settings = serde_json::json!({
        "mode": "hostile",
        "device": site.path("modem"),
        "secrets": serde_json::from_str::<Value>(&format!("[{}]", secrets(&site))).unwrap(),
        "outside": site.path("state"),
        "victim": victim.pid().as_raw(),
    });
    let mut stress = Process::start("stress", Command::new(executable("stress")).stderr(Stdio::inherit()));
    stress.tell(r#"{"hello":{"protocol":"lpwad-link","version":"1.0.0"}}"#);
    stress.tell(&serde_json::json!({ "configure": { "radio": "x", "settings": settings } }).to_string());
    let report = stress.wait("a report", |line| line["status"]["counters"].is_object());
    let report = &report["status"]["counters"];
    let refused: Vec<String> = REFUSED
        .iter()
        .filter(|(name, errno)| report[name] != 0 && (report[name] == *errno || !NOT_EVERYWHERE.contains(name)))
        .map(|(name, _)| format!("{name}: {}", report[name]))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(victim.is_running());
}

const EAGAIN: u64 = 11;
/// `MAX_THREADS` of the sandbox.
const MAX_THREADS: u64 = 128;
/// Somebody whom no process belongs to.
const NOBODY: u32 = 65_534;

/// The daemon as the user that it should be: limits of threads do not hold for root.
fn gateway_of_nobody(site: &Site) -> Process {
    if !nix::unistd::geteuid().is_root() {
        return site.gateway();
    }
    // Where it is nobody may have no way to it.
    let daemon = site.path("lpwad");
    fs::copy(env!("CARGO_BIN_EXE_lpwad"), &daemon).unwrap();
    let owner = format!("{NOBODY}:{NOBODY}");
    assert!(Command::new("chown").args(["-R", &owner]).arg(site.dir.path()).status().unwrap().success());
    let run = site.lpwad(&["run", "--json"]);
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()]);
    Process::start("gateway", command.arg(daemon).args(run.get_args()))
}

#[test]
fn a_flood_of_threads_ends_and_leaves_the_next_plugin_its_own() {
    let site = Site::new(1, "");
    let radios = radio(&site, "thread-flood", "") + &radio(&site, "early-exit", "");
    site.write("lpwad.toml", &format!("[gateway]\nplugin_dirs = [\"plugins\"]\n{radios}{SERVER}"));
    let mut gateway = gateway_of_nobody(&site);
    gateway.wait("the flood", of("radio-ready", "thread-flood"));
    let report = report_with(&site, "thread-flood", "threads");
    assert_eq!(report["thread"], EAGAIN, "{report}");
    assert!((MAX_THREADS / 2..=MAX_THREADS).contains(&report["threads"].as_u64().unwrap()), "{report}");
    // It reads on a thread of its own, or says nothing.
    set_mode(&site, "early-exit", "good");
    gateway.wait("a plugin beside the flood", of("radio-ready", "early-exit"));
    let status = site.ask(&["status"]);
    assert_eq!(status["radios"][0]["starts"], 1, "the flood is over: {status}");
    assert_eq!(gateway.terminate(), Some(0));
}

/// Highest power in the band of a frequency, in mdBm EIRP (EN 300 220-2: 25 mW and 500 mW ERP).
fn permitted_mdbm(freq_hz: u32) -> i64 {
    if (869_400_000..869_650_000).contains(&freq_hz) { 29_150 } else { 16_150 }
}

#[test]
fn a_sheet_with_more_power_than_is_permitted_changes_nothing() {
    let site = Site::new(1, "");
    let loud = radio(&site, "loud", &join_requests(0));
    let node = format!("[[node]]\ndev_eui = \"{}\"\nprofile = \"cayenne-lpp\"\n", eui(0));
    let config = format!("[gateway]\nrx1_delay_s = 2\nplugin_dirs = [\"plugins\"]\n{loud}{SERVER}{node}");
    site.write("lpwad.toml", &config);
    let mut gateway = site.gateway();
    let ready = gateway.wait("the radio", of("radio-ready", "loud"));
    assert_eq!(ready["max_dbm_eirp"], "40", "{ready}");
    let report = report_with(&site, "loud", "asked_mdbm_868100000");
    for (counter, asked) in report.as_object().unwrap() {
        let freq_hz = counter.strip_prefix("asked_mdbm_").unwrap().parse().unwrap();
        assert!(asked.as_i64().unwrap() <= permitted_mdbm(freq_hz), "{report}");
    }
    assert_eq!(gateway.terminate(), Some(0));
}
