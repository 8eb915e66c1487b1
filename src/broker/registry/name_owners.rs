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
    let alike = tx.state.name_looks.alike(tx.db, name)?;
    let mut statement = tx.db.prepare_cached(&format!(
        "SELECT {OWNER_COLUMNS} WHERE id <> ?1 AND name IN (SELECT value FROM json_each(?2))"
    ))?;
    // Serialising plain strings cannot fail.
    let alike = serde_json::to_string(&alike).unwrap_or_default();
    let rows = statement.query_map(params![id.as_str(), alike], read_owner)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
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
    tx.state.name_looks.add(name);
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

/// The numbers of a name that are tried one after the other, the least first.
const TRIED_IN_ORDER: u32 = 32;

/// Returns `base` for 1, and `base-2`, `base-3` …, each at most [`names::MAX`] characters long.
fn numbered_name(base: &str, number: u32) -> String {
    if number < 2 {
        return base.to_owned();
    }
    let tail = format!("-{number}");
    let head: String = base.chars().take(names::MAX - tail.len()).collect();
    format!("{head}{tail}")
}

/// Returns the first of `base`, `base-2`, `base-3` …
pub fn first_names(base: &str) -> impl Iterator<Item = String> {
    (1..=TRIED_IN_ORDER).map(|number| numbered_name(base, number))
}

/// Returns the first of `base`, `base-2`, `base-3` … from the number `from` on that `is_free`.
///
/// Where the least are taken, a free one behind a taken one is searched for in steps that double, so
/// that thousands of sessions in one directory cost little more than one.
pub fn free_name(
    base: &str,
    from: u32,
    mut is_free: impl FnMut(&str) -> Result<bool, Fault>,
) -> Result<String, Fault> {
    let mut try_number = |number: u32| -> Result<bool, Fault> {
        let name = numbered_name(base, number);
        Ok(names::is_valid(&name) && is_free(&name)?)
    };
    for number in from..=TRIED_IN_ORDER {
        if try_number(number)? {
            return Ok(numbered_name(base, number));
        }
    }
    let (mut taken, mut free) = (TRIED_IN_ORDER, TRIED_IN_ORDER * 2);
    while !try_number(free)? {
        taken = free;
        free = free.saturating_mul(2);
    }
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        if try_number(middle)? {
            free = middle;
        } else {
            taken = middle;
        }
    }
    Ok(numbered_name(base, free))
}
