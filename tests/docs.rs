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
