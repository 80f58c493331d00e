//! Block-wise transfer (RFC 7959): one block option, and the two directions of a large body.

use core::time::Duration;

use super::message::{Code, option};
use super::reliable::EXCHANGE_LIFETIME;

/// The longest body taken in by Block1.
/// Counted: `errors_answered`.
pub const MAX_BODY: usize = 4096;

/// A Block1 or Block2 option: number of the block, more to come, and size (RFC 7959 §2.2).
///
/// ```text
///  0 1 2 3 4 5 6 7 ...          7
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |        NUM        |M|  SZX  |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of the block, at most 2^20 - 1.
    pub number: u32,
    /// Another block follows.
    pub more: bool,
    /// The size is 2^(4 + size_exponent), from 16 (0) to 1024 (6).
    pub size_exponent: u8,
}

impl Block {
    /// From the option's value; `None` if it uses the reserved size 7 or is longer than 3 bytes.
    pub fn decode(value: u32) -> Option<Block> {
        let size_exponent = (value & 0x7) as u8;
        if size_exponent == 7 || value >= 1 << 24 {
            return None;
        }
        Some(Block { number: value >> 4, more: value & 0x8 != 0, size_exponent })
    }

    /// The option's value.
    pub fn encode(&self) -> u32 {
        (self.number << 4) | (u32::from(self.more) << 3) | u32::from(self.size_exponent)
    }

    /// Bytes of a full block.
    pub fn size(&self) -> usize {
        16 << self.size_exponent
    }

    /// Where the block starts in the body.
    pub fn offset(&self) -> usize {
        (self.number as usize).saturating_mul(self.size())
    }

    /// The largest block that is not larger than `bytes` (at least 16).
    pub fn exponent_for(bytes: usize) -> u8 {
        (1..=6u8).rev().find(|exponent| 16usize << exponent <= bytes).unwrap_or(0)
    }

    /// The bytes of this block of `body` and the option that describes them; `None` if the body ends before it starts.
    pub fn cut<'a>(&self, body: &'a [u8]) -> Option<(Block, &'a [u8])> {
        let rest = body.get(self.offset()..).filter(|rest| !rest.is_empty() || self.number == 0)?;
        let more = rest.len() > self.size();
        let bytes = rest.get(..self.size()).unwrap_or(rest);
        Some((Block { more, ..*self }, bytes))
    }
}

/// Puts the blocks of one request body together. One body at a time; a new first block replaces an unfinished one.
///
/// Blocks belong together by method and path, not by token: there are servers that use a new token for each block.
#[derive(Debug)]
pub struct Assembler {
    code: Code,
    path: Vec<String>,
    body: Vec<u8>,
    until: Duration,
}

/// What to answer to a block.
#[derive(Debug, PartialEq)]
pub enum Assembled {
    /// 2.31: send the next one.
    Continue,
    /// The whole body.
    Complete(Vec<u8>),
    /// 4.08: a block is missing.
    Incomplete,
    /// 4.13: more than [`MAX_BODY`].
    TooLarge,
}

/// Takes one block in. `slot` holds the unfinished body between blocks, for at most the exchange lifetime.
pub fn assemble(
    slot: &mut Option<Assembler>,
    now: Duration,
    code: Code,
    path: &[&str],
    block: Block,
    payload: &[u8],
) -> Assembled {
    let until = now.saturating_add(EXCHANGE_LIFETIME);
    if block.number == 0 {
        let path = path.iter().map(|segment| String::from(*segment)).collect();
        *slot = Some(Assembler { code, path, body: Vec::new(), until });
    }
    let Some(assembler) = slot.as_mut().filter(|assembler| {
        assembler.until > now
            && assembler.code == code
            && assembler.path == path
            && assembler.body.len() == block.offset()
    }) else {
        return Assembled::Incomplete;
    };
    let full = payload.len() == block.size();
    if payload.len() > block.size() || (block.more && !full) {
        *slot = None;
        return Assembled::Incomplete;
    }
    if assembler.body.len() + payload.len() > MAX_BODY {
        *slot = None;
        return Assembled::TooLarge;
    }
    assembler.body.extend_from_slice(payload);
    assembler.until = until;
    if block.more {
        return Assembled::Continue;
    }
    slot.take().map_or(Assembled::Incomplete, |assembler| Assembled::Complete(assembler.body))
}

/// Sends one body in blocks.
#[derive(Debug)]
pub struct Sender {
    body: Vec<u8>,
    next: Block,
}

impl Sender {
    /// Gives the body back if it fits in one message of `max_block` bytes.
    pub fn new(body: Vec<u8>, max_block: usize) -> Result<Sender, Vec<u8>> {
        let size_exponent = Block::exponent_for(max_block);
        if body.len() <= 16 << size_exponent {
            return Err(body);
        }
        Ok(Sender { body, next: Block { number: 0, more: true, size_exponent } })
    }

    /// The block to send now.
    pub fn block(&self) -> Option<(Block, &[u8])> {
        self.next.cut(&self.body)
    }

