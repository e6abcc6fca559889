// SPDX-License-Identifier: GPL-3.0-only
//! The system calls that QEMU may make.
//!
//! The list is what QEMU and the libraries of the image were seen to call, and what the same libraries call in states
//! that no test reaches (other clocks, other waits, memory that grows in another way). What is not on it gets `ENOSYS`:
//! a library that tries a newer call then takes the older one, as on an older kernel, where `EPERM` would be a
//! failure to it, and death would make a crash of what nobody foresaw. What only an intruder calls ends QEMU at
//! once: it tells of the intrusion, and there is nothing to save.
//!
//! `execve` has to be on the list, for the filter is installed before QEMU starts. It leads nowhere: the
//! filter, the user and `no_new_privs` stay, and the image has no other program.

use std::io;

use nix::libc;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

#[rustfmt::skip]
const ALLOWED: &[i64] = &[
    // Files.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_lseek, libc::SYS_open, libc::SYS_openat, libc::SYS_close,
    libc::SYS_stat, libc::SYS_fstat, libc::SYS_lstat, libc::SYS_newfstatat, libc::SYS_statfs, libc::SYS_fstatfs,
    libc::SYS_access, libc::SYS_faccessat, libc::SYS_readlink, libc::SYS_readlinkat, libc::SYS_getdents64,
    libc::SYS_getcwd, libc::SYS_fchdir, libc::SYS_unlink, libc::SYS_unlinkat, libc::SYS_fsync, libc::SYS_fdatasync,
    libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fadvise64, libc::SYS_fcntl, libc::SYS_flock, libc::SYS_dup,
    libc::SYS_dup2, libc::SYS_dup3, libc::SYS_pipe2, libc::SYS_memfd_create, libc::SYS_umask,
    // Memory.
    libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_madvise, libc::SYS_brk,
    libc::SYS_mlock, libc::SYS_munlock,
    // Threads, signals to themselves, time.
    libc::SYS_set_robust_list, libc::SYS_set_tid_address, libc::SYS_rseq, libc::SYS_arch_prctl, libc::SYS_futex,
    libc::SYS_membarrier, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_gettid, libc::SYS_getpid, libc::SYS_getppid,
    libc::SYS_tgkill, libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigpending, libc::SYS_rt_sigsuspend, libc::SYS_sigaltstack, libc::SYS_restart_syscall,
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep,
    libc::SYS_gettimeofday, libc::SYS_time, libc::SYS_timer_create, libc::SYS_timer_settime,
    libc::SYS_timer_gettime, libc::SYS_timer_getoverrun, libc::SYS_timer_delete, libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime,
    // What it is and where.
    libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getresuid,
    libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_getrandom,
    libc::SYS_prlimit64, libc::SYS_getrlimit, libc::SYS_getrusage, libc::SYS_getcpu,
    // Waiting. io_uring is left out on purpose: QEMU does without, and its surface is large.
    libc::SYS_poll, libc::SYS_ppoll, libc::SYS_select, libc::SYS_pselect6, libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl, libc::SYS_epoll_wait, libc::SYS_epoll_pwait, libc::SYS_eventfd2, libc::SYS_signalfd4,
    libc::SYS_io_setup, libc::SYS_io_submit, libc::SYS_io_getevents, libc::SYS_io_destroy,
    // Sockets, of the kind that the rules below leave.
    libc::SYS_accept, libc::SYS_accept4, libc::SYS_bind, libc::SYS_listen, libc::SYS_connect, libc::SYS_getsockname,
    libc::SYS_getpeername, libc::SYS_getsockopt, libc::SYS_setsockopt, libc::SYS_shutdown, libc::SYS_sendmsg,
    libc::SYS_recvmsg, libc::SYS_sendto, libc::SYS_recvfrom,
    // QEMU itself, once.
    libc::SYS_execve,
];

#[rustfmt::skip]
const DEADLY: &[i64] = &[
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_fork, libc::SYS_vfork,
    libc::SYS_execveat, libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_kexec_load,
    libc::SYS_kexec_file_load, libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_mount,
    libc::SYS_umount2, libc::SYS_move_mount, libc::SYS_open_tree, libc::SYS_fsopen, libc::SYS_fsconfig,
    libc::SYS_fsmount, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_unshare, libc::SYS_setns, libc::SYS_reboot,
    libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl, libc::SYS_iopl,
    libc::SYS_ioperm, libc::SYS_mknod, libc::SYS_mknodat, libc::SYS_open_by_handle_at, libc::SYS_setuid,
    libc::SYS_setgid, libc::SYS_setreuid, libc::SYS_setregid, libc::SYS_setresuid, libc::SYS_setresgid,
    libc::SYS_setgroups, libc::SYS_capset, libc::SYS_clock_settime, libc::SYS_settimeofday, libc::SYS_quotactl,
];

/// Which bits of which argument must have which value; one of a call's conditions is enough.
type Condition = (u8, u64, u64);

const ALL: u64 = 0xffff_ffff;
/// The byte of a request number that names the driver.
const DRIVER: u64 = 0xff00;

