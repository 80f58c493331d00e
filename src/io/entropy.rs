//! The one source of randomness: a seed from the kernel at start.

use std::io::Read;

/// A seed for everything that is chosen by chance.
///
/// # Errors
/// The kernel's random device cannot be read.
pub fn seed() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
