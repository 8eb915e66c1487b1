//! The operating system, below everything else: files, processes, sockets, the shell, git.
//!
//! Nothing here knows of peers, messages or the broker.

pub mod backoff;
pub mod clock;
pub mod files;
pub mod git;
pub mod listening;
pub mod private_group;
pub mod process;
pub mod random;
pub mod self_exe;
pub mod shell;
pub mod signals;
pub mod socket_owner;
pub mod sqlite_error;
pub mod subprocess;
pub mod trust;
pub mod version;
