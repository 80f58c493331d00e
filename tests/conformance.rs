//! `docs/conformance.md`: each requirement with the tests that prove it, or why there is none. `cargo xtask docs` writes it from
//! `docs/conformance.toml` and from the names of the tests; this test fails when they do not fit.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that uses them")]

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The rows that there are: of the specification, and of RFC 7925.
const ROWS: [(char, std::ops::RangeInclusive<u8>); 4] = [('S', 1..=28), ('S', 30..=46), ('P', 1..=27), ('P', 30..=46)];
/// Where tests are.
const PLACES: [&str; 4] = ["src", "crates", "plugins", "tests"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    row: Vec<Row>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    title: String,
    status: Status,
    /// Tests that prove it and have another name.
    #[serde(default)]
    by: Vec<String>,
    /// What is not there or not proven.
    missing: Option<String>,
    /// Why not at all.
    reason: Option<String>,
    note: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
enum Status {
    #[serde(rename = "proven")]
    Proven,
    #[serde(rename = "partly")]
    Partly,
    #[serde(rename = "not supported")]
    NotSupported,
    #[serde(rename = "not applicable")]
    NotApplicable,
}

/// A test.
#[derive(Clone, Debug, PartialEq)]
struct Test {
    name: String,
    path: String,
    /// Only `cargo xtask slow` runs it.
    slow: bool,
}

#[test]
fn s_02_every_row_is_proven_by_a_test_or_says_why_not() {
    let table: Table = toml::from_str(&fs::read_to_string("docs/conformance.toml").unwrap()).unwrap();
    let tests: Vec<Test> = PLACES.iter().flat_map(|place| tests_below(Path::new(place))).collect();
    assert!(tests.len() > 300, "tests are found");
    assert_eq!(problems(&table.row, &tests), Vec::<String>::new());
    let text = page(&table.row, &tests);
    if std::env::var_os("LPWAD_WRITE_DOCS").is_some() {
        fs::write("docs/conformance.md", &text).unwrap();
    }
    let found = fs::read_to_string("docs/conformance.md").unwrap_or_default();
    assert!(found == text, "docs/conformance.md is not what table and tests say: run `cargo xtask docs`");
}

/// What does not fit.
fn problems(rows: &[Row], tests: &[Test]) -> Vec<String> {
    let mut problems = Vec::new();
    let wanted: Vec<String> =
        ROWS.into_iter().flat_map(|(kind, numbers)| numbers.map(move |n| format!("{kind}-{n:02}"))).collect();
    let found: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    problems.extend(wanted.iter().filter(|id| !found.contains(&id.as_str())).map(|id| format!("{id} is not there")));
    if problems.is_empty() && found != wanted {
        problems.push("rows are out of order, twice, or more than there are".into());
    }
    for test in tests {
        for id in rows_of(&test.name).into_iter().filter(|id| !found.contains(&id.as_str())) {
            problems.push(format!("{} names {id}, which is no row", test.name));
        }
    }
    for row in rows {
        let id = &row.id;
        for name in row.by.iter().filter(|name| !tests.iter().any(|test| test.name == **name)) {
            problems.push(format!("{id}: there is no test {name}"));
        }
        for name in row.by.iter().filter(|name| rows_of(name).contains(id)) {
            problems.push(format!("{id}: {name} needs not be in `by`, it says so itself"));
        }
        let (proofs, missing, reason) = (!proofs(row, tests).is_empty(), row.missing.is_some(), row.reason.is_some());
        match row.status {
            Status::Proven if !proofs => problems.push(format!("{id}: \"proven\", but by no test")),
            Status::Proven if missing || reason => problems.push(format!("{id}: \"proven\", but something is missing")),
            Status::Partly if !proofs => problems.push(format!("{id}: \"partly\", but by no test")),
            Status::Partly if !missing || reason => {
                problems.push(format!("{id}: \"partly\" needs `missing`, no `reason`"))
            }
            Status::NotSupported | Status::NotApplicable if !reason || missing => {
                problems.push(format!("{id}: needs a `reason`, no `missing`"));
            }
            _ => {}
        }
    }
    problems
}

/// The tests that prove a row.
fn proofs<'a>(row: &Row, tests: &'a [Test]) -> Vec<&'a Test> {
    tests.iter().filter(|test| rows_of(&test.name).contains(&row.id) || row.by.contains(&test.name)).collect()
}

/// The rows in the name of a test: `s_16_p03_what_it_is` is S-16 and P-03.
fn rows_of(name: &str) -> Vec<String> {
    let mut rows = Vec::new();
    let mut rest = name;
    while let Some(kind @ ('s' | 'p')) = rest.chars().next() {
        let after = rest[1..].strip_prefix('_').unwrap_or(&rest[1..]);
        let Some((number, after)) = after.split_once('_') else { break };
        if number.len() != 2 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            break;
        }
        rows.push(format!("{}-{number}", kind.to_ascii_uppercase()));
        rest = after;
    }
    rows
}

