//! A decision as it is kept: all that it was made from, what came of it, and a hash over both and over the record before
//! it. Anybody can derive it again from the record alone, on another machine.

use super::analyses::{Analyses, Invalid};
use super::date::Day;
use super::decide::{Case, Decision, decide};
use super::facts::Facts;
use super::file::sha256;
use crate::config::{Dtls, DtlsMode, Security, Server};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Longest texts of all analyses in a record, in bytes. Longer ones are left out.
const MAX_TEXT_BYTES: usize = 128 * 1024;

/// A record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Number, from 1.
    pub number: u64,
    /// When, in ms since 1970, if the clock was trusted.
    pub at_unix_ms: Option<u64>,
    /// What it was made from.
    pub inputs: Inputs,
    /// What came of it: a [`Decision`].
    pub outcome: serde_json::Value,
    /// Hash of the record before it; empty in the first one.
    pub previous: String,
    /// SHA-256 over all of the above, hex.
    pub hash: String,
}

/// What a decision was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Endpoint name of the node, or of one of several about which everything is the same.
    pub endpoint: String,
    /// How many there were.
    pub nodes: usize,
    /// Name of the server.
    pub server: String,
    /// Its address without DTLS.
    pub uri: Option<String>,
    /// Its address with DTLS.
    pub secure_uri: Option<String>,
    /// Whether the operator wants DTLS in any case.
    pub dtls_by_choice: bool,
    /// Kind of the node's credential.
    pub credential: Option<String>,
    /// Whether dates of certificates count for it. Older records do not have it, and are derived without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dates_count: bool,
    /// What was seen.
    pub facts: Facts,
    /// The day, if the clock was trusted.
    pub today: Option<Day>,
    /// Why NoSec was lost before.
    pub latched: Option<String>,
    /// The analyses that speak of the node, and those that are invalid.
    pub files: Vec<File>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its name.
    pub name: String,
    /// SHA-256, hex, if it could be read.
    pub sha256: Option<String>,
    /// Its text, if it could be read.
    pub text: Option<String>,
    /// What was wrong with it, if it could not be used.
    pub error: Option<String>,
}

/// Why a record does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Not a record, or not byte by byte as it was written.
    #[error("is no record as it was written: {0}")]
    Damaged(String),
    /// The hash is of something else.
    #[error("was changed: its hash is of something else")]
    Hash,
    /// A text is not the one whose hash stands there.
    #[error("was changed: the text of {0} has another hash")]
    Text(String),
    /// The texts were too large to be kept.
    #[error("cannot be derived again: the analyses were too large to be kept with it")]
    Incomplete,
    /// The same inputs give something else in this version.
    #[error("does not follow from its inputs: they give {0}")]
    Outcome(String),
    /// It does not follow the one before it.
    #[error("does not follow record {0}: one was changed, removed or put between")]
    Chain(u64),
}

impl Inputs {
    /// Of a case, with the analyses that it is decided by.
    #[must_use]
    pub fn of(case: &Case, nodes: usize, analyses: &Analyses) -> Inputs {
        let uri = case.server.uri.as_ref();
        let concerning = analyses.valid.iter().filter(|one| uri.is_some_and(|uri| one.concerns(case.endpoint, uri)));
        let valid = concerning.map(|one| File {
            name: one.file.clone(),
            sha256: Some(one.sha256.clone()),
            text: Some(one.text.clone()),
            error: None,
        });
        let invalid = analyses.invalid.iter().map(|one| File {
            name: one.path.display().to_string(),
            sha256: one.text.as_ref().map(|text| sha256(text.as_bytes())),
            text: one.text.clone(),
            error: Some(one.error.clone()),
        });
        Inputs {
            endpoint: case.endpoint.into(),
            nodes,
            server: case.server.name.clone(),
            uri: uri.map(ToString::to_string),
            secure_uri: case.server.secure_uri.as_ref().map(ToString::to_string),
            dtls_by_choice: case.server.security == Security::Dtls,
            credential: case.credential.map(|mode| mode.verdict().into()),
            dates_count: case.credential.is_some_and(|mode| case.server.dates_count(mode)),
            facts: case.facts.clone(),
            today: case.today,
            latched: case.latched.map(str::to_string),
            files: valid.chain(invalid).collect(),
        }
    }

