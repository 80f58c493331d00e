//! TOML text into typed raw values that remember where they stand.

use super::error::{ConfigError, line_of, nearest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    offset: usize,
    file: usize,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        Ok(At { offset: spanned.span().start, file: 0, value: spanned.into_inner() })
    }
}

impl<T> At<T> {
    /// Says in which file (index into [`Sources`]) the value stands.
    pub fn place(&mut self, file: usize) {
        self.file = file;
    }

    /// The place alone.
    pub fn here(&self) -> At<()> {
        self.inside(self.offset)
    }

    /// Another place in the same file.
    pub fn inside(&self, offset: usize) -> At<()> {
        At { value: (), offset, file: self.file }
    }
}

/// The files that were read, so that a value can be named by file and line.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<(PathBuf, String)>,
}

impl Sources {
    /// Keeps a file's text; gives its index.
    pub fn add(&mut self, path: &Path, text: String) -> usize {
        self.files.push((path.to_path_buf(), text));
        self.files.len() - 1
    }

    /// An error at a value.
    pub fn error<T>(&self, at: &At<T>, key: &str, problem: impl Into<String>) -> ConfigError {
        let (file, line) = match self.files.get(at.file) {
            Some((path, text)) => (path.clone(), Some(line_of(text, at.offset))),
            None => (PathBuf::new(), None),
        };
        ConfigError { file, line, key: Some(key.into()), problem: problem.into(), hint: None }
    }

    /// The file in which a value stands.
    pub fn file<T>(&self, at: &At<T>) -> &Path {
        self.files.get(at.file).map_or(Path::new(""), |(path, _)| path)
    }
}

/// How much of the parser's own words may go into an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// All of it.
    Public,
    /// Only the line: the words could quote a key.
    Secret,
}

/// Parses `text` of `path` as TOML of type `T`.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str, secrecy: Secrecy) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_of(text, span.start));
        let text_of_line = line.and_then(|line| text.lines().nth(line - 1)).unwrap_or_default();
        let message = error.message().trim();
        if secrecy == Secrecy::Secret {
            let (problem, hint) = without_values(message);
            return ConfigError { file: path.into(), line, key: None, problem: problem.into(), hint: Some(hint) };
        }
        let (key, hint) = (key_of_line(text_of_line), hint_of(message, text_of_line));
        ConfigError { file: path.into(), line, key, problem: message.replace('\n', "; "), hint }
    })
}

/// The line of a key of a text that is TOML: names, and numbers in lists from 0, with dots between (`actuator.1.path`). Of what
/// is not there: the line of what it would be in.
pub fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let (mut found, mut within) = (None, None::<&DeValue<'_>>);
    for part in key.split('.') {
        let in_table =
            |table: &DeTable<'_>| table.iter().find(|(name, _)| name.get_ref() == part).map(|(name, _)| name.span());
        let (span, value) = match within {
            None => (in_table(root.get_ref()), root.get_ref().get(part)),
            Some(DeValue::Table(table)) => (in_table(table), table.get(part)),
            Some(DeValue::Array(list)) => {
                let value = part.parse().ok().and_then(|number: usize| list.get(number));
                (value.map(toml::Spanned::span), value)
            }
            Some(_) => (None, None),
        };
        let (Some(span), Some(value)) = (span, value) else { break };
        found = Some(line_of(text, span.start));
        within = Some(value.get_ref());
    }
    found
}

fn key_of_line(line: &str) -> Option<String> {
    let key = line.split_once('=')?.0.trim();
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.\"".contains(c));
    plain.then(|| key.to_string())
}

/// What to do about an error of the parser in this line.
fn hint_of(message: &str, line: &str) -> Option<String> {
    let table = line.trim().trim_start_matches('[').split(']').next().unwrap_or_default();
    if line.trim().starts_with('[') && message.starts_with("invalid type: map, expected a sequence") {
        return Some(format!("two brackets, because there can be several: [[{table}]]"));
    }
    // A list of tables is taken for the fields of one, in order.
    if line.trim().starts_with("[[") && message.starts_with("invalid type: map, ") {
        return Some(format!("one bracket, because there is only one: [{table}]"));
    }
    near_field(message).map(|near| format!("did you mean `{near}`?"))
}

/// For "unknown field `x`, expected one of `a`, `b`": the one of `a` and `b` that is near to `x`.
fn near_field(message: &str) -> Option<&str> {
    let (wrong, known) = message.strip_prefix("unknown")?.rsplit_once(", expected ")?;
    nearest(wrong.split('`').nth(1)?, known.split('`').skip(1).step_by(2))
}

