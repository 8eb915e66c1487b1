//! The git branches of live peers, for observers.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::protocol::peers::Peer;
use crate::sys::git::Git;

/// For how long a branch counts as known.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// How long one look may take for all peers: a file system may hang.
const PATIENCE: Duration = Duration::from_millis(500);

/// The branches that one observer was told, by directory.
pub struct Branches {
    git: Git,
    known: HashMap<String, (Instant, Option<String>)>,
}

impl Branches {
    pub fn new(config: &Config) -> Self {
        Self { git: Git::new(config.environment.iter()), known: HashMap::new() }
    }

    /// Adds to each live peer its branch. One that cannot be read in time stays as it was.
    pub async fn add(&mut self, peers: &mut [Peer]) {
        let live = |peer: &&mut Peer| peer.live && peer.repo.is_some();
        // An error means that not all could be read.
        let _ = tokio::time::timeout(PATIENCE, self.read(peers)).await;
        for peer in peers.iter_mut().filter(live) {
            peer.branch = self.known.get(&peer.cwd).and_then(|(_, branch)| branch.clone());
        }
        let is_used = |cwd: &String| peers.iter().any(|peer| peer.cwd == *cwd);
        if self.known.len() > peers.len() {
            self.known.retain(|cwd, _| is_used(cwd));
        }
    }

    async fn read(&mut self, peers: &[Peer]) {
        for peer in peers.iter().filter(|peer| peer.live && peer.repo.is_some()) {
            let is_known = |(at, _): &(Instant, _)| at.elapsed() < KNOWN_FOR;
            if self.known.get(&peer.cwd).is_some_and(is_known) {
                continue;
            }
            let branch = self.git.branch(Path::new(&peer.cwd)).await;
            self.known.insert(peer.cwd.clone(), (Instant::now(), branch));
        }
    }
}
