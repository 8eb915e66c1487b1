//! The examination: whether everything works by which sessions find each other, proved by use.
//!
//! First it is noted how things stand, before anything is touched: what a call then mends by
//! itself (a stale socket, say) would be lost from sight. Then a message goes the whole way, as a
//! client would send it, which starts the broker where none runs. Nothing else is changed and
//! nothing is ended. Each check has a file of its own and gives [`Finding`]s; it is for `cli` to
//! print them. Every check is limited in time: one that hangs is a finding, too.

mod broker;
mod claude;
mod database;
mod endpoint;
mod files;
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

use serde::Serialize;

use crate::client::Client;
use crate::config::{Config, ConfigError};
use crate::sys::subprocess;
use crate::text;

use snapshot::Scene;

/// The check under which each setting's value is listed.
pub use settings::VALUE;

/// How long a check that looks at files and tables may take.
const LIMIT: Duration = Duration::from_secs(10);

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// It works, but not as it should, or not for long.
    Warning,
    /// Something that sessions or scripts need does not work.
    Failure,
}

/// What a check found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The check's name.
    pub check: &'static str,
    pub level: Level,
    /// What is so, one line.
    pub finding: String,
    /// Why, or what follows from it, one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The command that mends it, for a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    fn new(check: &'static str, level: Level, finding: impl Into<String>) -> Self {
        Self { check, level, finding: one_line(finding), detail: None, mend: None }
    }

    fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, finding)
    }

    fn warning(check: &'static str, finding: impl Into<String>) -> Self {
        Self::new(check, Level::Warning, finding)
    }

    fn failure(check: &'static str, finding: impl Into<String>) -> Self {
        Self::new(check, Level::Failure, finding)
    }

    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(one_line(detail));
        self
    }

    fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend = Some(command.into());
        self
    }
}

/// Paths, names of processes and other programs' errors stand in it: nothing may break the line.
fn one_line(text: impl Into<String>) -> String {
    text::terminal_line(&text.into(), 2_000)
}

/// What is to be looked at.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Ask Claude Code which servers it knows. It starts them all for a moment.
    pub claude: bool,
}

/// Looks at everything: also where the configuration file has a mistake, with what can be used of
/// it.
pub async fn examine(
    config: Result<(Config, Option<ConfigError>), ConfigError>,
    options: Options,
) -> Vec<Finding> {
    let mut findings = vec![broker::this_program()];
    let client = match config {
        Ok((config, problem)) => {
            findings.extend(problem.as_ref().map(settings::unusable));
            Client::new(config)
        }
        Err(error) => {
            findings.push(settings::unusable(&error));
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
    let scene = Scene::before(client.config());
    findings.extend(settings::values(&scene));
    findings.extend(limited("files", &scene, files::check));

    if let Some(busy) = broker::busy(&scene) {
        findings.push(busy);
        return findings;
    }
    let trip = round_trip::check(&client, &scene).await;
    // One that the trip started may have found an earlier database.
    if let Some(busy) = broker::busy(&Scene::before(client.config())) {
        findings.push(busy);
        return findings;
    }
    findings.extend(limited("units", &scene, units::check));
    let running = broker::look(&client, &scene).await;
    // Only now: it starts our server, and that starts the broker.
    let claude = options.claude.then(claude::start);
    let scene = scene.after(running);
    findings.extend(files::lost_token(&scene));
    findings.extend(limited("socket", &scene, endpoint::check));
    findings.extend(broker::check(&scene));
    findings.extend(settings::differences(&scene));
    findings.extend(trip);
    findings.extend(port::check(&scene).await);
    findings.extend(limited("database", &scene, database::check));
    findings.extend(limited("journal", &scene, journal::check));
    findings.extend(limited("hooks", &scene, hooks::check));
    findings.extend(match claude {
        Some(asked) => asked.wait(),
        None => vec![Finding::ok("claude", "left out, as you asked")],
    });
    findings
}

/// Runs a check that may block, and gives it up when it hangs.
fn limited(
    name: &'static str,
    scene: &Scene,
    check: impl FnOnce(&Scene) -> Vec<Finding> + Send + 'static,
) -> Vec<Finding> {
    let scene = scene.clone();
    let started = subprocess::off_thread(name, move || check(&scene));
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
