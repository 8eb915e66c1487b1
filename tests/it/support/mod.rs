//! What the tests stand on: a private home, real processes, raw JSON.
//!
//! Every test has a sandbox of its own: home, XDG directories, port and database. Nothing of the
//! user's is touched, and a broker that a test left running is ended by its pid.

mod chance;
mod chat_endpoint;
mod commands;
#[cfg(target_os = "linux")]
pub mod containers;
pub mod databases;
pub mod faults;
pub mod hooks;
pub mod http;
mod manager;
mod mounts;
mod picture;
mod processes;
pub mod questions;
mod repositories;
mod sandbox;
mod screen;
#[cfg(target_os = "linux")]
pub mod seccomp;
mod session;
mod session_options;

#[cfg(target_os = "linux")]
pub use chance::number;
pub use chance::{Chance, messages, rounds};
pub use chat_endpoint::{Behaviour, Endpoint};
pub use commands::{findings_of, log_lines};
pub use manager::{Manager, Notifications};
pub use mounts::mounted;
pub use processes::{
    Frozen, chmod, copy_program, ends, in_a_terminal, in_a_terminal_of, mode, process_status,
    send_signal, terminal, write_program,
};
pub use repositories::{git, repository};
pub use sandbox::{
    HOOK_WAIT, PATIENCE, PROGRAM, ROUNDS, Sandbox, free_port, until, with_default_signals, within,
};
pub use screen::Screen;
pub use session::{Session, initialize};
pub use session_options::{SessionOptions, client_process};
