//! The history: all messages with their states, and what is read of it.
//!
//! A request is answered in two steps: which messages come into question, the newest first
//! (`candidates`), and which of them fit (`filter`). All other requests wait meanwhile, so both are
//! bounded, and an answer that has looked at enough says from where to go on.

mod candidates;
mod filter;
pub mod index;
mod list;
mod prefix;
mod prune;
mod rows;
mod thread;
mod times;
mod words;

pub use list::list_messages;
pub use prune::{PruneStep, prune_count, prune_step};
pub use rows::{by_seq, messages_by_seq};
