//! Random bytes of the operating system, and the ids and secrets that are made from them.

use crate::protocol::ids::secret;
use crate::protocol::{InstanceId, MessageId, PeerId, Timestamp};

/// Returns random bytes of the operating system (getrandom(2)).
///
/// Ends the program if the system has none: without them no id is unique and no secret is secret.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        eprintln!("claude-peers: the operating system gives no random numbers: {error}");
        std::process::abort();
    }
    bytes
}

/// Returns a new secret of 256 bits, as 64 hexadecimal digits.
#[must_use]
pub fn new_secret() -> String {
    secret(bytes())
}

/// Returns a new idempotency key: 12 hexadecimal digits of the time in Unix milliseconds, and 128
/// random bits. Keys grow with time, so that an index of them grows at its end.
#[must_use]
pub fn idempotency_key(now: Timestamp) -> String {
    format!("{:012x}{:032x}", now.millis().max(0), u128::from_ne_bytes(bytes()))
}

/// Returns a new peer id.
#[must_use]
pub fn peer_id() -> PeerId {
    PeerId::from_random(bytes())
}

/// Returns a new id for the message with this sequence number.
#[must_use]
pub fn message_id(seq: i64) -> MessageId {
    MessageId::from_seq(seq, bytes())
}

/// Returns a new instance id.
#[must_use]
pub fn instance_id() -> InstanceId {
    InstanceId::from_random(bytes())
}
