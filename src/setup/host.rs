//! The host: where this program, its clients and their configurations are.

use std::path::{Path, PathBuf};

use crate::config::{Config, Environment};
use crate::setup::error::SetupError;
use crate::sys::self_exe::lasting_path;
use crate::sys::subprocess;

/// What setup needs to know about the machine.
#[derive(Debug, Clone)]
pub struct Host {
    pub home: PathBuf,
    /// The path of this program that will also lead to its next version.
    pub program: String,
    /// The directory of undo records and copies.
    pub state: PathBuf,
    /// The broker's socket; empty if its path is not UTF-8.
    pub socket: String,
    environment: Environment,
}

/// The variables that tell clients where their configuration lies.
const VARIABLES: [&str; 3] = ["CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME"];

impl Host {
    /// Finds out about the machine, as an environment describes it.
    ///
    /// # Errors
    ///
    /// If there is no home, or the path of this program or of a client's configuration is not UTF-8.
    pub fn load(environment: &Environment) -> Result<Self, SetupError> {
        let config = Config::from_environment(environment)?;
        let program = lasting_path(environment.search_path()).map_err(|error| {
            SetupError::Program(format!("the path of this program cannot be found: {error}"))
        })?;
        let found = Self {
            home: config.paths.home.clone(),
            program: in_writing(&program)?,
            state: config.paths.state().to_owned(),
            socket: config.paths.socket.to_str().unwrap_or_default().to_owned(),
            environment: environment.clone(),
        };
        // The undo record contains the path of every file.
        let named = VARIABLES.iter().filter_map(|variable| found.directory(variable));
        match named.chain([found.home.clone()]).find(|path| path.to_str().is_none()) {
            None => Ok(found),
            Some(path) => Err(SetupError::file(
                &path,
                "is a directory whose name is not UTF-8 text",
                "Nothing was changed. Name it in UTF-8, and run this again.",
            )),
        }
    }

    /// Returns the directory that a variable names.
    ///
    /// The client resolves a relative path from its working directory, except in variables of the
    /// XDG specification, where a relative path is invalid.
    pub fn directory(&self, variable: &str) -> Option<PathBuf> {
        if variable.starts_with("XDG_") {
            return self.environment.absolute_path(variable);
        }
        std::path::absolute(self.environment.get(variable)?).ok()
    }

    /// Returns the first of these programs that exists.
    pub fn program_of(&self, names: &[&str], elsewhere: &[PathBuf]) -> Option<PathBuf> {
        let path = self.environment.search_path();
        let found = names.iter().find_map(|name| subprocess::find_in_path(path, name));
        found.or_else(|| elsewhere.iter().find(|path| path.is_file()).cloned())
    }
}

fn in_writing(program: &Path) -> Result<String, SetupError> {
    program
        .to_str()
        .filter(|text| !text.chars().any(char::is_control))
        .map(str::to_owned)
        .ok_or_else(|| {
            SetupError::Program(format!(
                "{} cannot be written into a configuration file",
                program.display()
            ))
        })
}
