//! A peer as other peers see it.

use std::collections::{HashMap, HashSet};

use rusqlite::{OptionalExtension as _, Row, params};

use crate::broker::core::Tx;
use crate::broker::registry::{client_sessions, keys};
use crate::broker::store::Fault;
use crate::protocol::bounds::{MAX_LABEL, MAX_PATH, MAX_SUMMARY, cut};
use crate::protocol::peers::{Activity, Channel, Peer, PeerKind, Reachability};
use crate::protocol::{PeerId, Timestamp};

/// The number of unread messages that a row of `peers` does not count, without notices.
macro_rules! uncounted {
    () => {
        "(SELECT count(*) FROM messages m INDEXED BY messages_unread
          WHERE m.recipient = peers.id AND m.state IN ('queued', 'offered')
            AND m.seq > peers.counted_to AND m.sender <> 'broker')"
    };
}
pub(super) use uncounted;

/// The number of unread messages of a row of `peers`, without notices: those that are counted in the
/// row, and those that came since.
macro_rules! unread_count {
    () => {
        concat!("(peers.unread + ", $crate::broker::registry::listing::uncounted!(), ")")
    };
}
pub(super) use unread_count;

/// Those of them under a running lease; `?2` is the time.
macro_rules! leased_count {
    () => {
        "(SELECT count(*) FROM messages m INDEXED BY messages_leased
          WHERE m.recipient = peers.id AND m.lease_until > ?2 AND m.sender <> 'broker')"
    };
}
pub(super) use leased_count;

/// The backlog of a row of `peers`: its unread messages without a running lease; `?2` is the time.
macro_rules! backlog_count {
    () => {
        concat!(
            "max(",
            $crate::broker::registry::listing::unread_count!(),
            " - ",
            $crate::broker::registry::listing::leased_count!(),
            ", 0)"
        )
    };
}

/// The backlog, and the notices without a running lease; `?2` is the time.
macro_rules! waiting_count {
    () => {
        concat!(
            $crate::broker::registry::listing::backlog_count!(),
            " + (SELECT count(*) FROM messages m INDEXED BY messages_notices
                 WHERE m.recipient = peers.id AND m.sender = 'broker'
                   AND m.state IN ('queued', 'offered')
                   AND (m.lease_until IS NULL OR m.lease_until <= ?2))"
        )
    };
}
pub(super) use {backlog_count, waiting_count};

/// The columns of `peers` that [`entry`] reads.
macro_rules! peer_columns {
    () => {
        concat!(
            "peers.id, peers.name, peers.kind, peers.seen_at, peers.summary, peers.cwd, peers.repo,
             peers.client_name, peers.client_version, peers.one_shot, ",
            $crate::broker::registry::listing::unread_count!(),
            ", peers.directory, peers.name_source IN ('environment', 'reserved') OR peers.client_named,
             (SELECT said_at FROM clients c WHERE c.process = peers.client_process)"
        )
    };
}
pub(super) use peer_columns;

/// How many columns [`peer_columns`] has.
pub(super) const PEER_COLUMNS: usize = 14;

/// A peer as the database has it; whether it is live is added by [`add_presence`].
pub(super) struct ListedPeer {
    pub peer: Peer,
    /// The number of unread messages, including those under a running lease.
    pub unread: u64,
    pub directory: Option<String>,
    /// The person chose the name, so a session may be resumed by it.
    pub explicit: bool,
    pub seen_at: i64,
    /// When the client process of this peer had its last hook event; `None` if it had none.
    pub hook_at: Option<i64>,
    /// That client process, if it is known already.
    pub hooks: Option<HookClient>,
}

/// A client process whose hooks have spoken.
pub(super) struct HookClient {
    pub process: String,
    /// The peer of the session that it shows, by its hooks; empty if that has none.
    pub shows: String,
}

/// Reads a text of at most so many bytes: a database of an earlier version may have longer ones.
pub fn short(row: &Row<'_>, column: usize, most: usize) -> rusqlite::Result<String> {
    Ok(cut(row.get_ref(column)?.as_str()?, most).to_owned())
}