/// The page.
fn page(rows: &[Row], tests: &[Test]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    rows.iter().for_each(|row| *counts.entry(row.status.name()).or_default() += 1);
    let counts: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let mut text = format!(
        "# Conformance\n\nEvery requirement, and by which test it is proven. Made from `docs/conformance.toml` and the names of the tests by\n\
         `cargo xtask docs`. {} rows: {}.\n\n\
         Tests marked (slow) are run by `cargo xtask slow`, all others by `cargo xtask test`; CI runs both.\n",
        rows.len(),
        counts.join(", ")
    );
    let headings = [("S-", "LwM2M over LPWA networks"), ("P-", "Client profile of RFC 7925")];
    for (prefix, heading) in headings {
        let _ = write!(
            text,
            "\n## {heading}\n\n| row | what it asks for | status | by which tests, and what else is to be said |\n|---|---|---|---|\n"
        );
        for row in rows.iter().filter(|row| row.id.starts_with(prefix)) {
            let said = [("Missing: ", &row.missing), ("", &row.reason), ("Note: ", &row.note)];
            let said = said.into_iter().filter_map(|(head, text)| Some(format!("{head}{}.", text.as_ref()?)));
            let tests = proofs(row, tests)
                .into_iter()
                .map(|test| format!("`{}` in `{}`{}", test.name, test.path, if test.slow { " (slow)" } else { "" }));
            let cells: Vec<String> = said.chain(tests).collect();
            let _ = writeln!(text, "| {} | {} | {} | {} |", row.id, row.title, row.status.name(), cells.join("<br>"));
        }
    }
    text
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Proven => "proven",
            Status::Partly => "partly",
            Status::NotSupported => "not supported",
            Status::NotApplicable => "not applicable",
        }
    }
}

/// Tests in the Rust files below a directory. Ignored ones are none, unless `cargo xtask slow` runs them.
fn tests_below(place: &Path) -> Vec<Test> {
    let mut entries: Vec<PathBuf> = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(tests_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(tests_in(&path.display().to_string(), &fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

fn tests_in(path: &str, text: &str) -> Vec<Test> {
    let mut found = Vec::new();
    let (mut is_test, mut ignored, mut slow) = (false, false, false);
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            (is_test, ignored, slow) = (true, false, false);
        } else if line.starts_with("#[ignore") {
            ignored = true;
            slow = line.contains("cargo xtask slow");
        } else if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
            if is_test && (slow || !ignored) {
                found.push(Test { name: name.into(), path: path.into(), slow });
            }
            is_test = false;
        }
    }
    found
}

fn planted(change: impl FnOnce(&mut Vec<Row>, &mut Vec<Test>)) -> Vec<String> {
    let row = |id: String| Row {
        id,
        title: "a row".into(),
        status: Status::NotSupported,
        by: Vec::new(),
        missing: None,
        reason: Some("not yet".into()),
        note: None,
    };
    let mut rows: Vec<Row> =
        ROWS.into_iter().flat_map(|(kind, numbers)| numbers.map(move |n| format!("{kind}-{n:02}"))).map(row).collect();
    let mut tests = tests_in("a.rs", "#[test]\nfn s_01_p02_a() {}\n#[test]\n#[ignore = \"why\"]\nfn s_03_b() {}\n");
    change(&mut rows, &mut tests);
    problems(&rows, &tests)
}

#[test]
fn what_does_not_fit_is_found() {
    assert_eq!(planted(|_, _| {}), Vec::<String>::new());
    let found = |change: fn(&mut Vec<Row>, &mut Vec<Test>), word: &str| {
        let problems = planted(change);
        assert!(problems.len() == 1 && problems[0].contains(word), "{word}: {problems:?}");
    };
    found(|rows, _| drop(rows.remove(4)), "S-05");
    found(|rows, _| rows.swap(0, 1), "out of order");
    found(|rows, _| rows[4].by.push("nobody".into()), "there is no test nobody");
    found(|rows, _| rows[0].by.push("s_01_p02_a".into()), "says so itself");
    found(|rows, _| rows[4].reason = None, "needs a `reason`");
    let proven = |row: &mut Row| (row.status, row.reason) = (Status::Proven, None);
    assert_eq!(planted(|rows, _| proven(&mut rows[0])), Vec::<String>::new());
    // The test of S-03 is ignored: it is none.
    assert!(planted(|rows, _| proven(&mut rows[2]))[0].contains("by no test"));
    found(|rows, _| (rows[0].status, rows[0].reason) = (Status::Partly, None), "needs `missing`");
    found(|_, tests| tests[0].name = "s_29_c".into(), "no row");
    assert_eq!(rows_of("s_16_p03_s17_what"), ["S-16", "P-03", "S-17"]);
    assert_eq!((rows_of("splitmix64"), rows_of("s_1_x"), rows_of("p")), (vec![], vec![], vec![]));
}
