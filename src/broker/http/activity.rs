//! What live sessions are doing, by their clients' own records.
//!
//! Hooks tell when a turn begins and ends, but not that the person interrupted it, nor that a dialog is
//! open. Some clients have it in a file. It is read outside of the database's lane, and only for
//! those who ask for a list.

use crate::broker::core::Tx;
use crate::broker::registry;
use crate::broker::shared::Shared;
use crate::broker::store::Fault;
use crate::claude_code::session_file;
use crate::protocol::peers::{Activity, Peer, PeerKind};
use crate::protocol::{PeerId, ProcessId};

/// The most files that are read for one list.
const MAX_FILES: usize = 200;

/// Returns the client processes of those of the peers whose clients may say more than their hooks did.
pub fn clients_to_ask(tx: &Tx<'_>, peers: &[Peer]) -> Result<Vec<(PeerId, ProcessId)>, Fault> {
    let asked = peers.iter().filter(|peer| {
        // That a turn has ended is certain.
        peer.live && peer.kind == PeerKind::Session && peer.activity != Activity::Idle
    });
    let mut found = Vec::new();
    for peer in asked.take(MAX_FILES) {
        if let Some(client) = registry::client_of_peer(tx, &peer.id)? {
            found.push((peer.id.clone(), client));
        }
    }
    Ok(found)
}

/// Adds to the peers what these clients say.
pub async fn add(shared: &Shared, clients: Vec<(PeerId, ProcessId)>, peers: &mut [Peer]) {
    if clients.is_empty() {
        return;
    }
    let (ids, clients): (Vec<PeerId>, Vec<ProcessId>) = clients.into_iter().unzip();
    let directory = shared.config.claude.directory.clone();
    let activities = session_file::activities(&directory, clients).await;
    for (id, activity) in ids.iter().zip(activities) {
        if activity == Activity::Unknown {
            continue;
        }
        if let Some(peer) = peers.iter_mut().find(|peer| peer.id == *id) {
            peer.activity = activity;
        }
    }
}
