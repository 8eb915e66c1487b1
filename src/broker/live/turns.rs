//! Turns that are under way, as far as hooks tell. A session at work is not woken.
//!
//! Memory and no more: a broker that begins anew knows of no turn, and the next event tells it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::protocol::PeerId;

/// How long a turn counts as under way after the last that was heard of it. One that is
/// interrupted has no end that a hook would tell.
const TURN: Duration = Duration::from_secs(300);

/// How long hooks must have kept silent before somebody looks whether the turn is still under
/// way: the client itself needs a moment until what it says of itself is so.
const SETTLED: Duration = Duration::from_secs(2);

/// A turn that seems to be under way.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Tells what was heard last from all before it.
    pub number: u64,
    heard_at: Instant,
}

impl Turn {
    /// For how long it still counts without another word.
    #[must_use]
    pub fn left(&self) -> Duration {
        TURN.saturating_sub(self.heard_at.elapsed())
    }

    /// In how long it makes sense to look.
    #[must_use]
    pub fn settles_in(&self) -> Duration {
        SETTLED.saturating_sub(self.heard_at.elapsed())
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Turns {
    numbers: u64,
    under_way: HashMap<PeerId, Turn>,
    /// The sessions whose last turn ended because the model could not be reached.
    failed: HashSet<PeerId>,
}

impl Turns {
    /// The session is at work.
    pub fn note(&mut self, peer: &PeerId) {
        self.numbers += 1;
        let turn = Turn { number: self.numbers, heard_at: Instant::now() };
        self.under_way.insert(peer.clone(), turn);
    }

    /// The model answered, so it can be reached.
    pub fn answered(&mut self, peer: &PeerId) {
        self.failed.remove(peer);
    }

    /// The model could not be reached.
    pub fn failed(&mut self, peer: &PeerId) {
        self.failed.insert(peer.clone());
    }

    #[must_use]
    pub fn has_failed(&self, peer: &PeerId) -> bool {
        self.failed.contains(peer)
    }

    /// The turn is over.
    pub fn end(&mut self, peer: &PeerId) {
        self.under_way.remove(peer);
    }

    /// The session has ended.
    pub fn forget(&mut self, peer: &PeerId) {
        self.end(peer);
        self.failed.remove(peer);
    }

    #[must_use]
    pub fn under_way(&self, peer: &PeerId) -> Option<Turn> {
        self.under_way.get(peer).copied().filter(|turn| !turn.left().is_zero())
    }

    /// Somebody looked, at this very turn. Says whether that ended it.
    pub fn looked(&mut self, peer: &PeerId, number: u64, idle: bool) -> bool {
        let Some(turn) = self.under_way.get_mut(peer).filter(|turn| turn.number == number) else {
            return false;
        };
        if idle {
            self.under_way.remove(peer);
        } else {
            turn.heard_at = Instant::now();
        }
        idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_at_an_earlier_turn_says_nothing_of_this_one() {
        let (mut turns, peer) = (Turns::default(), PeerId::from_text("a1"));
        turns.note(&peer);
        let looked_at = turns.under_way(&peer).unwrap().number;
        turns.note(&peer);
        assert!(!turns.looked(&peer, looked_at, true));
        let now = turns.under_way(&peer).unwrap().number;
        assert!(!turns.looked(&peer, now, false), "it is at work");
        assert!(turns.looked(&peer, now, true));
        assert!(turns.under_way(&peer).is_none());
        assert!(!turns.looked(&peer, now, true), "there is no turn any more");
    }

    #[test]
    fn a_model_that_answers_again_can_be_reached() {
        let (mut turns, peer) = (Turns::default(), PeerId::from_text("a1"));
        turns.failed(&peer);
        turns.note(&peer);
        assert!(turns.has_failed(&peer), "a turn that begins has not succeeded yet");
        turns.answered(&peer);
        assert!(!turns.has_failed(&peer));
    }
}
