//! What hooks said while no broker ran: left in a file for the broker that is to come.
//!
//! A client runs its first hook beside its servers' start, and the first server of all starts the
//! broker. A hook starts none; but which session a window shows nobody else knows, and without
//! its word a session that goes on would get a new peer, and its mail would stay with the old one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Paths;
use crate::protocol::{ProcessId, Timestamp};
use crate::sys::files::{beside, private_directory};

/// Should no broker ever come, the file ends here, in bytes: some hundred words.
const ROOM: u64 = 64 * 1024;

/// A hook's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    pub client: ProcessId,
    /// The session that the client shows.
    pub session: String,
    /// What began it, in the client's word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    pub said_at: Timestamp,
}

fn file(paths: &Paths) -> PathBuf {
    beside(&paths.socket, ".unheard")
}

/// Leaves a word for the next broker.
///
/// # Errors
///
/// If the file cannot be written, or is full.
pub fn leave(paths: &Paths, word: &Word) -> io::Result<()> {
    private_directory(paths.runtime())?;
    let path = file(paths);
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    if file.metadata()?.len() > ROOM {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    // In one call, so that the words of two hooks do not mix.
    file.write_all(&line)
}

/// Takes what hooks left, oldest first. A line that makes no sense is passed over.
///
/// # Errors
///
/// If there is a file, and it cannot be read.
pub fn take(paths: &Paths) -> io::Result<Vec<Word>> {
    let path = file(paths);
    // A hook that speaks now begins a new one.
    let taken = beside(&path, "-taken");
    match fs::rename(&path, &taken) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        renamed => renamed?,
    }
    let bytes = fs::read(&taken);
    fs::remove_file(&taken)?;
    Ok(bytes?.split(|byte| *byte == b'\n').flat_map(serde_json::from_slice).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::sys::{clock, process};

    fn paths(home: &tempfile::TempDir) -> Paths {
        let variable = |name: &str| (name == "HOME").then(|| home.path().into());
        Config::from_environment(&variable).unwrap().paths
    }

    #[test]
    fn words_are_left_and_taken_once() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(&home);
        assert_eq!(take(&paths).unwrap(), []);
        let word = |session: &str| Word {
            client: process::of_pid(std::process::id()).unwrap(),
            session: session.to_owned(),
            source: String::new(),
            said_at: Timestamp::from_millis(1_700_000_000_000),
        };
        leave(&paths, &word("one")).unwrap();
        OpenOptions::new()
            .append(true)
            .open(file(&paths))
            .unwrap()
            .write_all(b"nonsense\n")
            .unwrap();
        leave(&paths, &word("two")).unwrap();
        assert_eq!(take(&paths).unwrap(), [word("one"), word("two")]);
        assert_eq!(take(&paths).unwrap(), []);
    }

    #[test]
    fn what_nobody_takes_has_an_end() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(&home);
        private_directory(paths.runtime()).unwrap();
        fs::write(file(&paths), "x".repeat(70_000)).unwrap();
        let client = process::of_pid(std::process::id()).unwrap();
        let word =
            Word { client, session: "one".into(), source: String::new(), said_at: clock::now() };
        assert_eq!(leave(&paths, &word).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
