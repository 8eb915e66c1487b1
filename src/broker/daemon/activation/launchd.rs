//! Sockets that launchd keeps for a job, by `launch_activate_socket(3)`.
//!
//! The names are those under `Sockets` in `launchd/claude-peers.plist`.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use rustix::io::{Errno, FdFlags, fcntl_setfd};

/// A socket and the name that the job has for it.
type Named = (&'static str, OwnedFd);

/// `int launch_activate_socket(const char *name, int **fds, size_t *cnt)`, from `<launch.h>`.
/// On success the caller must free the array.
type Activate = unsafe extern "C" fn(*const c_char, *mut *mut c_int, *mut usize) -> c_int;

unsafe extern "C" {
    fn free(memory: *mut c_void);
}

/// Returns the sockets of this job under these names, or none if this process is not a job of launchd. launchd passes
/// each socket once.
///
/// # Errors
///
/// If launchd has them and does not pass them.
#[cfg(target_os = "macos")]
pub fn sockets(names: &[&'static str]) -> io::Result<Vec<Named>> {
    // A part of libSystem, which every program is linked with.
    unsafe extern "C" {
        fn launch_activate_socket(
            name: *const c_char,
            fds: *mut *mut c_int,
            cnt: *mut usize,
        ) -> c_int;
    }
    take_all(launch_activate_socket, names)
}

fn take_all(activate: Activate, names: &[&'static str]) -> io::Result<Vec<Named>> {
    let mut sockets = Vec::new();
    for name in names.iter().copied() {
        sockets.extend(take(activate, name)?.into_iter().map(|socket| (name, socket)));
    }
    Ok(sockets)
}

/// Returns the sockets with one name. There may be several: one per address.
fn take(activate: Activate, name: &str) -> io::Result<Vec<OwnedFd>> {
    let c_name = CString::new(name)?;
    let mut array = std::ptr::null_mut();
    let mut count = 0;
    // SAFETY: the arguments are what the function's declaration asks for, and outlive the call.
    match unsafe { activate(c_name.as_ptr(), &raw mut array, &raw mut count) } {
        0 => {}
        // Not launchd's job, or its property list has no such name.
        code if code == Errno::SRCH.raw_os_error() || code == Errno::NOENT.raw_os_error() => {
            return Ok(Vec::new());
        }
        // EALREADY means a second call, which is a bug here; other codes are errors of launchd.
        code => {
            let error = io::Error::from_raw_os_error(code);
            return Err(io::Error::new(
                error.kind(),
                format!("launchd does not pass the socket \"{name}\": {error}"),
            ));
        }
    }
    if array.is_null() {
        return Ok(Vec::new());
    }
    let sockets = (0..count)
        // SAFETY: launchd put `count` descriptors there, which are ours from now on.
        .map(|index| unsafe { OwnedFd::from_raw_fd(*array.add(index)) })
        .collect::<Vec<_>>();
    // SAFETY: allocated for us by `malloc`, and not used again.
    unsafe { free(array.cast()) };
    for socket in &sockets {
        // launchd leaves them open for child processes.
        fcntl_setfd(socket, FdFlags::CLOEXEC)?;
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    //! launchd exists on macOS only. A double of its function makes the handling of its array run
    //! everywhere.

    use std::ffi::CStr;
    use std::os::fd::{AsRawFd as _, IntoRawFd as _};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::broker::daemon::activation::{Inherited, TCP_NAME, UNIX_NAME};
    use crate::protocol::health::Started;

    const NAMES: [&str; 2] = [UNIX_NAME, TCP_NAME];

    unsafe extern "C" {
        fn malloc(size: usize) -> *mut c_void;
    }

    /// One Unix socket, and TCP twice, as where a name stands for two addresses.
    unsafe extern "C" fn a_job(
        name: *const c_char,
        fds: *mut *mut c_int,
        cnt: *mut usize,
    ) -> c_int {
        // SAFETY: as `launch_activate_socket` is called.
        let name = unsafe { CStr::from_ptr(name) };
        let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().into_raw_fd();
        let descriptors = if name == c"unix" {
            let directory = tempfile::tempdir().unwrap();
            vec![UnixListener::bind(directory.path().join("s")).unwrap().into_raw_fd()]
        } else {
            vec![listen(), listen()]
        };
        // SAFETY: there is room for as many as are written.
        unsafe {
            let array = malloc(size_of::<c_int>() * descriptors.len()).cast::<c_int>();
            for (index, descriptor) in descriptors.iter().enumerate() {
                fcntl_setfd(std::os::fd::BorrowedFd::borrow_raw(*descriptor), FdFlags::empty())
                    .unwrap();
                *array.add(index) = *descriptor;
            }
            *fds = array;
            *cnt = descriptors.len();
        }
        0
    }

    macro_rules! refusing {
        ($name:ident, $errno:expr) => {
            unsafe extern "C" fn $name(
                _: *const c_char,
                _: *mut *mut c_int,
                _: *mut usize,
            ) -> c_int {
                $errno.raw_os_error()
            }
        };
    }
    refusing!(no_job, Errno::SRCH);
    refusing!(no_such_name, Errno::NOENT);
    refusing!(second_call, Errno::ALREADY);

    #[test]
    fn every_socket_of_a_job_is_taken_and_closed_on_exec() {
        let sockets = take_all(a_job, &NAMES).unwrap();
        assert_eq!(sockets.len(), 3);
        for (_, socket) in &sockets {
            assert!(socket.as_raw_fd() > 2);
            assert!(rustix::io::fcntl_getfd(socket).unwrap().contains(FdFlags::CLOEXEC));
        }
        let mut inherited = Inherited::default();
        for (name, socket) in sockets {
            inherited.adopt(Started::Launchd, name, socket);
        }
        assert_eq!((inherited.unix.len(), inherited.tcp.len()), (1, 2), "{:?}", inherited.foreign);
        assert_eq!(inherited.manager, Some(Started::Launchd));
    }

    #[test]
    fn a_process_without_sockets_is_no_error_and_a_second_call_is_one() {
        assert!(take_all(no_job, &NAMES).unwrap().is_empty());
        assert!(take_all(no_such_name, &NAMES).unwrap().is_empty());
        let error = take_all(second_call, &NAMES).unwrap_err().to_string();
        assert!(error.contains("\"unix\""), "{error}");
    }
}
