//! The table `meta`: single values about the whole database, by their keys.

use rusqlite::{Connection, OptionalExtension as _};

/// Whether the database was closed in order: `yes` or `no`.
pub const CLEAN: &str = "clean";

/// Up to which message no idempotency key is stored.
pub const KEYS_FORGOTTEN_TO: &str = "keys_forgotten_to";

/// Returns the value of a key.
pub fn get(db: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    db.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

/// Sets the value of a key.
pub fn set(db: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute([key, value])?;
    Ok(())
}
