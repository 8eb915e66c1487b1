//! A broker without sockets, for tests of the mailbox, the registry and the store.
//!
//! [`World`] drives the real code in process, with its database in memory. It is the one place of
//! the tests that knows what the mailbox is made of: a test says what peers do, and what they then
//! see.

mod hooks;
mod mail;
mod mailbox_tests;
mod model;
mod peers;
mod plans;
mod registry_tests;
mod statements;
mod store_tests;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::core::{MemoryState, Tx};
use super::http::identity::Identity;
use super::live::LiveState;
use super::mailbox;
use super::sources::{Clock, Ids, Sources, held};
use super::store::Fault;
use super::store::testing::MemoryStore;
use crate::config::Limits;
use crate::protocol::mailbox::Delivery;
use crate::protocol::messages::{ListMessages, Message};
use crate::protocol::stream::Event as StreamEvent;
use crate::protocol::wake::WakeReason;
use crate::protocol::{ApiError, InstanceId, MessageId, PeerId, Timestamp};

pub use self::hooks::event;
pub use self::peers::{Start, TestPeer, ended, running};
pub use super::store::testing::{Outcome, SCHEMA_VERSION, upgraded};

pub use crate::protocol::ErrorCode;
pub use crate::protocol::hook::HookEventName as Hook;
pub use crate::protocol::peers::{Channel, Reachability};
pub use crate::protocol::scope::Scope;

/// What an empty list is compared with.
pub const NOTHING: [&str; 0] = [];

/// A broker, its database, and the peers around it.
pub struct World {
    store: MemoryStore<MemoryState>,
    /// The broker's clock and identifiers, as the test holds them.
    clock: held::Clock,
    ids: held::Ids,
    live: LiveState,
    limits: Limits,
    /// What becomes of the next write.
    next: Outcome,
    /// Counts what needs a name of its own.
    number: u32,
    streams: HashMap<InstanceId, OpenStream>,
    /// The last reason for a wake that each peer was given.
    reasons: HashMap<PeerId, WakeReason>,
}

/// A stream, as its server holds it.
struct OpenStream {
    generation: u64,
    events: mpsc::UnboundedReceiver<StreamEvent>,
}

impl World {
    /// Begins with an empty database and the default limits.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// Begins with other limits.
    pub fn with(change: impl FnOnce(&mut Limits)) -> Self {
        Self::on(change, MemoryStore::new)
    }

    /// Begins with a database of an earlier schema that `fill` wrote to.
    pub fn upgraded(version: i64, fill: &str) -> Self {
        Self::on(|_| {}, |state| MemoryStore::upgraded(version, fill, state))
    }