#[rustfmt::skip]
const CONDITIONAL: &[(i64, &[Condition])] = &[
    // Threads of QEMU, no processes. `clone3` hides its flags in memory, so C libraries are led to this one.
    (libc::SYS_clone, &[(0, 0x10000, 0x10000)]),
    // Unix sockets only: the stubdomain has no network of its own.
    (libc::SYS_socket, &[(0, ALL, 1)]),
    (libc::SYS_socketpair, &[(0, ALL, 1)]),
    // Names of threads, timer slack, huge pages, memory errors.
    (libc::SYS_prctl, &[(0, ALL, 15), (0, ALL, 29), (0, ALL, 41), (0, ALL, 33)]),
    (libc::SYS_ioctl, &[
        // privcmd, event channels, grants; block devices; disk geometry; CD drives.
        (1, DRIVER, 0x5000), (1, DRIVER, 0x4500), (1, DRIVER, 0x4700), (1, DRIVER, 0x1200), (1, DRIVER, 0x0300),
        (1, DRIVER, 0x5300),
        // Serial lines: TCGETS, TCSETS, TCSETSW, TCSETSF, TCSBRK, TIOCMGET, TIOCMSET; FIONREAD, FIONBIO.
        (1, ALL, 0x5401), (1, ALL, 0x5402), (1, ALL, 0x5403), (1, ALL, 0x5404), (1, ALL, 0x5409), (1, ALL, 0x5415),
        (1, ALL, 0x5418), (1, ALL, 0x541b), (1, ALL, 0x5421),
        // Taps: TUNSETIFF, TUNGETFEATURES, TUNSETOFFLOAD, TUNGETIFF, TUNSETSNDBUF, TUNGET- and TUNSETVNETHDRSZ,
        // TUNSETVNETLE, TUNSETVNETBE.
        (1, ALL, 0x4004_54ca), (1, ALL, 0x8004_54cf), (1, ALL, 0x4004_54d0), (1, ALL, 0x8004_54d2),
        (1, ALL, 0x4004_54d4), (1, ALL, 0x8004_54d7), (1, ALL, 0x4004_54d8), (1, ALL, 0x4004_54dc),
        (1, ALL, 0x4004_54de),
    ]),
];

/// Confines this process, and all it becomes; with `log_refused` what would be refused is done and logged instead.
pub fn install(log_refused: bool) -> io::Result<()> {
    // The kernel takes the strictest answer of all filters. This order, because the second one refuses a third.
    for program in [deadly()?, allowed(log_refused)?] {
        apply_filter(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

fn deadly() -> io::Result<BpfProgram> {
    let rules = DEADLY.iter().map(|&call| (call, Vec::new()));
    build(rules, SeccompAction::Allow, SeccompAction::KillProcess).map_err(io::Error::other)
}

fn allowed(log_refused: bool) -> io::Result<BpfProgram> {
    let refused =
        if log_refused { SeccompAction::Log } else { SeccompAction::Errno(libc::ENOSYS.unsigned_abs()) };
    let rules = ALLOWED.iter().map(|&call| Ok((call, Vec::new())));
    let conditional = CONDITIONAL.iter().map(|(call, conditions)| {
        Ok((*call, conditions.iter().copied().map(rule).collect::<Result<_, Error>>()?))
    });
    let rules = rules.chain(conditional).collect::<Result<Vec<_>, Error>>().map_err(io::Error::other)?;
    build(rules, refused, SeccompAction::Allow).map_err(io::Error::other)
}

fn rule((argument, mask, value): Condition) -> Result<SeccompRule, Error> {
    let operation = SeccompCmpOp::MaskedEq(mask);
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

fn build(
    rules: impl IntoIterator<Item = (i64, Vec<SeccompRule>)>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, Error> {
    let arch = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules.into_iter().collect(), otherwise, matched, arch)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nix::errno::Errno;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

    use super::*;

    #[test]
    fn no_call_is_on_two_lists() {
        let conditional = CONDITIONAL.iter().map(|(call, _)| call);
        let all: Vec<_> = ALLOWED.iter().chain(DEADLY).chain(conditional).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn what_is_not_listed_is_as_if_the_kernel_lacked_it() {
        let open = |family| socket(family, SockType::Stream, SockFlag::empty(), None).map(drop);
        // Filters are the thread's own, and end with it.
        let confined = std::thread::spawn(move || {
            install(false).unwrap();
            (
                open(AddressFamily::Unix),
                open(AddressFamily::Inet),
                nix::unistd::mkdir("/x", nix::sys::stat::Mode::empty()),
            )
        });
        assert_eq!(confined.join().unwrap(), (Ok(()), Err(Errno::ENOSYS), Err(Errno::ENOSYS)));
        assert_eq!(open(AddressFamily::Inet), Ok(()));
    }

    #[test]
    fn the_filters_fit_into_the_kernel() {
        let (deadly, allowed) = (deadly().unwrap(), allowed(false).unwrap());
        assert!(deadly.len() + allowed.len() < 4096, "{} and {}", deadly.len(), allowed.len());
        assert_ne!(allowed, super::allowed(true).unwrap());
    }
}
