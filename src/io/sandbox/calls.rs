//! Which system calls a plugin may make: a seccomp filter. Refused is what reaches beyond the plugin's own process or
//! outlives it, with EPERM; what is newer than this list does not exist for it (ENOSYS), so that libraries use what is
//! older.

use nix::libc;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;
use std::io;

/// Newest system call that was looked at (`mseal`, Linux 6.10). Numbers from 403 on are the same on all architectures. The
/// numbers of the x32 way to call x86-64 lie above it too.
const NEWEST: u32 = 462;
const CLONE3: u32 = 435;
const FCHMODAT2: i64 = 452;

/// Refused altogether.
const REFUSED: [libc::c_long; 82] = [
    // Other processes: their memory, descriptors and signals.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_move_pages,
    libc::SYS_ioprio_set,
    // Programs that are no file.
    libc::SYS_execveat,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    // What Landlock does not look at: owner, mode, times and attributes of files, size on kernels before 6.2.
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2 as libc::c_long,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_truncate,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    // Memory that no limit counts, and that stays when the process is gone.
    libc::SYS_shmget,
    libc::SYS_semget,
    libc::SYS_msgget,
    libc::SYS_mq_open,
    // Parts of the kernel that have been a way in, and that no radio needs.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Namespaces, mounts, and the system as a whole.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_personality,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    libc::SYS_sync,
];

/// The same, of the architecture that has kept its old calls.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[libc::c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[libc::c_long] = &[];

/// A compiled filter.
pub(super) struct Filter(BpfProgram);

/// Whether this kernel filters system calls, and this architecture is known to the compiler of filters (32-bit ARM is not).
pub(super) fn is_supported() -> bool {
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    #[expect(unsafe_code, reason = "libc has no safe function for this call")]
    // SAFETY: the kernel reads one u32, which lives through the call.
    let available =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, std::ptr::from_ref(&action)) };
    available == 0 && arch().is_some()
}

fn arch() -> Option<TargetArch> {
    TargetArch::try_from(std::env::consts::ARCH).ok()
}

/// The filter for a plugin; `None` if there is none on this system. `abi` is the version of Landlock, which from 6 on
/// keeps the signals of a thread inside.
pub(super) fn filter(network: bool, abi: libc::c_long) -> io::Result<Option<Filter>> {
    let Some(arch) = arch().filter(|_| is_supported()) else { return Ok(None) };
    let program = rules(network, abi)
        .and_then(|rules| {
            let refuse = SeccompAction::Errno(libc::EPERM as u32);
            SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)
        })
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)?;
    Ok(Some(Filter(newer_do_not_exist().into_iter().chain(program).collect())))
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// A system call as the compiler of filters wants it; the C type has 32 bits on some architectures.
fn number(call: impl Into<i64>) -> i64 {
    call.into()
}

/// System calls that are refused: always, or when one of their rules holds.
fn rules(network: bool, abi: libc::c_long) -> Result<Rules, seccompiler::BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let all = |conditions: Vec<SeccompCondition>| SeccompRule::new(conditions);
    let when = |argument, length, operator, value| all(vec![SeccompCondition::new(argument, length, operator, value)?]);
    let mut rules: Rules = REFUSED.iter().chain(REFUSED_HERE).map(|call| (number(*call), Vec::new())).collect();
    let mut add = |call: libc::c_long, more: Vec<SeccompRule>| rules.insert(number(call), more);

    // A new thread yes, a new process no.
    add(libc::SYS_clone, vec![when(0, Qword, MaskedEq(libc::CLONE_THREAD as u64), 0)?]);
    if network {
        let family = |family: libc::c_int| SeccompCondition::new(0, Dword, Ne, family as u64);
        add(libc::SYS_socket, vec![all(vec![family(libc::AF_INET)?, family(libc::AF_INET6)?])?]);
    } else {
        add(libc::SYS_socket, Vec::new());
    }
    // Shared memory without a file: the limit of what a process may write to does not count it.
    const MAP_TYPE: libc::c_int = 0xf;
    let shared = libc::MAP_ANONYMOUS | libc::MAP_SHARED;
    add(libc::SYS_mmap, vec![when(3, Dword, MaskedEq((libc::MAP_ANONYMOUS | MAP_TYPE) as u64), shared as u64)?]);
    // Limits, priority and processors of the caller only.
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
    ] {
        add(call, vec![when(0, Dword, Ne, 0)?]);
    }
    add(libc::SYS_setpriority, vec![when(0, Dword, Ne, 0)?, when(1, Dword, Ne, 0)?]);
    // It ends with the daemon.
    add(libc::SYS_prctl, vec![when(0, Dword, Eq, libc::PR_SET_PDEATHSIG as u64)?]);
    // Signals by way of a descriptor's owner.
    const F_SETOWN_EX: u64 = 15;
    add(libc::SYS_fcntl, vec![when(1, Dword, Eq, libc::F_SETOWN as u64)?, when(1, Dword, Eq, F_SETOWN_EX)?]);
    const FIOSETOWN: u64 = 0x8901;
    const SIOCSPGRP: u64 = 0x8902;
    // Typing into a terminal, and taking one over.
    let refused = [FIOSETOWN, SIOCSPGRP, libc::TIOCSTI, libc::TIOCLINUX];
    add(libc::SYS_ioctl, refused.into_iter().map(|request| when(1, Dword, Eq, request)).collect::<Result<_, _>>()?);
    if abi < super::files::ABI_OF_SCOPES {
        // An abort ends by another signal then.
        add(libc::SYS_tgkill, Vec::new());
    }
    Ok(rules)
}

/// The start of the program: calls that are newer than [`NEWEST`], and `clone3`, whose flags a filter cannot see, are
/// answered by ENOSYS.
fn newer_do_not_exist() -> [sock_filter; 4] {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| sock_filter { code: code as u16, jt, jf, k };
    [
        // The number is at the start of `struct seccomp_data`.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 1, 0, NEWEST),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, CLONE3),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

impl Filter {
    /// Installs it in the calling process, which must not be able to gain privileges. No allocation.
    pub(super) fn install(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: self.0.len() as u16,
            filter: self.0.as_ptr().cast::<libc::sock_filter>().cast_mut(),
        };
        #[expect(unsafe_code, reason = "libc has no safe function for this call")]
        // SAFETY: `program` points to `len` instructions that live through the call; the kernel only reads them. The
        // compiler's instruction is the kernel's, field by field.
        let failed =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, std::ptr::from_ref(&program)) };
        if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
