//! The list of peers: which of them a caller is shown, nearest first, and how many there are besides.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use rusqlite::Row;

use crate::broker::core::{Caller, Tx};
use crate::broker::registry::ended;
use crate::broker::registry::listing::{
    ListedPeer, LivePeers, add_oldest_unread, entry, leased, load, scan, waiting,
};
use crate::broker::registry::place_names::WorkingPlace;
use crate::broker::store::Fault;
use crate::protocol::peers::{ListPeers, Peer, PeerList, Reachability};
use crate::protocol::scope::Scope;
use crate::protocol::{ApiError, ErrorCode, PeerId, names};

/// Returns the peers in a scope, as `caller` sees them.
///
/// # Errors
///
/// [`ErrorCode::BadRequest`] for the scope `repo` of a caller that is in no repository.
pub fn list(tx: &Tx<'_>, caller: &Caller, request: &ListPeers) -> Result<PeerList, Fault> {
    let is_session = caller.instance.is_some() || caller.by_command_line;
    let me = is_session.then(|| load(tx, &caller.peer)).transpose()?;
    let place = match &me {
        Some(me) if !caller.by_command_line => {
            Place { directory: me.directory.clone(), repo: me.peer.repo.clone() }
        }
        // A shell may be in another directory than its session.
        _ => Place { directory: request.directory.clone(), repo: request.repo.clone() },
    };
    if request.scope == Scope::Repo && place.repo.is_none() {
        return Err(ApiError::new(ErrorCode::BadRequest, "this is not inside a git repository")
            .hint("Use the scope directory or machine.")
            .into());
    }
    let live = LivePeers::read(tx);
    let mut choice = Choice::new(caller, request, &place);
    scan(tx, &live, |row| choice.consider(row, &live))?;
    let leased = leased(tx)?;
    let complete = |mut entry: ListedPeer| -> Result<Peer, Fault> {
        live.add_presence(tx, &mut entry)?;
        entry.peer.unread = backlog(&entry, &leased);
        add_oldest_unread(tx, &mut entry.peer)?;
        Ok(entry.peer)
    };
    let (shown, more) = choice.shown();
    let peers = shown.into_iter().map(complete).collect::<Result<Vec<_>, Fault>>()?;
    let (mut away, mut away_unread) = (0, (!request.all).then_some(0));
    for mut entry in choice.away {
        live.add_presence(tx, &mut entry)?;
        if entry.peer.reach != Reachability::Ended {
            away += 1;
            away_unread = away_unread.map(|sum| sum + backlog(&entry, &leased));
        }
    }
    let (ended, more_ended) = if request.all {
        let is_in_scope = |of: &WorkingPlace| {
            place.contains(request.scope, Some(&of.directory), of.repo.as_deref())
        };
        ended::list(tx, &caller.peer, &peers, is_in_scope)?
    } else {
        (Vec::new(), false)
    };
    let (me, waiting) = (me.map(|me| me.peer), waiting(tx, &caller.peer)?);
    Ok(PeerList { me, peers, more, away, away_unread, ended, more_ended, waiting })
}

fn backlog(entry: &ListedPeer, leased: &HashMap<PeerId, u64>) -> u64 {
    entry.unread.saturating_sub(leased.get(&entry.peer.id).copied().unwrap_or(0))
}

/// Where the caller works.
struct Place {
    directory: Option<String>,
    repo: Option<String>,
}

impl Place {
    fn contains(&self, scope: Scope, directory: Option<&str>, repo: Option<&str>) -> bool {
        match scope {
            Scope::Machine => true,
            Scope::Directory => self.directory.is_some() && self.directory.as_deref() == directory,
            Scope::Repo => self.repo.is_some() && self.repo.as_deref() == repo,
        }
    }

    /// Returns the smallest scope that holds the caller and a peer; the nearest is the least.
    fn distance(&self, directory: Option<&str>, repo: Option<&str>) -> u8 {
        if self.contains(Scope::Directory, directory, repo) {
            0
        } else if self.contains(Scope::Repo, directory, repo) {
            1
        } else {
            2
        }
    }
}

/// The place of a peer in the list. The last part is its place among all rows.
type Rank = (bool, u8, Reverse<i64>, usize);

/// A peer of the list, ordered by its rank.
struct Ranked(Rank, ListedPeer);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// The choice of the peers that are shown. Only these are read whole, and completed.
struct Choice<'a> {
    caller: &'a PeerId,
    request: &'a ListPeers,
    place: &'a Place,
    /// The beginning of the names that are asked for, in the form in which names are compared.
    prefix: Option<String>,
    /// The nearest so far, the farthest of them on top.
    nearest: BinaryHeap<Ranked>,
    /// How many fit the request.
    count: usize,
    /// Those that are away, if they are not listed.
    away: Vec<ListedPeer>,
}

impl<'a> Choice<'a> {
    fn new(caller: &'a Caller, request: &'a ListPeers, place: &'a Place) -> Self {
        Self {
            caller: &caller.peer,
            request,
            place,
            prefix: request.name.as_deref().map(|name| names::key(&names::canonical(name))),
            nearest: BinaryHeap::new(),
            count: 0,
            away: Vec::new(),
        }
    }

    fn consider(&mut self, row: &Row<'_>, live: &LivePeers) -> rusqlite::Result<()> {
        let text = |column: usize| -> rusqlite::Result<Option<&str>> {
            Ok(row.get_ref(column)?.as_str_or_null()?)
        };
        let id = text(0)?.unwrap_or_default();
        let (directory, repo) = (text(11)?, text(6)?);
        if id == self.caller.as_str()
            || !self.place.contains(self.request.scope, directory, repo)
            || !self.is_asked_for(id, text(1)?)
        {
            return Ok(());
        }
        let is_live = live.contains(&PeerId::from_text(id));
        if !is_live && !self.request.all {
            self.away.push(entry(row)?);
            return Ok(());
        }
        let limit = usize::try_from(self.request.limit).unwrap_or(usize::MAX);
        let rank = if limit == 0 {
            (!is_live, 0, Reverse(0), self.count)
        } else {
            let active = row.get::<_, i64>(3)?.max(row.get::<_, Option<i64>>(13)?.unwrap_or(0));
            (!is_live, self.place.distance(directory, repo), Reverse(active), self.count)
        };
        self.count += 1;
        if limit > 0 && self.nearest.len() == limit {
            if self.nearest.peek().is_some_and(|farthest| farthest.0 < rank) {
                return Ok(());
            }
            self.nearest.pop();
        }
        self.nearest.push(Ranked(rank, entry(row)?));
        Ok(())
    }

    fn is_asked_for(&self, id: &str, name: Option<&str>) -> bool {
        self.prefix.as_deref().is_none_or(|prefix| {
            id.starts_with(prefix) || name.is_some_and(|name| names::key(name).starts_with(prefix))
        })
    }

    /// Returns the peers that are shown, nearest first, and how many more there are.
    fn shown(&mut self) -> (Vec<ListedPeer>, u64) {
        let nearest = std::mem::take(&mut self.nearest).into_sorted_vec();
        let more = (self.count - nearest.len()) as u64;
        (nearest.into_iter().map(|ranked| ranked.1).collect(), more)
    }
}
