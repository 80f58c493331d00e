//! A plugin in another language, and what a spawned plugin's process has.

use crate::site::{Site, small_server};

#[test]
fn the_python_example_is_a_radio_and_is_restarted_when_it_ends() {
    let (_server, uri) = small_server("127.0.0.1:0");
    let site = Site::new(0, "");
    // A data frame of a node that nobody knows.
    let config = format!(
        "[[radio]]\nname = \"example\"\nplugin = \"example-python\"\nsettings = {{ frames = [\"4001020304000000016677889900\"] }}\n\
         [[server]]\nname = \"site\"\nuri = \"{uri}\"\n"
    );
    site.write("lpwad.toml", &config);
    let mut gateway = site.gateway();
    gateway.wait_event("radio-ready");
    let dropped = gateway.wait_event("frame-dropped");
    assert_eq!(dropped["radio"], "example");

    // The plugin: a child of the gateway, in a session of its own, without privileges to gain, descriptors or environment.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", gateway.pid())).unwrap();
    let plugin: i32 = children.split_whitespace().next().expect("a child").parse().unwrap();
    let proc = |file: &str| std::fs::read(format!("/proc/{plugin}/{file}")).unwrap();
    let status = String::from_utf8(proc("status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let environment = String::from_utf8(proc("environ")).unwrap();
    let names: Vec<&str> =
        environment.split('\0').filter_map(|entry| entry.split_once('=')).map(|(name, _)| name).collect();
    assert_eq!(names, ["PATH"]);
    let limits = String::from_utf8(proc("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let inherited: Vec<_> = std::fs::read_dir(format!("/proc/{plugin}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().contains("lpwad.redb") || target.to_string_lossy().contains("epoll"))
        .collect();
    assert!(inherited.is_empty(), "{inherited:?}");

    let mark = gateway.mark();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(plugin), nix::sys::signal::Signal::SIGKILL).unwrap();
    let lost = gateway.wait_event("radio-lost");
    assert!(lost["reason"].as_str().unwrap().contains("signal 9"), "{lost}");
    gateway.wait_since(mark, "the radio's return", |line| line["event"] == "radio-ready");

    // With the gateway dies its plugin.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", gateway.pid())).unwrap();
    let plugin = nix::unistd::Pid::from_raw(children.split_whitespace().next().expect("a child").parse().unwrap());
    gateway.kill();
    for _ in 0..1_000_000 {
        match nix::sys::signal::kill(plugin, None) {
            Err(_) => return,
            Ok(()) => std::thread::yield_now(),
        }
    }
    let status = std::fs::read_to_string(format!("/proc/{plugin}/status")).unwrap_or_default();
    assert!(status.is_empty() || status.contains("State:\tZ"), "the plugin outlived its gateway: {status}");
}
