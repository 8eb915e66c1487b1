//! Where peers and mail are once the broker has ended: said only after a look.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::client::Client;
use crate::config::Config;

/// How long a broker may take to say what became of its database. One that is silent is about to
/// be ended for it.
const ANSWER: Duration = Duration::from_secs(1);

/// What is known while the broker runs.
pub struct Before {
    /// What happened to its database's files under it.
    note: Option<String>,
    since: SystemTime,
}

/// Where peers and mail are.
#[derive(Debug)]
pub enum Fate {
    /// Where they should be.
    Kept {
        note: Option<String>,
    },
    /// The database is gone, and what the broker had was saved here.
    Saved(PathBuf),
    Lost,
}

impl Before {
    /// Asks the broker, which looks after its database when it is asked.
    pub async fn of(client: &Client) -> Self {
        // The times of files are coarser than the clock.
        let since = SystemTime::now() - Duration::from_secs(1);
        let health = tokio::time::timeout(ANSWER, client.look()).await;
        let detail = health.ok().and_then(Result::ok).and_then(|health| health.detail);
        Self { note: detail.and_then(|detail| detail.database_note), since }
    }

    /// Once it has ended.
    pub fn after(self, config: &Config) -> Fate {
        if std::fs::metadata(config.database_path()).is_ok_and(|file| file.is_file()) {
            return Fate::Kept { note: self.note };
        }
        saved_since(&config.paths.refuge(), self.since).map_or(Fate::Lost, Fate::Saved)
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
