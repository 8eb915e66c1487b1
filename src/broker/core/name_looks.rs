//! How the names of all peers look, so that one that looks like another is found without reading all.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::protocol::names;

/// The names of peers by their look. Some may have no owner any more.
#[derive(Debug, Default)]
pub struct NameLooks(Mutex<Option<HashMap<String, BTreeSet<String>>>>);

impl NameLooks {
    /// Returns the names in the database that look like `name`, and itself. The database is read whole
    /// the first time.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn alike(&self, db: &Connection, name: &str) -> rusqlite::Result<Vec<String>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.is_none() {
            let mut statement = db.prepare("SELECT name FROM peers WHERE name IS NOT NULL")?;
            let mut read: HashMap<String, BTreeSet<String>> = HashMap::new();
            for name in statement.query_map([], |row| row.get::<_, String>(0))? {
                let name = name?;
                read.entry(names::look(&name)).or_default().insert(name);
            }
            *all = Some(read);
        }
        let alike = all.as_ref().and_then(|all| all.get(&names::look(name))).into_iter().flatten();
        let mut found: Vec<String> =
            alike.filter(|other| names::look_alike(other, name)).cloned().collect();
        found.push(name.to_owned());
        Ok(found)
    }

    /// Takes account of a name that a peer gets.
    pub fn add(&self, name: &str) {
        if let Some(all) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            all.entry(names::look(name)).or_default().insert(name.to_owned());
        }
    }

    /// Forgets all: another database is open.
    pub fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
