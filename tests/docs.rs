//! `docs/events.md` and `docs/limits.md` are made from the code: `cargo xtask docs` writes them, and this test fails when
//! they are not what the code says.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that uses them")]

use lpwad::config::bound;
use lpwad::gateway::event::{FIELDS, Kind};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Where bounds are declared, in the order of the frame, with a heading.
const PLACES: [(&str, &str); 18] = [
    ("plugins/lora-serial/src", "Plugin for modems on a serial port"),
    ("crates/link/src", "Lines between daemon and plugins"),
    ("src/radio", "Radios"),
    ("crates/lorawan/src", "LoRaWAN network"),
    ("src/network", "Network of this gateway"),
    ("src/node", "Nodes"),
    ("src/codec", "Codecs"),
    ("crates/lwm2m/src", "LwM2M client of each node"),
    ("crates/dtls/src", "DTLS"),
    ("src/session", "Sessions"),
    ("src/gateway", "Gateway"),
    ("src/store", "Store"),
    ("src/io", "Shell: processes, sockets, disk"),
    ("src/config", "Configuration"),
    ("src/policy", "Policy"),
    ("src/cli", "Commands"),
    ("src/demo", "Demonstration"),
    ("plugins/sim/src", "Simulator"),
];

/// What a bound's name begins with or has in it. Another bound has `Bound:` before its first word.
const WORDS: [&str; 20] = [
    "MAX_",
    "_WAITING",
    "TIMEOUT",
    "_PER_",
    "RETR",
    "RESTART",
    "GRACE",
    "IDLE",
    "LIFETIME",
    "LIMIT",
    "BLOCK",
    "PERIOD",
    "WAIT",
    "ATTEMPTS",
    "TRIES",
    "REPORT_WITHIN",
    "MIN_",
    "LEAD",
    "MAX",
    "SILENCE",
];

/// Numbers that bound nothing: ids, codes, lengths that a format has, and defaults of what stands in the first table.
const NO_BOUNDS: [&str; 84] = [
    "ACK_RANDOM_FACTOR",
    "ALERT",
    "ANSWER_BYTES",
    "ANSWER_PLANNED",
    "APPLICATION_DATA",
    "AROUND",
    "AUTH_LEVEL",
    "BREAK",
    "CAPTURE_DB",
    "CERTIFICATE_VERIFY_FAILED",
    "CHANGE_CIPHER_SPEC",
    "CHECKED",
    "CLONE3",
    "CLOSED_PORT_CHECK",
    "DAY_MS",
    "DEFAULT_BAUD",
    "DEFAULT_FREQ_HZ",
    "DEVICE",
    "DTLS_LIVE_SESSIONS",
    "EXPLICIT_NONCE",
    "FATAL",
    "FCHMODAT2",
    "FHDR_LEN",
    "FINISHED_MIN",
    "FRAME_OVERHEAD",
    "HANDSHAKE",
    "HEADER",
    "HELLO_REQUEST",
    "IDENTITY_BYTES",
    "INCONSISTENT_EXTMS",
    "INIT_LOAD_SSL_STRINGS",
    "INIT_NO_ATEXIT",
    "INIT_NO_LOAD_CONFIG",
    "INVALID_MAX_FRAGMENT_LENGTH",
    "JITTER",
    "JITTER_MS",
    "KEY_BYTES",
    "KEY_DIGITS",
    "LINK_FORMAT",
    "MINUTE",
    "MIN_LIFETIME_S",
    "MTU",
    "MW_25",
    "MW_500",
    "NEWEST",
    "NODE_OBJECT",
    "NONCE_BYTES",
    "NOT_BEFORE_UNIX_MS",
    "NO_CIPHERS_AVAILABLE",
    "NO_ENCRYPT_THEN_MAC",
    "NO_SERVER",
    "OLDEST_FIRMWARE",
    "OSCORE",
    "OVERHEAD_BYTES",
    "POLICY_STATE",
    "PREAMBLE_SYMBOLS",
    "RECORD_HEADER",
    "REORDERING",
    "ROOT",
    "RX2_AFTER_RX1",
    "RX2_HZ",
    "SALT_BYTES",
    "SCHEMA",
    "SECURITY",
    "SENML_JSON",
    "SERVER",
    "SLACK",
    "SPARE_SYMBOLS",
    "SYNC_PUBLIC",
    "TEXT",
    "TIMER_CAP_S",
    "TIMER_INITIAL_S",
    "TIMER_SLACK",
    "TURNAROUND",
    "TURNAROUND_US",
    "TX_OVERHEAD",
    "UNKNOWN_CIPHER_RETURNED",
    "UNSUPPORTED_PROTOCOL",
    "VERSION",
    "WAKE",
    "WRITE_AHEAD",
    "WRONG_CIPHER_RETURNED",
    "WRONG_SSL_VERSION",
    "YEAR_S",
];

