//! Sandboxes that refuse system calls to a command and its children.
//!
//! By a seccomp filter (seccomp(2)), as the sandboxes of coding agents and old containers do it.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

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

fn program(calls: &[Refused]) -> Vec<sock_filter> {
    let load =
        |offset| sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset };
    let unless =
        |k, skip| sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt: 0, jf: skip, k };
    let give = |k| sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k };
    let mut all = Vec::new();
    for Refused { call, first, error } in calls {
        let error = give(SECCOMP_RET_ERRNO | u32::try_from(*error).unwrap());
        all.push(load(NUMBER));
        let number = u32::try_from(*call).unwrap();
        match first {
            Some(first) => {
                all.extend([unless(number, 3), load(FIRST_ARGUMENT), unless(*first, 1), error]);
            }
            None => all.extend([unless(number, 1), error]),
        }
    }
    all.push(give(SECCOMP_RET_ALLOW));
    all
}
