//! The arrows of `docs/ARCHITECTURE.md` as tests: who may depend on whom, and where a named package lives. Each rule is
//! a table; each message says what to do. The tests at the end plant a violation and want it found.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Packages of the workspace, and those of them that each may depend on, in tests too.
const PACKAGES: [(&str, &[&str]); 12] = [
    (".", &["lpwad-dtls", "lpwad-link", "lpwad-lorawan", "lpwad-lwm2m", "lpwad-sim"]),
    // With its feature for tests.
    ("crates/dtls", &["lpwad-dtls"]),
    ("crates/link", &[]),
    ("crates/lorawan", &[]),
    ("crates/lwm2m", &[]),
    ("plugins/lora-serial", &["lpwad-link", "lpwad-sim"]),
    ("plugins/sim", &["lpwad-link"]),
    ("plugins/stress", &["lpwad-link"]),
    ("tests/bench", &["lpwad", "lpwad-dtls", "lpwad-link", "lpwad-sim"]),
    ("tests/fuzz", &["lpwad", "lpwad-dtls", "lpwad-link", "lpwad-lora-serial", "lpwad-lorawan", "lpwad-lwm2m"]),
    ("tests/sim", &["lpwad", "lpwad-link", "lpwad-lorawan", "lpwad-lwm2m", "lpwad-sim"]),
    ("xtask", &[]),
];

/// What the library crates must not depend on: they have no IO.
const NOT_IN_CRATES: [&str; 5] = ["lpwad", "mio", "nix", "tokio", "tokio-serial"];

/// What belongs into tests only: peers and tools. `plugins/sim` is a peer itself, `tests/bench` and `tests/sim` are tests.
const ONLY_FOR_TESTS: [&str; 6] = ["lorawan", "lorawan-device", "lpwad-sim", "proptest", "stateright", "tempfile"];

/// Modules of `src`, and what each may use of the others and of our crates. `config` is plain data that all may read;
/// `gateway` is the only place where the others meet.
const MODULES: [(&str, &[&str]); 12] = [
    ("radio", &["lpwad_link", "lpwad_lorawan"]),
    ("network", &["config", "store", "lpwad_lorawan"]),
    // A node owns its session, and knows what the store keeps of it.
    ("node", &["config", "session", "store", "lpwad_lorawan", "lpwad_lwm2m"]),
    ("codec", &["config", "lpwad_link", "lpwad_lwm2m"]),
    ("session", &["config"]),
    ("policy", &["config"]),
    ("store", &["lpwad_link", "lpwad_lorawan", "lpwad_lwm2m"]),
    (
        "gateway",
        &[
            "radio",
            "network",
            "node",
            "codec",
            "session",
            "policy",
            "store",
            "config",
            "lpwad_link",
            "lpwad_lorawan",
            "lpwad_lwm2m",
        ],
    ),
    ("config", &["lpwad_link", "lpwad_lorawan", "lpwad_lwm2m"]),
    // The shell reads analyses and plugins at the start, and frames lines; it knows nothing of LwM2M.
    ("io", &["config", "gateway", "policy", "store", "lpwad_dtls", "lpwad_link", "lpwad_lorawan"]),
    // Keys are shown as hex, as everything else. `check` tries the samples of profiles.
    ("cli", &["codec", "config", "demo", "gateway", "io", "policy", "lpwad_link"]),
    ("demo", &["config", "io", "policy"]),
];

/// Packages with one home, by their name in code: if one must be replaced, this is what changes.
const HOMES: [(&str, &[&str]); 19] = [
    ("chacha20poly1305", &["src/store/seal.rs"]),
    ("clap", &["src/cli/", "src/demo/mod.rs", "plugins/sim/"]),
    ("coap_lite", &["crates/lwm2m/src/coap/message.rs", "plugins/sim/"]),
    ("landlock", &["src/io/sandbox/files.rs"]),
    ("lrwn", &["crates/lorawan/src/frame.rs", "crates/lorawan/src/region/"]),
    ("minicbor", &["crates/lwm2m/src/format/"]),
    ("netlink_packet_core", &["src/io/route.rs"]),
    ("netlink_packet_route", &["src/io/route.rs"]),
    ("netlink_sys", &["src/io/route.rs"]),
    (
        "nix",
        &[
            "src/io/",
            "plugins/",
            // A private file is opened without following links, and its owner compared with this user.
            "src/config/private_file.rs",
            // The processes of the demo are asked to end by SIGTERM.
            "src/demo/processes.rs",
        ],
    ),
    ("openssl", &["crates/dtls/"]),
    ("openssl_sys", &["crates/dtls/src/ffi.rs"]),
    ("redb", &["src/io/database.rs", "src/io/disk.rs"]),
    ("sha2", &["src/config/credential.rs", "src/policy/file.rs"]),
    (
        "seccompiler",
        &[
            "src/io/sandbox/calls.rs",
            // A test refuses what the unit refuses.
            "src/io/facts/clock.rs",
        ],
    ),
    ("ssh_key", &["src/policy/signature.rs"]),
    ("systemd_journal_logger", &["src/io/journal.rs"]),
    ("tokio", &["src/io/", "plugins/lora-serial/"]),
    ("toml_edit", &["src/config/key_edit.rs"]),
];

