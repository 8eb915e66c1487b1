//! Where the program's log goes: the journal, standard error, or both.
//!
//! The broker as a systemd service writes to the journal with structured fields; started by a
//! client or by hand it writes to standard error, which the former made a file. A session's MCP
//! server writes to both: its standard error ends in its client's debug log, where few look.
//! Never the text of a message.

#[cfg(target_os = "linux")]
mod journal;
mod role;

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};

use crate::config::{Environment, SettingId, colours, setting};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

pub use role::Role;

/// Begins to log. What is wrong with the configuration goes to the log, so this comes first, and
/// asks the environment alone. `RUST_LOG` overrides the filters.
pub fn start(role: Role, environment: &Environment) {
    let filter = |default: &str| filter(environment, default);
    let journal = || journal(filter(role.filter()), role);
    let stderr_is_journal = environment.get("JOURNAL_STREAM").is_some_and(is_stderr);
    let wanted = environment.text(setting(SettingId::Log).variable);
    let wanted = wanted.unwrap_or_default().trim().to_ascii_lowercase();
    let journal = match wanted.as_str() {
        "stderr" => None,
        "journal" | "both" => journal(),
        // Standard error that is the journal already would carry the text alone.
        _ if role == Role::Mcp || stderr_is_journal => journal(),
        _ => None,
    };
    let to_stderr = match wanted.as_str() {
        "journal" => journal.is_none(),
        "both" => true,
        _ => journal.is_none() || role == Role::Mcp && !stderr_is_journal,
    };
    let stderr = to_stderr.then(|| {
        fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(colours(io::stderr().is_terminal(), environment))
            .with_target(false)
            .with_filter(filter(role.stderr_filter()))
    });
    // An error means that a log is set up already.
    let _ = tracing_subscriber::registry().with(journal).with(stderr).try_init();
}

fn filter(environment: &Environment, default: &str) -> EnvFilter {
    let wanted = environment.text(EnvFilter::DEFAULT_ENV);
    let wanted = wanted.and_then(|directives| EnvFilter::try_new(directives).ok());
    wanted.unwrap_or_else(|| EnvFilter::new(default))
}

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

#[cfg(target_os = "linux")]
fn journal(filter: EnvFilter, role: Role) -> Option<Boxed> {
    // No journal on this machine is nothing to complain about.
    let journal = journal::Journal::connect(role).ok()?;
    Some(journal.with_filter(filter).boxed())
}

#[cfg(not(target_os = "linux"))]
fn journal(_filter: EnvFilter, _role: Role) -> Option<Boxed> {
    None
}

/// Returns whether standard error is this stream, which the service manager connected to the
/// journal (`$JOURNAL_STREAM`, systemd.exec(5)). The variable is inherited by children whose
/// standard error is something else, so device and inode are compared.
fn is_stderr(stream: &OsStr) -> bool {
    rustix::fs::fstat(io::stderr())
        .is_ok_and(|stat| stream == &*format!("{}:{}", stat.st_dev, stat.st_ino))
}
