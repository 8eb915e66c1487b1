//! Where the program's log goes: the journal, standard error, or both.
//!
//! The broker as a systemd service writes to the journal with structured fields; started by a
//! client or by hand it writes to standard error, which the former made a file. A session's MCP
//! server writes to both: its standard error ends in its client's debug log, where few look.
//! Never the text of a message.

#[cfg(target_os = "linux")]
mod journal;
mod role;

use std::io::{self, IsTerminal as _};

use crate::config::colours;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

pub use role::Role;

/// Where the log goes regardless of what we would choose: `journal`, `stderr`, or `both`.
pub const TARGET: &str = "CLAUDE_PEERS_LOG";

/// Begins to log. `RUST_LOG` overrides the filters.
#[expect(
    clippy::disallowed_methods,
    reason = "what is wrong with the configuration goes to the log, so the log comes first"
)]
pub fn start(role: Role) {
    let wanted = std::env::var(TARGET).unwrap_or_default();
    let journal = match wanted.as_str() {
        "stderr" => None,
        "journal" | "both" => journal(role),
        // Standard error that is the journal already would carry the text alone.
        _ if role == Role::Mcp || stderr_is_journal() => journal(role),
        _ => None,
    };
    let to_stderr = match wanted.as_str() {
        "journal" => journal.is_none(),
        "both" => true,
        _ => journal.is_none() || role == Role::Mcp && !stderr_is_journal(),
    };
    let stderr = to_stderr.then(|| {
        fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(colours(io::stderr().is_terminal()))
            .with_target(false)
            .with_filter(filter(role.stderr_filter()))
    });
    // An error means that a log is set up already.
    let _ = tracing_subscriber::registry().with(journal).with(stderr).try_init();
}

fn filter(default: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default))
}

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

#[cfg(target_os = "linux")]
fn journal(role: Role) -> Option<Boxed> {
    // No journal on this machine is nothing to complain about.
    let journal = journal::Journal::connect(role).ok()?;
    Some(journal.with_filter(filter(role.filter())).boxed())
}

#[cfg(not(target_os = "linux"))]
fn journal(_role: Role) -> Option<Boxed> {
    None
}

/// Whether standard error is the stream that the service manager connected to the journal
/// (`$JOURNAL_STREAM`, systemd.exec(5)). The variable is inherited by children whose standard
/// error is something else, so device and inode are compared.
fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr())
        .is_ok_and(|stat| *stream == *format!("{}:{}", stat.st_dev, stat.st_ino))
}
