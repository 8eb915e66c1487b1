//! Where peers and mail are once the broker has ended: said only after a look.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::client::Client;
use crate::config::Config;
use crate::endpoint::broker_lock::Whereabouts;
use crate::endpoint::socket::holder;

/// How long a broker may take to say what became of its database. One that is silent is about to
/// be ended for it.
const ANSWER: Duration = Duration::from_secs(1);

/// What is known while the broker runs.
pub struct Before {
    /// The database that it uses, which need not be the one that our settings name.
    database: PathBuf,
    /// What happened to its files under it.
    note: Option<String>,
    since: SystemTime,
}

/// Where peers and mail are.
pub struct Fate {
    pub database: PathBuf,
    pub mail: Mail,
}

/// What became of them.
pub enum Mail {
    /// They are in the database; what happened to it meanwhile.
    Kept {
        note: Option<String>,
    },
    /// The database is gone, and what the broker had was saved here.
    Saved(PathBuf),
    Lost,
}

impl Before {
    /// Asks the broker. Whoever has removed its database and now stops it wants to begin afresh: it
    /// is told so.
    pub async fn of(client: &Client) -> Self {
        // The times of files are coarser than the clock.
        let since = SystemTime::now() - Duration::from_secs(1);
        let client = client.clone().without_start();
        let otherwise = client.config().database_path().to_owned();
        if !otherwise.exists() {
            // One that cannot, or is too old to, goes on with what it has, and says so.
            let _ = tokio::time::timeout(ANSWER, client.begin_afresh()).await;
        }
        let health = tokio::time::timeout(ANSWER, client.look()).await;
        match health.ok().and_then(Result::ok).and_then(|health| health.detail) {
            Some(detail) => {
                // One in a container has a name of its own for the file.
                let contained = holder(client.config())
                    .is_some_and(|holder| holder.whereabouts() == Whereabouts::OtherContainer);
                let database = if contained { otherwise } else { detail.database.into() };
                Self { database, note: detail.database_note, since }
            }
            None => Self { database: otherwise, note: None, since },
        }
    }

    /// Once it has ended.
    pub fn after(self, config: &Config) -> Fate {
        let Self { database, note, since } = self;
        let mail = if std::fs::metadata(&database).is_ok_and(|file| file.is_file()) {
            Mail::Kept { note }
        } else {
            saved_since(&config.paths.refuge(), since).map_or(Mail::Lost, Mail::Saved)
        };
        Fate { database, mail }
    }
}

/// What a broker that lost its database has saved beside `refuge`.
fn saved_since(refuge: &Path, since: SystemTime) -> Option<PathBuf> {
    let prefix = format!("{}.lost-", refuge.file_name()?.to_str()?);
    let entries = std::fs::read_dir(refuge.parent()?).ok()?;
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .filter(|entry| entry.metadata().and_then(|m| m.modified()).is_ok_and(|at| at >= since))
        .map(|entry| entry.path())
        .max()
}
