//! What a request works on: its transaction, the in-memory state, and the time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::Notify;

use crate::broker::core::effects::{Effect, Effects, TurnChange};
use crate::broker::core::expiry::{EndedMessage, Expiry, Swept};
use crate::broker::core::loop_guard::LoopGuard;
use crate::broker::core::name_looks::NameLooks;
use crate::broker::core::rate_limit::RateLimits;
use crate::broker::core::sent_unread::SentUnread;
use crate::broker::live::LiveState;
use crate::broker::live::hook_reports::HookReports;
use crate::broker::live::presence::Stream;
use crate::broker::live::push_state::PushChange;
use crate::broker::live::turns::Turns;
use crate::broker::live::waiters::WaiterList;
use crate::broker::store::{Fault, RowWatcher, Store, TransactionHooks};
use crate::config::Limits;
use crate::protocol::stream::Event;
use crate::protocol::{InstanceId, PeerId, Timestamp};

pub type MailStore = Store<MemoryState>;
pub type Tx<'a> = crate::broker::store::Context<'a, MemoryState>;

/// Handles messages whose time to live has ended, in the transaction that ended them.
pub type OnEnded = fn(&mut Tx<'_>, &[EndedMessage]) -> Result<(), Fault>;

/// What the broker keeps in memory beside the database.
pub struct MemoryState {
    pub live: LiveState,
    /// The sessions whose hooks reported a turn that is under way.
    pub turns: Turns,
    /// The sessions for which a wake was handed out, and when, until it is reported as given.
    pub waking: HashMap<PeerId, Instant>,
    /// When a hook last spoke, as far as it is recorded.
    pub hooks_spoke_at: Option<Timestamp>,
    /// What the hooks of each client process reported last.
    pub hook_reports: HookReports,
    pub limits: Limits,
    pub rates: RateLimits,
    pub loops: LoopGuard,
    /// How the names of all peers look.
    pub name_looks: NameLooks,
    /// The unread messages by their senders.
    pub sent_unread: SentUnread,
    pub effects: Effects,
    /// When this broker started. Peers that are away only because the previous broker stopped get
    /// their grace period from this moment.
    pub started_at: Timestamp,
    pub expiry: Expiry,
    /// The highest sequence number of a message; `None` if the database is to be asked.
    pub last_seq: Option<i64>,
    /// When another database took the place of the one before, if one did.
    pub replaced: Option<Instant>,
    on_ended: OnEnded,
    /// By how much this transaction moved the times in memory, in milliseconds.
    shifted: i64,
    /// Signalled when messages may have changed.
    changes: Arc<Notify>,
    /// Whether this transaction may have changed any.
    changed: bool,
}

impl MemoryState {
    #[must_use]
    pub fn new(live: LiveState, limits: Limits, changes: Arc<Notify>, on_ended: OnEnded) -> Self {
        Self {
            rates: RateLimits::new(limits.messages_per_minute, limits.burst),
            loops: LoopGuard::default(),
            name_looks: NameLooks::default(),
            sent_unread: SentUnread::default(),
            effects: Effects::default(),
            started_at: live.sources.clock.now(),
            expiry: Expiry::default(),
            last_seq: None,
            replaced: None,
            turns: Turns::new(live.sources.clock.clone()),
            live,
            waking: HashMap::new(),
            hooks_spoke_at: None,
            hook_reports: HookReports::default(),
            limits,
            on_ended,
            shifted: 0,
            changes,
            changed: false,
        }
    }

    /// Applies other limits from now on. Messages that were sent before still count.
    pub fn set_limits(&mut self, limits: Limits) {
        self.rates.set(limits.messages_per_minute, limits.burst);
        self.limits = limits;
    }
}

/// The live state with the effects of this transaction, and how effects are applied.
impl MemoryState {
    /// Reads the waiters of `owner` as they are once the listed effects are applied.
    pub fn with_waiters<T>(&self, owner: &PeerId, read: impl FnOnce(&WaiterList) -> T) -> T {
        let waiters = self.live.waiters.lock();
        if self.effects.waiter_changes == 0 {
            return read(&waiters);
        }
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
            Effect::WakeTold(told) if told == peer => Some(Some(self.live.sources.clock.instant())),
            Effect::WakeDone(done) if done == peer => Some(None),
            _ => None,
        });
        listed.unwrap_or_else(|| self.waking.get(peer).copied())
    }

    /// Applies all effects: the transaction is durable.
    fn apply_effects(&mut self) {
        for effect in self.effects.take() {
            self.apply(effect);
        }
    }

    /// Moves the times in memory with the wall clock, which jumped.
    fn shift(&mut self, by_millis: i64) {
        self.started_at = self.started_at.shifted(by_millis);
        self.hooks_spoke_at = self.hooks_spoke_at.map(|at| at.shifted(by_millis));
        self.hook_reports.shift(by_millis);
    }

    /// Drops the effects from `mark` on, which are rolled back.
    fn drop_effects(&mut self, mark: usize) {
        self.last_seq = None;
        while let Some(effect) = self.effects.pop_to(mark) {
            match effect {
                Effect::PushState { instance, generation, undo } => {
                    self.with_stream(&instance, generation, |stream| stream.push.undo(undo));
                }
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

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Push { instance, generation, delivery } => {
                self.with_stream(&instance, generation, |stream| {
                    stream.send(Event::Message { delivery });
                });
            }
            Effect::Ready { instance, peer } => {
                if let Some(stream) = self.live.presence.lock().stream(&instance) {
                    stream.send(Event::Ready { peer });
                }
            }
            Effect::Attached { instance, .. } => {
                if let Some(stream) = self.live.presence.lock().stream(&instance) {
                    stream.reattached.notify_one();
                }
            }
            Effect::Opened { peer, .. } => self.live.client_processes.server_connected(&peer),
            Effect::Loop(event) => self.loops.note(&event, self.live.sources.clock.instant()),
            Effect::Arriving { .. } | Effect::Spent { .. } | Effect::PushState { .. } => {}
            Effect::Notify(peer) => self.live.signals.notify(&peer),
            Effect::Waiters(change) => self.live.waiters.lock().apply(&change),
            Effect::Turn(peer, change) => self.apply_turn(&peer, change),
            Effect::WakeTold(peer) => {
                self.waking.insert(peer, self.live.sources.clock.instant());
            }
            Effect::WakeDone(peer) => {
                self.waking.remove(&peer);
            }
            Effect::HookReported(client, report) => self.hook_reports.record(client, report),
            Effect::SetLimits(limits) => self.set_limits(*limits),
        }
    }

    /// Changes what is still to be pushed over the stream of an instance, if it is open. Undone if
    /// the transaction is rolled back.
    pub fn change_push(&mut self, instance: &InstanceId, change: PushChange) {
        let mut streams = self.live.presence.lock();
        let Some(stream) = streams.stream_mut(instance) else { return };
        if let Some(undo) = stream.push.apply(change) {
            let (instance, generation) = (instance.clone(), stream.generation);
            self.effects.push(Effect::PushState { instance, generation, undo });
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

impl TransactionHooks for MemoryState {
    /// The time by which all deadlines are measured: the wall clock's as it was when its last jump
    /// was followed, and since then the boot clock's.
    fn now(&self) -> Timestamp {
        self.expiry.now(&self.live.sources.clock)
    }

    fn is_due(&self) -> bool {
        self.expiry.is_due(&self.live.sources.clock)
    }

    fn is_due_before_read(&self) -> bool {
        self.expiry.is_due_before_read(&self.live.sources.clock)
    }

    fn begin(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Swept { ended, jumped } = self.expiry.sweep(connection, &self.live.sources.clock)?;
        if let Some(by_millis) = jumped {
            self.shifted = by_millis;
            self.shift(by_millis);
        }
        failpoint!("broker.expiry.swept");
        self.changed = !ended.is_empty();
        let on_ended = self.on_ended;
        let now = self.now();
        let mut tx = Tx { db: connection, state: self, now };
        on_ended(&mut tx, &ended).map_err(|fault| match fault {
            Fault::Database(error) => error,
            // A notice asks for nothing that could be refused.
            Fault::Refused(error) => rusqlite::Error::ToSqlConversionFailure(Box::new(error)),
        })
    }

    /// A receipt for pushes is an unsynced write, but where messages wait for room in the push
    /// window it offers them. The sweep may tell senders which messages ended.
    fn must_sync(&self) -> bool {
        self.expiry.has_expired(&self.live.sources.clock)
            || self.live.presence.lock().is_any_waiting_for_window()
    }

    fn row_watcher(&self) -> Option<RowWatcher> {
        let observers = self.live.observers.clone();
        let watcher: RowWatcher = Box::new(move |table, row| observers.row_changed(table, row));
        Some(watcher).filter(|_| self.has_row_watcher())
    }

    fn has_row_watcher(&self) -> bool {
        self.live.observers.is_any()
    }

    fn savepoint(&mut self) -> usize {
        self.changed = true;
        self.effects.list.len()
    }

    fn rollback(&mut self, mark: usize) {
        self.sent_unread.rolled_back();
        self.drop_effects(mark);
    }

    fn commit(&mut self) {
        self.shifted = 0;
        self.sent_unread.committed();
        let is_observed = self.live.observers.is_any();
        let peers = is_observed && self.effects.list.iter().any(Effect::changes_a_peer);
        self.apply_effects();
        if is_observed {
            self.live.observers.committed(peers);
        }
        if std::mem::take(&mut self.changed) {
            self.changes.notify_one();
            self.live.written.notify_one();
        }
    }

    fn abort(&mut self) {
        self.sent_unread.rolled_back();
        self.drop_effects(0);
        self.live.observers.aborted();
        let by_millis = std::mem::take(&mut self.shifted);
        self.shift(by_millis.saturating_neg());
        // What the sweep did is undone with the rest, so the next one reads the stored clock again.
        self.expiry = Expiry::default();
    }

    fn reset(&mut self) {
        self.last_seq = None;
        self.expiry = Expiry::default();
        self.name_looks.reset();
        self.sent_unread.reset();
        // Another database knows nothing of it.
        self.hooks_spoke_at = None;
        self.hook_reports = HookReports::default();
        self.replaced = Some(self.live.sources.clock.instant());
        self.live.observers.reset();
        self.changes.notify_one();
        // The sessions find that they are not known, and register again.
        self.live.presence.close_all();
    }
}
