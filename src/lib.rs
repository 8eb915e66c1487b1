//! claude-peers: sessions of Claude Code on one machine find each other and talk.
//!
//! The map of the house, in the direction the data flows:
//!
//! ```text
//! claude ─stdio─ mcp ─► client ─socket─► broker::http ─► broker::mailbox ─► broker::store
//! claude ◄─stdio─ mcp ◄─ client ◄─stream─ broker::http ◄─ broker::mailbox ◄───┘
//! ```
//!
//! From the bottom to the top; a module imports only from those above it in this list:
//!
//! * [`protocol`]: wire types of the broker's API. No I/O.
//! * [`text`]: text of other sessions, made harmless before it is shown.
//! * [`sys`]: the operating system: files, processes, sockets, the shell, git.
//! * [`config`]: environment, file and paths, read once and passed down.
//! * [`logging`]: to the journal, to standard error or to a file.
//! * [`endpoint`]: what client and broker leave each other as files: the broker's lock, the hook spool.
//! * [`claude_code`]: what Claude Code tells of itself: its processes and session files.
//! * [`broker`]: the daemon. It knows nothing of the modules below.
//! * [`service`]: the broker's units, through systemd or launchd.
//! * [`client`]: the thin client: start on demand, calls, the event stream.
//! * [`browser`]: the broker's page in the person's browser.
//! * [`setup`]: the server and the hooks in the configuration of Claude Code and other clients.
//! * [`mcp`]: the MCP stdio server, one per session.
//! * [`hook`]: what Claude Code runs at its own events.
//! * [`doctor`]: end-to-end checks, each with a fix.
//! * [`demo`]: two real sessions and a real broker in a throw-away directory.
//! * [`top`]: what happens, on a terminal, as it happens.
//! * [`cli`]: one file per command. Commands print and do not decide.

#[macro_use]
pub mod failpoint;

pub mod broker;
pub mod browser;
pub mod claude_code;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod endpoint;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod hook;
pub mod logging;
pub mod mcp;
pub mod protocol;
pub mod service;
pub mod setup;
pub mod sys;
pub mod text;
pub mod top;

/// This build's version, as `--version` prints it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
