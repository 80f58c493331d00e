//! What is measured, and how: CPU time and memory, never wall time.

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Adds up the CPU time of parts of this thread (user and system).
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    used: Duration,
}

impl Cpu {
    /// What `work` gives; its time is added.
    pub fn spend<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = thread();
        let result = work();
        self.used += thread().saturating_sub(before);
        result
    }

    /// So many a CPU second.
    #[must_use]
    pub fn per_second(self, count: u64) -> f64 {
        count as f64 / self.used.as_secs_f64()
    }

    /// Microseconds of one of so many.
    #[must_use]
    pub fn us_each(self, count: u64) -> f64 {
        self.used.as_secs_f64() * 1e6 / count as f64
    }
}

/// CPU time of this thread: the clock that `getrusage` rounds to microseconds.
fn thread() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, |time| time.num_nanoseconds());
    Duration::from_nanos(time.unsigned_abs())
}

/// Memory of this process.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident, in bytes.
    pub resident: u64,
    /// Handed out by malloc, in bytes.
    pub heap: u64,
}

impl Memory {
    /// Now.
    #[must_use]
    pub fn now() -> Memory {
        #[expect(unsafe_code, reason = "no safe crate asks malloc for its counters")]
        // SAFETY: mallinfo2(3) has no conditions; it only reads the allocator's counters.
        let malloc = unsafe { libc::mallinfo2() };
        let resident = Status::of("self").and_then(|status| status.bytes("VmRSS")).unwrap_or(0);
        Memory { resident, heap: (malloc.uordblks + malloc.hblkhd) as u64 }
    }
}

/// `/proc/PID/status`.
pub struct Status(String);

impl Status {
    /// Of a process.
    #[must_use]
    pub fn of(pid: &str) -> Option<Status> {
        std::fs::read_to_string(format!("/proc/{pid}/status")).ok().map(Status)
    }

    /// A size.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<u64> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }
}

/// CPU time of another process, in seconds, by its clock ticks of 10 ms.
#[must_use]
pub fn cpu_s_of(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold anything: fields 3 and on (proc_pid_stat(5)); 14 and 15 are user and system.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some((user + system) as f64 / 100.0)
}

/// Sockets of another process; needs the right to look.
#[must_use]
pub fn sockets_of(pid: u32) -> Option<u64> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let is_socket = |entry: std::io::Result<std::fs::DirEntry>| {
        let target = entry.and_then(|entry| std::fs::read_link(entry.path())).unwrap_or_default();
        target.to_string_lossy().starts_with("socket:")
    };
    Some(open.map(|entry| u64::from(is_socket(entry))).sum())
}
