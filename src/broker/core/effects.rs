//! Effects: what a transaction changes outside the database.
//!
//! Effects are listed in the order in which they were decided, and applied when the transaction is
//! durable. The list is cut back when a request is rolled back, and dropped when the transaction is
//! lost. A request that must see what earlier requests of its transaction decided reads the live
//! state with the listed effects applied to a copy of it: [`MemoryState::push_state`],
//! [`MemoryState::with_waiters`], [`MemoryState::wake_told_at`].
//!
//! Where all code that reads the live state must see a change at once, the change is made at once, and
//! the effect says how it is undone: a stream that opens or is attached to another peer, a server that
//! is about to open its stream, and the allowance that a message costs. What hooks report of their client
//! process is no effect: it holds whatever becomes of the transaction.

use std::time::Instant;

use crate::broker::core::MemoryState;
use crate::broker::live::presence::{PushChange, PushState, Stream};
use crate::broker::live::waiters::{WaiterChange, WaiterList};
use crate::config::Limits;
use crate::protocol::mailbox::Delivery;
use crate::protocol::peers::Peer;
use crate::protocol::stream::Event;
use crate::protocol::{InstanceId, PeerId};

/// One change outside the database.
#[derive(Debug)]
pub enum Effect {
    /// Sends a push over the stream of this generation. A later stream of the instance starts from
    /// the database instead.
    Push { instance: InstanceId, generation: u64, seq: i64, delivery: Box<Delivery> },
    /// Changes what is still to be pushed over a stream.
    PushState { instance: InstanceId, generation: u64, change: PushChange },
    /// Starts the pushes over a stream that was attached to another peer. The attachment itself is
    /// made at once, because the rest of the transaction must see it, and undone by a rollback.
    Attached { instance: InstanceId, from: PeerId },
    /// A stream was opened. It is closed again by a rollback.
    Opened { instance: InstanceId, generation: u64, peer: PeerId },
    /// A server has registered and is about to open its stream. Undone by a rollback, to `before`.
    Arriving { peer: PeerId, before: Option<Instant> },
    /// A message was counted against the rate limit. Undone by a rollback.
    Spent { from: PeerId, to: PeerId },
    /// Tells a server which peer is its own, once its stream is open or attached to another peer.
    Ready { instance: InstanceId, peer: Box<Peer> },
    /// Notifies the subscriptions to a peer's signal.
    Notify(PeerId),
    /// Changes the calls that wait: `ExpectWaiter`, `EndWaiter` and the like.
    Waiters(WaiterChange),
    /// Changes what is known of a session's turn.
    Turn(PeerId, TurnChange),
    /// Records that a wake of the peer was handed out.
    WakeTold(PeerId),
    /// Records that no wake of the peer is handed out any more.
    WakeDone(PeerId),
    /// Applies other limits.
    SetLimits(Box<Limits>),
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
    list: Vec<Effect>,
    /// Where those of the current request begin.
    savepoint: usize,
}

impl Effects {
    pub fn push(&mut self, effect: Effect) {
        self.list.push(effect);
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

    /// Marks the beginning of a request, to which a rollback cuts back.
    pub(super) const fn mark_savepoint(&mut self) {
        self.savepoint = self.list.len();
    }
}

impl MemoryState {
    /// Returns what is still to be pushed over this stream once the listed effects are applied.
    #[must_use]
    pub fn push_state(&self, instance: &InstanceId, stream: &Stream) -> PushState {
        let mut state = stream.push.clone();
        for effect in &self.effects.list {
            match effect {
                Effect::Push { instance: i, generation, seq, .. }
                    if i == instance && *generation == stream.generation =>
                {
                    state.apply(PushChange::Pushed(*seq));
                }
                Effect::PushState { instance: i, generation, change }
                    if i == instance && *generation == stream.generation =>
                {
                    state.apply(*change);
                }
                Effect::Attached { instance: i, .. } if i == instance => {
                    state.apply(PushChange::Attached);
                }
                _ => {}
            }
        }
        state
    }

