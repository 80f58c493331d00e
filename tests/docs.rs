//! `docs/events.md` and `docs/limits.md` are made from the code: `cargo xtask docs` writes them, and this test fails when
//! they are not what the code says.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that uses them")]

use lpwad::gateway::event::{FIELDS, Kind};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Where bounds are declared, in the order of the frame, with a heading.
const PLACES: [(&str, &str); 14] = [
    ("plugins/lora-serial/src", "Plugin for modems on a serial port"),
    ("crates/link/src", "Lines between daemon and plugins"),
    ("src/radio", "Radios"),
    ("crates/lorawan/src", "LoRaWAN network"),
    ("src/network", "Network of this gateway"),
    ("src/node", "Nodes"),
    ("src/codec", "Codecs"),
    ("crates/lwm2m/src", "LwM2M client of each node"),
    ("src/session", "Sessions"),
    ("src/gateway", "Gateway"),
    ("src/store", "Store"),
    ("src/io", "Shell: processes, sockets, disk"),
    ("src/config", "Configuration"),
    ("src/policy", "Policy"),
];

/// What a bound's name begins with or has in it.
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
        "# Limits\n\nEvery bound of the daemon and its serial plugin with its value. Made from the constants in the code by `cargo xtask docs`;\n\
         what happens beyond a bound is said with it. What is dropped is counted: `lpwad status --json` has the counters of radios,\n\
         network, gateway and shell, `lpwad node show` those of a node; the column \"counted\" names the one for this bound. Bounds that a user may choose are in `config/lpwad.toml` and in the\n\
         device profiles.\n",
    );
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

/// Rows of the constants of a file that are bounds.
fn bounds(path: &Path, text: &str) -> Vec<String> {
    let mut rows = Vec::new();
    let mut about = String::new();
    for line in text.lines() {
        if let Some(more) = line.strip_prefix("///") {
            about = format!("{about} {}", more.trim()).trim().to_string();
            continue;
        }
        let declared = line.split_once("const ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        if let Some((name, rest)) = declared.and_then(|(_, rest)| rest.split_once(": "))
            && let Some((kind, value)) = rest.split_once(" = ")
            && WORDS.iter().any(|word| name.contains(word))
            && [
                "usize",
                "u8",
                "u16",
                "u32",
                "u64",
                "i32",
                "i64",
                "Duration",
                "std::time::Duration",
                "(Duration, Duration)",
            ]
            .contains(&kind)
        {
            assert!(!about.is_empty(), "{}: {name} needs a `///` line that says what it bounds", path.display());
            let (about, counted) = about.split_once("Counted: ").unwrap_or((&about, ""));
            rows.push(format!(
                "| {} | {} | {} | `{}` in `{}` |\n",
                about.trim().replace('|', "\\|"),
                shown(name, value),
                counted.trim_end_matches('.'),
                name,
                path.display()
            ));
        }
        about.clear();
    }
    rows
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
    let suffix = [("_S", " s"), ("_US", " µs"), ("_BYTES", " B"), ("_PER_S", " per s")];
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
