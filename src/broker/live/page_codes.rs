//! The codes that open the page, each once and for a minute.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

use crate::broker::sources::Clock;
use crate::protocol::page::Visit;
use crate::sys::random;

/// How long a code can be used.
pub const VALID_FOR: Duration = Duration::from_secs(60);

/// The most codes at a time. A new one takes the place of the oldest.
const MAX_CODES: usize = 8;

/// The codes that were given out. Each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct PageCodes {
    clock: Clock,
    codes: Arc<Mutex<Vec<Code>>>,
}

/// A code, until it is used or its time is over. What is kept does not tell the code itself.
#[derive(Debug)]
struct Code {
    hash: [u8; 32],
    until: Instant,
    visit: watch::Sender<Visit>,
}

impl PageCodes {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, codes: Arc::default() }
    }

    /// Makes a code of 256 random bits.
    pub fn issue(&self) -> String {
        let code = random::new_secret();
        let mut codes = self.open();
        if codes.len() >= MAX_CODES {
            codes.remove(0);
        }
        let until = self.clock.instant() + VALID_FOR;
        codes.push(Code { hash: hash(&code), until, visit: watch::Sender::new(Visit::Expected) });
        code
    }

    /// Uses a code up. Returns whether it was valid.
    pub fn spend(&self, code: &str) -> bool {
        let hash = hash(code);
        let mut codes = self.open();
        let Some(at) = codes.iter().position(|one| one.hash.ct_eq(&hash).into()) else {
            return false;
        };
        codes.remove(at).visit.send_replace(Visit::Opened);
        true
    }

    /// Follows what becomes of a code, whose sender is dropped once it can no longer be used. `None` for
    /// a code that can not be used now.
    pub fn visit(&self, code: &str) -> Option<watch::Receiver<Visit>> {
        let hash = hash(code);
        let codes = self.open();
        codes.iter().find(|one| one.hash.ct_eq(&hash).into()).map(|one| one.visit.subscribe())
    }

    /// Locks the codes, and forgets those whose time is over.
    fn open(&self) -> MutexGuard<'_, Vec<Code>> {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.instant();
        codes.retain(|code| now < code.until);
        codes
    }
}

fn hash(code: &str) -> [u8; 32] {
    Sha256::digest(code.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::sources::held;

    #[test]
    fn a_code_is_good_once() {
        let codes = PageCodes::default();
        let (code, other) = (codes.issue(), codes.issue());
        assert_ne!(code, other);
        assert!(!codes.spend("") && !codes.spend(&code[1..]));
        assert!(codes.spend(&code) && !codes.spend(&code));
        assert!(codes.spend(&other));
    }

    #[test]
    fn a_code_expires() {
        let clock = held::Clock::new();
        let codes = PageCodes::new(Clock::Held(clock.clone()));
        let (early, late) = (codes.issue(), codes.issue());
        let visit = codes.visit(&late).unwrap();
        clock.advance(VALID_FOR.saturating_sub(Duration::from_millis(1)));
        assert!(codes.spend(&early));
        clock.advance(Duration::from_millis(1));
        assert!(!codes.spend(&late) && codes.visit(&late).is_none());
        assert!(visit.has_changed().is_err(), "whoever waits for it learns its end");
    }

    #[test]
    fn of_too_many_codes_the_oldest_are_dropped() {
        let codes = PageCodes::default();
        let all: Vec<String> = (0..MAX_CODES + 2).map(|_| codes.issue()).collect();
        let good: Vec<bool> = all.iter().map(|code| codes.spend(code)).collect();
        assert_eq!(good[..2], [false, false]);
        assert!(good[2..].iter().all(|is_good| *is_good));
    }

    #[test]
    fn whoever_waits_for_a_page_learns_that_it_was_opened() {
        let codes = PageCodes::default();
        let code = codes.issue();
        let visit = codes.visit(&code).unwrap();
        assert_eq!(*visit.borrow(), Visit::Expected);
        codes.spend(&code);
        assert_eq!(*visit.borrow(), Visit::Opened);
        assert!(codes.visit(&code).is_none());
    }
}
