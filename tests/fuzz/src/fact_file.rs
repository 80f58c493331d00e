//! A fact file. The first eight bytes are the time at which it is read, in s since 1970.
use lpwad::io::facts::file::{FactFile, MAX_BYTES, MAX_FACTS, MAX_PEER_BYTES};

/// Runs the target on an input.
pub fn run(data: &[u8]) {
    let Some((now, text)) = data.split_first_chunk() else { return };
    let now = u64::from_be_bytes(*now);
    let Ok(file) = FactFile::parse(text) else { return };
    assert!(text.len() <= MAX_BYTES);
    assert_eq!(FactFile::parse(file.to_text().as_bytes()).as_ref(), Ok(&file));
    assert!(file.clone().seen_at(None).is_err(), "without a clock nothing has an age");
    let Ok(seen) = file.clone().seen_at(Some(now)) else { return };
    assert!(seen.len() <= MAX_FACTS);
    assert!(seen.iter().filter_map(|seen| seen.peer.as_ref()).all(|peer| peer.len() <= MAX_PEER_BYTES));
    let later = file.seen_at(Some(now.saturating_add(60))).expect("what was written in the past stays there");
    assert!(seen.iter().zip(&later).all(|(seen, later)| seen.age_s <= later.age_s && seen.good == later.good));
}