/// Where unsafe code is: the shell talks to the kernel, one file to OpenSSL; a test gives OpenSSL a clock.
const UNSAFE: [&str; 3] = ["src/io/", "crates/dtls/src/ffi.rs", "crates/dtls/tests/suite/clock.rs"];

/// Where the clock is read.
const CLOCKS: [&str; 2] = ["src/io/", "plugins/"];

#[test]
fn packages_depend_only_on_packages_below_them() {
    let mut found = String::new();
    for (dir, allowed) in PACKAGES {
        found += &manifest_violations(dir, &read(&Path::new(dir).join("Cargo.toml")), allowed);
    }
    let root: toml::Table = read(Path::new("Cargo.toml")).parse().expect("Cargo.toml");
    for member in root["workspace"]["members"].as_array().expect("members") {
        let dir = member.as_str().expect("a directory");
        if !PACKAGES.iter().any(|(known, _)| *known == dir) {
            let _ = writeln!(found, "{dir}: this package has no row in PACKAGES");
        }
    }
    none(&found, "Turn the arrow round, or move what is shared down; a new package gets a row in PACKAGES.");
}

#[test]
fn modules_do_not_use_one_another_sideways() {
    let mut found = String::new();
    for (module, allowed) in MODULES {
        for (path, code) in sources(&[&format!("src/{module}"), &format!("src/{module}.rs")]) {
            found += &module_violations(&path, module, &code, allowed);
        }
    }
    let lib = code(&read(Path::new("src/lib.rs")));
    let declared = words(&lib).filter(|(_, word)| *word == "mod").count();
    if declared != MODULES.len() {
        let _ = writeln!(found, "src/lib.rs: {declared} modules, but MODULES has {} rows", MODULES.len());
    }
    none(
        &found,
        "Let the gateway pass it on, or put the type where both may look; a new module gets a row in MODULES.",
    );
}

#[test]
fn named_packages_live_in_one_place() {
    let all = sources(&["src", "crates", "plugins"]);
    let mut found = String::new();
    for (package, homes) in HOMES {
        for (path, code) in &all {
            found += &home_violations(path, code, package, homes);
        }
        for home in homes {
            if !all.iter().any(|(path, code)| path.starts_with(home) && words(code).any(|(_, word)| word == package)) {
                let _ = writeln!(found, "{home}: does not name `{package}` any more; remove it from HOMES");
            }
        }
    }
    none(&found, "Hide the package behind a type of the module that is its home (HOMES in tests/layering.rs).");
}

#[test]
fn only_the_shell_and_the_plugins_read_the_clock() {
    let found: String =
        sources(&["src", "crates", "plugins"]).iter().map(|(path, code)| clock_violations(path, code)).collect();
    none(&found, "Take `now` as a parameter; src/io/clock.rs is what reads the clock.");
}

#[test]
fn unsafe_code_stays_in_the_shell_and_the_plugins() {
    let found: String = sources(&["src", "crates"]).iter().map(|(path, code)| unsafe_violations(path, code)).collect();
    none(
        &found,
        "The core needs none. What talks to the kernel belongs to src/io, what talks to OpenSSL to crates/dtls/src/ffi.rs.",
    );
}

#[test]
fn every_crate_says_what_it_does_not_support() {
    let mut found = String::new();
    for (dir, _) in PACKAGES.iter().filter(|(dir, _)| dir.starts_with("crates/")) {
        let path = Path::new(dir).join("src/lib.rs");
        found += &silence_violations(&path.display().to_string(), &read(&path));
    }
    none(&found, "Add a paragraph `//! Not supported: ...` with section numbers to the crate's documentation.");
}

fn none(found: &str, what_to_do: &str) {
    assert!(found.is_empty(), "\n{found}{what_to_do}");
}

// The rules, on text.

fn manifest_violations(dir: &str, manifest: &str, allowed: &[&str]) -> String {
    let manifest: toml::Table = manifest.parse().expect("a manifest");
    let mut found = String::new();
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for name in manifest.get(kind).and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys) {
            let ours = name.starts_with("lpwad") && !allowed.contains(&name.as_str());
            let banned = dir.starts_with("crates/") && NOT_IN_CRATES.contains(&name.as_str());
            let for_tests = ONLY_FOR_TESTS.contains(&name.as_str())
                && kind != "dev-dependencies"
                && !["plugins/sim", "tests/bench", "tests/sim"].contains(&dir);
            if ours || banned || for_tests {
                let _ = writeln!(found, "{dir}/Cargo.toml: {kind} must not have {name}");
            }
        }
    }
    found
}

