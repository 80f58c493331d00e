//! A small parser of what the client sends, independent of the crate.

/// A handshake message in one fragment: type, message sequence, body.
pub fn messages(datagram: &[u8]) -> Vec<(u8, u16, Vec<u8>)> {
    let mut found = Vec::new();
    for (header, body) in records(datagram) {
        if header[0] == 22 && header[3..5] == [0, 0] {
            let mut rest = body;
            while rest.len() >= 12 {
                let length = be(&rest[9..12]);
                assert_eq!(be(&rest[6..9]), 0, "a fragment");
                found.push((rest[0], u16::try_from(be(&rest[4..6])).unwrap(), rest[12..12 + length].to_vec()));
                rest = &rest[12 + length..];
            }
        }
    }
    found
}

/// Header and body of each record.
pub fn records(datagram: &[u8]) -> Vec<([u8; 13], &[u8])> {
    let mut found = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let header: [u8; 13] = rest[..13].try_into().unwrap();
        let end = 13 + be(&header[11..13]);
        found.push((header, &rest[13..end]));
        rest = &rest[end..];
    }
    found
}

pub fn be(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// A ClientHello (RFC 6347 §4.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub version: [u8; 2],
    pub random: [u8; 32],
    pub session_id: Vec<u8>,
    pub cookie: Vec<u8>,
    pub suites: Vec<u16>,
    pub compression: Vec<u8>,
    pub extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// The one in `datagram`, which must hold nothing else.
    pub fn parse(datagram: &[u8]) -> Self {
        let messages = messages(datagram);
        let [(1, _, body)] = &messages[..] else { panic!("not one ClientHello: {messages:02x?}") };
        let mut rest = &body[..];
        let mut take = |n: usize| {
            let (front, back) = rest.split_at(n);
            rest = back;
            front.to_vec()
        };
        let version = take(2).try_into().unwrap();
        let random = take(32).try_into().unwrap();
        let n = be(&take(1));
        let session_id = take(n);
        let n = be(&take(1));
        let cookie = take(n);
        let n = be(&take(2));
        let suites = take(n).chunks(2).map(|code| u16::from_be_bytes([code[0], code[1]])).collect();
        let n = be(&take(1));
        let compression = take(n);
        let mut left = be(&take(2));
        let mut extensions = Vec::new();
        while left > 0 {
            let code = u16::try_from(be(&take(2))).unwrap();
            let n = be(&take(2));
            extensions.push((code, take(n)));
            left -= 4 + n;
        }
        assert!(rest.is_empty(), "bytes after the extensions");
        Self { version, random, session_id, cookie, suites, compression, extensions }
    }

    pub fn extension_codes(&self) -> Vec<u16> {
        let mut codes: Vec<u16> = self.extensions.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes
    }
}
