//! Errors of configuration: file, line, key, what is wrong and what to do.

use std::fmt;
use std::path::PathBuf;

/// One thing wrong in a file of the user. `Display` is one line, two with a hint. What looks like a key is in neither, and not
/// in [`ConfigError::to_json`]: people paste keys into the wrong place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or the directory if that is what cannot be read.
    pub file: PathBuf,
    /// Line, counted from 1; `None` if the whole file is meant.
    pub line: Option<usize>,
    /// The key, such as `node.profile`; `None` if there is no single one.
    pub key: Option<String>,
    /// What is wrong. Never holds a value of a key file.
    pub problem: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ConfigError {
    /// An error that concerns the whole of `file`.
    pub fn file(file: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        ConfigError { file: file.into(), line: None, key: None, problem: problem.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "file": self.file.display().to_string(),
            "line": self.line,
            "key": self.key.as_deref().map(without_keys),
            "problem": without_keys(&self.problem),
            "hint": self.hint.as_deref().map(without_keys),
        })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": ")?;
        if let Some(key) = &self.key {
            write!(f, "{}: ", without_keys(key))?;
        }
        write!(f, "{}", without_keys(&self.problem))?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {}", without_keys(hint))?;
        }
        Ok(())
    }
}

/// Fewest hex digits that may be a key: 16 bytes.
const KEY_DIGITS: usize = 32;

/// A text in which nothing looks like a key: 32 or more hex digits in a row, also with what people put between them, such as
/// `2b:7e`, `2B 7E` or `0x2b, 0x7e`.
#[must_use]
pub fn without_keys(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(start);
        let (digits, end) = row_of_digits(from);
        let (row, behind) = from.split_at(end);
        shown.push_str(before);
        if digits >= KEY_DIGITS {
            shown.push_str(&format!("({digits} hex digits, which looks like a key: not shown)"));
        } else {
            shown.push_str(row);
        }
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

/// How many hex digits stand in a row where `text` begins, and how many bytes of it they and what is between them take. A
/// word that only begins like hex digits ends the row before it.
fn row_of_digits(text: &str) -> (usize, usize) {
    let (mut row, mut end) = (0, 0);
    let (mut group, mut group_end, mut between) = (0, 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            _ if c.is_ascii_hexdigit() => (group, group_end, between) = (group + 1, at + 1, 0),
            // The `x` of `0x`, whose zero was counted.
            'x' | 'X' if group == 1 && text.get(..at).is_some_and(|before| before.ends_with('0')) => group = 0,
            ' ' | ':' | '-' | '_' | ',' | '.' | ';' | '\t' | '\n' if between < 2 => {
                (row, end) = (row + group, group_end);
                (group, between) = (0, between + 1);
            }
            _ if row > 0 && c.is_alphanumeric() => return (row, end),
            _ => break,
        }
    }
    (row + group, group_end)
}

impl std::error::Error for ConfigError {}

/// Everything wrong that one pass found, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        ConfigErrors(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The candidate nearest to `word`, if one is near enough to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 4))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Where the lines of a text end: for a file in which many places are named, each of which is found at once.
pub struct Lines(Vec<usize>);

impl Lines {
    /// Of a text.
    pub fn of(text: &str) -> Lines {
        Lines(text.match_indices('\n').map(|(end, _)| end).collect())
    }

    /// The same as [`line_of`].
    pub fn line_of(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }
}

/// The number, from 1, of the line in `text` that holds the byte `offset`.
pub fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_key_is_in_no_error() {
        let key = "2b7e151628aed2a6abf7158809cf4f3c";
        let bytes: Vec<&str> = (0..32).step_by(2).map(|at| &key[at..at + 2]).collect();
        let written = [
            key.to_string(),
            key.to_uppercase(),
            format!("{key}{key}"),
            bytes.join(":"),
            bytes.join(" "),
            bytes.join(", "),
            format!("{{0x{}}}", bytes.join(", 0x")),
            format!("{}-{}", &key[..16], &key[16..]),
        ];
        for key in &written {
            let error = ConfigError {
                key: Some(format!("node.{key}")),
                ..ConfigError::file("a.toml", format!("\"{key}\" is no number"))
            };
            let error = error.hint(format!("did you mean {key}?"));
            for said in [error.to_string(), error.to_json().to_string()] {
                assert!(
                    !said.contains("7e") && !said.to_lowercase().contains("ae") && !said.contains("4f"),
                    "{key}: {said}"
                );
                assert_eq!(said.matches("which looks like a key: not shown").count(), 3, "{said}");
                assert!(said.contains("is no number"), "{said}");
            }
        }
        for text in [
            "70b3d57ed0001234 is the endpoint of both 70b3d57ed0001234 and 70b3d57ed0001235",
            "863000000 Hz is outside 863000000 to 870000000 Hz",
            "2001:db8::1 is no host; a bad face, 0xc0ffee, ",
            "\u{e9}a\u{e9} 0x",
            "",
        ] {
            assert_eq!(without_keys(text), text);
        }
        let said = without_keys(&format!("/etc/{key}: cannot be read"));
        assert_eq!(said, "/etc/(32 hex digits, which looks like a key: not shown): cannot be read");
        let half = "2b7e151628aed2a6abf7158809cf4f3";
        assert_eq!(without_keys(half), half, "31 digits");
    }

    #[test]
    fn both_ways_to_find_a_line_agree_at_every_byte() {
        for text in ["", "\n", "a\n\nb\r\nc", "a\n"] {
            let lines = Lines::of(text);
            for offset in 0..=text.len() {
                assert_eq!(lines.line_of(offset), line_of(text, offset), "{text:?} at {offset}");
            }
        }
    }
}
