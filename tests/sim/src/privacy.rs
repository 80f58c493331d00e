//! What no event may say: keys of the site's nodes, and what they send, in the ways in which bytes become text.

/// Prefix of every key of the site, in four ways: digits, a list of numbers, escapes, and what is left of bytes that are no text.
const KEY: [&str; 4] = ["70b3d57ed0", "112, 179, 213, 126, 208, ", "p\\xb3\\xd5~\\xd0", "p\u{fffd}\u{fffd}~\u{fffd}"];
/// Beginning and end of every payload of a temperature, in the same ways.
const PAYLOAD: [(&str, &str); 4] =
    [("0167", "026891"), ("1, 103, ", ", 2, 104, 145"), ("\\x01g", "\\x02h\\x91"), ("\u{1}g", "\u{2}h\u{fffd}")];

/// What a text says that it may not, for people.
#[must_use]
pub fn breach(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let [digits, others @ ..] = KEY;
    // A DevEUI begins as a key does, and is followed by something else; as a number it is never said.
    let is_key = |(at, _): (usize, &str)| lower.get(at + 16..at + 32).is_some_and(is_rest_of_key);
    if lower.match_indices(digits).any(is_key) || others.iter().any(|form| lower.contains(form)) {
        return Some("a key");
    }
    let payload = |(first, last): &(&str, &str)| {
        // Two bytes of a temperature lie between, which are eight characters at most.
        lower.match_indices(first).any(|(at, _)| {
            let rest = &lower[at + first.len()..];
            rest.find(last).is_some_and(|between| between <= 8)
        })
    };
    PAYLOAD.iter().any(payload).then_some("a payload")
}

/// Eight times which key it is, of the four that a node has (`site::key`).
fn is_rest_of_key(digits: &str) -> bool {
    ["00", "01", "02", "03"].iter().any(|which| digits == which.repeat(8))
}

#[cfg(test)]
mod tests {
    use super::breach;
    use crate::site;

    #[test]
    fn every_key_and_payload_is_seen_in_every_form_and_a_deveui_is_not_one() {
        let payloads = [site::payload(272), site::payload(-41), site::payload(200)];
        let keys = (0..4).map(|which| site::key(499, which).to_vec());
        for secret in keys.chain(payloads) {
            let raw = String::from_utf8_lossy(&secret).into_owned();
            let hex = lpwad_link::hex::encode(&secret);
            let escaped = secret.escape_ascii().to_string();
            for form in [hex.to_uppercase(), hex, format!("{secret:?}"), raw, escaped] {
                assert!(breach(&format!("event node=x reason=\"bad frame {form}!\"")).is_some(), "{form}");
            }
        }
        for harmless in ["node-joined node=70b3d57ed00001f3 dev_addr=0000026f", "uplink fcnt=167 bytes=7 dr=SF7BW125"] {
            assert_eq!(breach(harmless), None);
        }
    }
}
