//! Who is connected now: in memory only, and shared by all requests and the database's thread.

use super::bells::Bells;
use super::claims::Claims;
use super::presence::Presence;
use super::wakes::Waiters;
use super::windows::Windows;

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
