//! Names in the database: which peer has one, which names can be taken for each other, and the
//! numbered names beside one that is taken.

use rusqlite::{Row, params};

use crate::broker::core::Tx;
use crate::broker::store::Fault;
use crate::protocol::{PeerId, names};

/// Where a name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSource {
    /// `CLAUDE_PEERS_NAME`.
    Environment,
    /// The name that the session has in its client.
    Client,
    /// `set_summary`.
    Tool,
    Automatic,
}

impl NameSource {
    /// The columns `name_source` and `client_named`.
    const fn columns(self) -> (&'static str, bool) {
        match self {
            Self::Environment => ("environment", false),
            Self::Client => ("tool", true),
            Self::Tool => ("tool", false),
            Self::Automatic => ("automatic", false),
        }
    }
}

pub struct NameOwner {
    pub id: PeerId,
    pub name: String,
    /// The person chose the name, so the session may be called back by it.
    pub explicit: bool,
    pub unread: u64,
    pub seen_at: i64,
}

const OWNER_COLUMNS: &str = "id, name, name_source IN ('environment', 'reserved') OR client_named, unread, seen_at FROM peers";

fn read_owner(row: &Row<'_>) -> rusqlite::Result<NameOwner> {
    Ok(NameOwner {
        id: PeerId::from_text(row.get::<_, String>(0)?),
        name: row.get(1)?,
        explicit: row.get(2)?,
        unread: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
        seen_at: row.get(4)?,
    })
}

/// The others that have this name, or one that could be taken for it.
pub fn conflicting_owners(tx: &Tx<'_>, id: &PeerId, name: &str) -> Result<Vec<NameOwner>, Fault> {
    // Two names of ASCII alone are never alike, and these are found by the index.
    let mut statement = tx.db.prepare_cached(&format!(
        "SELECT {OWNER_COLUMNS} WHERE name IS NOT NULL AND id <> ?1
         AND (name = ?2 OR ?3 OR length(name) <> length(CAST(name AS BLOB)))"
    ))?;
    let rows = statement.query_map(params![id.as_str(), name, !name.is_ascii()], read_owner)?;
    let alike = |owner: &NameOwner| owner.name == name || names::look_alike(&owner.name, name);
    let mut found = Vec::new();
    for owner in rows {
        let owner = owner?;
        if alike(&owner) {
            found.push(owner);
        }
    }
    Ok(found)
}

pub fn assign(tx: &Tx<'_>, id: &PeerId, name: &str, source: NameSource) -> Result<(), Fault> {
    let (word, by_client) = source.columns();
    tx.db
        .prepare_cached(
            "UPDATE peers SET name = ?2, name_source = ?3, client_named = ?4, former_name = NULL
             WHERE id = ?1",
        )?
        .execute(params![id.as_str(), name, word, by_client])?;
    Ok(())
}

/// One that has ended loses its name to another, and is still found by it.
pub fn release(tx: &Tx<'_>, id: &PeerId) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "UPDATE peers SET former_name = name, name = NULL, name_source = NULL, client_named = 0
             WHERE id = ?1",
        )?
        .execute([id.as_str()])?;
    Ok(())
}

/// `base`, `base-2`, `base-3` …
pub fn numbered_names(base: &str) -> impl Iterator<Item = String> {
    let with = move |number: u32| {
        let tail = format!("-{number}");
        let head: String = base.chars().take(names::MAX - tail.len()).collect();
        format!("{head}{tail}")
    };
    std::iter::once(base.to_owned()).chain((2u32..).map(with))
}
