//! The output of `wg show all latest-handshakes`. The first eight bytes are the time at which it is read, in s since 1970.
use lpwad::io::facts::file::{FactFile, MAX_FACTS};
use lpwad::io::facts::wireguard::facts;

/// Runs the target on an input.
pub fn run(data: &[u8]) {
    let Some((now, text)) = data.split_first_chunk() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let now = u64::from_be_bytes(*now);
    let Ok(seen) = facts(text, now) else { return };
    assert!(seen.len() <= MAX_FACTS && seen.len() == text.lines().count());
    for one in &seen {
        assert!(one.good || one.age_s == 0, "what did not happen has no age");
        assert!(u64::from(one.age_s) <= now && one.peer.is_some() && one.interface.is_some());
    }
    // The gateway takes what root has written.
    let file = FactFile::new(now, seen.clone());
    assert_eq!(FactFile::parse(file.to_text().as_bytes()).as_ref(), Ok(&file));
    assert_eq!(file.seen_at(Some(now)), Ok(seen));
}
