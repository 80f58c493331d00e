//! The one source of randomness: the kernel.

use std::io::Read;

/// A seed for everything that is chosen by chance and need not be secret.
///
/// # Errors
/// The kernel's random device cannot be read.
pub fn seed() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Random bytes for keys. Early after boot it waits until the kernel has gathered enough (random(4), Linux 5.6).
///
/// # Errors
/// The kernel's random device cannot be read.
pub fn fill(bytes: &mut [u8]) -> std::io::Result<()> {
    std::fs::File::open("/dev/random")?.read_exact(bytes)
}
