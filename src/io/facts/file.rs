//! The contents of a fact file: what a program with more rights than lpwad has seen, as JSON.

use crate::policy::facts::Seen;
use crate::policy::protection::Probe;
use serde::{Deserialize, Serialize};

/// The schema that this version reads and writes.
pub const SCHEMA: u32 = 1;
/// Largest fact file, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most facts in one file.
pub const MAX_FACTS: usize = 256;
/// Longest name of a peer, in bytes.
pub const MAX_PEER_BYTES: usize = 128;
/// Longest name of an interface, in bytes (`IFNAMSIZ` without the NUL).
const MAX_INTERFACE_BYTES: usize = 15;
/// How much later than now a file may have been written, in s: two readings of the same clock.
const MAX_AHEAD_S: u64 = 2;

/// A fact file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactFile {
    schema: u32,
    /// When it was written, in s since 1970.
    written_unix_s: u64,
    /// What was seen, with its age when it was written.
    facts: Vec<Seen>,
}

impl FactFile {
    /// Facts that were seen at `written_unix_s`.
    #[must_use]
    pub fn new(written_unix_s: u64, facts: Vec<Seen>) -> FactFile {
        FactFile { schema: SCHEMA, written_unix_s, facts }
    }

    /// Reads the contents of a file.
    ///
    /// # Errors
    /// What is wrong, for people. The text does not depend on the time.
    pub fn parse(bytes: &[u8]) -> Result<FactFile, String> {
        if bytes.len() > MAX_BYTES {
            return Err(format!("is larger than {MAX_BYTES} bytes"));
        }
        let file: FactFile = serde_json::from_slice(bytes).map_err(|error| format!("is no fact file: {error}"))?;
        if file.schema != SCHEMA {
            return Err(format!("has schema {}, and this version reads {SCHEMA}", file.schema));
        }
        if file.facts.len() > MAX_FACTS {
            return Err(format!("has more than {MAX_FACTS} facts"));
        }
        for Seen { probe, peer, interface, .. } in &file.facts {
            if !matches!(probe, Probe::Wireguard | Probe::TtyOwner) {
                return Err(format!("has a fact of {probe}, which lpwad sees itself"));
            }
            if peer.as_ref().is_some_and(|peer| peer.len() > MAX_PEER_BYTES || peer.chars().any(char::is_control)) {
                return Err(format!("names a peer that is no text of at most {MAX_PEER_BYTES} bytes"));
            }
            if interface.as_ref().is_some_and(|name| *probe != Probe::Wireguard || !is_interface(name)) {
                return Err("names an interface that cannot be a tunnel's".into());
            }
        }
        Ok(file)
    }

    /// Its facts with their age at `now_unix_s`; `None`: the clock is not trusted.
    ///
    /// # Errors
    /// The clock cannot say how old they are, for people. The text does not depend on the time.
    pub fn seen_at(self, now_unix_s: Option<u64>) -> Result<Vec<Seen>, String> {
        let Some(now) = now_unix_s else { return Err("cannot be dated: the clock is not trusted".into()) };
        if self.written_unix_s > now.saturating_add(MAX_AHEAD_S) {
            return Err("was written in the future".into());
        }
        let passed = u32::try_from(now.saturating_sub(self.written_unix_s)).unwrap_or(u32::MAX);
        let aged = |seen: Seen| Seen { age_s: seen.age_s.saturating_add(passed), ..seen };
        Ok(self.facts.into_iter().map(aged).collect())
    }

    /// The file as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a fact is plain text");
        text.push('\n');
        text
    }
}

/// Whether the kernel can have an interface of this name.
pub(super) fn is_interface(name: &str) -> bool {
    (1..=MAX_INTERFACE_BYTES).contains(&name.len()) && !name.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"schema":1,"written_unix_s":1800000000,"facts":[{"probe":"wireguard","peer":"k","interface":"wg0","good":true,"age_s":12}]}"#;

    fn problem(from: &str, to: &str) -> String {
        FactFile::parse(GOOD.replace(from, to).as_bytes()).unwrap_err()
    }

    #[test]
    fn s_03_a_fact_ages_from_its_own_age_by_the_time_since_the_file_was_written() {
        let file = FactFile::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(FactFile::parse(file.to_text().as_bytes()), Ok(file.clone()));
        let age = |now: u64| file.clone().seen_at(Some(now)).map(|seen| seen[0].age_s);
        assert_eq!((age(1_800_000_000), age(1_800_000_030)), (Ok(12), Ok(42)));
        assert_eq!(age(1_799_999_998), Ok(12), "two readings of one clock");
        assert_eq!(age(1_799_999_997), Err("was written in the future".into()));
        assert_eq!(age(u64::MAX), Ok(u32::MAX));
        assert!(file.seen_at(None).unwrap_err().contains("not trusted"));
    }

    #[test]
    fn what_is_not_a_fact_file_is_refused_whole() {
        assert_eq!(problem("\"schema\":1", "\"schema\":2"), "has schema 2, and this version reads 1");
        assert!(problem("wireguard", "lorawan").contains("lpwad sees itself"));
        assert!(problem("wireguard", "telepathy").contains("no fact file"));
        assert!(problem("\"good\":true", "\"good\":1").contains("no fact file"));
        assert!(problem("\"good\"", "\"fine\"").contains("no fact file"));
        assert!(problem("\"age_s\":12", "\"age_s\":-1").contains("no fact file"));
        assert!(problem(":\"k\"", &format!(":\"{}\"", "k".repeat(129))).contains("names a peer"));
        assert!(problem(":\"k\"", r#":"a\nb""#).contains("names a peer"));
        for bad in ["", "a b", "a\\nb", "sixteen-letters-"] {
            assert!(problem("wg0", bad).contains("names an interface"), "{bad}");
        }
        assert!(problem("wireguard", "tty-owner").contains("names an interface"));
        let fact = r#"{"probe":"wireguard","peer":"k","interface":"wg0","good":true,"age_s":12}"#;
        assert!(problem(fact, &vec![fact; 257].join(",")).contains("more than 256 facts"));
        assert!(FactFile::parse(&vec![b' '; MAX_BYTES + 1]).unwrap_err().contains("larger"));
    }
}
