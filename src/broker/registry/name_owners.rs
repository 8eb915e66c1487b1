//! Names in the database: which peer has a name, which names look alike, and the numbered names
//! beside a name that is taken.

use rusqlite::{Row, params};

use crate::broker::core::Tx;
use crate::broker::registry::listing::unread_count;
use crate::broker::store::Fault;
use crate::protocol::{PeerId, names};

/// The source of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSource {
    /// `CLAUDE_PEERS_NAME`.
    Environment,
    /// The title of the session in its client.
    Client,
    /// `set_summary`.
    Tool,
    Automatic,
}

impl NameSource {
    /// Returns the values of the columns `name_source` and `client_named`.
    const fn columns(self) -> (&'static str, bool) {
        match self {
            Self::Environment => ("environment", false),
            Self::Client => ("tool", true),
            Self::Tool => ("tool", false),
            Self::Automatic => ("automatic", false),
        }
    }
}

/// A peer that has a name.
pub struct NameOwner {
    pub id: PeerId,
    pub name: String,
    /// The person chose the name, so a session may be resumed by it.
    pub explicit: bool,
    pub unread: u64,
    pub seen_at: i64,
}

const OWNER_COLUMNS: &str = concat!(
    "id, name, name_source IN ('environment', 'reserved') OR client_named, ",
    unread_count!(),
    ", seen_at FROM peers"
);

fn read_owner(row: &Row<'_>) -> rusqlite::Result<NameOwner> {
    Ok(NameOwner {
        id: PeerId::from_text(row.get::<_, String>(0)?),
        name: row.get(1)?,
        explicit: row.get(2)?,
        unread: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
        seen_at: row.get(4)?,
    })
}

/// Returns the other peers that have this name, or a name that looks like it.
pub fn conflicting_owners(tx: &Tx<'_>, id: &PeerId, name: &str) -> Result<Vec<NameOwner>, Fault> {
    // Two names of ASCII alone never look alike, so the index finds them.
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

/// Gives a peer a name that is free.
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

/// Takes the name from an ended peer. It is still found by its former name.
pub fn release(tx: &Tx<'_>, id: &PeerId) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "UPDATE peers SET former_name = name, name = NULL, name_source = NULL, client_named = 0
             WHERE id = ?1",
        )?
        .execute([id.as_str()])?;
    Ok(())
}

/// Returns `base`, `base-2`, `base-3` …, each at most [`names::MAX`] characters long.
pub fn numbered_names(base: &str) -> impl Iterator<Item = String> {
    let with = move |number: u32| {
        let tail = format!("-{number}");
        let head: String = base.chars().take(names::MAX - tail.len()).collect();
        format!("{head}{tail}")
    };
    std::iter::once(base.to_owned()).chain((2u32..).map(with))
}
