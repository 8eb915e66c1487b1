//! The names of things: peers, messages, instances and their secrets.
//!
//! All are random and none is ever reused. A peer's id is short, because people type it.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::protocol::Timestamp;

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// The beginning of 2026, from which message ids count, in Unix seconds.
const FIRST_SECOND: i64 = 1_767_225_600;

/// `length` random characters of `[a-z0-9]`.
fn random_text(length: usize) -> String {
    let mut text = String::with_capacity(length);
    let mut bytes = [0u8; 32];
    while text.len() < length {
        fill(&mut bytes);
        // 252 is the largest multiple of 36 in a byte: above it the choice would be biased.
        let usable = bytes.iter().filter(|b| **b < 252).map(|b| ALPHABET[usize::from(b % 36)]);
        text.extend(usable.take(length - text.len()).map(char::from));
    }
    text
}

/// Random bytes from the operating system.
fn fill(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        // Without randomness no id is unique and no secret is secret: nothing may go on.
        eprintln!("claude-peers: the operating system gives no random numbers: {error}");
        std::process::abort();
    }
}

/// A secret of 256 bits as 64 hexadecimal digits.
#[must_use]
pub fn random_secret() -> String {
    let mut bytes = [0u8; 32];
    fill(&mut bytes);
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a text can be such a secret: long enough, and fit for an HTTP header and a shell.
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
            /// Takes an id that was read from the wire or the database.
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
    /// An identity that can send and receive: 8 characters of `[a-z0-9]`, at least one a digit,
    /// so that no id can look like a name.
    PeerId
}
id! {
    /// A message: `m`, six characters of `[0-9a-z]` for the second in which it was accepted, and
    /// five random ones. It never changes. In the order of time, so that the index of all ids
    /// grows at its end.
    MessageId
}
id! {
    /// One life of one receiver process.
    InstanceId
}

/// The broker, as the sender of notices. It has not the form of an id, so no peer ever has it.
pub(super) const BROKER: &str = "broker";

impl PeerId {
    /// The broker, as the sender of notices.
    #[must_use]
    pub fn broker() -> Self {
        Self(BROKER.to_owned())
    }

    /// Whether this is the broker itself. Nobody can write to it.
    #[must_use]
    pub fn is_broker(&self) -> bool {
        self.0 == BROKER
    }

    /// A new random id.
    #[must_use]
    pub fn generate() -> Self {
        loop {
            let text = random_text(8);
            if text.bytes().any(|b| b.is_ascii_digit()) {
                return Self(text);
            }
        }
    }
}

impl MessageId {
    /// A new id for a message that is accepted at `now`.
    #[must_use]
    pub fn generate(now: Timestamp) -> Self {
        // Six digits last for 69 years.
        let mut seconds = (now.millis() / 1_000 - FIRST_SECOND).unsigned_abs();
        let mut time = [b'0'; 6];
        for digit in time.iter_mut().rev() {
            *digit =
                b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::try_from(seconds % 36).unwrap_or(0)];
            seconds /= 36;
        }
        let time: String = time.iter().copied().map(char::from).collect();
        Self(format!("m{time}{}", random_text(5)))
    }
}

impl InstanceId {
    /// A new random id.
    #[must_use]
    pub fn generate() -> Self {
        Self(random_text(16))
    }
}

/// Whether `text` has the form of a peer id. A name never has it, so the two cannot be confused.
#[must_use]
pub fn looks_like_peer_id(text: &str) -> bool {
    text.len() == 8
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && text.bytes().any(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_always_has_a_digit_and_is_never_a_name() {
        for _ in 0..2_000 {
            let id = PeerId::generate();
            assert!(looks_like_peer_id(id.as_str()), "{id}");
            assert!(!crate::protocol::names::is_valid(id.as_str()), "{id}");
        }
    }

    #[test]
    fn message_ids_follow_the_order_of_time() {
        let at = |millis| MessageId::generate(Timestamp::from_millis(millis));
        let now = 1_795_000_000_000;
        assert_eq!(at(now).as_str().len(), 12);
        assert!(at(now) < at(now + 1_000));
        assert!(at(now) < at(now + 30 * 365 * 24 * 60 * 60 * 1_000));
        assert_ne!(at(now), at(now));
    }
}
