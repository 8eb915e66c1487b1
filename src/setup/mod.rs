//! `claude-peers setup`: our server, and where there are any our hooks, in the configuration of
//! Claude Code and other MCP clients.
//!
//! These files belong to their user: they are edited by hand, kept in repositories, linked and
//! commented. So a [`Plan`] is made and shown first; what cannot be read is not touched; a change
//! touches the bytes that it must and no others; and a copy and a record are kept by which all of
//! it can be undone. Each client has a file of its own; nothing here prints.

pub mod clients;
pub mod edit;
mod error;
mod host;
mod plan;
mod undo;

use std::path::PathBuf;

use serde::Serialize;

use clients::claude::Claude;
use clients::servers::Servers;
use clients::{codex, cursor, gemini, opencode};
use edit::file::ConfigFile;
use undo::Store;

pub use error::SetupError;
pub use host::Surroundings;
pub use plan::{Options, Plan, Shown};

/// An MCP client that can be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    Claude,
    Codex,
    Opencode,
    Gemini,
    Cursor,
}

/// How a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Neither its program nor its configuration is here.
    NotFound,
    NotSetUp,
    /// Something of ours is there, and not all as it should be.
    Partly,
    SetUp,
    /// Its configuration cannot be read or written.
    Unusable,
}

/// What there is of a client.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    pub client: Client,
    pub state: State,
    /// Its program, else the directory of its configuration, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Why it is unusable, or has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Client {
    pub const ALL: [Self; 5] =
        [Self::Claude, Self::Codex, Self::Opencode, Self::Gemini, Self::Cursor];

    /// As the command line has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Opencode => "opencode",
            Self::Gemini => "gemini",
            Self::Cursor => "cursor",
        }
    }

    /// As its maker has it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Claude => "Claude Code",
            Self::Codex => "Codex",
            Self::Opencode => "opencode",
            Self::Gemini => "Gemini CLI",
            Self::Cursor => "Cursor",
        }
    }

    /// Where it is, if it is here.
    #[must_use]
    pub fn place(self, surroundings: &Surroundings) -> Option<PathBuf> {
        let (programs, directory) = match self {
            Self::Claude => {
                let claude = Claude::new(surroundings);
                let directory = claude.directory().clone();
                return claude.program().or_else(|| directory.is_dir().then_some(directory));
            }
            Self::Codex => (codex::PROGRAMS, codex::directory(surroundings)),
            Self::Opencode => (opencode::PROGRAMS, opencode::directory(surroundings)),
            Self::Gemini => (gemini::PROGRAMS, gemini::directory(surroundings)),
            Self::Cursor => (cursor::PROGRAMS, cursor::directory(surroundings)),
        };
        let program = surroundings.program_of(programs, &[]);
        program.or_else(|| directory.is_dir().then_some(directory))
    }

    /// The files that may have its servers, best first; Claude Code's are its own matter.
    fn servers(self, surroundings: &Surroundings) -> Vec<Servers> {
        match self {
            Self::Claude => Vec::new(),
            Self::Codex => vec![codex::servers(surroundings)],
            Self::Opencode => opencode::servers(surroundings),
            Self::Gemini => vec![gemini::servers(surroundings)],
            Self::Cursor => vec![cursor::servers(surroundings)],
        }
    }

    fn store(self, surroundings: &Surroundings) -> Store {
        Store::new(&surroundings.state, self.name())
    }

    /// What setting it up would do.
    ///
    /// # Errors
    ///
    /// If its configuration cannot be read or written.
    pub fn plan(self, surroundings: &Surroundings, options: Options) -> Result<Plan, SetupError> {
        let store = self.store(surroundings);
        if self == Self::Claude {
            return Claude::new(surroundings).plan(store, options);
        }
        let mut plan = Plan::new(store, false);
        if let Some(servers) = self.servers(surroundings).into_iter().next() {
            let file = ConfigFile::read(&servers.file)?;
            let by_hand = servers.by_hand();
            let value = servers
                .syntax
                .parse(file.text())
                .map_err(|problem| SetupError::text(&file.path, &problem, &by_hand))?;
            plan.present = servers.ours(&value).is_some();
            let wanted = servers.wanted(&value);
            plan.notes.extend(wanted.note);
            plan.change(file, servers.syntax, &wanted.changes, &by_hand)?;
        }
        Ok(plan)
    }

    /// What undoing its set-up would do.
    ///
    /// # Errors
    ///
    /// As [`Client::plan`].
    pub fn undo(self, surroundings: &Surroundings) -> Result<Plan, SetupError> {
        let store = self.store(surroundings);
        if self == Self::Claude {
            return Claude::new(surroundings).undo(store);
        }
        let record = store.load()?;
        let mut plan = Plan::new(store, true);
        for servers in self.servers(surroundings) {
            let file = ConfigFile::read(&servers.file)?;
            plan.take_back(file, &servers, &record)?;
        }
        Ok(plan)
    }

    /// How it stands.
    #[must_use]
    pub fn look(self, surroundings: &Surroundings, options: Options) -> Found {
        let place = self.place(surroundings);
        let (state, problem) = match (&place, self.plan(surroundings, options)) {
            (None, _) => (State::NotFound, None),
            (_, Err(error)) => (State::Unusable, Some(error.to_string())),
            (_, Ok(plan)) if plan.is_empty() => (State::SetUp, plan.caveat),
            (_, Ok(plan)) if plan.present => (State::Partly, None),
            _ => (State::NotSetUp, None),
        };
        let place = place.map(|place| place.display().to_string());
        Found { client: self, state, place, problem }
    }
}
