//! The mailbox: the state machine that moves messages from `queued` over `offered` to `read`.
//!
//! Everything here runs inside the transaction of the request that it serves.

mod batch;
mod checks;
mod history;
mod hook;
mod lease;
mod loops;
mod notices;
mod push;
mod quiet_hook;
mod scope;
mod send;
mod sequence;
mod session_change;
mod take;
mod wait;
mod wake;

pub use batch::{Batch, BatchItem, send_batch};
pub use history::{PruneStep, index, list_messages, messages_by_seq, prune_count, prune_step};
pub use hook::{client_process_ended, hook, hook_written, record_client_process};
pub use notices::insert_notices;
pub use push::{close_stream, open_stream};
pub use quiet_hook::quiet_hook;
pub use scope::send_to_scope;
pub use send::send_once;
pub use session_change::{apply_spooled, peer_to_wake};
pub use take::{confirm, pushes_written, take};
pub use wait::{
    WaitingCall, answer_timeout, question, release_reservations, take_answer, take_at_timeout,
    take_if_new,
};
pub use wake::{WakeTime, claim_wake, next_wake, record_idle_check, wake_given};
