//! `claude-peers setup`: registers our server, and for Claude Code our hooks, in the configuration of
//! MCP clients.
//!
//! These files belong to the user: they are edited by hand, kept in repositories, linked and commented.
//! So a [`Plan`] is made and shown first, a file that cannot be parsed is not changed, a change leaves
//! all other bytes as they are, and a copy and an undo record are kept. Each client has a file of its
//! own below `clients`. Nothing here prints.

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
pub use host::Host;
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

/// The state of a client's set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Neither its program nor its configuration was found.
    NotFound,
    NotSetUp,
    /// Incomplete: something of ours is there, but not everything as it should be.
    Partly,
    SetUp,
    /// Its configuration cannot be read or written.
    Unusable,
}

/// What was found of a client.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    pub client: Client,
    pub state: State,
    /// Its program, else the directory of its configuration, for display.
    pub place: Option<String>,
    /// Why its configuration is unusable, or the set-up has no effect.
    pub problem: Option<String>,
}

impl Client {
    pub const ALL: [Self; 5] =
        [Self::Claude, Self::Codex, Self::Opencode, Self::Gemini, Self::Cursor];

    /// Returns its name on the command line.
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

    /// Returns its product name.
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

    /// Returns where it is, if it was found.
    #[must_use]
    pub fn place(self, host: &Host) -> Option<PathBuf> {
        let (programs, directory) = match self {
            Self::Claude => {
                let claude = Claude::new(host);
                let directory = claude.directory().clone();
                return claude.program().or_else(|| directory.is_dir().then_some(directory));
            }
            Self::Codex => (codex::PROGRAMS, codex::directory(host)),
            Self::Opencode => (opencode::PROGRAMS, opencode::directory(host)),
            Self::Gemini => (gemini::PROGRAMS, gemini::directory(host)),
            Self::Cursor => (cursor::PROGRAMS, cursor::directory(host)),
        };
        let program = host.program_of(programs, &[]);
        program.or_else(|| directory.is_dir().then_some(directory))
    }

    /// Returns the files that may contain its servers, the best first; none for Claude Code, which is
    /// handled by [`Claude`].
    fn servers(self, host: &Host) -> Vec<Servers> {
        match self {
            Self::Claude => Vec::new(),
            Self::Codex => vec![codex::servers(host)],
            Self::Opencode => opencode::servers(host),
            Self::Gemini => vec![gemini::servers(host)],
            Self::Cursor => vec![cursor::servers(host)],
        }
    }

    fn store(self, host: &Host) -> Store {
        Store::new(&host.state, self.name())
    }

    /// Plans its set-up.
    ///
    /// # Errors
    ///
    /// If its configuration cannot be read or written.
    pub fn plan(self, host: &Host, options: Options) -> Result<Plan, SetupError> {
        let store = self.store(host);
        if self == Self::Claude {
            return Claude::new(host).plan(store, options);
        }
        let mut plan = Plan::new(store, false);
        if let Some(servers) = self.servers(host).into_iter().next() {
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

    /// Plans how to undo its set-up.
    ///
    /// # Errors
    ///
    /// As [`Client::plan`].
    pub fn undo(self, host: &Host) -> Result<Plan, SetupError> {
        let store = self.store(host);
        if self == Self::Claude {
            return Claude::new(host).undo(store);
        }
        let record = store.load()?;
        let mut plan = Plan::new(store, true);
        for servers in self.servers(host) {
            let file = ConfigFile::read(&servers.file)?;
            plan.take_back(file, &servers, &record)?;
        }
        Ok(plan)
    }

    /// Returns its state.
    #[must_use]
    pub fn look(self, host: &Host, options: Options) -> Found {
        let place = self.place(host);
        let (state, problem) = match (&place, self.plan(host, options)) {
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
