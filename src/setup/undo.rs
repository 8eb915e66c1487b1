//! The undo record: what setup changed in each file, and a copy of the file as it was before.
//!
//! There is one record per client in the state directory, beside the copies. It is written before the
//! client's file is, so that a crash in between loses nothing.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::setup::edit::change::{AppliedChange, taking_back};
use crate::setup::edit::file::{ConfigFile, digest};
use crate::setup::error::SetupError;
use crate::sys::files::{LockFile, private_directory, read_limited, write_private};

/// The largest record or copy that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The undo record of one client.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    #[serde(default)]
    pub files: Vec<FileRecord>,
    /// Entries that the client's own command added.
    #[serde(default)]
    pub servers: Vec<ServerRecord>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileRecord {
    pub path: PathBuf,
    pub target: PathBuf,
    /// The copy of the file as it was before the first change; `None` if there was no file.
    pub copy: Option<String>,
    /// Directories that were made for the file.
    pub directories: Vec<PathBuf>,
    /// The digest of the file as setup left it.
    pub after: String,
    /// Whether only setup has changed the file since the copy was made, as far as setup has seen.
    pub exact: bool,
    pub applied: Vec<AppliedChange>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// The client's file, which the client rewrites at any time.
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
    /// Returns whether the file is as setup left it and its original is known.
    pub fn is_untouched(&self, file: &ConfigFile) -> bool {
        self.exact
            && self.target == file.target
            && file.bytes.as_deref().is_some_and(|bytes| digest(bytes) == self.after)
    }
}

/// The undo record and copies of one client, in the state directory.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
    client: &'static str,
}

impl Store {
    pub fn new(state: &Path, client: &'static str) -> Self {
        Self { directory: state.join("setup"), client }
    }

    /// Makes the directory, and locks it against another `setup`.
    ///
    /// # Errors
    ///
    /// If another `setup` is running, or the record cannot be stored.
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

    /// Returns the path of a copy.
    pub fn copy_path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Reads the record.
    ///
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
        match read_limited(&path, MAX_BYTES) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| unreadable(format!("cannot be read: {error}"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
            Err(error) => Err(unreadable(format!("cannot be read: {error}"))),
        }
    }

    /// Writes the record.
    ///
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

    /// Copies the file as it is now, and returns the copy's name.
    ///
    /// Writes the record.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn keep(&self, file: &ConfigFile) -> Result<Option<String>, SetupError> {
        let Some(bytes) = &file.bytes else { return Ok(None) };
        let base = file.path.file_name().unwrap_or_default().to_string_lossy();
        // Never over an earlier copy, which may be the only one of the original.
        let free = (1..).map(|number| format!("{}-{base}.{number}", self.client));
        let name = free.into_iter().find(|name| !self.copy_path(name).exists());
        let name = name.unwrap_or_default();
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        write_private(&self.copy_path(&name), text).map_err(self.cannot("written"))?;
        Ok(Some(name))
    }

    /// Reads a copy.
    ///
    /// # Errors
    ///
    /// If the copy is gone or cannot be read.
    pub fn copy(&self, name: &str) -> Result<Vec<u8>, SetupError> {
        let path = self.copy_path(name);
        read_limited(&path, MAX_BYTES).map_err(SetupError::io("read", &path))
    }

    /// Returns whether the original is known: there is a copy, or there was no file.
    pub fn has_copy(&self, known: &FileRecord) -> bool {
        known.copy.as_deref().is_none_or(|name| self.copy_path(name).is_file())
    }

    /// Removes a copy that is no longer needed. A failure does no harm.
    pub fn drop_copy(&self, name: Option<&str>) {
        if let Some(name) = name {
            let _ = std::fs::remove_file(self.copy_path(name));
        }
    }

    /// Records a change that is about to be made to a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be copied.
    pub fn note(
        &self,
        record: &mut Record,
        file: &ConfigFile,
        after: &[u8],
        applied: &[AppliedChange],
        current: &Value,
    ) -> Result<(), SetupError> {
        if let Some(known) = record.files.iter_mut().find(|known| known.path == file.path) {
            let untouched = known.is_untouched(file);
            if untouched || !taking_back(&known.applied, current).is_empty() {
                known.exact = untouched;
                known.target.clone_from(&file.target);
                known.after = digest(after);
                known.applied.extend_from_slice(applied);
                return Ok(());
            }
        }
        // The earlier record no longer applies.
        record.files.retain(|known| known.path != file.path);
        record.files.push(FileRecord {
            path: file.path.clone(),
            target: file.target.clone(),
            copy: self.keep(file)?,
            directories: file.missing_directories(),
            after: digest(after),
            exact: true,
            applied: applied.to_vec(),
        });
        Ok(())
    }
}
