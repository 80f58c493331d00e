//! Threat-analysis files, `threat-analysis.d/*.toml`: the keys that the first form of the policy needs. Other keys
//! (segments, protections, evidence) are read over: they belong to the full policy and can only tighten.

use crate::config::error::ConfigErrors;
use crate::config::{ConfigError, Secrecy, ServerUri, parse, read_text, toml_files};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct RawAnalysis {
    schema: u32,
    id: String,
    expires: toml::value::Datetime,
    scope: RawScope,
}

#[derive(Deserialize)]
struct RawScope {
    server: String,
}

/// One valid file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// Its id, 1 to 64 characters.
    pub id: String,
    /// The server that it speaks of.
    pub server: ServerUri,
    /// Last day of its validity, counted from 1970-01-01.
    pub expires_day: u32,
    /// The same, as written.
    pub expires: String,
}

/// A file that is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub error: String,
}

/// All files of the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Analyses {
    /// Valid ones, expired or not.
    pub valid: Vec<Analysis>,
    /// Invalid ones; a single one forbids NoSec.
    pub invalid: Vec<Invalid>,
}

impl Analyses {
    /// Reads the directory; a missing one holds nothing.
    pub fn read(dir: &Path) -> Result<Analyses, ConfigErrors> {
        let mut analyses = Analyses::default();
        for path in toml_files(dir)? {
            match read_text(&path) {
                Ok(text) => analyses.add(&path, &text),
                Err(error) => analyses.invalid.push(Invalid { path, error: error.to_string() }),
            }
        }
        Ok(analyses)
    }

    /// Adds the text of one file.
    pub fn add(&mut self, path: &Path, text: &str) {
        match Analysis::parse(path, text) {
            Ok(analysis) => self.valid.push(analysis),
            Err(error) => self.invalid.push(Invalid { path: path.into(), error: error.to_string() }),
        }
    }
}

impl Analysis {
    /// Parses the text of a file; `path` is for errors only.
    pub fn parse(path: &Path, text: &str) -> Result<Analysis, ConfigError> {
        let raw: RawAnalysis = parse(path, text, Secrecy::Public)?;
        let fail = |key: &str, problem: &str, hint: &str| {
            ConfigError { key: Some(key.into()), ..ConfigError::file(path, problem) }.hint(hint)
        };
        if raw.schema != 1 {
            return Err(fail("schema", "is not 1", "this version reads schema = 1"));
        }
        if raw.id.is_empty() || raw.id.len() > 64 {
            return Err(fail("id", "is empty or longer than 64 characters", "id = \"TA-2026-014\""));
        }
        let day = match (raw.expires.date, raw.expires.time) {
            (Some(date), None) => days_from_civil(i64::from(date.year), i64::from(date.month), i64::from(date.day)),
            _ => return Err(fail("expires", "is not a plain date", "expires = 2027-05-02")),
        };
        let expires_day =
            u32::try_from(day).map_err(|_| fail("expires", "lies before 1970", "expires = 2027-05-02"))?;
        let server = raw.scope.server.parse().map_err(|error: crate::config::BadUri| {
            fail("scope.server", &error.to_string(), "server = \"coap://127.0.0.1:5683\"")
        })?;
        Ok(Analysis { id: raw.id, server, expires_day, expires: raw.expires.to_string() })
    }
}

/// Days from 1970-01-01 of a date of the Gregorian calendar (method: H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", days_from_civil).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_known_dates() {
        for (date, day) in [
            ((1970, 1, 1), 0),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2024, 10, 4), 20_000),
            ((2038, 1, 19), 24_855),
        ] {
            assert_eq!(days_from_civil(date.0, date.1, date.2), day, "{date:?}");
        }
    }

    #[test]
    fn errors_name_file_and_key() {
        let error = |text| Analysis::parse(Path::new("ta.toml"), text).unwrap_err().to_string();
        assert!(
            error("schema = 1\nid = \"x\"\nexpires = \"soon\"\n[scope]\nserver=\"coap://127.0.0.1\"")
                .starts_with("ta.toml:3: expires:")
        );
        assert!(
            error("schema = 1\nid = \"\"\nexpires = 2030-01-01\n[scope]\nserver=\"coap://127.0.0.1\"")
                .contains("id: is empty")
        );
        assert!(error("schema = 1\nid = \"x\"\nexpires = 2030-01-01\n").contains("scope"));
    }
}
