//! Ids of peers, messages and receivers, and the secrets that authorize calls.
//!
//! All are made from random bytes that the caller provides, and none is ever reused. A peer's id is
//! short, because people type it.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::protocol::Timestamp;

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// How many characters of [`ALPHABET`] are letters; the letters come first.
const LETTERS: u128 = 26;

/// The beginning of 2026, from which message ids count, in Unix seconds.
const FIRST_SECOND: i64 = 1_767_225_600;

/// Characters of a peer id.
const PEER_ID_LENGTH: u32 = 8;

/// Writes `length` characters of `[a-z0-9]` for the last digits of `number` in base 36.
///
/// The bias of the first character is below 2^-38 for all lengths and random numbers used here.
fn text(mut number: u128, length: u32) -> String {
    let characters = (0..length).map(|_| {
        let last = character(number % 36);
        number /= 36;
        last
    });
    characters.collect()
}

/// Returns a character of [`ALPHABET`].
fn character(index: u128) -> char {
    usize::try_from(index).ok().and_then(|index| ALPHABET.get(index)).map_or('0', |c| (*c).into())
}

/// Writes 32 random bytes as a secret of 64 hexadecimal digits.
#[must_use]
pub fn secret(bytes: [u8; 32]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns whether a text can be a secret: long enough, and safe in an HTTP header and a shell.
#[must_use]
pub fn is_secret(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps an id that was read from the wire or the database.
            #[must_use]
            pub fn from_text(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// The id of a peer: 8 characters of `[a-z0-9]`, at least one of them a digit, so that no id
    /// can be taken for a name.
    PeerId
}
id! {
    /// The id of a message: `m`, six characters of `[0-9a-z]` for the second in which it was
    /// accepted, and five random ones.
    ///
    /// Ids sort by time, so that the index of all ids grows at its end.
    MessageId
}
id! {
    /// The id of one life of a server process.
    InstanceId
}

/// The id of the broker as the sender of notices.
///
/// It does not have the form of a peer id, so no other peer can ever get it.
pub(super) const BROKER: &str = "broker";

impl PeerId {
    /// Returns the id of the broker as the sender of notices.
    #[must_use]
    pub fn broker() -> Self {
        Self(BROKER.to_owned())
    }

    /// Returns whether this is the broker itself, which receives no messages.
    #[must_use]
    pub fn is_broker(&self) -> bool {
        self.0 == BROKER
    }

    /// Makes an id from random bytes. All ids are equally likely.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        // Ids are counted by the place of their first digit: only letters come before it, and letters
        // or digits after it.
        let after = |place: u32| 36u128.pow(PEER_ID_LENGTH - 1 - place);
        let count = |place: u32| LETTERS.pow(place) * 10 * after(place);
        let mut number = u128::from_le_bytes(bytes) % (0..PEER_ID_LENGTH).map(count).sum::<u128>();
        let mut place = 0;
        while number >= count(place) {
            number -= count(place);
            place += 1;
        }
        let mut id = String::new();
        let mut head = number / (10 * after(place));
        for _ in 0..place {
            id.push(character(head % LETTERS));
            head /= LETTERS;
        }
        let tail = number % (10 * after(place));
        id.push(character(LETTERS + tail / after(place)));
        id.push_str(&text(tail % after(place), PEER_ID_LENGTH - 1 - place));
        Self(id)
    }
}

impl MessageId {
    /// Makes the id of a message that is accepted at `now` from random bytes.
    #[must_use]
    pub fn from_random(now: Timestamp, bytes: [u8; 8]) -> Self {
        // Six digits last for 69 years.
        let mut seconds = (now.millis() / 1_000 - FIRST_SECOND).unsigned_abs();
        let mut time = [b'0'; 6];
        for digit in time.iter_mut().rev() {
            *digit =
                b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::try_from(seconds % 36).unwrap_or(0)];
            seconds /= 36;
        }
        let time: String = time.iter().copied().map(char::from).collect();
        Self(format!("m{time}{}", text(u64::from_le_bytes(bytes).into(), 5)))
    }
}

impl InstanceId {
    /// Makes an id from random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(text(u128::from_le_bytes(bytes), 16))
    }
}

/// Returns whether `text` has the form of a peer id.
///
/// A name never has this form, so the two cannot be confused.
#[must_use]
pub fn looks_like_peer_id(text: &str) -> bool {
    text.len() == 8
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && text.bytes().any(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Numbers that are spread over the whole range (SplitMix64).
    fn numbers() -> impl Iterator<Item = u64> {
        let mut state = 0u64;
        std::iter::repeat_with(move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut number = state;
            number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            number ^ (number >> 31)
        })
    }

    fn peer_ids(count: usize) -> Vec<PeerId> {
        let mut numbers = numbers();
        let mut number = || u128::from(numbers.next().unwrap_or(0));
        let mut id = || PeerId::from_random((number() | number() << 64).to_le_bytes());
        (0..count).map(|_| id()).collect()
    }

    #[test]
    fn a_peer_id_always_has_a_digit_and_is_never_a_name() {
        let ids = peer_ids(20_000);
        for id in &ids {
            assert!(looks_like_peer_id(id.as_str()), "{id}");
            assert!(!crate::protocol::names::is_valid(id.as_str()), "{id}");
        }
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn every_character_stands_at_every_place_of_a_peer_id() {
        let mut counts = vec![[0u32; 128]; 8];
        for id in peer_ids(100_000) {
            for (place, byte) in id.as_str().bytes().enumerate() {
                counts[place][usize::from(byte)] += 1;
            }
        }
        // Of 36^8 texts, 36^8 - 26^8 have a digit. A digit at a given place is in 36^7 of them, a
        // letter in 36^7 - 26^7.
        for counts in counts {
            for byte in ALPHABET {
                let share = if byte.is_ascii_digit() { 0.0300 } else { 0.0269 };
                let count = f64::from(counts[usize::from(*byte)]) / 100_000.0;
                assert!((count - share).abs() < 0.003, "{}: {count}", char::from(*byte));
            }
        }
    }

    #[test]
    fn message_ids_follow_the_order_of_time() {
        let mut numbers = numbers();
        let mut at = |millis| {
            let bytes = numbers.next().unwrap_or(0).to_le_bytes();
            MessageId::from_random(Timestamp::from_millis(millis), bytes)
        };
        let now = 1_795_000_000_000;
        assert_eq!(at(now).as_str().len(), 12);
        assert!(at(now) < at(now + 1_000));
        assert!(at(now) < at(now + 30 * 365 * 24 * 60 * 60 * 1_000));
        assert_ne!(at(now), at(now));
    }

    #[test]
    fn a_secret_is_one() {
        assert!(is_secret(&secret([0xab; 32])));
        assert_eq!(secret([0x0f; 32]).len(), 64);
    }
}