fn module_violations(path: &str, module: &str, code: &str, allowed: &[&str]) -> String {
    let modules = || MODULES.iter().map(|(name, _)| *name);
    let mut found = String::new();
    let crates = words(code).filter(|(_, word)| word.starts_with("lpwad_"));
    for (line, name) in paths_of(code, "crate").into_iter().chain(paths_of(code, "super")).chain(crates) {
        let known = modules().any(|known| known == name) || name.starts_with("lpwad_");
        if known && name != module && !allowed.contains(&name) {
            let _ = writeln!(found, "{path}:{line}: module `{module}` must not use `{name}`");
        }
    }
    found
}

fn home_violations(path: &str, code: &str, package: &str, homes: &[&str]) -> String {
    let mut found = String::new();
    if homes.iter().any(|home| path.starts_with(home)) {
        return found;
    }
    for (line, _) in words(code).filter(|(_, word)| *word == package) {
        let _ = writeln!(found, "{path}:{line}: `{package}` is named outside {}", homes.join(", "));
    }
    found
}

fn clock_violations(path: &str, code: &str) -> String {
    let mut found = String::new();
    if CLOCKS.iter().any(|home| path.starts_with(home)) {
        return found;
    }
    for (line, _) in
        ["Instant", "SystemTime"].iter().flat_map(|of| paths_of(code, of)).filter(|(_, name)| *name == "now")
    {
        let _ = writeln!(found, "{path}:{line}: reads the clock");
    }
    found
}

fn unsafe_violations(path: &str, code: &str) -> String {
    let mut found = String::new();
    if UNSAFE.iter().any(|home| path.starts_with(home)) {
        return found;
    }
    for (line, _) in words(code).filter(|(_, word)| *word == "unsafe") {
        let _ = writeln!(found, "{path}:{line}: unsafe code");
    }
    found
}

fn silence_violations(path: &str, text: &str) -> String {
    let mut docs = text.lines().filter(|line| line.starts_with("//!"));
    if docs.any(|line| line.to_lowercase().contains("not supported")) {
        String::new()
    } else {
        format!("{path}: does not say what is not supported\n")
    }
}

// Files and their words.

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    let path = root().join(path);
    assert!(path.is_file(), "{} is not there; mend the tables of this test", path.display());
    fs::read_to_string(path).expect("a text")
}

/// Rust files at or under `places`, with the code that is in them; names are relative to the root.
fn sources(places: &[&str]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut todo: Vec<PathBuf> = places.iter().map(PathBuf::from).collect();
    while let Some(path) = todo.pop() {
        if let Ok(entries) = fs::read_dir(root().join(&path)) {
            todo.extend(entries.map(|entry| path.join(entry.expect("a directory entry").file_name())));
        } else if path.extension().is_some_and(|extension| extension == "rs") && root().join(&path).is_file() {
            let code = code(&read(&path));
            files.push((path.display().to_string(), code));
        }
    }
    files.sort();
    files
}

/// `text` without comments and without what stands in quotes; lines stay where they are.
fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut index = 0;
    while index < chars.len() {
        let start = index;
        let previous = if index == 0 { ' ' } else { at(index - 1) };
        let hashes = (1..).take_while(|n| at(index + n) == '#').count();
        if at(index) == '/' && at(index + 1) == '/' {
            while index < chars.len() && at(index) != '\n' {
                index += 1;
            }
        } else if at(index) == '/' && at(index + 1) == '*' {
            index += 2;
            while index < chars.len() && (at(index), at(index + 1)) != ('*', '/') {
                index += 1;
            }
            index += 2;
        } else if at(index) == 'r' && at(index + 1 + hashes) == '"' && (previous == 'b' || !is_word(previous)) {
            index += 2 + hashes;
            while index < chars.len() && !(at(index) == '"' && (1..=hashes).all(|n| at(index + n) == '#')) {
                index += 1;
            }
            index += 1 + hashes;
        } else if at(index) == '"' {
            index += 1;
            while index < chars.len() && at(index) != '"' {
                index += if at(index) == '\\' { 2 } else { 1 };
            }
            index += 1;
        } else if at(index) == '\'' && at(index + 1) == '\\' {
            index += 3;
            while index < chars.len() && at(index) != '\'' {
                index += 1;
            }
            index += 1;
        } else if at(index) == '\'' && at(index + 2) == '\'' {
            index += 3;
        } else {
            out.push(at(index));
            index += 1;
            continue;
        }
        out.push(' ');
        out.extend(chars[start..index.min(chars.len())].iter().filter(|c| **c == '\n'));
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The words of code with their lines.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().zip(1..).flat_map(|(line, number)| {
        line.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(move |word| (number, word))
    })
}

