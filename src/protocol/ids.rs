//! Ids of peers, messages and receivers, and the secrets that authorize calls.
//!
//! All are made from random bytes that the caller provides, and none is ever reused. A peer's id is
//! short, because people type it.

use std::borrow::Borrow;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// How many characters of [`ALPHABET`] are letters; the letters come first.
const LETTERS: u128 = 26;

/// What is added to the sequence number in a message id.
///
/// So these ids begin with `ma`, and those of before, which hold a time, with `m0`. The number of a
/// probe's message is negative: its id begins with `m9`.
const FIRST_NUMBER: i64 = 10 * 36i64.pow(5);

/// Random characters at the end of a message id.
const RANDOM_LENGTH: u32 = 5;

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
        #[cfg_attr(test, derive(schemars::JsonSchema))]
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

        /// An id is found among others by its text.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
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
    /// The id of a message: `m`, its sequence number in base 36 with six characters of `[0-9a-z]` or
    /// more, and five random ones.
    ///
    /// The number finds the message without an index of all ids. The random characters tell it from
    /// a message of another database, and keep ids from being guessed by counting.
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
    /// Makes the id of the message with this sequence number from random bytes.
    #[must_use]
    pub fn from_seq(seq: i64, bytes: [u8; 8]) -> Self {
        let mut number = seq.saturating_add(FIRST_NUMBER).max(0).unsigned_abs();
        let mut digits = Vec::with_capacity(6);
        while number > 0 || digits.len() < 6 {
            digits.push(char::from_digit((number % 36) as u32, 36).unwrap_or('0'));
            number /= 36;
        }
        let random = text(u64::from_le_bytes(bytes).into(), RANDOM_LENGTH);
        Self(format!("m{}{random}", digits.iter().rev().collect::<String>()))
    }

    /// Returns the sequence number in the id; `None` if it has not the form of one.
    ///
    /// An id of before, which holds a time, may have that form as well: it is the message's id only
    /// if the message with this number has it.
    #[must_use]
    pub fn seq(&self) -> Option<i64> {
        let digits = self.0.strip_prefix('m')?;
        let digits = digits.get(..digits.len().checked_sub(RANDOM_LENGTH as usize)?)?;
        let is_number = digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_alphanumeric());
        let number = is_number.then(|| i64::from_str_radix(digits, 36).ok()).flatten()?;
        Some(number - FIRST_NUMBER)
    }
}

impl MessageId {
    /// Returns the first and the last sequence number of the messages whose ids may begin with this.
    ///
    /// `None` if it has not the form of a beginning.
    #[must_use]
    pub fn seqs_of_prefix(&self) -> Option<(i64, i64)> {
        const DIGITS: usize = 6;
        let given = self.0.strip_prefix('m')?;
        let digits = given.get(..given.len().min(DIGITS))?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let open = u32::try_from(DIGITS - digits.len()).ok()?;
        let first = i64::from_str_radix(digits, 36).ok()? * 36i64.pow(open);
        Some((first - FIRST_NUMBER, first + 36i64.pow(open) - 1 - FIRST_NUMBER))
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
    fn a_message_id_holds_the_sequence_number() {
        let mut numbers = numbers();
        let mut id = |seq| MessageId::from_seq(seq, numbers.next().unwrap_or(0).to_le_bytes());
        let seqs = [-60_000_000, -2, -1, 1, 2, 35, 36, 1_000_000, 1_500_000_000, 36i64.pow(7)];
        for pair in seqs.windows(2) {
            let [first, second] = [id(pair[0]), id(pair[1])];
            assert_eq!([first.seq(), second.seq()], [Some(pair[0]), Some(pair[1])]);
            assert!(first < second || second.as_str().len() > 12, "{first} {second}");
        }
        assert_eq!(id(1_500_000_000).as_str().len(), 12);
        assert!(id(1).as_str().starts_with("ma00001"), "{}", id(1));
        assert!(id(-1).as_str().starts_with("m9zzzzz"), "{}", id(-1));
        assert_ne!(id(1), id(1));
    }

    #[test]
    fn what_is_no_message_id_has_no_sequence_number() {
        for text in
            ["", "m", "m1", "ma0000", "ma0000aaaaa", "xa00001aaaaa", "m+00001aaaaa", "mäöüaaaaaaa"]
        {
            assert_eq!(MessageId::from_text(text).seq(), None, "{text}");
        }
        let long = format!("m{}", "z".repeat(40));
        assert_eq!(MessageId::from_text(long).seq(), None);
    }

    #[test]
    fn a_secret_is_one() {
        assert!(is_secret(&secret([0xab; 32])));
        assert_eq!(secret([0x0f; 32]).len(), 64);
    }
}
