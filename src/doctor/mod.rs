//! The checks of `doctor`: whether sessions can find each other and exchange messages.
//!
//! A snapshot comes first, before any call: a call repairs some faults by itself (a stale socket,
//! for example), which would then not be seen. Then a test message goes the whole way, as a client
//! would send it, which starts the broker if none runs. Nothing else is changed or ended. Each check
//! has a file of its own and returns [`Finding`]s, which `cli` prints. Every check has a time limit:
//! a check that hangs is a finding as well.

mod broker;
mod claude;
mod database;
mod endpoint;
mod files;
mod finding;
mod hooks;
mod journal;
mod permissions;
mod port;
mod round_trip;
mod settings;
mod shell;
mod snapshot;
mod units;

use std::time::Duration;

use crate::client::Client;
use crate::config::{Config, Environment};
use crate::sys::subprocess;

use snapshot::Snapshot;

pub use finding::{Finding, Level};
/// The check under which each setting's value is listed.
pub use settings::VALUE;

/// How long a check of files and tables may take.
const LIMIT: Duration = Duration::from_secs(10);

/// How long the deep check of the database may take. It reads some 200 MiB a second.
const DEEP_LIMIT: Duration = Duration::from_secs(600);

/// Which optional checks are made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Ask Claude Code which servers it knows, which briefly starts all of them.
    pub claude: bool,
    /// Read the whole database, however large it is.
    pub deep: bool,
}

/// Makes all checks and returns their findings.
///
/// If the configuration file has a mistake, the checks are made with the part that can be used.
pub async fn examine(environment: &Environment, options: Options) -> Vec<Finding> {
    let mut findings = vec![broker::this_program()];
    let client = match Config::load_despite_file(environment) {
        Ok((config, problem)) => {
            findings.extend(problem.map(|problem| settings::unusable(environment, &problem)));
            Client::new(config)
        }
        Err(error) => {
            findings.push(settings::unusable(environment, &error));
            return findings;
        }
    };
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            findings.push(Finding::failure("program", error.to_string()));
            return findings;
        }
    };
    let snapshot = Snapshot::take(client.config());
    findings.extend(settings::values(&snapshot));
    findings.extend(settings::summary_endpoint(&snapshot));
    findings.extend(limited("files", &snapshot, files::check));

    if let Some(busy) = broker::still_opening(&snapshot) {
        findings.push(busy);
        return findings;
    }
    let round_trip = round_trip::check(&client, &snapshot).await;
    // A broker that the round trip started may have to convert an earlier database.
    if let Some(busy) = broker::still_opening(&Snapshot::take(client.config())) {
        findings.push(busy);
        return findings;
    }
    findings.extend(limited("units", &snapshot, units::check));
    let running = broker::query(&client, &snapshot).await;
    // Not earlier: it starts our server, and that starts the broker.
    let claude = options.claude.then(|| claude::start(environment));
    let snapshot = snapshot.with_broker(running);
    findings.extend(files::lost_token(&snapshot));
    findings.extend(limited("socket", &snapshot, endpoint::check));
    findings.extend(broker::check(&snapshot));
    findings.extend(settings::differences(&snapshot));
    findings.extend(round_trip);
    findings.extend(port::check(&snapshot).await);
    let (depth, limit) = if options.deep {
        (database::Depth::Whole, DEEP_LIMIT)
    } else {
        (database::Depth::Quick, LIMIT)
    };
    findings.extend(limited_to(limit, "database", &snapshot, move |snapshot| {
        database::check(snapshot, depth)
    }));
    findings.extend(limited("journal", &snapshot, journal::check));
    findings.extend(limited("hooks", &snapshot, hooks::check));
    findings.extend(match claude {
        Some(pending) => pending.wait(),
        None => vec![Finding::ok("claude", "skipped (--no-claude)")],
    });
    findings
}

/// Runs a check that may block, for up to [`LIMIT`].
fn limited(
    name: &'static str,
    snapshot: &Snapshot,
    check: impl FnOnce(&Snapshot) -> Vec<Finding> + Send + 'static,
) -> Vec<Finding> {
    limited_to(LIMIT, name, snapshot, check)
}

/// Runs a check that may block, for up to `limit`.
fn limited_to(
    limit: Duration,
    name: &'static str,
    snapshot: &Snapshot,
    check: impl FnOnce(&Snapshot) -> Vec<Finding> + Send + 'static,
) -> Vec<Finding> {
    let snapshot = snapshot.clone();
    let started = subprocess::run_on_thread(name, move || check(&snapshot));
    let ended = started.map_err(|error| error.to_string()).and_then(|running| {
        // A thread that hangs ends with the process.
        running.recv_timeout(limit).map_err(|_| "it hangs".to_owned())
    });
    ended.unwrap_or_else(|problem| {
        vec![
            Finding::failure(name, format!("this check did not end within {} s", limit.as_secs()))
                .detail(format!("{problem}; probably a disk or a service does not respond")),
        ]
    })
}
