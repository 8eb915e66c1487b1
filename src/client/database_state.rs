//! Where peers and messages are after a broker was stopped, found out by looking.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::client::Client;
use crate::config::Config;
use crate::endpoint::broker_lock::Whereabouts;
use crate::endpoint::socket::holder;

/// How long a broker may take to report on its database.
///
/// A broker that takes longer is about to be ended for its silence.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What is known of the database while the broker runs.
pub struct BeforeStop {
    /// The database that the broker uses. It need not be the one of these settings.
    database: PathBuf,
    /// What happened to the database's files while the broker ran.
    note: Option<String>,
    since: SystemTime,
}

/// Where peers and messages are.
pub struct MailStatus {
    pub database: PathBuf,
    pub location: MailLocation,
}

/// What became of peers and messages.
pub enum MailLocation {
    /// They are in the database. The note tells what happened to its files meanwhile.
    Kept {
        note: Option<String>,
    },
    /// The database is gone, and the broker has saved its contents in this file.
    Saved(PathBuf),
    Lost,
}

impl BeforeStop {
    /// Asks the broker which database it uses.
    ///
    /// A user who removes the database and then stops the broker wants to start with an empty one,
    /// so the broker is told to start a fresh database first.
    pub async fn of(client: &Client) -> Self {
        // The times of files are coarser than the clock.
        let since = SystemTime::now() - Duration::from_secs(1);
        let client = client.clone().without_start();
        let configured = client.config().database_path().to_owned();
        if !configured.exists() {
            // A broker that cannot do it, or is too old to, goes on with the data it has, and the
            // outcome tells so.
            let _ = tokio::time::timeout(ANSWER_TIMEOUT, client.begin_afresh()).await;
        }
        let health = tokio::time::timeout(ANSWER_TIMEOUT, client.look()).await;
        match health.ok().and_then(Result::ok).and_then(|health| health.detail) {
            Some(detail) => {
                // In a container the file has another path than here.
                let contained = holder(client.config())
                    .is_some_and(|holder| holder.whereabouts() == Whereabouts::OtherContainer);
                let database = if contained { configured } else { detail.database.into() };
                Self { database, note: detail.database_note, since }
            }
            None => Self { database: configured, note: None, since },
        }
    }

    /// Looks where peers and messages are, once the broker has ended.
    pub fn after(self, config: &Config) -> MailStatus {
        let Self { database, note, since } = self;
        let location = if std::fs::metadata(&database).is_ok_and(|file| file.is_file()) {
            MailLocation::Kept { note }
        } else {
            let saved = saved_since(&config.paths.refuge(), since);
            saved.map_or(MailLocation::Lost, MailLocation::Saved)
        };
        MailStatus { database, location }
    }
}

/// Finds the file in which a broker that lost its database has saved it, beside `rescue`.
fn saved_since(rescue: &Path, since: SystemTime) -> Option<PathBuf> {
    let prefix = format!("{}.lost-", rescue.file_name()?.to_str()?);
    let entries = std::fs::read_dir(rescue.parent()?).ok()?;
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .filter(|entry| entry.metadata().and_then(|m| m.modified()).is_ok_and(|at| at >= since))
        .map(|entry| entry.path())
        .max()
}
