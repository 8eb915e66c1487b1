//! What setup did to each file and how the file was before, so that it can be undone.
//!
//! One record for each client in the state directory, beside the copies that it names. It is
//! written before the file is, so that a crash in between loses nothing.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::setup::edit::change::{Deed, taking_back};
use crate::setup::edit::file::{ConfigFile, digest};
use crate::setup::error::SetupError;
use crate::sys::files::{LockFile, private_directory, write_private};

/// What was done for one client.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    #[serde(default)]
    pub files: Vec<FileRecord>,
    /// Entries that the client's own command made.
    #[serde(default)]
    pub servers: Vec<ServerRecord>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileRecord {
    pub path: PathBuf,
    pub target: PathBuf,
    /// The copy of the file as it was before the first change; none if there was no file.
    pub copy: Option<String>,
    /// Directories that were made for it.
    pub directories: Vec<PathBuf>,
    /// The digest of the file as setup left it.
    pub after: String,
    /// Only setup has changed it since the copy was taken, as far as setup itself saw.
    pub exact: bool,
    pub deeds: Vec<Deed>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// The client's file, which it rewrites at any time.
    pub config: PathBuf,
    pub name: String,
    pub entry: Value,
    pub before: Option<Value>,
    pub copy: Option<String>,
}

impl Record {
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.servers.is_empty()
    }

    pub fn file(&self, path: &Path) -> Option<&FileRecord> {
        self.files.iter().find(|record| record.path == path)
    }

    pub fn server(&self, config: &Path) -> Option<&ServerRecord> {
        self.servers.iter().find(|record| record.config == config)
    }
}

impl FileRecord {
    /// Whether the file is as setup left it, and what was before it is known.
    pub fn is_untouched(&self, file: &ConfigFile) -> bool {
        self.exact
            && self.target == file.target
            && file.bytes.as_deref().is_some_and(|bytes| digest(bytes) == self.after)
    }
}

/// The records and copies of one client.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
    client: &'static str,
}

impl Store {
    pub fn new(state: &Path, client: &'static str) -> Self {
        Self { directory: state.join("setup"), client }
    }

    /// Makes the directory, and keeps others out of it.
    ///
    /// # Errors
    ///
    /// If another setup is at work, or there is no place for the record.
    pub fn lock(&self) -> Result<LockFile, SetupError> {
        private_directory(&self.directory).map_err(self.cannot("made"))?;
        LockFile::try_take(&self.directory.join("lock"))
            .map_err(self.cannot("locked"))?
            .ok_or(SetupError::Busy)
    }

    fn cannot(&self, what: &'static str) -> impl Fn(io::Error) -> SetupError + '_ {
        SetupError::io(what, &self.directory)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{}.json", self.client))
    }

    /// Where a copy lies.
    pub fn copy_path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// # Errors
    ///
    /// If there is a record that cannot be read.
    pub fn load(&self) -> Result<Record, SetupError> {
        let path = self.path();
        let unreadable = |problem: String| {
            let hint =
                "It is setup's own record of what to undo. Move it away, and run this again.";
            SetupError::file(&path, problem, hint)
        };
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| unreadable(format!("cannot be read: {error}"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
            Err(error) => Err(unreadable(format!("cannot be read: {error}"))),
        }
    }

    /// # Errors
    ///
    /// If it cannot be written.
    pub fn save(&self, record: &Record) -> Result<(), SetupError> {
        let path = self.path();
        if record.is_empty() {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(SetupError::io("removed", &path)(error))
                }
                _ => Ok(()),
            };
        }
        let text = serde_json::to_string_pretty(record).map_err(io::Error::from);
        text.and_then(|text| write_private(&path, &text)).map_err(SetupError::io("written", &path))
    }

    /// Keeps the file as it is now; gives the copy's name.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn keep(&self, file: &ConfigFile) -> Result<Option<String>, SetupError> {
        let Some(bytes) = &file.bytes else { return Ok(None) };
        let base = file.path.file_name().unwrap_or_default().to_string_lossy();
        // Never over another copy: an earlier one may be the only one of its kind.
        let free = (1..).map(|number| format!("{}-{base}.{number}", self.client));
        let name = free.into_iter().find(|name| !self.copy_path(name).exists());
        let name = name.unwrap_or_default();
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        write_private(&self.copy_path(&name), text).map_err(self.cannot("written"))?;
        Ok(Some(name))
    }

    /// # Errors
    ///
    /// If the copy is gone or cannot be read.
    pub fn copy(&self, name: &str) -> Result<Vec<u8>, SetupError> {
        let path = self.copy_path(name);
        std::fs::read(&path).map_err(SetupError::io("read", &path))
    }

    /// Whether it is known how the file was: it has its copy, or it was not there.
    pub fn has_copy(&self, known: &FileRecord) -> bool {
        known.copy.as_deref().is_none_or(|name| self.copy_path(name).is_file())
    }

    /// A copy that nobody needs any more. Should it stay, nothing is the worse for it.
    pub fn drop_copy(&self, name: Option<&str>) {
        if let Some(name) = name {
            let _ = std::fs::remove_file(self.copy_path(name));
        }
    }

    /// Notes what is about to become of a file.
    ///
    /// # Errors
    ///
    /// If its copy cannot be kept.
    pub fn note(
        &self,
        record: &mut Record,
        file: &ConfigFile,
        after: &[u8],
        deeds: &[Deed],
        current: &Value,
    ) -> Result<(), SetupError> {
        if let Some(known) = record.files.iter_mut().find(|known| known.path == file.path) {
            let untouched = known.is_untouched(file);
            if untouched || !taking_back(&known.deeds, current).is_empty() {
                known.exact = untouched;
                known.target.clone_from(&file.target);
                known.after = digest(after);
                known.deeds.extend_from_slice(deeds);
                return Ok(());
            }
        }
        // Nothing is left of what an earlier record tells.
        record.files.retain(|known| known.path != file.path);
        record.files.push(FileRecord {
            path: file.path.clone(),
            target: file.target.clone(),
            copy: self.keep(file)?,
            directories: file.missing_directories(),
            after: digest(after),
            exact: true,
            deeds: deeds.to_vec(),
        });
        Ok(())
    }
}
