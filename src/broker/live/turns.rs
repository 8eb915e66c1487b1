//! The turns that are under way, as reported by hooks. A session at work is not woken.
//!
//! In memory only: a new broker knows of no turn until the next hook event.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::broker::sources::Clock;
use crate::protocol::PeerId;
use crate::protocol::peers::Activity;

/// How long a turn counts as under way after its last hook event. No hook reports the end of a turn
/// that the person interrupts.
const TURN_TIMEOUT: Duration = Duration::from_secs(300);

/// How long after the last hook event an idle check makes sense: the client needs a moment until its
/// own record of being idle or busy is right.
const IDLE_CHECK_DELAY: Duration = Duration::from_secs(2);

/// A turn that seems to be under way.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Changes with each hook event, so that an idle check of an earlier state has no effect.
    pub number: u64,
    /// For how long the turn still counts if no other hook event comes.
    pub remaining: Duration,
    /// The time until an idle check makes sense.
    pub settles_in: Duration,
}

/// The last hook event of a turn.
#[derive(Debug)]
struct LastEvent {
    number: u64,
    at: Instant,
}

/// The turns of all sessions.
#[derive(Debug, Default)]
pub struct Turns {
    numbers: u64,
    current: HashMap<PeerId, LastEvent>,
    /// The sessions whose last turn is known to have ended.
    idle: HashSet<PeerId>,
    /// The sessions whose last turn failed because the model could not be reached.
    failed: HashSet<PeerId>,
    clock: Clock,
}

impl Turns {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Records that the session is at work.
    pub fn begin_or_continue(&mut self, peer: &PeerId) {
        self.numbers += 1;
        let event = LastEvent { number: self.numbers, at: self.clock.instant() };
        self.current.insert(peer.clone(), event);
        self.idle.remove(peer);
    }

    /// Records that the model answered, so it can be reached.
    pub fn model_answered(&mut self, peer: &PeerId) {
        self.failed.remove(peer);
    }

    /// Records that the model could not be reached.
    pub fn model_failed(&mut self, peer: &PeerId) {
        self.failed.insert(peer.clone());
    }

    /// Whether the model could not be reached in the session's last turn.
    #[must_use]
    pub fn model_has_failed(&self, peer: &PeerId) -> bool {
        self.failed.contains(peer)
    }

    /// Ends the session's turn.
    pub fn end(&mut self, peer: &PeerId) {
        self.current.remove(peer);
        self.idle.insert(peer.clone());
    }

    /// Forgets a session that has ended.
    pub fn forget(&mut self, peer: &PeerId) {
        self.current.remove(peer);
        self.idle.remove(peer);
        self.failed.remove(peer);
    }

    /// Returns the session's turn, if one is under way.
    #[must_use]
    pub fn current(&self, peer: &PeerId) -> Option<Turn> {
        let last = self.current.get(peer)?;
        let silent_for = self.clock.elapsed(last.at);
        let remaining = TURN_TIMEOUT.saturating_sub(silent_for);
        let settles_in = IDLE_CHECK_DELAY.saturating_sub(silent_for);
        let turn = Turn { number: last.number, remaining, settles_in };
        Some(turn).filter(|turn| !turn.remaining.is_zero())
    }

    /// Records the result of an idle check of this very turn. Returns whether it ended the turn.
    pub fn record_idle_check(&mut self, peer: &PeerId, number: u64, idle: bool) -> bool {
        if self.current.get(peer).is_none_or(|turn| turn.number != number) {
            return false;
        }
        if idle {
            self.end(peer);
            return true;
        }
        if let Some(turn) = self.current.get_mut(peer) {
            turn.at = self.clock.instant();
        }
        false
    }

    /// Returns what the session's hooks tell of its work.
    #[must_use]
    pub fn activity(&self, peer: &PeerId) -> Activity {
        if self.current(peer).is_some() {
            Activity::Busy
        } else if self.idle.contains(peer) {
            Activity::Idle
        } else {
            Activity::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_check_of_an_earlier_turn_has_no_effect() {
        let (mut turns, peer) = (Turns::default(), PeerId::from_text("a1"));
        turns.begin_or_continue(&peer);
        let checked = turns.current(&peer).unwrap().number;
        turns.begin_or_continue(&peer);
        assert!(!turns.record_idle_check(&peer, checked, true));
        let now = turns.current(&peer).unwrap().number;
        assert!(!turns.record_idle_check(&peer, now, false), "it is at work");
        assert!(turns.record_idle_check(&peer, now, true));
        assert!(turns.current(&peer).is_none());
        assert!(!turns.record_idle_check(&peer, now, true), "there is no turn any more");
    }

    #[test]
    fn a_model_that_answers_again_can_be_reached() {
        let (mut turns, peer) = (Turns::default(), PeerId::from_text("a1"));
        turns.model_failed(&peer);
        turns.begin_or_continue(&peer);
        assert!(turns.model_has_failed(&peer), "a turn that begins has not succeeded yet");
        turns.model_answered(&peer);
        assert!(!turns.model_has_failed(&peer));
    }
}