    /// Decides anew.
    fn decide(&self) -> Result<Decision, BadRecord> {
        let mut analyses = Analyses::default();
        for file in &self.files {
            match (&file.text, &file.sha256, &file.error) {
                (Some(text), Some(hash), _) if sha256(text.as_bytes()) != *hash => {
                    return Err(BadRecord::Text(file.name.clone()));
                }
                (Some(text), Some(_), None) => analyses.add(Path::new(&file.name), text),
                (.., Some(error)) => {
                    let (path, error) = (file.name.clone().into(), error.clone());
                    analyses.invalid.push(Invalid { path, error, text: file.text.clone() });
                }
                (_, _, None) => return Err(BadRecord::Incomplete),
            }
        }
        // Which certificate is pinned does not matter to a decision, only that one is.
        let server_certificate = (!self.dates_count).then(Vec::new);
        let server = Server {
            name: self.server.clone(),
            uri: self.uri.as_ref().and_then(|uri| uri.parse().ok()),
            secure_uri: self.secure_uri.as_ref().and_then(|uri| uri.parse().ok()),
            security: if self.dtls_by_choice { Security::Dtls } else { Security::Auto },
            reachable: false,
            dtls: Dtls { server_certificate, ..Dtls::default() },
        };
        let modes = [DtlsMode::Psk, DtlsMode::Rpk, DtlsMode::X509];
        let credential = modes.into_iter().find(|mode| Some(mode.verdict()) == self.credential.as_deref());
        let case = Case {
            endpoint: &self.endpoint,
            server: &server,
            credential,
            facts: &self.facts,
            today: self.today,
            latched: self.latched.as_deref(),
        };
        Ok(decide(&case, &analyses))
    }
}

fn outcome(decision: &Decision) -> serde_json::Value {
    serde_json::to_value(decision).expect("a decision holds only what JSON can hold")
}

impl Record {
    /// The record of a decision. `previous` is the hash of the one before it.
    #[must_use]
    pub fn new(
        number: u64,
        at_unix_ms: Option<u64>,
        mut inputs: Inputs,
        decision: &Decision,
        previous: &str,
    ) -> Record {
        if inputs.files.iter().filter_map(|file| file.text.as_ref()).map(String::len).sum::<usize>() > MAX_TEXT_BYTES {
            inputs.files.iter_mut().for_each(|file| file.text = None);
        }
        let hash = String::new();
        let mut record =
            Record { number, at_unix_ms, inputs, outcome: outcome(decision), previous: previous.into(), hash };
        record.hash = record.digest();
        record
    }

    fn digest(&self) -> String {
        let open = Record { hash: String::new(), ..self.clone() };
        sha256(open.to_line().as_bytes())
    }

    /// One line of JSON, without its end: the only form in which it counts as unchanged.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("a record holds only what JSON can hold")
    }

    /// From its line, and checked: unchanged to the byte, and what follows from its inputs.
    ///
    /// # Errors
    /// What does not hold.
    pub fn verify(line: &str) -> Result<Record, BadRecord> {
        let record: Record = serde_json::from_str(line).map_err(|error| BadRecord::Damaged(error.to_string()))?;
        if record.to_line() != line {
            return Err(BadRecord::Damaged("written in another way".into()));
        }
        if record.digest() != record.hash {
            return Err(BadRecord::Hash);
        }
        let decision = record.inputs.decide()?;
        if outcome(&decision) != record.outcome {
            return Err(BadRecord::Outcome(format!("{} by {}", decision.verdict.name(), decision.rule())));
        }
        Ok(record)
    }

    /// Several records, each after the one before it.
    ///
    /// # Errors
    /// The line, counted from 1, and what does not hold.
    pub fn verify_all(text: &str) -> Result<Vec<Record>, (usize, BadRecord)> {
        let mut records: Vec<Record> = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let record = Record::verify(line).map_err(|bad| (number, bad))?;
            if let Some(before) = records.last()
                && (before.hash != record.previous || before.number + 1 != record.number)
            {
                return Err((number, BadRecord::Chain(before.number)));
            }
            records.push(record);
        }
        Ok(records)
    }
}