/// What an error of the parser is about, and what to do, in words that hold nothing of what was read.
fn without_values(message: &str) -> (&'static str, String) {
    let form = "app_key = \"<32 hex digits>\"";
    if message.starts_with("duplicate key") {
        return ("a node or a field that stands twice", "one table for each node, and each field in it once".into());
    }
    if message.starts_with("unknown field") {
        let known = message.rsplit_once(", expected ").map_or("", |(_, known)| known);
        let hint = match near_field(message) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("a table has {known}"),
        };
        return ("a field that key files do not have", hint);
    }
    // Hex digits without quotes are read as a number.
    let bare = ["type", "integer", "number", "mantissa", "exponent", "float", "date", "time"];
    if message.starts_with("invalid") && bare.iter().any(|word| message.contains(word))
        || message.contains("must be quoted")
    {
        return (
            "a value that is not text in quotes, or a field outside a table",
            format!("[\"<DevEUI>\"], then {form}"),
        );
    }
    let hint = format!("one table per node, its name in quotes: [\"<DevEUI>\"], then {form}");
    ("not a valid entry of a key file", hint)
}

/// Declares a raw section of the configuration: every field optional and placed, so that sections of several files
/// can be laid over one another, the later one winning field by field.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: Option<At<$type>>,)*
        }

        impl $name {
            /// Says in which file the section stands.
            pub fn place(&mut self, file: usize) {
                $(if let Some(at) = &mut self.$field { at.place(file); })*
            }

            /// Lays `later` over this section.
            pub fn overlay(&mut self, later: Self) {
                $(if later.$field.is_some() { self.$field = later.$field; })*
            }
        }
    };
}
pub(super) use section;

#[cfg(test)]
mod tests {
    use super::*;

    section! { Sample { name: String, count: u32, } }

    #[test]
    fn unknown_key_names_line_key_and_the_near_one() {
        let error = parse::<Sample>(Path::new("a.toml"), "name = \"x\"\ncuont = 3\n", Secrecy::Public).unwrap_err();
        assert_eq!((error.line, error.key.as_deref()), (Some(2), Some("cuont")));
        assert_eq!(error.hint.as_deref(), Some("did you mean `count`?"));
    }

    #[test]
    fn brackets_that_are_too_few_or_too_many_are_named() {
        #[derive(Debug, Deserialize)]
        struct File {
            #[serde(rename = "many", default)]
            _many: Vec<Sample>,
            #[serde(rename = "one", default)]
            _one: Sample,
        }
        for (text, hint) in [
            ("\n[many]\nname = 'x'\n", "two brackets, because there can be several: [[many]]"),
            ("\n[[one]]\ncount = 1\n", "one bracket, because there is only one: [one]"),
        ] {
            let error = parse::<File>(Path::new("a.toml"), text, Secrecy::Public).unwrap_err();
            assert_eq!((error.line, error.hint.as_deref()), (Some(2), Some(hint)), "{error}");
        }
    }

    #[test]
    fn keys_are_found_in_tables_and_lists() {
        let text = "a = 1\nlist = [\n  1,\n  2]\n[t]\nb = { c = 1 }\n[[many]]\nx = 1\n\n[[many]]\nx = 2\n";
        for (key, line) in [
            ("a", 1),
            ("list.1", 4),
            ("t", 5),
            ("t.b.c", 6),
            ("many.0.x", 8),
            ("many.1", 10),
            ("many.1.x", 11),
            ("many.1.y", 10),
            ("t.none", 5),
        ] {
            assert_eq!(line_of_key(text, key), Some(line), "{key}");
        }
        assert_eq!(line_of_key(text, "none"), None);
    }

    #[test]
    fn secret_text_never_reaches_an_error() {
        let text = "name = 5b1f0e77a3c2\ncount = \"5b1f0e77a3c2\"\n";
        let error = parse::<Sample>(Path::new("keys.toml"), text, Secrecy::Secret).unwrap_err();
        assert!(!error.to_string().contains("5b1f"), "{error}");
        assert_eq!(error.line, Some(1));
    }

    #[test]
    fn later_sections_win_field_by_field_and_keep_their_place() {
        let mut sources = Sources::default();
        let mut first: Sample = toml::from_str("name = \"a\"\ncount = 1").unwrap();
        first.place(sources.add(Path::new("one"), "name = \"a\"\ncount = 1".into()));
        let mut second: Sample = toml::from_str("\n\ncount = 2").unwrap();
        second.place(sources.add(Path::new("two"), "\n\ncount = 2".into()));
        first.overlay(second);
        let count = first.count.unwrap();
        assert_eq!((first.name.unwrap().value.as_str(), count.value), ("a", 2));
        assert_eq!(sources.error(&count, "k", "p").to_string(), "two:3: k: p");
    }
}
