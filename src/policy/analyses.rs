//! All threat analyses of the directory `threat-analysis.d`.

use super::analysis::{Analysis, MAX_BYTES};
use super::signature::{Signers, beside, signed_by};
use crate::config::{ConfigError, ConfigErrors, private_file, read_text, toml_files};
use std::path::{Path, PathBuf};

/// A file that is not valid, or not safe to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub error: String,
    /// Its text, if it could be read.
    pub text: Option<String>,
}

impl Invalid {
    /// What is wrong in one line, to stand in a sentence: the first mistake, without its hint.
    #[must_use]
    pub fn problem(&self) -> String {
        let mut problems = self.error.lines().filter(|line| !line.starts_with("  hint: "));
        let first = problems.next().unwrap_or_default();
        match problems.count() {
            0 => first.to_string(),
            more => format!("{first} (and {more} more)"),
        }
    }
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
    /// Reads the directory; a missing one holds nothing. A file that others can write is not believed, nor one with a
    /// signature beside it that is not good by the file `signers`. If that cannot be used, it is an invalid file itself, and
    /// no signature is good.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn read(dir: &Path, signers: Option<&Path>) -> Result<Analyses, ConfigErrors> {
        let mut analyses = Analyses::default();
        let signers = signers.map(|path| {
            Signers::read(path).inspect_err(|errors| {
                analyses.invalid.push(Invalid { path: path.into(), error: errors.to_string(), text: None });
            })
        });
        let signed_by = |path: &Path, text: &str| match &signers {
            Some(Err(_)) if beside(path).symlink_metadata().is_ok() => Err(ConfigError::file(
                beside(path),
                "is a signature that cannot be verified: the file of allowed signers cannot be used",
            )),
            signers => signed_by(path, text.as_bytes(), signers.as_ref().and_then(|signers| signers.as_ref().ok())),
        };
        for path in toml_files(dir)? {
            let read = private_file::trusted(&path).and_then(|()| read_text(&path));
            match read.and_then(|text| Ok((signed_by(&path, &text)?, text))) {
                Ok((signed_by, text)) => {
                    let before = analyses.valid.len();
                    analyses.add(&path, &text);
                    if let Some(added) = analyses.valid.get_mut(before) {
                        added.signed_by = signed_by;
                    }
                }
                Err(error) => analyses.invalid.push(Invalid { path, error: error.to_string(), text: None }),
            }
        }
        Ok(analyses)
    }

    /// Adds the text of one file. A second file with the id of another is invalid.
    pub fn add(&mut self, path: &Path, text: &str) {
        let invalid = |error: ConfigErrors| Invalid {
            path: path.into(),
            error: error.to_string(),
            text: (text.len() <= MAX_BYTES).then(|| text.to_string()),
        };
        match Analysis::parse(path, text) {
            Ok(analysis) => match self.valid.iter().find(|other| other.id == analysis.id) {
                Some(other) => {
                    let problem = format!("id \"{}\" is the one of {} as well", analysis.id, other.file);
                    self.invalid.push(invalid(ConfigError::file(path, problem).into()));
                }
                None => self.valid.push(analysis),
            },
            Err(errors) => self.invalid.push(invalid(errors)),
        }
    }
}