/// Does the same for a text that may be absent.
pub fn short_any(row: &Row<'_>, column: usize, most: usize) -> rusqlite::Result<Option<String>> {
    Ok(row.get_ref(column)?.as_str_or_null()?.map(|text| cut(text, most).to_owned()))
}

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<ListedPeer> {
    let seen_at: i64 = row.get(3)?;
    let peer = Peer {
        id: PeerId::from_text(row.get::<_, String>(0)?),
        name: short_any(row, 1, MAX_LABEL)?,
        kind: PeerKind::from_word(row.get_ref(2)?.as_str()?),
        live: false,
        reach: Reachability::Away,
        activity: Activity::Unknown,
        since: Timestamp::from_millis(seen_at),
        summary: short(row, 4, MAX_SUMMARY)?,
        cwd: short(row, 5, MAX_PATH)?,
        repo: short_any(row, 6, MAX_PATH)?,
        branch: None,
        client_name: short(row, 7, MAX_LABEL)?,
        client_version: short(row, 8, MAX_LABEL)?,
        one_shot: row.get(9)?,
        unread: 0,
        oldest_unread: None,
    };
    Ok(ListedPeer {
        peer,
        unread: u64::try_from(row.get::<_, i64>(10)?).unwrap_or(0),
        directory: short_any(row, 11, MAX_PATH)?,
        explicit: row.get::<_, Option<bool>>(12)?.unwrap_or(false),
        seen_at,
        hook_at: row.get(13)?,
        hooks: None,
    })
}

/// Which peers are live, and over which channels: one look for a whole list.
pub(super) struct LivePeers {
    channels: HashMap<PeerId, Channel>,
    /// Those whose server has ended while their client process goes on.
    by_hooks: HashSet<PeerId>,
}

impl LivePeers {
    pub fn read(tx: &Tx<'_>) -> Self {
        let live = &tx.state.live;
        let presence = live.presence.lock();
        let channels = presence.channels();
        let with_server = channels.keys().copied().collect();
        let by_hooks = live.client_processes.live_by_hooks(&with_server).into_iter().collect();
        let owned = |(id, channel): (&PeerId, Channel)| (id.clone(), channel);
        Self { channels: channels.into_iter().map(owned).collect(), by_hooks }
    }

    pub fn contains(&self, id: &str) -> bool {
        self.channels.contains_key(id) || self.by_hooks.contains(id)
    }

    pub fn ids(&self) -> impl Iterator<Item = &PeerId> {
        self.channels.keys().chain(&self.by_hooks)
    }

    pub fn len(&self) -> u64 {
        (self.channels.len() + self.by_hooks.len()) as u64
    }

    pub fn add_presence(&self, tx: &Tx<'_>, entry: &mut ListedPeer) -> Result<(), Fault> {
        let id = &entry.peer.id;
        let (channel, by_hooks) = (self.channels.get(id).copied(), self.by_hooks.contains(id));
        set_presence(tx, entry, channel, by_hooks)
    }
}

/// Adds whether the peer is live, and how it can be reached.
pub(super) fn add_presence(tx: &Tx<'_>, entry: &mut ListedPeer) -> Result<(), Fault> {
    let (live, id) = (&tx.state.live, &entry.peer.id);
    let channel = live.presence.lock().channel(id);
    // Its server has ended, and its client process goes on.
    let by_hooks = channel.is_none() && live.client_processes.has_open_client(id);
    set_presence(tx, entry, channel, by_hooks)
}

fn set_presence(
    tx: &Tx<'_>,
    entry: &mut ListedPeer,
    channel: Option<Channel>,
    by_hooks: bool,
) -> Result<(), Fault> {
    let id = &entry.peer.id;
    entry.peer.live = channel.is_some() || by_hooks;
    if entry.peer.live {
        entry.peer.activity = tx.state.turns.activity(id);
    }
    // Only where it makes a difference.
    let has_hooks = || -> Result<bool, Fault> {
        Ok(entry.hook_at.is_some()
            && !tx.state.live.client_processes.hooks_are_off(id)
            && match &entry.hooks {
                Some(HookClient { process, shows }) => {
                    client_sessions::are_hooks_of(tx, process, shows, id)
                }
                None => client_sessions::has_hooks_for(tx, id)?,
            })
    };
    entry.peer.reach = match channel {
        None if by_hooks => Reachability::Hooks,
        None if entry.peer.kind == PeerKind::Cli => Reachability::Inbox,
        None if entry.peer.kind == PeerKind::Client && keys::cannot_return(tx, id)? => {
            Reachability::Ended
        }
        None => Reachability::Away,
        Some(Channel::Proven) => Reachability::ChannelProven,
        // Hooks are more reliable than a push that may not be shown.
        Some(_) if has_hooks()? => Reachability::Hooks,
        Some(Channel::Presumed) => Reachability::ChannelPresumed,
        Some(Channel::Absent) => Reachability::Tools,
    };
    Ok(())
}

/// Adds the peer's backlog.
pub(super) fn count_mail(tx: &Tx<'_>, peer: &mut Peer) -> Result<(), Fault> {
    peer.unread = backlog(tx, &peer.id)?;
    add_oldest_unread(tx, peer)
}

