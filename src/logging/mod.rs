//! The program's log: to the journal, to standard error, or to both.
//!
//! The broker as a systemd service writes to the journal with structured fields. Otherwise it writes
//! to standard error, which is a log file if a client started the broker. A session's MCP server
//! writes to both, because its standard error ends in its client's debug log, which is rarely read.
//! The text of a message or a summary, a session's token, the port's token and an API key are never
//! logged. The libraries below would do so, so they are capped whatever `RUST_LOG` says.

#[cfg(target_os = "linux")]
mod journal;
mod role;

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};

use crate::config::{ColourChoice, Environment, SettingId, colours, setting};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, Targets};
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

pub use role::Role;

/// Starts logging. `RUST_LOG` overrides the filters, but libraries never log more than warnings.
///
/// Mistakes in the configuration are logged, so this runs before it is read and uses the environment
/// only.
pub fn start(role: Role, environment: &Environment) {
    let journal = || journal(filter(environment, role.filter()), role);
    let stderr_is_journal = environment.get("JOURNAL_STREAM").is_some_and(is_stderr);
    let wanted = environment.text(setting(SettingId::Log).variable);
    let wanted = wanted.unwrap_or_default().trim().to_ascii_lowercase();
    let journal = match wanted.as_str() {
        "stderr" => None,
        "journal" | "both" => journal(),
        // If standard error is the journal already, it would have the text without the fields.
        _ if role == Role::Mcp || stderr_is_journal => journal(),
        _ => None,
    };
    let to_stderr = match wanted.as_str() {
        "journal" => journal.is_none(),
        "both" => true,
        _ => journal.is_none() || role == Role::Mcp && !stderr_is_journal,
    };
    let stderr = to_stderr.then(|| {
        let is_terminal = io::stderr().is_terminal();
        // A log that is a file has none, whatever a shell's variables demand of its commands.
        let ansi = is_terminal && colours(ColourChoice::Auto, is_terminal, environment);
        fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(ansi)
            .with_target(false)
            .with_filter(filter(environment, role.stderr_filter()))
    });
    // An error means that logging has been started already.
    let _ = tracing_subscriber::registry().with(journal).with(stderr).try_init();
}

fn filter<S: 'static>(environment: &Environment, default: &str) -> BoxedFilter<S>
where
    EnvFilter: Filter<S>,
{
    let wanted = environment.text(EnvFilter::DEFAULT_ENV);
    let wanted = wanted.and_then(|directives| EnvFilter::try_new(directives).ok());
    let wanted = wanted.unwrap_or_else(|| EnvFilter::new(default));
    Box::new(FilterExt::<S>::and(wanted, cap()))
}

/// Returns the most that is logged, by target.
///
/// What libraries log below a warning holds whole requests, answers and headers: the MCP library
/// prints the arguments of each tool call. Our own events hold none of that at any level.
fn cap() -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("rmcp", LevelFilter::ERROR)
        .with_target(env!("CARGO_CRATE_NAME"), LevelFilter::TRACE)
}

type BoxedFilter<S> = Box<dyn Filter<S> + Send + Sync>;

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

#[cfg(target_os = "linux")]
fn journal(filter: BoxedFilter<Registry>, role: Role) -> Option<Boxed> {
    // A machine without a journal is no problem.
    let journal = journal::Journal::connect(role).ok()?;
    Some(journal.with_filter(filter).boxed())
}

#[cfg(not(target_os = "linux"))]
fn journal(_filter: BoxedFilter<Registry>, _role: Role) -> Option<Boxed> {
    None
}

/// Returns whether standard error is the given stream, which the service manager connected to the
/// journal (`$JOURNAL_STREAM`, systemd.exec(5)).
///
/// Children with another standard error inherit the variable, so device and inode are compared.
fn is_stderr(stream: &OsStr) -> bool {
    rustix::fs::fstat(io::stderr())
        .is_ok_and(|stat| stream == &*format!("{}:{}", stat.st_dev, stat.st_ino))
}
