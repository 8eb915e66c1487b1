//! How much a client shows of a result, and which message it has seen a part of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::RoleServer;
use rmcp::service::RequestContext;

use crate::mcp::tools::results;
use crate::mcp::tools::results::Begun;
use crate::mcp::transport::SentCallbacks;
use crate::protocol::peers::CLAUDE_CODE;

/// Characters of a result that Claude Code shows whole, because our tools ask for it. Without that it
/// shows 50,000.
pub const CLAUDE_CODE_CHARS: u32 = 200_000;

/// What there is room for in a result with messages.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// The most bytes of one form of the result, as it is written.
    pub form: usize,
    /// The most bytes of messages that are asked for; one that is larger comes alone.
    pub messages: u64,
}

impl Room {
    /// Of Claude Code: a message of the largest size fits. Several are less than it shows unasked.
    const CLAUDE_CODE: Self = Self { form: CLAUDE_CODE_CHARS as usize - 10_000, messages: 40_000 };

    /// Of any other client. Besides the messages, a result says which of the session's own are unread.
    const OTHERS: Self = Self { form: results::ROOM, messages: 7_000 };

    /// Returns the room in a result of this call.
    pub fn of(context: &RequestContext<RoleServer>) -> Self {
        let client = context.peer.peer_info();
        let is_claude = client.is_some_and(|client| client.client_info.name == CLAUDE_CODE);
        if is_claude { Self::CLAUDE_CODE } else { Self::OTHERS }
    }
}

/// The message of which results have shown a part. It stays unread until its last part was shown.
#[derive(Debug, Clone, Default)]
pub struct Reading(Arc<Mutex<Option<Begun>>>);

impl Reading {
    pub fn begun(&self) -> Option<Begun> {
        self.lock().clone()
    }

    /// Records what the result of a call has shown, when it was written. What was not written is shown
    /// again.
    pub fn note_when_written(
        &self,
        callbacks: &SentCallbacks,
        context: &RequestContext<RoleServer>,
        begun: Option<Begun>,
    ) {
        if begun.is_none() && self.lock().is_none() {
            return;
        }
        let reading = self.clone();
        callbacks.on_sent(context.id.clone(), move || *reading.lock() = begun);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Begun>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
