//! The mailbox: the state machine of messages, from `queued` over `offered` to `read`.
//!
//! All of it runs on the database's thread, inside the transaction of the request that it
//! serves.

mod hook;
mod log;
mod notices;
mod offer;
mod once;
mod post;
mod receive;
mod scope;
mod send;
mod wait;
mod wake;
mod window;

pub use hook::{close_window, hook, hook_written, note_window};
pub use log::list_messages;
pub use notices::tell_senders;
pub use offer::{close_stream, open_stream};
pub use once::{Key, once};
pub use receive::{confirm, take, written};
pub use scope::send_to_scope;
pub use send::send;
pub use wait::{Call, give_up, question, release, take_answer, take_anyway, take_news};
pub use wake::{When, looked, wake_given, wake_when};
pub use window::{hear, peer_to_wake};
