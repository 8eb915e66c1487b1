//! Idempotency: a write whose key is known already gets the stored answer, and nothing is done twice.
//!
//! The answer is stored in the write's own transaction. A refusal is not stored. The key of a message
//! that was sent stands in the row of the message, and the answer to a retry is made from it: a table
//! of answers costs each message two pages more.

use rusqlite::{OptionalExtension as _, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::broker::core::{Receiver, Tx};
use crate::broker::store::Fault;
use crate::protocol::{ApiError, ErrorCode};

/// The idempotency key of one write, and a fingerprint of the request.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    key: String,
    fingerprint: i64,
}

impl IdempotencyKey {
    /// Makes the key of a request, of which `request` is the route and the body.
    #[must_use]
    pub fn new(key: &str, request: &[&[u8]]) -> Self {
        Self { key: key.to_owned(), fingerprint: fingerprint(request) }
    }

    /// Returns the key and the fingerprint, as they are stored.
    #[must_use]
    pub fn columns(&self) -> (&str, i64) {
        (&self.key, self.fingerprint)
    }
}

/// Computes FNV-1a with 64 bits.
///
/// The value must be the same in every build. It catches a client's mistake, not an attack.
fn fingerprint(parts: &[&[u8]]) -> i64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.iter().flat_map(|part| part.iter().chain([&0])) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash.cast_signed()
}

/// Runs `work` and stores its answer, unless the key is known already.
///
/// # Errors
///
/// What `work` refuses; [`ErrorCode::KeyReused`] if the key stands for another request.
pub fn run_once<T, F>(
    tx: &mut Tx<'_>,
    caller: &Receiver,
    key: Option<&IdempotencyKey>,
    work: F,
) -> Result<T, Fault>
where
    T: Serialize + DeserializeOwned,
    F: FnOnce(&mut Tx<'_>) -> Result<T, Fault>,
{
    if let Some(answer) = stored_answer(tx, caller, key)? {
        return Ok(answer);
    }
    let answer = work(tx)?;
    if let Some(IdempotencyKey { key, fingerprint }) = key {
        let body = serde_json::to_string(&answer).map_err(unreadable)?;
        tx.db
            .prepare_cached(
                "INSERT INTO answers (caller, key, fingerprint, body, answered_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![caller, key, fingerprint, body, tx.now.millis()])?;
    }
    Ok(answer)
}

/// Returns the answer that was given to this key before.
///
/// # Errors
///
/// [`ErrorCode::KeyReused`] if the key stands for another request.
pub fn stored_answer<T: DeserializeOwned>(
    tx: &Tx<'_>,
    caller: &Receiver,
    key: Option<&IdempotencyKey>,
) -> Result<Option<T>, Fault> {
    let Some(key) = key else { return Ok(None) };
    match known(tx, caller, key)? {
        Some(Known::Answer(body)) => read_answer(&body).map(Some),
        Some(Known::Message(_)) => Err(reused()),
        None => Ok(None),
    }
}

/// What is stored for a key that was used before.
pub enum Known {
    /// The message that the request sent, by its sequence number: the answer follows from it.
    Message(i64),
    /// The answer to any other request.
    Answer(String),
}

/// Returns what is stored for this key of this caller.
///
/// # Errors
///
/// [`ErrorCode::KeyReused`] if the key stands for another request.
pub fn known(tx: &Tx<'_>, caller: &Receiver, key: &IdempotencyKey) -> Result<Option<Known>, Fault> {
    let IdempotencyKey { key, fingerprint } = key;
    let known: Option<(i64, Option<i64>, Option<String>)> = tx
        .db
        .prepare_cached(
            "SELECT fingerprint, seq, NULL FROM messages
             WHERE key = ?1 AND key_caller = ?2
             UNION ALL
             SELECT fingerprint, NULL, body FROM answers WHERE key = ?1 AND caller = ?2",
        )?
        .query_row(params![key, caller], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    match known {
        Some((stored, _, _)) if stored != *fingerprint => Err(reused()),
        Some((_, Some(seq), _)) => Ok(Some(Known::Message(seq))),
        Some((_, None, body)) => Ok(Some(Known::Answer(body.unwrap_or_default()))),
        None => Ok(None),
    }
}

/// Reads an answer as it is stored.
pub fn read_answer<T: DeserializeOwned>(body: &str) -> Result<T, Fault> {
    serde_json::from_str(body).map_err(unreadable)
}

fn reused() -> Fault {
    ApiError::new(ErrorCode::KeyReused, "this idempotency key was used for another request")
        .hint("Use a new random key for each request.")
        .into()
}

fn unreadable(error: serde_json::Error) -> Fault {
    Fault::Database(rusqlite::Error::FromSqlConversionFailure(
        0,
        rusqlite::types::Type::Text,
        Box::new(error),
    ))
}
