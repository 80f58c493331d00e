//! What keeps keys in this process: no core files, no look into it by other processes of the user, no echo of what is typed.

use nix::libc::STDIN_FILENO;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{self, IsTerminal, Read};
use std::os::fd::BorrowedFd;
use zeroize::Zeroizing;

/// No core file is written when this process dies, whatever kills it, and it cannot be traced by others than root. What it
/// starts has no core files either.
///
/// # Errors
/// The system refuses; then the process must not go on with keys.
pub fn protect() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // Where core_pattern is a pipe the limit does not hold.
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

/// Reads standard input to its end; from a terminal one line, which is not shown.
///
/// # Errors
/// It cannot be read, is longer than `max` bytes, or is no text.
pub fn read_secret(max: u64, prompt: &str) -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(max as usize + 1));
    if io::stdin().is_terminal() {
        let silence = Silence::begin()?;
        eprint!("{prompt}: ");
        let mut byte = [0];
        // Unbuffered, so that no copy is left in a buffer.
        while bytes.len() as u64 <= max && nix::unistd::read(stdin(), &mut byte)? == 1 && byte != *b"\n" {
            bytes.extend(byte);
        }
        drop(silence);
        eprintln!();
    } else {
        io::stdin().lock().take(max + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {max} bytes")));
    }
    String::from_utf8(std::mem::take(&mut *bytes)).map(Zeroizing::new).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        io::Error::new(io::ErrorKind::InvalidData, "not text")
    })
}

fn stdin() -> BorrowedFd<'static> {
    #[expect(unsafe_code, reason = "there is no safe constructor for a constant descriptor")]
    // SAFETY: standard input is open for as long as the process runs; nothing in it closes descriptor 0.
    unsafe {
        BorrowedFd::borrow_raw(STDIN_FILENO)
    }
}

/// A terminal that does not show what is typed; as before when this is dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> io::Result<Silence> {
        let before = tcgetattr(stdin())?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(stdin(), SetArg::TCSAFLUSH, &silent)?;
        Ok(Silence(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Without a terminal there is nobody to see what is typed.
        let _ = tcsetattr(stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}
