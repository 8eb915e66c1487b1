//! A plan: the changes for one client, shown before they are made, and reverted if one of them fails.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::setup::clients::claude_command::Registration;
use crate::setup::clients::servers::Servers;
use crate::setup::edit::change::{AppliedChange, Change, taking_back};
use crate::setup::edit::diff;
use crate::setup::edit::file::ConfigFile;
use crate::setup::edit::removal;
use crate::setup::edit::syntax::Syntax;
use crate::setup::error::SetupError;
use crate::setup::undo::{Record, Store};

/// Which parts of Claude Code's set-up are wanted.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // each is an option of the command line
pub struct Options {
    pub hooks: bool,
    pub permission: bool,
    /// Whether commands in its sandbox may reach the broker.
    pub sandbox: bool,
    /// Whether its status line is to show what concerns peers.
    pub status_line: bool,
}

/// The changes for one client.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) store: Store,
    pub(super) edits: Vec<Edit>,
    pub(super) registrations: Vec<Registration>,
    /// Remarks for the user.
    pub notes: Vec<String>,
    /// Why the set-up has no effect yet.
    pub caveat: Option<String>,
    /// Whether something of ours is there already.
    pub present: bool,
    undo: bool,
    /// Undo records that are obsolete, because their files are as they were before.
    stale: Vec<PathBuf>,
}

/// A file's new content.
#[derive(Debug, Clone)]
pub struct Edit {
    file: ConfigFile,
    /// `None` if the file is removed.
    after: Option<Vec<u8>>,
    applied: Vec<AppliedChange>,
    current: serde_json::Value,
    /// Directories that are made or removed with it.
    directories: Vec<PathBuf>,
    /// Whether its original bytes are restored.
    restored: bool,
}

/// One step, for display and for `--json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Shown {
    /// A file is made, changed, restored or removed.
    Create {
        path: PathBuf,
        diff: String,
    },
    Edit {
        path: PathBuf,
        diff: String,
    },
    Restore {
        path: PathBuf,
        diff: String,
    },
    Remove {
        path: PathBuf,
        diff: String,
    },
    /// The client's own command is run.
    Run {
        command: Vec<String>,
    },
}

impl Plan {
    pub(super) fn new(store: Store, undo: bool) -> Self {
        Self {
            store,
            edits: Vec::new(),
            registrations: Vec::new(),
            notes: Vec::new(),
            caveat: None,
            present: false,
            undo,
            stale: Vec::new(),
        }
    }

