//! The mailbox: the state machine of messages, from `queued` over `offered` to `read`.
//!
//! All of it runs on the database's thread, inside the transaction of the request that it
//! serves.

mod client_process;
mod history;
mod hook;
mod insert;
mod lease;
mod notices;
mod push;
mod scope;
mod send;
mod take;
mod wait;
mod wake;

pub use client_process::{hear, peer_to_wake};
pub use history::list_messages;
pub use hook::{close_window, hook, hook_written, note_window};
pub use notices::insert_notices;
pub use push::{close_stream, open_stream};
pub use scope::send_to_scope;
pub use send::send;
pub use take::{confirm, take, written};
pub use wait::{Call, give_up, question, release, take_answer, take_anyway, take_news};
pub use wake::{When, looked, wake_given, wake_when};
