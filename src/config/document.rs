//! TOML text into typed raw values that remember where they stand.

use super::error::{ConfigError, line_of, nearest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

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
        let key = line.and_then(|line| text.lines().nth(line - 1)).and_then(key_of_line);
        if secrecy == Secrecy::Secret {
            let problem = "not a valid entry of a key file".to_string();
            let hint = "one table per node, its name in quotes: [\"<DevEUI>\"], then app_key = \"<32 hex digits>\"";
            return ConfigError { file: path.into(), line, key: None, problem, hint: Some(hint.into()) };
        }
        let hint = hint_of(error.message());
        ConfigError { file: path.into(), line, key, problem: error.message().trim().replace('\n', "; "), hint }
    })
}

fn key_of_line(line: &str) -> Option<String> {
    let key = line.split_once('=')?.0.trim();
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.\"".contains(c));
    plain.then(|| key.to_string())
}

/// For "unknown field `x`, expected one of `a`, `b`": the candidate that is near to `x`.
fn hint_of(message: &str) -> Option<String> {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (wrong, candidates) = quoted.split_first()?;
    if !message.starts_with("unknown") {
        return None;
    }
    nearest(wrong, candidates.iter().copied()).map(|near| format!("did you mean `{near}`?"))
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
