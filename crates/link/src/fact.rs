//! What a radio's modem says of the network that it is in, for the daemon's threat analysis.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest text of a value, in bytes.
pub const MAX_VALUE_BYTES: usize = 16;

/// Something that the modem says, or no longer knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// [`FactName`] as text; an unknown one is ignored.
    pub name: String,
    /// By the name, text or a truth value; null: it is not known any more.
    pub value: Value,
    /// How long ago the modem said it, in s.
    #[serde(default)]
    pub age_s: u32,
}

/// What can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FactName {
    /// Network: MCC and MNC, 5 or 6 digits.
    Plmn,
    /// Radio access: `nb-iot`, `lte-m`, `lte`, `gsm`, or another name of small letters, digits and hyphens.
    Rat,
    /// Whether it is a foreign network.
    Roaming,
    /// Whether data goes by the user plane.
    UserPlane,
    /// Whether the modem says that ciphering is off.
    CipheringOff,
}

impl FactName {
    /// All of them.
    pub const ALL: [FactName; 5] =
        [FactName::Plmn, FactName::Rat, FactName::Roaming, FactName::UserPlane, FactName::CipheringOff];

    /// Its text in a message.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FactName::Plmn => "plmn",
            FactName::Rat => "rat",
            FactName::Roaming => "roaming",
            FactName::UserPlane => "user-plane",
            FactName::CipheringOff => "ciphering-off",
        }
    }

    /// The one of this text.
    #[must_use]
    pub fn named(text: &str) -> Option<FactName> {
        FactName::ALL.into_iter().find(|one| one.name() == text)
    }

    /// Whether it can have this value.
    #[must_use]
    pub fn takes(self, value: &Value) -> bool {
        match (self, value) {
            (FactName::Plmn, Value::String(text)) => {
                (5..=6).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit())
            }
            (FactName::Rat, Value::String(text)) => {
                let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                (1..=MAX_VALUE_BYTES).contains(&text.len()) && text.chars().all(fits)
            }
            (FactName::Roaming | FactName::UserPlane | FactName::CipheringOff, Value::Bool(_)) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_name_takes_values_of_its_own_kind_only() {
        assert_eq!(FactName::ALL.map(|one| FactName::named(one.name())), FactName::ALL.map(Some));
        assert_eq!(FactName::named("weather"), None);
        for (name, good, bad) in [
            (FactName::Plmn, vec![json!("26201"), json!("310410")], vec![json!("2620"), json!(26201), json!("2620a")]),
            (
                FactName::Rat,
                vec![json!("nb-iot"), json!("nr")],
                vec![json!(""), json!("LTE"), json!("x".repeat(17)), json!(null)],
            ),
            (FactName::Roaming, vec![json!(true), json!(false)], vec![json!("true"), json!(1), json!([])]),
        ] {
            assert!(good.iter().all(|value| name.takes(value)), "{name:?}");
            assert!(!bad.iter().any(|value| name.takes(value)), "{name:?}");
        }
    }
}
