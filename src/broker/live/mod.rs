//! Who is connected now: in memory only, and shared by all requests and the database's thread.

pub mod client_processes;
pub mod hook_waiters;
pub mod presence;
pub mod signals;
pub mod turns;
pub mod waiters;

use crate::broker::live::client_processes::Windows;
use crate::broker::live::hook_waiters::Waiters;
use crate::broker::live::presence::Presence;
use crate::broker::live::signals::Bells;
use crate::broker::live::waiters::Claims;

/// Each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Connected {
    /// The streams.
    pub presence: Presence,
    /// The calls that wait for mail.
    pub claims: Claims,
    /// The hooks that wait to wake a session.
    pub waiters: Waiters,
    /// The windows in which hooks speak.
    pub windows: Windows,
    /// By which those who wait are told.
    pub bells: Bells,
}
