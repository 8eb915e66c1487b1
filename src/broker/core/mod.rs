//! What every request needs below registry and mailbox: its context, its caller, limits, expiry,
//! idempotency, and the effects that wait for its commit.

mod auth;
mod context;
mod effects;
mod expiry;
pub mod idempotency;
mod kept_keys;
pub mod loop_guard;
mod name_looks;
pub mod rate_limit;
mod sent_unread;
mod steady_clock;

pub use auth::{Caller, Receiver};
pub use context::{MailStore, MemoryState, Tx};
pub use effects::{Effect, TurnChange};
pub use expiry::{EndedMessage, LONGEST_LEASE};