#[test]
fn events_are_described_as_the_code_has_them() {
    let mut text = String::from(
        "# Events\n\nMade from `src/gateway/event.rs` by `cargo xtask docs`. In the journal the name is the field `LPWAD_EVENT`; a node,\n\
         radio or server that it is about is `LPWAD_NODE`, `LPWAD_RADIO`, `LPWAD_SERVER`. `lpwad run --json` writes the same as JSON\n\
         lines. Names are stable.\n\n| event | level | meaning |\n|---|---|---|\n",
    );
    for kind in Kind::ALL {
        let level = kind.level().as_str().to_lowercase();
        let _ = writeln!(text, "| `{}` | {level} | {} |", kind.name(), kind.meaning().trim());
    }
    text.push_str("\n## Fields\n\nWhat the classes mean: `docs/log-privacy.md`.\n\n| field | class |\n|---|---|\n");
    for (name, class) in [("node", "identifying"), ("radio", "operational"), ("server", "operational")] {
        let _ = writeln!(text, "| `{name}` | {class} |");
    }
    for (name, class) in FIELDS {
        let _ = writeln!(text, "| `{name}` | {} |", class.name());
    }
    same("docs/events.md", &text);
}

#[test]
fn every_field_of_an_event_has_a_class() {
    let mut used = Vec::new();
    for (_, text) in sources(Path::new("src")) {
        used.extend(text.split(".with(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_string())));
    }
    for name in &used {
        assert!(FIELDS.iter().any(|(known, _)| known == name), "give the field \"{name}\" a class in event::FIELDS");
    }
    for (name, _) in FIELDS {
        assert!(used.iter().any(|used| used == name), "no event has a field \"{name}\"; remove it from event::FIELDS");
    }
}

#[test]
fn limits_are_described_as_the_code_has_them() {
    let mut text = String::from(
        "# Limits\n\nEvery bound with its value, made from the constants in the code by `cargo xtask docs`; what happens beyond a bound is\n\
         said with it. What is dropped is counted: the column \"counted\" names the counter in `lpwad status --json` for this bound, and\n\
         `lpwad node show --json` has those of the client of one node.\n",
    );
    text.push_str(
        "\n## What a user may choose\n\nKeys of `lpwad.toml`, and of device profiles; the configuration is checked with the same table.\n\n\
         | key | default | range | counted | what |\n|---|---|---|---|---|\n",
    );
    for bound in bound::ALL {
        let unit = bound.unit();
        let default = bound.default.map_or(String::new(), |value| format!("{value}{unit}"));
        let (about, counted) = about_and_counter(bound.about);
        let _ = writeln!(
            text,
            "| `{}` | {default} | {} to {}{unit} | {counted} | {about} |",
            bound.key, bound.least, bound.most
        );
    }
    for (place, heading) in PLACES {
        let bounds: Vec<String> =
            sources(Path::new(place)).iter().flat_map(|(path, text)| bounds(path, text)).collect();
        if !bounds.is_empty() {
            let _ = write!(
                text,
                "\n## {heading}\n\n| bound | value | counted | where |\n|---|---|---|---|\n{}",
                bounds.concat()
            );
        }
    }
    same("docs/limits.md", &text);
}

#[test]
fn every_number_in_the_code_is_in_the_table_of_limits_or_bounds_nothing() {
    let mut unknown = Vec::new();
    let mut seen = Vec::new();
    for (path, text) in ["src", "crates", "plugins"].iter().flat_map(|place| sources(Path::new(place))) {
        // A plugin that does everything wrong, for tests.
        if path.starts_with("plugins/stress") {
            continue;
        }
        for number in numbers(&path, &text) {
            let listed = PLACES.iter().any(|(place, _)| path.starts_with(place));
            let exempt = NO_BOUNDS.contains(&number.name.as_str());
            if !(exempt || listed && number.is_bound()) {
                unknown.push(format!("{} in {}", number.name, path.display()));
            }
            seen.push(number.name);
        }
    }
    assert!(unknown.is_empty(), "write `Bound:` before what it bounds, or put it into NO_BOUNDS: {unknown:#?}");
    for name in NO_BOUNDS {
        assert!(seen.iter().any(|seen| seen == name), "there is no number {name}; take it out of NO_BOUNDS");
    }
}

#[test]
fn the_example_configuration_shows_the_defaults_of_what_is_bounded() {
    let example = fs::read_to_string("config/lpwad.toml").unwrap();
    for bound in bound::ALL.iter().filter(|bound| !bound.key.starts_with("profile ")) {
        let key = bound.key.rsplit('.').next().unwrap();
        let line = format!("\n#{key} = {}\n", bound.default());
        assert!(example.contains(&line), "{line:?} is not in config/lpwad.toml");
    }
}

#[test]
fn the_build_lines_of_the_readme_build_every_program_that_it_installs() {
    let readme = fs::read_to_string("README.md").unwrap();
    let (_, step) = readme.split_once("1. Build and install:").unwrap();
    let (step, _) = step.split_once("\n2. ").unwrap();
    let installed: Vec<&str> =
        step.split("`target/release/").skip(1).map(|rest| rest.split_once('`').unwrap().0).collect();
    assert_eq!(installed, ["lpwad", "lora-serial"]);
    // A line without a choice of packages builds the default members.
    let lines: Vec<&str> = step.split('`').filter(|code| code.starts_with("cargo build")).collect();
    assert_eq!(lines, ["cargo build --release", "cargo build --release --no-default-features"]);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = std::process::Command::new(cargo).args(arguments).output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let members = metadata["workspace_default_members"].as_array().unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter().filter(|package| members.contains(&package["id"]));
    let targets = packages.flat_map(|package| package["targets"].as_array().unwrap());
    let programs: Vec<&str> =
        targets.filter(|target| target["kind"][0] == "bin").map(|target| target["name"].as_str().unwrap()).collect();
    for program in installed {
        assert!(programs.contains(&program), "{program} is not built: {programs:?}");
    }
}

#[test]
fn every_exit_code_has_its_row() {
    let code = fs::read_to_string("src/cli/mod.rs").unwrap();
    let page = fs::read_to_string("docs/command-line.md").unwrap();
    let codes: Vec<&str> = code
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub(super) const ")?.split_once(": u8 = "))
        .map(|(_, value)| value.trim_end_matches(';'))
        .collect();
    assert_eq!(codes.len(), 7, "{codes:?}");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    let mut told: Vec<&str> = rows.map(|(code, _)| code).filter(|code| code.parse::<u8>().is_ok()).collect();
    told.retain(|code| !["0", "1"].contains(code));
    for code in &codes {
        assert!(told.contains(code), "{code} has no row in docs/command-line.md");
    }
    assert_eq!(told.len(), codes.len(), "{told:?}");
}

/// A constant that is a number, or a span of time.
struct Number {
    name: String,
    value: String,
    about: String,
}

impl Number {
    fn is_bound(&self) -> bool {
        let named = || WORDS.iter().any(|word| self.name.contains(word)) && !NO_BOUNDS.contains(&self.name.as_str());
        self.about.starts_with("Bound: ") || named()
    }
}

/// Types of numbers.
const KINDS: [&str; 14] =
    ["usize", "u8", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128", "f32", "f64", "Duration"];

/// The numbers that a file declares: those of a module, and those inside something that are marked as bounds.
fn numbers(path: &Path, text: &str) -> Vec<Number> {
    let mut numbers = Vec::new();
    let mut about = String::new();
    for line in text.lines() {
        let inner = line.trim_start();
        if let Some(more) = inner.strip_prefix("///") {
            about = format!("{about} {}", more.trim()).trim().to_string();
            continue;
        }
        let declared = inner.split_once("const ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        if let Some((name, rest)) = declared.and_then(|(_, rest)| rest.split_once(": "))
            && let Some((kind, value)) = rest.split_once(" =")
            && (inner.len() == line.len() || about.starts_with("Bound: "))
        {
            let kind = kind.rsplit("::").next().unwrap_or(kind);
            let inside = kind.trim_start_matches("RangeInclusive<").trim_matches(['(', ')', '>']);
            if inside.split(", ").all(|kind| KINDS.contains(&kind)) {
                assert!(value.ends_with(';'), "{}: write {name} on one line", path.display());
                numbers.push(Number { name: name.into(), value: value.trim().into(), about: about.clone() });
            }
        }
        // Attributes may stand between the words and the constant.
        if !inner.starts_with("#[") {
            about.clear();
        }
    }
    numbers
}

/// Rows of the constants of a file that are bounds.
fn bounds(path: &Path, text: &str) -> Vec<String> {
    let row = |number: Number| {
        let Number { name, value, about } = number;
        assert!(!about.is_empty(), "{}: {name} needs a `///` line that says what it bounds", path.display());
        let (about, counted) = about_and_counter(&about);
        let (about, value) = (about.replace('|', "\\|"), shown(&name, &value));
        format!("| {about} | {value} | {counted} | `{name}` in `{}` |\n", path.display())
    };
    numbers(path, text).into_iter().filter(Number::is_bound).map(row).collect()
}

/// What a bound is about, and the counter of what it drops.
fn about_and_counter(text: &str) -> (&str, &str) {
    let text = text.trim().trim_start_matches("Bound: ");
    let (about, counted) = text.split_once("Counted: ").unwrap_or((text, ""));
    (about.trim(), counted.trim_end_matches('.'))
}

/// A value as people write it.
fn shown(name: &str, value: &str) -> String {
    let value = value.trim_end_matches(';').replace("std::time::", "");
    let unit = |text: &str| {
        text.replace("Duration::from_secs(", "")
            .replace("Duration::from_millis(", "ms ")
            .replace([')', '('], "")
            .trim()
            .to_string()
    };
    if value.contains("Duration::") {
        let parts = value.trim_start_matches('(').split(", ").map(|part| match part.contains("from_millis") {
            true => format!("{} ms", unit(part).trim_start_matches("ms ")),
            false => format!("{} s", unit(part)),
        });
        return parts.collect::<Vec<_>>().join(" to ");
    }
    let suffix = [("_S", " s"), ("_MS", " ms"), ("_US", " µs"), ("_BYTES", " B"), ("_PER_S", " per s")];
    let suffix = suffix.iter().rev().find(|(end, _)| name.ends_with(end)).map_or("", |(_, unit)| unit);
    let factors: Option<Vec<u64>> =
        value.split('*').map(|factor| factor.trim().replace('_', "").parse().ok()).collect();
    match factors {
        Some(factors) => format!("{}{suffix}", factors.iter().product::<u64>()),
        None => format!("`{value}`{suffix}"),
    }
}

/// Rust files below a directory, or the file of that name, without tests.
fn sources(place: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(place) else { return found };
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_string()));
        }
    }
    found
}

/// Compares a page with what it must be, or writes it.
fn same(path: &str, text: &str) {
    if std::env::var_os("LPWAD_WRITE_DOCS").is_some() {
        fs::write(path, text).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(found == text, "{path} is not what the code says: run `cargo xtask docs`");
}
