//! What a request works on: its transaction, the in-memory state, and the time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::Notify;

use crate::broker::core::effects::Effects;
use crate::broker::core::expiry::{EndedMessage, Expiry};
use crate::broker::core::rate_limit::RateLimits;
use crate::broker::live::LiveState;
use crate::broker::live::turns::Turns;
use crate::broker::store::{Fault, Store, TransactionHooks};
use crate::config::Limits;
use crate::protocol::{PeerId, Timestamp};
use crate::sys::clock;

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
    pub limits: Limits,
    pub rates: RateLimits,
    pub effects: Effects,
    /// When this broker started. Peers that are away only because the previous broker stopped get
    /// their grace period from this moment.
    pub started_at: Timestamp,
    pub expiry: Expiry,
    /// When another database took the place of the one before, if one did.
    pub replaced: Option<Instant>,
    on_ended: OnEnded,
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
            effects: Effects::default(),
            started_at: clock::now(),
            expiry: Expiry::default(),
            replaced: None,
            live,
            turns: Turns::default(),
            waking: HashMap::new(),
            hooks_spoke_at: None,
            limits,
            on_ended,
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

impl TransactionHooks for MemoryState {
    fn is_due(&self) -> bool {
        self.expiry.is_due()
    }

    fn begin(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let ended = self.expiry.sweep(connection)?;
        self.changed = !ended.is_empty();
        let on_ended = self.on_ended;
        let mut tx = Tx { db: connection, state: self, now: clock::now() };
        on_ended(&mut tx, &ended).map_err(|fault| match fault {
            Fault::Database(error) => error,
            // A notice asks for nothing that could be refused.
            Fault::Refused(error) => rusqlite::Error::ToSqlConversionFailure(Box::new(error)),
        })
    }

    /// A receipt for pushes is an unsynced write, but where messages wait for room in the push
    /// window it offers them. The sweep may tell senders which messages ended.
    fn must_sync(&self) -> bool {
        self.expiry.has_expired() || self.live.presence.lock().is_any_waiting_for_window()
    }

    fn savepoint(&mut self) {
        self.changed = true;
        self.effects.mark_savepoint();
    }

    fn rollback(&mut self) {
        self.drop_effects();
    }

    fn commit(&mut self) {
        self.apply_effects();
        if std::mem::take(&mut self.changed) {
            self.changes.notify_one();
        }
    }

    fn abort(&mut self) {
        self.drop_all_effects();
        // What the sweep did is undone with the rest, so the next one reads the stored clock again.
        self.expiry = Expiry::default();
    }

    fn reset(&mut self) {
        self.expiry = Expiry::default();
        self.replaced = Some(Instant::now());
        self.changes.notify_one();
        // The sessions find that they are not known, and register again.
        self.live.presence.close_all();
    }
}
