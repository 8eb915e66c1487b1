//! Effects: what a transaction changes outside the database.
//!
//! Effects are listed in the order in which they were decided, and applied when the transaction is
//! durable. The list is cut back when a request is rolled back, and dropped when the transaction is
//! lost. A request that must see what earlier requests of its transaction decided reads the live
//! state with the listed effects applied to a copy of it: the context gives that view.
//!
//! Where all code that reads the live state must see a change at once, or a copy of the state would
//! cost each message more than the change, the change is made at once, and the effect says how it is
//! undone: a stream that opens or is attached to another peer, what is still to be pushed over a stream,
//! a server that is about to open its stream, and the allowance that a message costs. That a
//! client process runs, as its hooks show, is no effect: it holds whatever becomes of the transaction.

use std::time::Instant;

use crate::broker::core::loop_guard::LoopEvent;
use crate::broker::live::hook_reports::LastReport;
use crate::broker::live::push_state::PushUndo;
use crate::broker::live::waiters::WaiterChange;
use crate::config::Limits;
use crate::protocol::mailbox::Delivery;
use crate::protocol::peers::Peer;
use crate::protocol::{InstanceId, PeerId, ProcessId};

/// One change outside the database.
#[derive(Debug)]
pub enum Effect {
    /// Sends a push over the stream of this generation. A later stream of the instance starts from
    /// the database instead.
    Push { instance: InstanceId, generation: u64, delivery: Box<Delivery> },
    /// What is still to be pushed over a stream was changed. Undone by a rollback.
    PushState { instance: InstanceId, generation: u64, undo: PushUndo },
    /// A stream was attached to another peer, for which it starts its pushes. Undone by a rollback.
    Attached { instance: InstanceId, from: PeerId },
    /// A stream was opened. It is closed again by a rollback.
    Opened { instance: InstanceId, generation: u64, peer: PeerId },
    /// A server has registered and is about to open its stream. Undone by a rollback, to `before`.
    Arriving { peer: PeerId, before: Option<Instant> },
    /// A message was counted against the rate limit. Undone by a rollback.
    Spent { from: PeerId, to: PeerId },
    /// Tells the loop guard what happened.
    Loop(LoopEvent),
    /// Tells a server which peer is its own, once its stream is open or attached to another peer.
    Ready { instance: InstanceId, peer: Box<Peer> },
    /// Notifies the subscriptions to a peer's signal.
    Notify(PeerId),
    /// Changes the waiting calls.
    Waiters(WaiterChange),
    /// Changes what is known of a session's turn.
    Turn(PeerId, TurnChange),
    /// Records that a wake of the peer was handed out.
    WakeTold(PeerId),
    /// Records that no wake of the peer is handed out any more.
    WakeDone(PeerId),
    /// Records what a hook of a client process reported.
    HookReported(ProcessId, LastReport),
    /// Applies other limits.
    SetLimits(Box<Limits>),
}

impl Effect {
    /// Whether others see a peer in another way after it.
    #[must_use]
    pub const fn changes_a_peer(&self) -> bool {
        matches!(
            self,
            Self::PushState { .. }
                | Self::Attached { .. }
                | Self::Opened { .. }
                | Self::Turn(..)
                | Self::HookReported(..)
        )
    }
}

/// A change of what is known of a session's turn.
#[derive(Debug, Clone, Copy)]
pub enum TurnChange {
    /// The session is at work.
    Began,
    Ended,
    ModelAnswered,
    ModelFailed,
    /// An idle check of the turn with this number had this result.
    Checked {
        number: u64,
        idle: bool,
    },
    /// The session has ended.
    Forgotten,
}

/// The effects of the transaction that is under way.
#[derive(Debug, Default)]
pub struct Effects {
    pub(super) list: Vec<Effect>,
    /// How many of them change the waiting calls.
    pub(super) waiter_changes: usize,
}

impl Effects {
    pub fn push(&mut self, effect: Effect) {
        self.waiter_changes += usize::from(matches!(effect, Effect::Waiters(_)));
        self.list.push(effect);
    }

    /// Takes the last effect off the list, unless it is before `mark`.
    pub(super) fn pop_to(&mut self, mark: usize) -> Option<Effect> {
        if self.list.len() <= mark {
            return None;
        }
        let effect = self.list.pop()?;
        self.waiter_changes -= usize::from(matches!(effect, Effect::Waiters(_)));
        Some(effect)
    }

    /// Takes all effects of the transaction.
    pub(super) fn take(&mut self) -> Vec<Effect> {
        self.waiter_changes = 0;
        std::mem::take(&mut self.list)
    }

    /// Notifies the subscriptions to a peer's signal: there may be something new for it.
    pub fn notify(&mut self, peer: &PeerId) {
        self.push(Effect::Notify(peer.clone()));
    }

    pub fn turn(&mut self, peer: &PeerId, change: TurnChange) {
        self.push(Effect::Turn(peer.clone(), change));
    }

    /// Whether one of the effects changes what is known of this session's turn.
    #[must_use]
    pub fn changes_turn(&self, peer: &PeerId) -> bool {
        self.list.iter().any(|effect| matches!(effect, Effect::Turn(changed, _) if changed == peer))
    }
}
