//! Sandboxes that refuse system calls to a command and its children.
//!
//! By a seccomp filter (seccomp(2)), as the sandboxes of coding agents and old containers do it.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP,
    SECCOMP_MODE_FILTER, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, sock_filter, sock_fprog,
};

/// A system call that fails, with this error number.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    pub call: libc::c_long,
    /// Only with this first argument.
    pub first: Option<u32>,
    pub error: i32,
}

impl Refused {
    pub const fn always(call: libc::c_long, error: i32) -> Self {
        Self { call, first: None, error }
    }
}

/// Unix sockets cannot be made: the sandboxes of Claude Code and Codex on Linux.
pub const NO_UNIX_SOCKETS: [Refused; 1] =
    [Refused { call: libc::SYS_socket, first: Some(libc::AF_UNIX as u32), error: libc::EPERM }];

/// Unix sockets can be made but not connected: a sandbox of macOS.
pub const NO_CONNECTIONS: [Refused; 1] = [Refused::always(libc::SYS_connect, libc::EPERM)];

/// Refuses these calls to the command and to all that it starts.
pub fn refuse<'a>(command: &'a mut Command, calls: &[Refused]) -> &'a mut Command {
    let filter = program(calls);
    // SAFETY: between fork and exec only system calls are made, on memory that was filled before.
    unsafe { command.pre_exec(move || install(&filter)) }
}

fn install(filter: &[sock_filter]) -> io::Result<()> {
    let program = sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program outlives both calls, and the kernel checks it.
    let refused = unsafe {
        libc::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program) != 0
    };
    if refused { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const FIRST_ARGUMENT: u32 = 16;

fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

/// Skips so many instructions unless the loaded number is `k`.
fn jump_unless(k: u32, skip: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt: 0, jf: skip, k }
}

fn answer(k: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k }
}

fn program(calls: &[Refused]) -> Vec<sock_filter> {
    let mut all = Vec::new();
    for Refused { call, first, error } in calls {
        let error = answer(SECCOMP_RET_ERRNO | u32::try_from(*error).unwrap());
        all.push(load(NUMBER));
        let number = u32::try_from(*call).unwrap();
        match first {
            Some(first) => {
                all.extend([
                    jump_unless(number, 3),
                    load(FIRST_ARGUMENT),
                    jump_unless(*first, 1),
                    error,
                ]);
            }
            None => all.extend([jump_unless(number, 1), error]),
        }
    }
    all.push(answer(SECCOMP_RET_ALLOW));
    all
}

/// What happens to a call of which this test is asked.
#[derive(Debug, Clone, Copy)]
pub enum Verdict {
    /// The kernel carries it out.
    Continue,
    /// It fails with this error number.
    Fail(i32),
}

/// The calls of a process of which this test is asked before each (seccomp_unotify(2)).
pub struct Asked(OwnedFd);

/// The number of the listener in the child: above all descriptors that the program opens.
const LISTENER: i32 = 220;

impl Asked {
    /// Starts a command whose process waits for a verdict before each of these calls.
    pub fn spawn(command: &mut Command, calls: &[libc::c_long]) -> io::Result<(Self, Child)> {
        let mut filter = Vec::new();
        for call in calls {
            let number = u32::try_from(*call).unwrap();
            filter.push(load(NUMBER));
            filter.push(jump_unless(number, 1));
            filter.push(answer(libc::SECCOMP_RET_USER_NOTIF));
        }
        filter.push(answer(SECCOMP_RET_ALLOW));
        // SAFETY: between fork and exec only system calls are made, on memory that was filled before.
        unsafe { command.pre_exec(move || listen(&filter)) };
        let child = command.spawn()?;
        let pid = rustix::process::Pid::from_child(&child);
        let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
        let flags = rustix::process::PidfdGetfdFlags::empty();
        Ok((Self(rustix::process::pidfd_getfd(process, LISTENER, flags)?), child))
    }

    /// Waits for the next call, and asks `judge` for its verdict. Returns false once the process has
    /// ended.
    pub fn next(&self, judge: impl FnOnce() -> Verdict) -> bool {
        // SAFETY: the structures are plain numbers, and the kernel wants the first one zeroed.
        let (mut call, mut response) = unsafe {
            (
                std::mem::zeroed::<libc::seccomp_notif>(),
                std::mem::zeroed::<libc::seccomp_notif_resp>(),
            )
        };
        // SAFETY: the structure is the one that this request fills.
        if unsafe { libc::ioctl(self.0.as_raw_fd(), RECEIVE, &raw mut call) } != 0 {
            return false;
        }
        response.id = call.id;
        match judge() {
            Verdict::Continue => response.flags = CONTINUE,
            Verdict::Fail(error) => response.error = -error,
        }
        // SAFETY: the structure is the one that this request reads. It fails if the process has ended.
        unsafe { libc::ioctl(self.0.as_raw_fd(), RESPOND, &raw mut response) == 0 }
    }
}

/// `SECCOMP_IOCTL_NOTIF_RECV`, `SECCOMP_IOCTL_NOTIF_SEND` and `SECCOMP_USER_NOTIF_FLAG_CONTINUE`.
const RECEIVE: libc::c_ulong = 0xc050_2100;
const RESPOND: libc::c_ulong = 0xc018_2101;
const CONTINUE: u32 = 1;

/// Installs a filter in this process, and leaves its listener at [`LISTENER`] for the program.
fn listen(filter: &[sock_filter]) -> io::Result<()> {
    let program = sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program outlives the calls, and the kernel checks it.
    let done = unsafe {
        libc::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && {
            let listener = libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
                &raw const program,
            );
            listener >= 0 && libc::dup2(listener as i32, LISTENER) == LISTENER
        }
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}
