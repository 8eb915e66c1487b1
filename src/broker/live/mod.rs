//! What is going on right now: streams, waiting calls, hooks and turns. In memory only.

pub mod client_processes;
pub mod hook_waiters;
pub mod presence;
pub mod signals;
pub mod turns;
pub mod waiters;

use crate::broker::live::client_processes::ClientProcesses;
use crate::broker::live::hook_waiters::HookWaiters;
use crate::broker::live::presence::Presence;
use crate::broker::live::signals::Signals;
use crate::broker::live::waiters::Waiters;

/// The live state that requests and transactions share. Each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct LiveState {
    /// The open event streams.
    pub presence: Presence,
    /// The calls that wait for messages.
    pub waiters: Waiters,
    /// The hooks that wait to wake a session.
    pub hook_waiters: HookWaiters,
    /// The client processes whose hooks have spoken.
    pub client_processes: ClientProcesses,
    /// How waiting calls learn that there may be something new.
    pub signals: Signals,
}
