//! Idempotency: a write with a key that is known already gets the stored answer, and nothing is
//! done a second time. The key lives in the write's own transaction; a refusal is not stored.

use rusqlite::{OptionalExtension as _, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::broker::core::Tx;
use crate::broker::store::Fault;
use crate::protocol::{ApiError, ErrorCode};

/// A caller's key for one write, and what it asked.
#[derive(Debug, Clone)]
pub struct Key {
    key: String,
    fingerprint: i64,
}

impl Key {
    /// `request` is the route and body that the key stands for.
    #[must_use]
    pub fn new(key: &str, request: &[&[u8]]) -> Self {
        Self { key: key.to_owned(), fingerprint: fingerprint(request) }
    }
}

/// FNV-1a with 64 bits: it must give the same value in every build, and tells an honest mistake,
/// not an attack.
fn fingerprint(parts: &[&[u8]]) -> i64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.iter().flat_map(|part| part.iter().chain([&0])) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash.cast_signed()
}

/// Runs `work` unless its key is known already.
///
/// # Errors
///
/// What `work` refuses; [`ErrorCode::KeyReused`] if the key stands for another request.
pub fn once<T, F>(tx: &mut Tx<'_>, caller: &str, key: Option<&Key>, work: F) -> Result<T, Fault>
where
    T: Serialize + DeserializeOwned,
    F: FnOnce(&mut Tx<'_>) -> Result<T, Fault>,
{
    if let Some(answer) = stored(tx, caller, key)? {
        return Ok(answer);
    }
    let answer = work(tx)?;
    if let Some(Key { key, fingerprint }) = key {
        let body = serde_json::to_string(&answer).map_err(unreadable)?;
        tx.db
            .prepare_cached(
                "INSERT INTO answers (caller, key, fingerprint, body, answered_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![caller, key, fingerprint, body, tx.now.millis()])?;
    }
    Ok(answer)
}

/// The answer that was given to this key before.
///
/// # Errors
///
/// [`ErrorCode::KeyReused`] if the key stands for another request.
pub fn stored<T: DeserializeOwned>(
    tx: &Tx<'_>,
    caller: &str,
    key: Option<&Key>,
) -> Result<Option<T>, Fault> {
    let Some(Key { key, fingerprint }) = key else { return Ok(None) };
    let known: Option<(i64, String)> = tx
        .db
        .prepare_cached("SELECT fingerprint, body FROM answers WHERE caller = ?1 AND key = ?2")?
        .query_row(params![caller, key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match known {
        Some((stored, _)) if stored != *fingerprint => Err(ApiError::new(
            ErrorCode::KeyReused,
            "this idempotency key was used for another request",
        )
        .hint("Use a new random key for each request.")
        .into()),
        Some((_, body)) => serde_json::from_str(&body).map(Some).map_err(unreadable),
        None => Ok(None),
    }
}

fn unreadable(error: serde_json::Error) -> Fault {
    Fault::Database(rusqlite::Error::FromSqlConversionFailure(
        0,
        rusqlite::types::Type::Text,
        Box::new(error),
    ))
}
