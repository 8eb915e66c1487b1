//! What is going on right now: streams, waiting calls, hooks and turns. In memory only.

pub mod client_processes;
pub mod hook_reports;
pub mod hook_waiters;
pub mod observers;
pub mod page_codes;
pub mod presence;
pub mod push_state;
pub mod signals;
pub mod turns;
pub mod waiters;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::broker::live::client_processes::ClientProcesses;
use crate::broker::live::hook_waiters::HookWaiters;
use crate::broker::live::observers::Observers;
use crate::broker::live::page_codes::PageCodes;
use crate::broker::live::presence::Presence;
use crate::broker::live::signals::Signals;
use crate::broker::live::waiters::Waiters;
use crate::broker::sources::Sources;

/// The live state that requests and transactions share. Each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct LiveState {
    /// Where all of it takes the time from.
    pub sources: Sources,
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
    /// The people who look at what is going on.
    pub observers: Observers,
    /// The codes that open the page.
    pub page_codes: PageCodes,
    /// Notified when a transaction may have changed the database.
    pub written: Arc<Notify>,
}

impl LiveState {
    /// Returns the live state of a broker that takes time and identifiers from `sources`.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        Self {
            presence: Presence::new(sources.clock.clone()),
            client_processes: ClientProcesses::new(sources.clock.clone()),
            page_codes: PageCodes::new(sources.clock.clone()),
            sources,
            ..Self::default()
        }
    }
}
