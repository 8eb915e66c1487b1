//! The broker: the one daemon per user that stores peers and messages and answers requests.
//!
//! [`run()`] is all of it, as a library function: `main` calls it, and so do tests. The broker knows
//! nothing of MCP, hooks or the command line.
//!
//! The modules, each of which uses only those above it: `sources` (clock and identifiers), `store`
//! (SQLite), `live` (what is in memory only), `core` (a request's context), `registry` (peers),
//! `mailbox` (messages), `http` (the API), `daemon` (sockets, start and stop), `run` (all of it
//! together).

mod core;
pub mod daemon;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod http;
mod live;
pub mod mailbox;
pub mod process;
mod registry;
mod run;
mod shared;
mod sources;
mod store;
#[cfg(test)]
mod testing;

pub use daemon::notify::report_failure;
pub use error::RunError;
pub use run::{Options, run};
pub use shared::Shared;
pub use store::OpenError;