/// What follows `of::` in code, with its line: one name, or the first names in a group `of::{a, b::c, d::{e}}`.
fn paths_of<'a>(code: &'a str, of: &str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices(of) {
        let after = &code[start + of.len()..];
        let begins = !code[..start].chars().next_back().is_some_and(is_word);
        let Some(rest) = after.trim_start().strip_prefix("::").filter(|_| begins) else { continue };
        let line = |part: &str| code[..code.len() - part.len()].matches('\n').count() + 1;
        let rest = rest.trim_start();
        let (mut depth, mut expected) = (0, true);
        let mut index = 0;
        while let Some(c) = rest[index..].chars().next() {
            if is_word(c) {
                let word = rest[index..].split(|c| !is_word(c)).next().unwrap_or_default();
                if expected && depth <= 1 {
                    found.push((line(&rest[index..]), word));
                }
                expected = false;
                index += word.len();
                if depth == 0 {
                    break;
                }
                continue;
            }
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' => expected = depth == 1,
                c if depth == 0 && !c.is_whitespace() => break,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            index += c.len_utf8();
        }
    }
    found
}

// The rules find what they are to find.

#[test]
fn planted_dependencies_are_found() {
    let manifest = "[dependencies]\nserde = \"1\"\nlpwad-lorawan = { path = \"x\" }\ntempfile = \"3\"\n\
                    [dev-dependencies]\ntokio = \"1\"\nproptest = \"1\"\n";
    let found = manifest_violations("crates/lwm2m", manifest, &[]);
    assert!(found.contains("dependencies must not have tempfile"), "{found}");
    assert!(found.contains("dependencies must not have lpwad-lorawan"), "{found}");
    assert!(found.contains("dev-dependencies must not have tokio"), "{found}");
    assert_eq!(found.lines().count(), 3);
    assert_eq!(
        manifest_violations("plugins/x", "[dependencies]\ntokio = \"1\"\nlpwad-link = \"1\"\n", &["lpwad-link"]),
        ""
    );
}

#[test]
fn planted_sideways_uses_are_found() {
    let text = "use crate::config;\n// use crate::radio;\nuse crate::{\n    codec::{Codec, map},\n    store::Table,\n};\n\
                let x = \"crate::policy\"; crate :: io::run();\nuse lpwad_lwm2m::Path;\nuse super::super::gateway;\n";
    let found = module_violations("src/session/mod.rs", "session", &code(text), &["config"]);
    let lines: Vec<&str> = found.lines().collect();
    for (line, name) in [(4, "codec"), (5, "store"), (7, "io"), (8, "lpwad_lwm2m"), (9, "gateway")] {
        let wanted = format!("src/session/mod.rs:{line}: module `session` must not use `{name}`");
        assert!(lines.contains(&wanted.as_str()), "{wanted}\n{found}");
    }
    assert_eq!(lines.len(), 5, "{found}");
}

#[test]
fn planted_packages_clocks_and_unsafe_code_are_found() {
    let text = "/// tokio::spawn\nfn f<'a>(x: &'a str) {\n    let q = '\"'; tokio::spawn(g());\n    let r = r#\"nix \" redb\"#;\n\
                    let t = std::time::Instant::now();\n    unsafe { h() }\n}\n";
    let code = code(text);
    assert_eq!(code.lines().count(), text.lines().count());
    assert_eq!(home_violations("src/node/mod.rs", &code, "tokio", &["src/io/"]).lines().count(), 1);
    assert!(home_violations("src/node/mod.rs", &code, "tokio", &["src/io/"]).starts_with("src/node/mod.rs:3:"));
    assert_eq!(home_violations("src/io/run.rs", &code, "tokio", &["src/io/"]), "");
    assert_eq!(home_violations("src/node/mod.rs", &code, "nix", &["src/io/"]), "", "in quotes it is a text");
    assert_eq!(clock_violations("crates/link/src/line.rs", &code), "crates/link/src/line.rs:5: reads the clock\n");
    assert_eq!(clock_violations("src/io/clock.rs", &code), "");
    assert_eq!(unsafe_violations("crates/link/src/line.rs", &code), "crates/link/src/line.rs:6: unsafe code\n");
}

#[test]
fn planted_silence_is_found() {
    assert_eq!(silence_violations("lib.rs", "//! All of CoAP.\n"), "lib.rs: does not say what is not supported\n");
    assert_eq!(silence_violations("lib.rs", "//! CoAP.\n//! # Not supported\n"), "");
}
