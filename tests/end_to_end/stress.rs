//! A plugin that misbehaves in every way that we could think of, and one that wants out of its sandbox. The daemon stays,
//! names what it saw, keeps its other radios, and takes the plugin back when it is well.

use crate::site::{Process, Site, app_key, eui, executable};
use lorawan::creator::JoinRequestCreator;
use lorawan::default_crypto::DefaultFactory;
use lorawan::keys::AppKey;
use serde_json::Value;
use std::fs;
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
    let name = format!("stress-{mode}");
    let (from, to) = (executable("plugins/stress/stress"), site.path("plugins").join(&name));
    fs::create_dir_all(&to).unwrap();
    fs::copy(&from, to.join("stress")).unwrap();
    let manifest = fs::read_to_string(from.with_file_name("plugin.toml")).unwrap();
    let manifest = manifest.replace("name = \"stress\"", &format!("name = \"{name}\""));
    site.write(&format!("plugins/{name}/plugin.toml"), &manifest);
    set_mode(site, mode, mode);
    name
}

/// What the plugin of a mode does from its next run on. The file is whole whenever it is read.
fn set_mode(site: &Site, plugin: &str, mode: &str) {
    let new = format!("plugins/stress-{plugin}/mode.new");
    site.write(&new, mode);
    fs::rename(site.path(&new), site.path(&new).with_extension("")).unwrap();
}

fn radio(site: &Site, mode: &str, settings: &str) -> String {
    let plugin = plugin(site, mode);
    format!("[[radio]]\nname = \"{mode}\"\nplugin = \"{plugin}\"\nsettings = {{ {settings} }}\n")
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

#[test]
fn every_fault_of_a_plugin_has_its_event_and_ends_by_itself() {
    let site = Site::new(3, "");
    let mut config = String::from("[gateway]\nrx1_delay_s = 2\nplugin_dirs = [\"plugins\"]\n");
    config += &radio(&site, "good", "");
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
    for n in 0..3 {
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
    assert_eq!(gateway.terminate(), Some(0));
}

const EPERM: u64 = 1;
const ENOMEM: u64 = 12;
const EACCES: u64 = 13;
const ENOSYS: u64 = 38;

/// What must be refused, and by which `errno`. By EACCES refuses Landlock, by EPERM and ENOSYS seccomp, by ENOMEM a limit.
const REFUSED: [(&str, u64); 51] = [
    ("read lpwad.redb", EACCES),
    ("write lpwad.redb", EACCES),
    ("chmod lpwad.redb", EPERM),
    ("chown lpwad.redb", EPERM),
    ("truncate lpwad.redb", EPERM),
    ("read keys.toml", EACCES),
    ("write keys.toml", EACCES),
    ("read test.toml", EACCES),
    ("write test.toml", EACCES),
    ("read lpwad.toml", EACCES),
    ("write lpwad.toml", EACCES),
    ("list outside", EACCES),
    ("create outside", EACCES),
    ("mkdir outside", EACCES),
    ("symlink outside", EACCES),
    ("mkfifo outside", EACCES),
    ("read passwd", EACCES),
    ("read victim environ", EACCES),
    ("read victim mem", EACCES),
    ("read victim maps", EACCES),
    ("read victim root", EACCES),
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
    ("memory", ENOMEM),
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
/// Attempts that an old kernel, or one without a feature, refuses by itself.
const NOT_EVERYWHERE: [&str; 5] = ["bpf", "io_uring_setup", "userfaultfd", "keyctl", "newer call"];

/// The files that nobody but the daemon may read, of a site whose gateway has run.
fn secrets(site: &Site) -> String {
    ["state/lpwad.redb", "keys.toml", "threat-analysis.d/test.toml", "lpwad.toml"]
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
    // A run before, so that there is a store to be read.
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
    let radio = radio(&site, "hostile", &settings);
    site.write("lpwad.toml", &format!("[gateway]\nplugin_dirs = [\"plugins\"]\n{radio}{SERVER}"));
    let mut gateway = site.gateway();
    gateway.wait("the radio", of("radio-ready", "hostile"));
    let report = || site.ask(&["status"])["radios"][0]["plugin"].clone();
    // The report is a line that follows `radio-ready`.
    let report = (0..10_000).map(|_| report()).find(|report| report.as_object().is_some_and(|map| !map.is_empty()));
    let report = report.expect("a report");
    let wrong: Vec<String> = REFUSED
        .iter()
        .chain(&REFUSED_ANYWAY)
        .map(|(name, errno)| (*name, *errno))
        .chain(PERMITTED.map(|name| (name, 0)))
        .filter(|(name, errno)| report[name] != *errno)
        .map(|(name, errno)| format!("{name}: {} instead of {errno}", report[name]))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let known = REFUSED.len() + REFUSED_ANYWAY.len() + PERMITTED.len();
    assert_eq!(report.as_object().unwrap().len(), known, "an attempt is missing in this test: {report}");
    assert!(gateway.seen().iter().all(|line| line["event"] != "sandbox-incomplete"));
    let status = site.ask(&["status"]);
    assert_eq!((&status["radios"][0]["state"], &status["radios"][0]["starts"]), (&"ready".into(), &1.into()));
    assert_eq!(gateway.terminate(), Some(0));
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
