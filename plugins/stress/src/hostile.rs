//! What a plugin must not be able to do, tried. Each attempt gives the `errno` with which it was refused, or 0; several ones
//! under one name, because the daemon keeps 64 counters of a plugin, 255 if they fared differently. Where an attempt succeeds
//! it does no harm.

use nix::libc;
use serde_json::{Map, Value};
use std::ffi::CString;
use std::path::Path;

/// More than the address space that a plugin has.
const MUCH_BYTES: usize = 2 << 30;
/// Memory is filled in pieces of this size, so many that it is a little more than a plugin may have.
const PIECE_BYTES: usize = 16 << 20;
const PIECES: usize = 18;
/// More descriptors than a plugin may have, and more threads.
const MANY_DESCRIPTORS: usize = 100;
const MANY_THREADS: usize = 1000;
/// Attempts of one name with different ends.
const MIXED: u64 = 255;
/// Exit code of the shell that is started if that is possible.
const SHELL_CODE: i32 = 7;

/// Makes all attempts; gives `errno` by the name of the attempt.
pub(crate) fn attempts(settings: &Map<String, Value>) -> Map<String, Value> {
    let mut outcomes = Outcomes(Map::new());
    let secrets = settings.get("secrets").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for (index, path) in secrets.enumerate() {
        file(&mut outcomes, path, index == 0);
    }
    outside(&mut outcomes, settings.get("outside").and_then(Value::as_str).unwrap_or("/tmp"));
    let parent = i64::from(std::os::unix::process::parent_id());
    processes(&mut outcomes, settings.get("victim").and_then(Value::as_i64).unwrap_or(parent));
    sockets(&mut outcomes);
    memory(&mut outcomes);
    limits(&mut outcomes);
    kernel(&mut outcomes);
    permitted(&mut outcomes, settings.get("device").and_then(Value::as_str));
    // The last, because it would be the end where it succeeds without a fork.
    programs(&mut outcomes);
    outcomes.0
}

struct Outcomes(Map<String, Value>);

impl Outcomes {
    /// Notes what a system call gave: a negative `errno`, or something else.
    fn note(&mut self, name: &str, result: i64) {
        self.0.insert(name.into(), result.min(0).unsigned_abs().into());
    }

    /// The same for several ones.
    fn note_all(&mut self, name: &str, results: &[i64]) {
        let codes: Vec<u64> = results.iter().map(|result| result.min(&0).unsigned_abs()).collect();
        let first = codes.first().copied().unwrap_or(MIXED);
        let code = if codes.iter().all(|code| *code == first) { first } else { MIXED };
        self.0.insert(name.into(), code.into());
    }

    /// The same for one that gives a descriptor.
    fn opened(&mut self, name: &str, result: i64) {
        self.note(name, closed(result));
    }
}

/// A system call; gives its result, or the negative `errno`.
fn call<const N: usize>(number: libc::c_long, arguments: [usize; N]) -> i64 {
    let mut all = [0; 6];
    all.iter_mut().zip(arguments).for_each(|(place, argument)| *place = argument);
    let [a, b, c, d, e, f] = all;
    #[expect(unsafe_code, reason = "this plugin asks the kernel for what no library does")]
    // SAFETY: every pointer that is passed below points to something that lives through the call and is as large as the
    // kernel expects; a forked child makes further system calls only.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result >= 0 { result } else { -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)) }
}

/// The result of a call that gives a descriptor, which is closed.
fn closed(result: i64) -> i64 {
    if result >= 0 {
        call(libc::SYS_close, [result as usize]);
    }
    result
}

fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

fn open(path: &str, flags: i32) -> i64 {
    let path = c_string(path);
    call(libc::SYS_openat, [libc::AT_FDCWD as usize, path.as_ptr() as usize, flags as usize, 0o600])
}

/// Opens a file that is not its own, and `also` changes it.
fn file(outcomes: &mut Outcomes, path: &str, also: bool) {
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let c_path = c_string(path);
    let path_at = c_path.as_ptr() as usize;
    let opened = [libc::O_RDONLY, libc::O_WRONLY].map(|flags| closed(open(path, flags)));
    outcomes.note_all(&format!("open {name}"), &opened);
    // To what they are. What is to be found out is whether the call is made at all.
    use std::os::unix::fs::MetadataExt;
    let Some(meta) = std::fs::metadata(path).ok().filter(|_| also) else { return };
    let (mode, length) = (meta.mode() as usize & 0o7777, meta.len() as usize);
    let cwd = libc::AT_FDCWD as usize;
    outcomes.note(&format!("chmod {name}"), call(libc::SYS_fchmodat, [cwd, path_at, mode]));
    let owner = [cwd, path_at, meta.uid() as usize, meta.gid() as usize];
    outcomes.note(&format!("chown {name}"), call(libc::SYS_fchownat, owner));
    outcomes.note(&format!("truncate {name}"), call(libc::SYS_truncate, [path_at, length]));
}