    fn on(
        change: impl FnOnce(&mut Limits),
        store: impl FnOnce(MemoryState) -> MemoryStore<MemoryState>,
    ) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let (clock, ids) = (held::Clock::new(), held::Ids::default());
        let sources = Sources { clock: Clock::Held(clock.clone()), ids: Ids::Held(ids.clone()) };
        let live = LiveState::new(sources);
        Self {
            store: store(memory_state(&live, &limits)),
            clock,
            ids,
            live,
            limits,
            next: Outcome::Committed,
            number: 0,
            streams: HashMap::new(),
            reasons: HashMap::new(),
        }
    }

    /// Continues with a database in a file.
    pub fn in_file(mut self) -> Self {
        self.store.move_to_file();
        self
    }

    /// Returns how many pages `act` writes to the log of the database, which is in a file.
    pub fn pages(&mut self, act: impl FnOnce(&mut Self)) -> u64 {
        let before = self.store.pages_of_log();
        act(self);
        self.store.pages_of_log() - before
    }

    /// Kills the broker and starts another: the memory is lost, the database is kept.
    pub fn crash(&mut self) {
        self.live = LiveState::new(self.live.sources.clone());
        self.streams.clear();
        self.store.restart(memory_state(&self.live, &self.limits));
    }

    /// Has the next write refused after its work is done, so that it is rolled back.
    pub fn refuse_next(&mut self) {
        self.next = Outcome::Refused;
    }

    /// Has the commit of the next write fail.
    pub fn lose_next(&mut self) {
        self.next = Outcome::Lost;
    }

    /// Applies other limits from now on.
    pub fn set_limits(&mut self, change: impl FnOnce(&mut Limits)) {
        change(&mut self.limits);
        let limits = self.limits.clone();
        self.store.state().set_limits(limits);
    }

    /// Returns where a message stands: "queued", "offered by hook", "read by reply" …
    pub fn state_of(&mut self, id: &MessageId) -> String {
        let message = self.message(id);
        match message.standing() {
            (_, Some(via)) => format!("{} by {via}", message.state),
            (_, None) => message.state.to_string(),
        }
    }

    /// Returns a message as the history shows it.
    pub fn message(&mut self, id: &MessageId) -> Message {
        let request = ListMessages { id: Some(id.clone()), ..ListMessages::default() };
        let mut list = self.list_messages(&request).unwrap();
        list.remove(0)
    }

    /// Returns all that a peer sent or got, oldest first, as "sender > recipient: text".
    pub fn history(&mut self, word: &str) -> Vec<String> {
        let request = ListMessages { peer: Some(word.to_owned()), ..ListMessages::default() };
        let list = self.list_messages(&request).unwrap();
        let name = |party: crate::protocol::messages::Party| party.name.unwrap_or_default();
        list.into_iter().map(|m| format!("{} > {}: {}", name(m.from), name(m.to), m.text)).collect()
    }

    /// Returns what the history shows of a request, as the command line sees it.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn list_messages(&mut self, request: &ListMessages) -> Result<Vec<Message>, ApiError> {
        self.store.read(|tx| {
            let caller = Identity::Owner.authenticate(tx)?;
            Ok(mailbox::list_messages(tx, &caller, request)?.messages)
        })
    }

    /// Returns for how much longer a message is kept from other receivers.
    pub fn lease(&self, id: &MessageId) -> Option<Duration> {
        let until: Option<i64> = self.value("lease_until", id);
        let left = until? - self.now().millis();
        u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_millis)
    }

    /// Advances all clocks.
    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Changes the wall clock by so many milliseconds, forward or back.
    pub fn set_wall_clock(&self, by_millis: i64) {
        self.clock.set_wall(by_millis);
    }

    /// Supplies the next identifiers.
    pub fn next_ids(&self, ids: &[&str]) {
        self.ids.give(ids);
    }

    /// Returns the wall clock's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Reads a column of a message that no interface shows.
    fn value<T: rusqlite::types::FromSql>(&self, column: &str, id: &MessageId) -> T {
        let query = format!("SELECT {column} FROM messages WHERE id = ?1");
        self.store.database().query_row(&query, [id.as_str()], |row| row.get(0)).unwrap()
    }

    /// Whether each peer's count of unread messages is the number that it has, up to the message to
    /// which they are counted.
    pub fn counts_are_right(&self) -> bool {
        let unread = "SELECT count(*) FROM messages m WHERE m.recipient = peers.id
                      AND m.state IN ('queued', 'offered') AND m.sender <> 'broker'
                      AND m.seq <= peers.counted_to";
        self.count(&format!("peers WHERE unread <> ({unread})")) == 0
    }

    /// Counts a peer's unread messages without a running lease.
    pub fn backlog_of(&self, peer: &TestPeer) -> u64 {
        let (id, now) = (&peer.id, self.now().millis());
        let rows = format!(
            "messages WHERE recipient = '{id}' AND state IN ('queued', 'offered')
             AND (lease_until IS NULL OR lease_until <= {now})"
        );
        self.count(&rows).unsigned_abs()
    }

    /// Counts the rows that a condition selects: "offers WHERE …".
    pub fn count(&self, rows: &str) -> i64 {
        let query = format!("SELECT count(*) FROM {rows}");
        self.store.database().query_row(&query, [], |row| row.get(0)).unwrap()
    }

    fn write<T, F>(&mut self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, Fault> + Send + 'static,
    {
        self.store.write(std::mem::take(&mut self.next), work)
    }

    fn next_number(&mut self) -> u32 {
        self.number += 1;
        self.number
    }
}

fn memory_state(live: &LiveState, limits: &Limits) -> MemoryState {
    let changes = Arc::new(Notify::new());
    MemoryState::new(live.clone(), limits.clone(), changes, mailbox::insert_notices)
}

/// How a message looks to its receiver: its text, and whether it may have been seen before.
fn line(delivery: &Delivery) -> String {
    let repeat = if delivery.repeat { " (repeat)" } else { "" };
    let pushed = if delivery.already_pushed { " (pushed)" } else { "" };
    format!("{}{repeat}{pushed}", delivery.text)
}

fn lines(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(line).collect()
}
