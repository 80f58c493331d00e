//! Keys that are none: words, patterns, and what is printed on the device (RFC 7925 §4.1; requirements S-39, P-01, P-02).
//! What is found here cannot be proved good otherwise: no test tells a random key from a secret that is known to many.

/// Fewest different bytes of a key; a random one of 16 bytes has fewer in one of 10^13 cases.
const MIN_DIFFERENT: usize = 6;
/// Shortest identifier that is looked for inside a key.
const MIN_ID_BYTES: usize = 6;

/// Why `key` (16 bytes or more) is no key; `ids` are the identifiers of its node as text.
#[must_use]
pub fn weakness(key: &[u8], ids: &[&[u8]]) -> Option<&'static str> {
    let pairs = || key.iter().zip(key.iter().skip(1));
    if pairs().all(|(one, next)| one == next) {
        return Some("weak key: all its bytes are equal");
    }
    let mut steps = pairs().map(|(one, next)| next.wrapping_sub(*one));
    let first = steps.next();
    if steps.all(|step| Some(step) == first) {
        return Some("weak key: a plain sequence");
    }
    if (2..=key.len() / 2).any(|period| key.iter().zip(key.iter().skip(period)).all(|(one, later)| one == later)) {
        return Some("weak key: a short pattern that repeats");
    }
    if key.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return Some("weak key: it is text; if these are hex digits of a key, write them as they are");
    }
    if ids.iter().any(|id| forms(id).iter().any(|form| holds(key, form))) {
        return Some("weak key: it is made of an identifier of the node, which is no secret");
    }
    let mut different = key.to_vec();
    different.sort_unstable();
    different.dedup();
    let few = different.len() < MIN_DIFFERENT;
    zeroize::Zeroize::zeroize(&mut different);
    few.then_some("weak key: too few different bytes")
}

fn holds(key: &[u8], form: &[u8]) -> bool {
    form.len() >= MIN_ID_BYTES && key.windows(form.len()).any(|window| window == form)
}

/// An identifier as bytes: as it is, and its last part (behind a colon) as hex or decimal digits; each one also reversed.
fn forms(id: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![id.to_vec()];
    let last = id.rsplit(|byte| *byte == b':').next().unwrap_or(id);
    let digits: String = last.iter().filter(|byte| byte.is_ascii_hexdigit()).map(|byte| char::from(*byte)).collect();
    let odd = digits.len() % 2 == 1;
    // A serial number of odd length, as of an IMEI, is filled with a zero in front or behind.
    let filled = if odd { vec![format!("0{digits}"), format!("{digits}0")] } else { vec![digits] };
    forms.extend(filled.iter().filter_map(|digits| lpwad_link::hex::decode(digits).ok()));
    let reversed: Vec<Vec<u8>> = forms.iter().map(|form| form.iter().rev().copied().collect()).collect();
    forms.extend(reversed);
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(hex: &str) -> Option<&'static str> {
        let ids: [&[u8]; 3] = [b"70b3d57ed0001234", b"urn:imei:351756051523999", b"node-7-in-the-cellar"];
        weakness(&lpwad_link::hex::decode(hex).unwrap(), &ids)
    }

    #[test]
    fn p_02_words_patterns_and_identifiers_are_no_keys() {
        for (hex, word) in [
            ("11111111111111111111111111111111", "equal"),
            ("000102030405060708090a0b0c0d0e0f", "sequence"),
            ("0f0e0d0c0b0a09080706050403020100", "sequence"),
            ("00112233445566778899aabbccddeeff", "sequence"),
            ("deadbeefdeadbeefdeadbeefdeadbeef", "pattern"),
            ("0123456789abcdef0123456789abcdef", "pattern"),
            ("70b3d57ed000123470b3d57ed0001234", "pattern"),
            ("70617373776f72645f6f665f6e6f6465372121", "text"),
            ("70b3d57ed00012340000000000000000", "identifier"),
            ("0000000000000000341200d07ed5b370", "identifier"),
            ("a1b2c3d4e5f6a7b803517560515239991f", "identifier"),
            ("6e6f64652d372d696e2d7468652d63656c6c617200", "identifier"),
            ("00000000000000000000000000000001", "few"),
            ("00ff00ff00ffff0000ff00ff00ffaa00", "few"),
        ] {
            assert!(judged(hex).is_some_and(|why| why.contains(word)), "{hex}: {:?}", judged(hex));
        }
    }

    #[test]
    fn s_39_keys_of_good_length_and_chance_are_keys() {
        for hex in [
            "2b7e151628aed2a6abf7158809cf4f3c",
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "8f1d2c3b4a5968778695a4b3c2d1e0f70123",
        ] {
            assert_eq!(judged(hex), None, "{hex}");
        }
    }
}