/// Writes where it is not at home, and reads what everybody may.
fn outside(outcomes: &mut Outcomes, dir: &str) {
    outcomes.opened("list outside", open(dir, libc::O_RDONLY | libc::O_DIRECTORY));
    let name = format!("{dir}/lpwad-stress-{}", std::process::id());
    let path = c_string(&name);
    let (cwd, path_at) = (libc::AT_FDCWD as usize, path.as_ptr() as usize);
    let remove = |flags: i32| call(libc::SYS_unlinkat, [cwd, path_at, flags as usize]);
    outcomes.opened("create outside", open(&name, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL));
    remove(0);
    outcomes.note("mkdir outside", call(libc::SYS_mkdirat, [cwd, path_at, 0o700]));
    remove(libc::AT_REMOVEDIR);
    outcomes.note("symlink outside", call(libc::SYS_symlinkat, [path_at, cwd, path_at]));
    remove(0);
    outcomes.note("mkfifo outside", call(libc::SYS_mknodat, [cwd, path_at, (libc::S_IFIFO | 0o600) as usize]));
    remove(0);
    outcomes.opened("read passwd", open("/etc/passwd", libc::O_RDONLY));
}

/// Looks into another process, stops it, slows it down.
fn processes(outcomes: &mut Outcomes, victim: i64) {
    let pid = victim as usize;
    let read = ["environ", "mem", "maps", "root/etc/passwd"]
        .map(|file| closed(open(&format!("/proc/{victim}/{file}"), libc::O_RDONLY)));
    outcomes.note_all("read victim", &read);
    // Seized and not stopped; it is free again when this process ends.
    outcomes.note("ptrace", call(libc::SYS_ptrace, [libc::PTRACE_SEIZE as usize, pid]));
    let mut buffer = [0u8; 1];
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 0 };
    let at = std::ptr::from_ref(&local) as usize;
    outcomes.note("process_vm_readv", call(libc::SYS_process_vm_readv, [pid, at, 1, at, 1]));
    outcomes.note("process_vm_writev", call(libc::SYS_process_vm_writev, [pid, at, 1, at, 1]));
    let own = std::process::id() as usize;
    outcomes.note("kcmp", call(libc::SYS_kcmp, [own, pid, 0, 0, 0]));
    // A signal that is ignored by whom it is new to.
    let signal = libc::SIGURG as usize;
    outcomes.note("kill", call(libc::SYS_kill, [pid, signal]));
    outcomes.note("tkill", call(libc::SYS_tkill, [pid, signal]));
    outcomes.note("tgkill", call(libc::SYS_tgkill, [pid, pid, signal]));
    outcomes.opened("pidfd_open", call(libc::SYS_pidfd_open, [pid]));
    let (reader, _writer) = match std::io::pipe() {
        Ok(pipe) => pipe,
        Err(_) => return,
    };
    use std::os::fd::AsRawFd;
    let owner = [reader.as_raw_fd() as usize, libc::F_SETOWN as usize, pid];
    outcomes.note("setown", call(libc::SYS_fcntl, owner));
    // Its own limit of it, only read.
    let mut limit = [0u64; 2];
    let limit = limit.as_mut_ptr() as usize;
    outcomes.note("prlimit", call(libc::SYS_prlimit64, [pid, libc::RLIMIT_CPU as usize, 0, limit]));
    let priority = call(libc::SYS_getpriority, [libc::PRIO_PROCESS as usize, pid]);
    // The system call gives 20 minus the priority.
    let same = (20 - priority).max(0) as usize;
    outcomes.note("setpriority", call(libc::SYS_setpriority, [libc::PRIO_PROCESS as usize, pid, same]));
    let mut processors = [0u64; 16];
    let processors = processors.as_mut_ptr() as usize;
    call(libc::SYS_sched_getaffinity, [pid, 128, processors]);
    outcomes.note("sched_setaffinity", call(libc::SYS_sched_setaffinity, [pid, 128, processors]));
    outcomes.note("outlive", call(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as usize, 0]));
}

