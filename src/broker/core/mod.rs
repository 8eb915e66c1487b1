//! What the database's thread keeps in memory beside the database, and who calls it.
//!
//! Registry and mailbox both work on a [`Tx`]: the transaction of one request, this memory, and
//! the time. What must not happen before the commit (a push) waits in the [`Outbox`].

mod effects;
mod expiry;
pub mod idempotency;
mod rate_limit;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension as _};
use tokio::sync::Notify;

use crate::broker::live::Connected;
use crate::broker::live::presence::Presence;
use crate::broker::live::turns::Turns;
use crate::broker::store::{Companion, Fault, Store};
use crate::broker::{mailbox, registry};
use crate::config::Limits;
use crate::protocol::{ApiError, ErrorCode, Inside, InstanceId, PeerId, Timestamp};

pub use effects::Outbox;
pub use expiry::{Clock, Ended};
pub use rate_limit::Rates;

pub type MailStore = Store<Engine>;
pub type Tx<'a> = crate::broker::store::Tx<'a, Engine>;

/// The memory beside the database.
pub struct Engine {
    pub connected: Connected,
    /// The sessions whose hooks said that a turn is under way.
    pub turns: Turns,
    /// The sessions that somebody was told to wake, and when, until that was done.
    pub waking: HashMap<PeerId, Instant>,
    /// When a hook last spoke, as far as it is noted.
    pub hooks_spoke_at: Option<Timestamp>,
    pub limits: Limits,
    pub rates: Rates,
    pub outbox: Outbox,
    /// Who is away only because the broker was has had no time yet to come back.
    pub started_at: Timestamp,
    pub clock: Clock,
    /// When another database took the place of the one before, if one did.
    pub replaced: Option<Instant>,
    /// Told when the mail may have changed.
    changes: Arc<Notify>,
    /// Whether it may have, in this transaction.
    changed: bool,
}

impl Engine {
    #[must_use]
    pub fn new(connected: Connected, limits: Limits, changes: Arc<Notify>) -> Self {
        Self {
            rates: Rates::new(limits.messages_per_minute, limits.burst),
            outbox: Outbox::default(),
            started_at: Timestamp::now(),
            clock: Clock::default(),
            replaced: None,
            connected,
            turns: Turns::default(),
            waking: HashMap::new(),
            hooks_spoke_at: None,
            limits,
            changes,
            changed: false,
        }
    }

    /// Goes by other limits from now on. What was sent before counts as before.
    pub fn set_limits(&mut self, limits: Limits) {
        self.rates.set(limits.messages_per_minute, limits.burst);
        self.limits = limits;
    }
}

impl Companion for Engine {
    fn is_due(&self) -> bool {
        self.clock.is_due()
    }

    fn begin(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let ended = self.clock.sweep(connection)?;
        self.changed = !ended.is_empty();
        let mut tx = Tx { db: connection, companion: self, now: Timestamp::now() };
        mailbox::tell_senders(&mut tx, &ended).map_err(|fault| match fault {
            Fault::Database(error) => error,
            // Nothing is asked for here that could be refused.
            Fault::Refused(error) => rusqlite::Error::ToSqlConversionFailure(Box::new(error)),
        })
    }

    /// Room in a window is a note, but where messages wait for it, it offers them. And so may a
    /// look at the clock, which tells senders what ended.
    fn must_sync(&self) -> bool {
        self.clock.is_ripe() || self.connected.presence.lock().is_any_behind()
    }

    fn savepoint(&mut self) {
        self.changed = true;
        self.outbox.mark();
    }

    fn rollback(&mut self) {
        self.outbox.rollback(&self.connected);
    }

    fn commit(&mut self) {
        self.outbox.deliver(&self.connected);
        if std::mem::take(&mut self.changed) {
            self.changes.notify_one();
        }
    }

    fn abort(&mut self) {
        self.outbox.clear(&self.connected);
        // What the sweep did is undone with the rest; it must look at the stored clock again.
        self.clock = Clock::default();
    }

    fn reset(&mut self) {
        self.clock = Clock::default();
        self.replaced = Some(Instant::now());
        self.changes.notify_one();
        // The sessions find that they are not known and register again.
        self.connected.presence.close_all();
    }
}

/// Who calls, as its transport and its secret tell.
#[derive(Debug, Clone)]
pub enum Identity {
    /// The owner, by the Unix socket's credentials or the token: acts as `cli`.
    Owner,
    /// The owner's command line inside a session: acts as that, if it has a peer here.
    Inside(Inside, Presence),
    /// A receiver, by the secret that it registered with.
    Session(String),
}

/// A caller that the database knows.
#[derive(Debug, Clone)]
pub struct Caller {
    pub peer: PeerId,
    /// The receiver that calls; `None` for the CLI.
    pub instance: Option<InstanceId>,
    /// It is doctor's, which writes to itself only.
    pub probe: bool,
    /// It is a session's command line, and not the session's server.
    pub by_command_line: bool,
}

impl Caller {
    /// The name of this way in, for leases and offers.
    #[must_use]
    pub fn receiver(&self) -> String {
        self.instance.as_ref().map_or_else(|| "cli".to_owned(), ToString::to_string)
    }

    /// The database's word for the way by which it is shown what it asks for.
    #[must_use]
    pub const fn via(&self) -> &'static str {
        if self.instance.is_some() { "tool" } else { "cli" }
    }
}

/// The command line, which has one mailbox.
fn owner(db: &Connection) -> Result<Caller, Fault> {
    let peer: String = db
        .prepare_cached("SELECT id FROM peers WHERE kind = 'cli'")?
        .query_row([], |row| row.get(0))?;
    let peer = PeerId::from_text(peer);
    Ok(Caller { peer, instance: None, probe: false, by_command_line: false })
}

impl Identity {
    /// Looks the caller up.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UnknownSession`] for a secret that nobody registered with.
    pub fn resolve(&self, db: &Connection) -> Result<Caller, Fault> {
        match self {
            Self::Owner => owner(db),
            Self::Inside(inside, presence) => match registry::peer_around(db, inside, presence)? {
                Some(peer) => {
                    Ok(Caller { peer, instance: None, probe: false, by_command_line: true })
                }
                None => owner(db),
            },
            Self::Session(secret) => {
                let found = db
                    .prepare_cached(
                        // History of an older database has no receivers: with one it is a probe.
                        "SELECT r.peer, r.instance, p.kind = 'history'
                         FROM receivers r JOIN peers p ON p.id = r.peer WHERE r.secret = ?1",
                    )?
                    .query_row([secret], |row| {
                        Ok(Caller {
                            peer: PeerId::from_text(row.get::<_, String>(0)?),
                            instance: Some(InstanceId::from_text(row.get::<_, String>(1)?)),
                            probe: row.get(2)?,
                            by_command_line: false,
                        })
                    })
                    .optional()?;
                found.ok_or_else(|| {
                    let error = ApiError::new(
                        ErrorCode::UnknownSession,
                        "this broker does not know the session",
                    );
                    error.hint("Register again.").into()
                })
            }
        }
    }

    /// Looks the caller up and demands that it is a session.
    ///
    /// # Errors
    ///
    /// As [`Identity::resolve`], and [`ErrorCode::Forbidden`] for the CLI.
    pub fn session(&self, db: &Connection) -> Result<(Caller, InstanceId), Fault> {
        let caller = self.resolve(db)?;
        let instance = caller.instance.clone().ok_or_else(|| {
            ApiError::new(ErrorCode::Forbidden, "only a registered session can do this")
        })?;
        Ok((caller, instance))
    }
}
