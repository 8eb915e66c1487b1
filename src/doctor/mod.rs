//! The examination: whether everything works by which sessions find each other, proved by use.
//!
//! First it is noted how things stand, before anything is touched: what a call then fixes by
//! itself (a stale socket, say) would be lost from sight. Then a message goes the whole way, as a
//! client would send it, which starts the broker where none runs. Nothing else is changed and
//! nothing is ended. Each check has a file of its own and gives [`Finding`]s; it is for `cli` to
//! print them. Every check is limited in time: one that hangs is a finding, too.

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

/// How long a check that looks at files and tables may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What is to be looked at.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Ask Claude Code which servers it knows. It starts them all for a moment.
    pub claude: bool,
}

/// Looks at everything: also where the configuration file has a mistake, with what can be used of
/// it.
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
    findings.extend(limited("files", &snapshot, files::check));

    if let Some(busy) = broker::still_opening(&snapshot) {
        findings.push(busy);
        return findings;
    }
    let trip = round_trip::check(&client, &snapshot).await;
    // One that the trip started may have found an earlier database.
    if let Some(busy) = broker::still_opening(&Snapshot::take(client.config())) {
        findings.push(busy);
        return findings;
    }
    findings.extend(limited("units", &snapshot, units::check));
    let running = broker::query(&client, &snapshot).await;
    // Only now: it starts our server, and that starts the broker.
    let claude = options.claude.then(|| claude::start(environment));
    let snapshot = snapshot.with_broker(running);
    findings.extend(files::lost_token(&snapshot));
    findings.extend(limited("socket", &snapshot, endpoint::check));
    findings.extend(broker::check(&snapshot));
    findings.extend(settings::differences(&snapshot));
    findings.extend(trip);
    findings.extend(port::check(&snapshot).await);
    findings.extend(limited("database", &snapshot, database::check));
    findings.extend(limited("journal", &snapshot, journal::check));
    findings.extend(limited("hooks", &snapshot, hooks::check));
    findings.extend(match claude {
        Some(asked) => asked.wait(),
        None => vec![Finding::ok("claude", "left out, as you asked")],
    });
    findings
}

/// Runs a check that may block, and gives it up when it hangs.
fn limited(
    name: &'static str,
    snapshot: &Snapshot,
    check: impl FnOnce(&Snapshot) -> Vec<Finding> + Send + 'static,
) -> Vec<Finding> {
    let snapshot = snapshot.clone();
    let started = subprocess::off_thread(name, move || check(&snapshot));
    let ended = started.map_err(|error| error.to_string()).and_then(|running| {
        // A thread that hangs is left behind: it ends with the process.
        running.recv_timeout(LIMIT).map_err(|_| "it hangs".to_owned())
    });
    ended.unwrap_or_else(|problem| {
        vec![
            Finding::failure(name, format!("this check did not end within {} s", LIMIT.as_secs()))
                .detail(format!(
                    "{problem}: a disk or a service that does not answer, most likely"
                )),
        ]
    })
}