    /// Returns whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.registrations.is_empty()
    }

    /// Returns all steps in order.
    #[must_use]
    pub fn steps(&self) -> Vec<Shown> {
        let runs = self.registrations.iter().flat_map(Registration::commands);
        let runs = runs.map(|command| Shown::Run { command });
        let edits = self.edits.iter().map(Edit::shown);
        if self.undo { runs.chain(edits).collect() } else { edits.chain(runs).collect() }
    }

    /// Plans changes of a file; `by_hand` says what a person could do if they are impossible.
    pub(super) fn change(
        &mut self,
        file: ConfigFile,
        syntax: Syntax,
        changes: &[Change],
        by_hand: &str,
    ) -> Result<(), SetupError> {
        let text = file.text();
        let problem = |problem| SetupError::text(&file.path, &problem, by_hand);
        let current = syntax.parse(text).map_err(problem)?;
        if changes.is_empty() {
            return Ok(());
        }
        let edited = syntax.edit(text, changes).map_err(problem)?;
        let mut value = current.clone();
        let mut applied = Vec::new();
        for change in changes {
            applied.extend(change.apply(&mut value).map_err(|shape| problem(shape.into()))?);
        }
        file.check_writable()?;
        let after = Some(file.with_text(&edited));
        let directories = file.missing_directories();
        self.edits.push(Edit { file, after, applied, current, directories, restored: false });
        Ok(())
    }

    /// Plans the removal of everything that setup added to a file.
    pub(super) fn take_back(
        &mut self,
        file: ConfigFile,
        servers: &Servers,
        record: &Record,
    ) -> Result<(), SetupError> {
        if let Some(known) = record.file(&file.path) {
            let before = known.copy.as_deref().map(|name| self.store.copy(name)).transpose();
            match before {
                Ok(before) if known.is_untouched(&file) => {
                    return self.restore(file, before, &known.directories);
                }
                Ok(before) if before == file.bytes => {
                    self.mark_stale(&file.path);
                    return Ok(());
                }
                // Without its copy it is treated like an edited file.
                _ => {}
            }
        } else if !record.is_empty() {
            return Ok(());
        }
        let by_hand = "take claude-peers out of it";
        let value = servers
            .syntax
            .parse(file.text())
            .map_err(|problem| SetupError::text(&file.path, &problem, by_hand))?;
        let path = file.path.display().to_string();
        let changes = match record.file(&file.path) {
            Some(known) => taking_back(&known.applied, &value),
            None => removal::removals(&value, servers.container),
        };
        if changes.is_empty() {
            self.mark_stale(&file.path);
            return Ok(());
        }
        self.notes.push(match record.file(&file.path) {
            Some(known) if !self.store.has_copy(known) => {
                format!("The copy of {path} is gone, so only what setup put there is taken out.")
            }
            Some(known) => {
                let copy = known.copy.as_deref().map(|name| self.store.copy_path(name));
                let copy = copy.filter(|copy| copy.exists()).map_or_else(String::new, |copy| {
                    format!(" The file as it was before setup stays in {}.", copy.display())
                });
                format!("{path} was edited since, so only what setup put there is taken out.{copy}")
            }
            None => format!(
                "There is no record of a setup: what is recognisably ours is taken out of {path}."
            ),
        });
        self.change(file, servers.syntax, &changes, by_hand)
    }

    /// Marks the undo record of this file as obsolete.
    pub(super) fn mark_stale(&mut self, path: &Path) {
        self.stale.push(path.to_owned());
    }

    /// Plans to restore the original content of a file that only setup has changed.
    fn restore(
        &mut self,
        file: ConfigFile,
        before: Option<Vec<u8>>,
        directories: &[PathBuf],
    ) -> Result<(), SetupError> {
        file.check_writable()?;
        self.edits.push(Edit {
            file,
            after: before,
            applied: Vec::new(),
            current: serde_json::Value::Null,
            directories: directories.to_vec(),
            restored: true,
        });
        Ok(())
    }

    /// Makes the changes. If one fails, those already made are reverted.
    ///
    /// # Errors
    ///
    /// If a change fails.
    pub fn carry_out(self) -> Result<(), SetupError> {
        let _lock = self.store.lock()?;
        if self.undo { self.undo() } else { self.set_up() }
    }

    fn set_up(self) -> Result<(), SetupError> {
        let store = &self.store;
        let before = store.load()?;
        let mut record = before.clone();
        for edit in &self.edits {
            if let Some(after) = &edit.after {
                store.note(&mut record, &edit.file, after, &edit.applied, &edit.current)?;
            }
        }
        for registration in &self.registrations {
            registration.note(store, &mut record)?;
        }
        store.save(&record)?;
        let mut done = Vec::new();
        let result = self
            .edits
            .iter()
            .try_for_each(|edit| edit.carry_out().map(|()| done.push(edit)))
            .and_then(|()| self.registrations.iter().try_for_each(Registration::carry_out));
        if let Err(error) = result {
            let back: Result<(), _> = done.iter().rev().try_for_each(|edit| edit.put_back());
            // If even that fails, the undo record has the original.
            if back.is_ok() {
                store.save(&before)?;
                drop_copies(store, &record, &before);
            }
            return Err(error);
        }
        drop_copies(store, &before, &record);
        Ok(())
    }

    fn undo(self) -> Result<(), SetupError> {
        let store = &self.store;
        let mut record = store.load()?;
        for registration in &self.registrations {
            registration.carry_out()?;
            registration.restore_bytes(store, &record);
            registration.forget(store, &mut record);
            store.save(&record)?;
        }
        for edit in &self.edits {
            edit.carry_out()?;
            let known = record.file(&edit.file.path);
            let copy = known.filter(|_| edit.restored).and_then(|known| known.copy.clone());
            record.files.retain(|known| known.path != edit.file.path);
            store.save(&record)?;
            store.drop_copy(copy.as_deref());
        }
        if self.stale.is_empty() {
            return Ok(());
        }
        let before = record.clone();
        record.files.retain(|known| !self.stale.contains(&known.path));
        record.servers.retain(|known| !self.stale.contains(&known.config));
        store.save(&record)?;
        drop_copies(store, &before, &record);
        Ok(())
    }
}

/// Removes the copies that are in `old` and not in `new`.
fn drop_copies(store: &Store, old: &Record, new: &Record) {
    let names = |record: &Record| -> Vec<String> {
        let files = record.files.iter().filter_map(|known| known.copy.clone());
        files.chain(record.servers.iter().filter_map(|known| known.copy.clone())).collect()
    };
    let kept = names(new);
    for name in names(old).iter().filter(|name| !kept.contains(name)) {
        store.drop_copy(Some(name));
    }
}

impl Edit {
    fn shown(&self) -> Shown {
        let path = self.file.path.clone();
        let after = String::from_utf8_lossy(self.after.as_deref().unwrap_or_default());
        let diff = diff::lines(self.file.text(), after.trim_start_matches('\u{feff}'));
        match (&self.file.bytes, &self.after) {
            (None, _) => Shown::Create { path, diff },
            (_, None) => Shown::Remove { path, diff },
            _ if self.restored => Shown::Restore { path, diff },
            _ => Shown::Edit { path, diff },
        }
    }

    fn carry_out(&self) -> Result<(), SetupError> {
        match &self.after {
            Some(bytes) => self.file.write(bytes),
            None => self.file.remove(&self.directories),
        }
    }

    fn put_back(&self) -> Result<(), SetupError> {
        let now = ConfigFile::read(&self.file.path)?;
        if now.bytes != self.after {
            return Err(SetupError::Meanwhile { path: self.file.path.clone() });
        }
        match &self.file.bytes {
            Some(bytes) => now.write(bytes),
            None => now.remove(&self.directories),
        }
    }
}
