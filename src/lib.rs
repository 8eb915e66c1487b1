//! claude-peers: sessions of Claude Code on one machine find each other and talk.
//!
//! The map of the house, in the direction the data flows:
//!
//! ```text
//! claude ─stdio─ mcp ─► client ─socket─► broker::http ─► broker::mailbox ─► broker::store
//! claude ◄─stdio─ mcp ◄─ client ◄─stream─ broker::http ◄─ broker::mailbox ◄───┘
//! ```
//!
//! * [`protocol`]: what client and broker say to each other. No I/O.
//! * [`config`]: environment, file and paths, read once and passed down.
//! * [`text`], [`process`], [`programs`], [`versions`], [`shell`], [`git`], [`files`], [`holder`], [`endpoint`],
//!   [`lenient`], [`sqlite`], [`typescript`], [`unheard`], [`listeners`], [`trust`], [`render`], [`logging`], [`signals`]:
//!   small rooms that both sides stand on.
//! * [`broker`]: the daemon. It knows nothing of the rooms below.
//! * [`client`]: the thin client: endpoint, auto-start, calls, the event stream.
//! * [`service`]: the broker's units, through systemd or launchd.
//! * [`setup`]: the server and the hooks in the configuration of Claude Code and other clients.
//! * [`doctor`]: whether everything works, proved by use.
//! * [`mcp`]: the MCP stdio server, one per session.
//! * [`hook`]: what Claude Code runs at its own events.
//! * [`cli`]: one file per command; they print, they do not think.

pub mod broker;
pub mod cli;
pub mod client;
pub mod config;
pub mod doctor;
pub mod endpoint;
pub mod files;
pub mod git;
pub mod holder;
pub mod hook;
pub mod lenient;
pub mod listeners;
pub mod logging;
pub mod mcp;
pub mod process;
pub mod programs;
pub mod protocol;
pub mod render;
pub mod service;
pub mod session_file;
pub mod setup;
pub mod shell;
pub mod signals;
pub mod sqlite;
pub mod text;
pub mod trust;
pub mod typescript;
pub mod unheard;
pub mod versions;

/// This build's version, as `--version` prints it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
