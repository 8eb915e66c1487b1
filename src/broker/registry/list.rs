//! The list of peers: which of them a caller is shown, nearest first, and how many there are besides.

use std::collections::{BinaryHeap, HashMap};

use crate::broker::core::{Caller, Tx};
use crate::broker::registry::ended;
use crate::broker::registry::listing::{ListedPeer, LivePeers, add_oldest_unread, load, waiting};
use crate::broker::registry::place_names::WorkingPlace;
use crate::broker::registry::scan::{ScannedPeer, entries, hook_events, leased, scan};
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
    let hooks = if request.limit > 0 { hook_events(tx)? } else { HashMap::new() };
    let mut choice = Choice::new(caller, request, &place);
    scan(tx, &live, |peer| {
        choice.consider(peer, &hooks);
        Ok(())
    })?;
    let leased = leased(tx)?;
    let (mut peers, more) = choice.shown(tx, &live)?;
    for entry in &mut peers {
        live.add_presence(tx, entry)?;
        entry.peer.unread = backlog(entry, &leased);
        add_oldest_unread(tx, &mut entry.peer)?;
    }
    let peers: Vec<Peer> = peers.into_iter().map(|entry| entry.peer).collect();
    let (mut away, mut away_unread) = (0, (!request.all).then_some(0));
    for mut entry in choice.away(tx)? {
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

/// The place of a peer in the list: whether it is away, how far it is, how long ago it was active or, of
/// a whole list, when it came. The least comes first.
type Ranked = (bool, u8, i64, PeerId);

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
    away: Vec<PeerId>,
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

    fn consider(&mut self, peer: &ScannedPeer<'_>, hooks: &HashMap<String, i64>) {
        if peer.id == self.caller.as_str()
            || !self.place.contains(self.request.scope, peer.directory, peer.repo)
            || !self.is_asked_for(peer.id, peer.name)
        {
            return;
        }
        let id = PeerId::from_text(peer.id);
        if !peer.is_live && !self.request.all {
            self.away.push(id);
            return;
        }
        let limit = self.limit();
        let (distance, time) = if limit == usize::MAX {
            (0, peer.created_at)
        } else {
            let hook_at = peer.client_process.and_then(|process| hooks.get(process)).copied();
            let distance = self.place.distance(peer.directory, peer.repo);
            (distance, -peer.seen_at.max(hook_at.unwrap_or(0)))
        };
        self.count += 1;
        self.nearest.push((!peer.is_live, distance, time, id));
        if self.nearest.len() > limit {
            self.nearest.pop();
        }
    }

    fn limit(&self) -> usize {
        match self.request.limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        }
    }

    fn is_asked_for(&self, id: &str, name: Option<&str>) -> bool {
        self.prefix.as_deref().is_none_or(|prefix| {
            id.starts_with(prefix) || name.is_some_and(|name| names::key(name).starts_with(prefix))
        })
    }

    /// Returns the peers that are shown, nearest first, and how many more there are.
    fn shown(&mut self, tx: &Tx<'_>, live: &LivePeers) -> Result<(Vec<ListedPeer>, u64), Fault> {
        let nearest = std::mem::take(&mut self.nearest).into_sorted_vec();
        let more = (self.count - nearest.len()) as u64;
        let ids: Vec<PeerId> = nearest.into_iter().map(|(.., id)| id).collect();
        let mut shown = entries(tx, &ids)?;
        shown.retain(|entry| live.contains(entry.peer.id.as_str()) || is_listed_away(entry));
        Ok((shown, more))
    }

    /// Returns the peers that are away and not shown.
    fn away(&self, tx: &Tx<'_>) -> Result<Vec<ListedPeer>, Fault> {
        let mut away = entries(tx, &self.away)?;
        away.retain(is_listed_away);
        Ok(away)
    }
}

/// Returns whether a peer that is not live is listed: it may have notices alone.
fn is_listed_away(entry: &ListedPeer) -> bool {
    entry.explicit || entry.unread > 0
}