/// Adds when the oldest unread message was sent, if there is a backlog.
pub(super) fn add_oldest_unread(tx: &Tx<'_>, peer: &mut Peer) -> Result<(), Fault> {
    if peer.unread > 0 {
        let oldest: Option<i64> = tx
            .db
            .prepare_cached(
                "SELECT sent_at FROM messages
                 WHERE recipient = ?1 AND state IN ('queued', 'offered') AND sender <> 'broker'
                 ORDER BY seq LIMIT 1",
            )?
            .query_row([peer.id.as_str()], |row| row.get(0))
            .optional()?;
        peer.oldest_unread = oldest.map(Timestamp::from_millis);
    }
    Ok(())
}

pub(super) fn load(tx: &Tx<'_>, id: &PeerId) -> Result<ListedPeer, Fault> {
    let mut found = tx
        .db
        .prepare_cached(concat!("SELECT ", peer_columns!(), " FROM peers WHERE id = ?1"))?
        .query_row([id.as_str()], entry)?;
    add_presence(tx, &mut found)?;
    if found.unread > 0 {
        count_mail(tx, &mut found.peer)?;
    }
    Ok(found)
}

/// Returns a peer by its id.
///
/// # Errors
///
/// If there is no such peer.
pub fn peer(tx: &Tx<'_>, id: &PeerId) -> Result<Peer, Fault> {
    Ok(load(tx, id)?.peer)
}

/// Returns how many peers are live, and how many messages are unread in all mailboxes.
pub fn live_and_backlog(tx: &Tx<'_>) -> Result<(u64, u64), Fault> {
    let live = LivePeers::read(tx).len();
    let backlog: i64 = tx
        .db
        .prepare_cached(concat!(
            "SELECT coalesce(sum(",
            unread_count!(),
            "), 0) FROM peers WHERE kind IN ('session', 'client', 'cli')"
        ))?
        .query_row(params![], |row| row.get(0))?;
    Ok((live, u64::try_from(backlog).unwrap_or(0)))
}

/// The unread messages of a peer, without notices.
#[derive(Debug, Clone, Copy)]
pub struct Unread {
    pub total: u64,
    /// Those that are not counted in the peer's row.
    pub uncounted: u64,
}

/// From how many unread messages on that are not counted in a peer's row they are counted there.
const MAX_UNCOUNTED: u64 = 32;

impl Unread {
    /// Takes account of the message `seq` to this peer, which is stored now, and whose number is greater
    /// than all others.
    ///
    /// The count in the peer's row is written only now and then, because it is a page more for a message.
    pub fn with_message(self, tx: &Tx<'_>, peer: &PeerId, seq: i64) -> Result<Self, Fault> {
        let total = self.total + 1;
        if self.uncounted < MAX_UNCOUNTED {
            return Ok(Self { total, uncounted: self.uncounted + 1 });
        }
        let counted = i64::try_from(total).unwrap_or(i64::MAX);
        tx.db
            .prepare_cached("UPDATE peers SET unread = ?2, counted_to = ?3 WHERE id = ?1")?
            .execute(params![peer.as_str(), counted, seq])?;
        Ok(Self { total, uncounted: 0 })
    }
}

/// Returns the unread messages of a peer, without notices.
pub fn unread(tx: &Tx<'_>, peer: &PeerId) -> Result<Unread, Fault> {
    let (total, counted): (i64, i64) = tx
        .db
        .prepare_cached(concat!("SELECT ", unread_count!(), ", unread FROM peers WHERE id = ?1"))?
        .query_row([peer.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    Ok(Unread { total: count(total), uncounted: count(total - counted) })
}

/// Returns a peer's backlog: its unread messages without a running lease.
pub fn backlog(tx: &Tx<'_>, peer: &PeerId) -> Result<u64, Fault> {
    count(tx, peer, concat!("SELECT ", backlog_count!(), " FROM peers WHERE id = ?1"))
}

/// Returns the backlog of a peer, and the notices for it without a running lease.
pub fn waiting(tx: &Tx<'_>, peer: &PeerId) -> Result<u64, Fault> {
    count(tx, peer, concat!("SELECT ", waiting_count!(), " FROM peers WHERE id = ?1"))
}

fn count(tx: &Tx<'_>, peer: &PeerId, sql: &str) -> Result<u64, Fault> {
    let counted: i64 = tx
        .db
        .prepare_cached(sql)?
        .query_row(params![peer.as_str(), tx.now.millis()], |row| row.get(0))?;
    Ok(u64::try_from(counted).unwrap_or(0))
}
