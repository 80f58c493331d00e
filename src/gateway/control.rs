//! Requests of the control socket: one JSON object a line, one answer a line.

use serde::{Deserialize, Serialize};

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How everything is.
    Status,
    /// All nodes, a short entry each.
    NodeList,
    /// One node, whole.
    NodeShow {
        /// DevEUI or endpoint name.
        node: String,
    },
    /// Why the session of a node opens as it does.
    PolicyExplain {
        /// DevEUI or endpoint name.
        node: String,
    },
    /// Who runs without DTLS, until when, on whose word.
    PolicyList,
    /// The decisions that the store keeps; the shell answers.
    PolicyRecords {
        /// Only the one of this number.
        #[serde(default)]
        number: Option<u64>,
    },
    /// What was lost may be granted again.
    PolicyRearm,
}

/// An answer that says why there is none.
#[must_use]
pub fn error(problem: &str) -> serde_json::Value {
    serde_json::json!({ "error": problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_and_nonsense_is_not() {
        let parse = |text: &str| serde_json::from_str::<Request>(text).ok();
        assert_eq!(parse(r#"{"command":"status"}"#), Some(Request::Status));
        assert_eq!(parse(r#"{"command":"node-show","node":"x"}"#), Some(Request::NodeShow { node: "x".into() }));
        for text in ["", "{}", r#"{"command":"reboot"}"#, r#"{"command":"node-show"}"#, "[1]"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