    /// The peer took the block and answered 2.31 with this option: the next one, in its size if that is smaller. False if there
    /// is none or the answer is about another block.
    pub fn advance(&mut self, answered: Block) -> bool {
        if answered.number != self.next.number {
            return false;
        }
        let sent = self.next.offset() + self.next.size();
        let size_exponent = answered.size_exponent.min(self.next.size_exponent);
        let number = u32::try_from(sent / (16 << size_exponent)).unwrap_or(u32::MAX);
        self.next = Block { number, more: true, size_exponent };
        sent < self.body.len()
    }

    /// The peer answered 4.13 to the first block and wants a smaller size (RFC 7959 §2.9.3). False if that is no smaller.
    pub fn shrink(&mut self, wanted: Block) -> bool {
        let smaller = self.next.number == 0 && wanted.size_exponent < self.next.size_exponent;
        if smaller {
            self.next = Block { number: 0, more: true, size_exponent: wanted.size_exponent };
        }
        smaller
    }
}

/// Reads a block option of a message: absent, present, or malformed.
pub fn of(message: &super::message::Message, number: u16) -> Result<Option<Block>, InvalidBlock> {
    debug_assert!(number == option::BLOCK1 || number == option::BLOCK2);
    match message.uint(number) {
        None if message.has(number) => Err(InvalidBlock),
        None => Ok(None),
        Some(value) => Block::decode(value).map(Some).ok_or(InvalidBlock),
    }
}

/// A block option with a reserved size or too many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidBlock;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7959 §3.1, figure 2 ("2:0/1/128", "2:1/1/64") and §3.2, figure 9 ("1:0/1/128").
    #[test]
    fn rfc7959_option_values() {
        assert_eq!(Block { number: 0, more: true, size_exponent: 3 }.encode(), 0x0b);
        assert_eq!(Block { number: 1, more: true, size_exponent: 2 }.encode(), 0x1a);
        assert_eq!(Block { number: 1, more: true, size_exponent: 2 }.size(), 64);
        assert_eq!(Block::decode(0x0b), Some(Block { number: 0, more: true, size_exponent: 3 }));
        assert_eq!(Block::decode(0x07), None, "size 7 is reserved over UDP");
        assert_eq!(Block::decode(1 << 24), None);
    }

    #[test]
    fn the_largest_size_that_fits() {
        for (bytes, size) in [(0, 16), (31, 16), (32, 32), (1023, 512), (1024, 1024), (9999, 1024)] {
            assert_eq!(16 << Block::exponent_for(bytes), size);
        }
    }

    fn feed(slot: &mut Option<Assembler>, number: u32, more: bool, len: usize) -> Assembled {
        let block = Block { number, more, size_exponent: 0 };
        assemble(slot, Duration::ZERO, Code::PUT, &["19", "0"], block, &vec![7; len])
    }

    /// C7
    #[test]
    fn c7_blocks_in_order_make_a_body_and_a_gap_is_4_08() {
        let mut slot = None;
        assert_eq!(feed(&mut slot, 0, true, 16), Assembled::Continue);
        assert_eq!(feed(&mut slot, 2, true, 16), Assembled::Incomplete);
        assert_eq!(feed(&mut slot, 0, true, 16), Assembled::Continue, "block 0 starts again");
        assert_eq!(feed(&mut slot, 1, false, 3), Assembled::Complete(vec![7; 19]));
        assert_eq!(feed(&mut slot, 1, false, 3), Assembled::Incomplete);
        assert_eq!(feed(&mut slot, 0, true, 5), Assembled::Incomplete, "a short block with more to come");
    }

    /// C7
    #[test]
    fn c7_a_body_over_the_limit_is_4_13() {
        let mut slot = None;
        let blocks = (MAX_BODY / 16) as u32;
        for number in 0..blocks {
            assert_eq!(feed(&mut slot, number, true, 16), Assembled::Continue);
        }
        assert_eq!(feed(&mut slot, blocks, false, 1), Assembled::TooLarge);
        assert!(slot.is_none());
    }

    #[test]
    fn an_unfinished_body_is_forgotten_after_the_exchange_lifetime() {
        let mut slot = None;
        assert_eq!(feed(&mut slot, 0, true, 16), Assembled::Continue);
        let block = Block { number: 1, more: false, size_exponent: 0 };
        let late = assemble(&mut slot, EXCHANGE_LIFETIME, Code::PUT, &["19", "0"], block, &[]);
        assert_eq!(late, Assembled::Incomplete);
    }

    proptest! {
        /// C8, C7: whatever sizes the two sides prefer, the body arrives.
        #[test]
        fn c8_a_sent_body_is_assembled_again(len in 1025usize..3000, own in 4u32..=10, peer in 0u8..=6) {
            let body: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut sender = Sender::new(body.clone(), 1 << own).unwrap();
            let mut slot = None;
            let received = loop {
                let (block, bytes) = sender.block().unwrap();
                match assemble(&mut slot, Duration::ZERO, Code::POST, &["rd"], block, bytes) {
                    Assembled::Continue => {
                        let size_exponent = block.size_exponent.min(peer);
                        let more = sender.advance(Block { size_exponent, ..block });
                        prop_assert!(more);
                    }
                    Assembled::Complete(received) => break received,
                    other => return Err(TestCaseError::fail(format!("{other:?}"))),
                }
            };
            prop_assert_eq!(received, body);
        }
    }
}