    /// Reads the waiters of `owner` as they are once the listed effects are applied.
    pub fn with_waiters<T>(&self, owner: &PeerId, read: impl FnOnce(&WaiterList) -> T) -> T {
        let waiters = self.live.waiters.lock();
        let mut changes = self.effects.list.iter().filter_map(|effect| match effect {
            Effect::Waiters(change) => Some(change),
            _ => None,
        });
        let Some(first) = changes.next() else { return read(&waiters) };
        let mut view = waiters.copy_of(owner);
        drop(waiters);
        view.apply(first);
        changes.for_each(|change| view.apply(change));
        read(&view)
    }

    /// Returns when a wake of the peer was handed out, if it was not reported as given since.
    #[must_use]
    pub fn wake_told_at(&self, peer: &PeerId) -> Option<Instant> {
        let listed = self.effects.list.iter().rev().find_map(|effect| match effect {
            Effect::WakeTold(told) if told == peer => Some(Some(Instant::now())),
            Effect::WakeDone(done) if done == peer => Some(None),
            _ => None,
        });
        listed.unwrap_or_else(|| self.waking.get(peer).copied())
    }

    /// Applies all effects: the transaction is durable.
    pub(super) fn apply_effects(&mut self) {
        self.effects.savepoint = 0;
        for effect in std::mem::take(&mut self.effects.list) {
            self.apply(effect);
        }
    }

    /// Drops the effects of the current request, which is rolled back.
    pub(super) fn drop_effects(&mut self) {
        for effect in self.effects.list.drain(self.effects.savepoint..).rev() {
            match effect {
                Effect::Attached { instance, from } => {
                    self.live.presence.lock().set_peer(&instance, &from);
                }
                Effect::Opened { instance, generation, .. } => {
                    self.live.presence.close(&instance, generation);
                }
                Effect::Arriving { peer, before } => {
                    self.live.presence.lock().restore_arriving(&peer, before);
                }
                Effect::Spent { from, to } => self.rates.refund(&from, &to),
                _ => {}
            }
        }
    }

    /// Drops all effects: the transaction is lost.
    pub(super) fn drop_all_effects(&mut self) {
        self.effects.savepoint = 0;
        self.drop_effects();
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Push { instance, generation, seq, delivery } => {
                self.with_stream(&instance, generation, |stream| {
                    stream.push.apply(PushChange::Pushed(seq));
                    stream.send(Event::Message { delivery });
                });
            }
            Effect::PushState { instance, generation, change } => {
                self.with_stream(&instance, generation, |stream| stream.push.apply(change));
            }
            Effect::Ready { instance, peer } => {
                if let Some(stream) = self.live.presence.lock().stream(&instance) {
                    stream.send(Event::Ready { peer });
                }
            }
            Effect::Attached { instance, .. } => {
                if let Some(stream) = self.live.presence.lock().stream_mut(&instance) {
                    stream.push.apply(PushChange::Attached);
                    stream.reattached.notify_one();
                }
            }
            Effect::Opened { peer, .. } => self.live.client_processes.server_connected(&peer),
            Effect::Arriving { .. } | Effect::Spent { .. } => {}
            Effect::Notify(peer) => self.live.signals.notify(&peer),
            Effect::Waiters(change) => self.live.waiters.lock().apply(&change),
            Effect::Turn(peer, change) => self.apply_turn(&peer, change),
            Effect::WakeTold(peer) => {
                self.waking.insert(peer, Instant::now());
            }
            Effect::WakeDone(peer) => {
                self.waking.remove(&peer);
            }
            Effect::SetLimits(limits) => self.set_limits(*limits),
        }
    }

    fn with_stream(
        &self,
        instance: &InstanceId,
        generation: u64,
        change: impl FnOnce(&mut Stream),
    ) {
        if let Some(stream) = self.live.presence.lock().stream_mut(instance)
            && stream.generation == generation
        {
            change(stream);
        }
    }

    fn apply_turn(&mut self, peer: &PeerId, change: TurnChange) {
        match change {
            TurnChange::Began => self.turns.begin_or_continue(peer),
            TurnChange::Ended => self.turns.end(peer),
            TurnChange::ModelAnswered => self.turns.model_answered(peer),
            TurnChange::ModelFailed => self.turns.model_failed(peer),
            TurnChange::Forgotten => self.turns.forget(peer),
            TurnChange::Checked { number, idle } => {
                if self.turns.record_idle_check(peer, number, idle) {
                    self.live.signals.notify(peer);
                }
            }
        }
    }
}