fn sockets(outcomes: &mut Outcomes) {
    let families = [
        ("socket inet", libc::AF_INET, libc::SOCK_DGRAM),
        ("socket inet stream", libc::AF_INET, libc::SOCK_STREAM),
        ("socket inet6", libc::AF_INET6, libc::SOCK_DGRAM),
        ("socket unix", libc::AF_UNIX, libc::SOCK_STREAM),
        ("socket netlink", libc::AF_NETLINK, libc::SOCK_RAW),
    ];
    for (name, family, kind) in families {
        outcomes.opened(name, call(libc::SYS_socket, [family as usize, kind as usize]));
    }
}

/// Memory: much of it that is never touched, and as much as there is, touched.
fn memory(outcomes: &mut Outcomes) {
    let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    outcomes
        .note("map memory", unmapped(map(MUCH_BYTES, libc::PROT_NONE, anonymous | libc::MAP_NORESERVE), MUCH_BYTES));
    let both = libc::PROT_READ | libc::PROT_WRITE;
    let mut pieces = Vec::with_capacity(PIECES);
    while pieces.len() < PIECES && pieces.last().is_none_or(|mapped| *mapped >= 0) {
        pieces.push(map(PIECE_BYTES, both, anonymous | libc::MAP_POPULATE));
    }
    outcomes.note("fill memory", pieces.last().copied().unwrap_or_default());
    pieces.into_iter().for_each(|mapped| _ = unmapped(mapped, PIECE_BYTES));
    let shared = map(PIECE_BYTES, both, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    outcomes.note("share memory", unmapped(shared, PIECE_BYTES));
    let name = c_string("x");
    outcomes.opened("memfd_create", call(libc::SYS_memfd_create, [name.as_ptr() as usize]));
    let shared = call(libc::SYS_shmget, [libc::IPC_PRIVATE as usize, 4096, libc::IPC_CREAT as usize | 0o600]);
    outcomes.note("shmget", shared);
    if shared >= 0 {
        call(libc::SYS_shmctl, [shared as usize, libc::IPC_RMID as usize]);
    }
}

fn map(bytes: usize, protection: i32, flags: i32) -> i64 {
    call(libc::SYS_mmap, [0, bytes, protection as usize, flags as usize, usize::MAX])
}

/// The result of [`map`], which is undone.
fn unmapped(mapped: i64, bytes: usize) -> i64 {
    if mapped >= 0 {
        call(libc::SYS_munmap, [mapped as usize, bytes]);
    }
    mapped
}

/// Descriptors without end, and limits as they were before there were any.
fn limits(outcomes: &mut Outcomes) {
    let mut copies = Vec::with_capacity(MANY_DESCRIPTORS);
    while copies.len() < MANY_DESCRIPTORS && copies.last().is_none_or(|copy| *copy >= 0) {
        copies.push(call(libc::SYS_dup, [0]));
    }
    outcomes.note("descriptors", copies.last().copied().unwrap_or_default());
    copies.into_iter().for_each(|copy| _ = closed(copy));
    let none = [libc::RLIM_INFINITY; 2];
    let raised = [libc::RLIMIT_DATA, libc::RLIMIT_AS, libc::RLIMIT_FSIZE]
        .map(|resource| call(libc::SYS_prlimit64, [0, resource as usize, none.as_ptr() as usize]));
    outcomes.note_all("raise limits", &raised);
    let score = "/proc/self/oom_score_adj";
    outcomes.opened("spare itself", open(score, libc::O_WRONLY));
    let read = std::fs::read_to_string(score).ok().and_then(|text| text.trim().parse::<i64>().ok());
    outcomes.0.insert("oom_score_adj".into(), read.into());
}

/// Threads without end, which stay; gives how many there are, and the `errno` that ended it.
pub(crate) fn threads() -> Map<String, Value> {
    const STACK_BYTES: usize = 16 * 1024;
    let mut started = 0;
    let mut errno = 0;
    while started < MANY_THREADS && errno == 0 {
        let forever = || {
            loop {
                std::thread::park();
            }
        };
        match std::thread::Builder::new().stack_size(STACK_BYTES).spawn(forever) {
            Ok(_) => started += 1,
            Err(error) => errno = error.raw_os_error().unwrap_or(libc::EIO),
        }
    }
    [("threads".into(), started.into()), ("thread".into(), errno.into())].into_iter().collect()
}

/// Calls that a radio has no use for, with arguments that do nothing.
fn kernel(outcomes: &mut Outcomes) {
    let nowhere = usize::MAX;
    let zeros = [0u64; 32];
    let zeros = zeros.as_ptr() as usize;
    outcomes.opened("io_uring_setup", call(libc::SYS_io_uring_setup, [1, zeros]));
    outcomes.note("bpf", call(libc::SYS_bpf, [0, zeros, 72]));
    outcomes.note("perf_event_open", call(libc::SYS_perf_event_open, [zeros, 0, nowhere, nowhere]));
    outcomes.opened("userfaultfd", call(libc::SYS_userfaultfd, [libc::O_CLOEXEC as usize]));
    const KEYCTL_GET_KEYRING_ID: usize = 0;
    outcomes.note("keyctl", call(libc::SYS_keyctl, [KEYCTL_GET_KEYRING_ID, (-1isize) as usize]));
    outcomes.note("unshare", call(libc::SYS_unshare, [0]));
    outcomes.note("setns", call(libc::SYS_setns, [nowhere]));
    let nothing = c_string("");
    let nothing = nothing.as_ptr() as usize;
    outcomes.note("mount", call(libc::SYS_mount, [nothing, nothing, nothing, 0, 0]));
    outcomes.note("chroot", call(libc::SYS_chroot, [nothing]));
    // `setxattrat`, of Linux 6.13: newer than the sandbox knows.
    const SETXATTRAT: libc::c_long = 463;
    outcomes.note("newer call", call(SETXATTRAT, [nowhere, nothing, 0, nothing, 0, 0]));
}

/// What it may: a plugin that could do nothing would pass every test.
fn permitted(outcomes: &mut Outcomes, device: Option<&str>) {
    let own = std::env::args().next().unwrap_or_default();
    outcomes.opened("may read itself", open(&own, libc::O_RDONLY));
    outcomes.opened("may list libraries", open("/usr/lib", libc::O_RDONLY | libc::O_DIRECTORY));
    outcomes.opened("may write null", open("/dev/null", libc::O_WRONLY));
    outcomes.opened("may read locks", open("/proc/locks", libc::O_RDONLY));
    let thread = std::thread::Builder::new().spawn(|| {}).map(|thread| thread.join().is_ok());
    outcomes.note("may start a thread", if matches!(thread, Ok(true)) { 0 } else { -1 });
    if let Some(device) = device {
        let port = open(device, libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK);
        let settings = [0u64; 16];
        let control = [port.max(0) as usize, libc::TCGETS as usize, settings.as_ptr() as usize];
        outcomes.note("may control its device", if port < 0 { port } else { call(libc::SYS_ioctl, control) });
        outcomes.opened("may open its device", port);
    }
}

/// Starts processes and programs.
fn programs(outcomes: &mut Outcomes) {
    let [shell, option, command] = ["/bin/sh", "-c", &format!("exit {SHELL_CODE}")].map(c_string);
    let arguments = [shell.as_ptr() as usize, option.as_ptr() as usize, command.as_ptr() as usize, 0];
    let become_shell = || call(libc::SYS_execve, [shell.as_ptr() as usize, arguments.as_ptr() as usize, 0]);
    // `struct clone_args` with the signal of the child's end in its fifth field.
    let like_fork = [0, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
    outcomes.note("clone3", child(call(libc::SYS_clone3, [like_fork.as_ptr() as usize, 64]), || 0));
    let forked = child(call(libc::SYS_clone, [libc::SIGCHLD as usize]), || 0);
    outcomes.note("fork", forked);
    let ran = if forked < 0 {
        become_shell()
    } else {
        match child(call(libc::SYS_clone, [libc::SIGCHLD as usize]), become_shell) {
            code if code == i64::from(SHELL_CODE) => 0,
            other => -other.abs().max(1),
        }
    };
    outcomes.note("exec shell", ran);
}

/// In the child: does `what` and ends. In the parent: waits for the child and gives its exit code; a fork that failed gives
/// its error.
fn child(forked: i64, what: impl Fn() -> i64) -> i64 {
    if forked == 0 {
        let result = what();
        call(libc::SYS_exit_group, [result.unsigned_abs() as usize]);
    }
    if forked <= 0 {
        return forked;
    }
    let mut status = 0i32;
    call(libc::SYS_wait4, [forked as usize, std::ptr::from_mut(&mut status) as usize]);
    i64::from(libc::WEXITSTATUS(status))
}
