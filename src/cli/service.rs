//! `claude-peers service`: the broker as a service of systemd or launchd.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::common::{NOT_RUNNING, config_ignoring_file, runtime};
use crate::cli::error::Failure;
use crate::cli::output::{Out, aside};
use crate::client::{Client, control};
use crate::config::{Config, Environment};
use crate::service::launchd::Launchd;
use crate::service::{Logs, Manager, ServiceError, State, Status, Step, UnitStatus, manager};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// How a package's units are forbidden to one user.
const FORBID: &str = "\
Sessions start what they need to find each other: the service, or where there is none a broker of
their own. The units of an installed package go with the package. To forbid them to yourself alone:

  systemctl --user mask --now claude-peers.socket claude-peers-tcp.socket claude-peers.service";

#[derive(Debug, Subcommand)]
enum Command {
    /// Let the system start the broker on the first connection, now and after each login
    #[command(after_help = "\
Writes the units of systemd (or the agent of launchd) for this user, with this program's path, and
makes them listen. Units of an installed package are used as they are. Safe to repeat: after an
upgrade it writes what has changed and restarts the broker, and no message is lost.

The service does not see a shell's variables. Its settings stand in the configuration file,
~/.config/claude-peers/config.toml.")]
    Install(Format),
    /// Take the service away; the database stays
    #[command(after_help = FORBID)]
    Uninstall(Format),
    /// Listen; the broker starts on the first connection
    Start(Format),
    /// Stop the broker and close its sockets, until a session needs them
    #[command(after_help = FORBID)]
    Stop(Format),
    /// Start the broker anew; no message is lost
    Restart(Format),
    /// Say how the service is
    #[command(after_help = "\
Exit status: 0 it runs or is ready, 1 it failed or cannot be asked, 3 it is stopped, masked or not
installed.")]
    Status(Format),
    /// Show the log of the broker and of the sessions' servers
    #[command(after_help = "\
Shows the journal; where a session started the broker, or there is no journal, the log file.

  claude-peers service logs --follow
  claude-peers service logs --since '1 hour ago'
  claude-peers service logs -- --output=json --priority=warning")]
    Logs(LogArguments),
    /// Print the property list that `install` gives to launchd
    #[command(hide = true)]
    Plist,
}

#[derive(Debug, Args)]
struct Format {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct LogArguments {
    /// Go on as more comes
    #[arg(short, long)]
    follow: bool,
    /// The last so many lines only
    #[arg(short = 'n', long, value_name = "COUNT")]
    lines: Option<u32>,
    /// From this time on, as journalctl takes it ("1 hour ago", "today", "2026-01-31 12:00")
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Further arguments for journalctl
    #[arg(last = true, value_name = "ARGUMENT")]
    more: Vec<OsString>,
}

pub fn run(
    arguments: Arguments,
    environment: &Environment,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    // A service that is installed or started would not come up with a mistake in the settings.
    let config = match arguments.command {
        Command::Status(_) | Command::Logs(_) | Command::Stop(_) | Command::Uninstall(_) => {
            config_ignoring_file(environment)?
        }
        _ => Config::load(environment)?,
    };
    let manager = manager(&config);
    let (steps, format) = match arguments.command {
        Command::Plist => {
            out.raw(Launchd::new(&config).property_list()?.as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Status(format) => return status(&*manager, &format, out),
        Command::Logs(arguments) => return Err(logs(&*manager, arguments)),
        Command::Install(format) => (manager.install()?, format),
        Command::Uninstall(format) => (manager.uninstall()?, format),
        Command::Start(format) => (manager.start()?, format),
        Command::Stop(format) => (stop(&config)?, format),
        Command::Restart(format) => (manager.restart()?, format),
    };
    if format.json {
        let changed = steps.iter().any(|step| step.changed);
        out.json(&json!({ "changed": changed, "steps": steps }))?;
    } else {
        for step in &steps {
            out.line(&step.what)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn stop(config: &Config) -> Result<Vec<Step>, Failure> {
    let client = Client::new(config.clone())?;
    Ok(runtime()?.block_on(control::stop_service(client))?)
}

/// Becomes the program that shows the log; comes back only if that cannot be.
fn logs(manager: &dyn Manager, arguments: LogArguments) -> Failure {
    let LogArguments { follow, lines, since, more } = arguments;
    let wanted = Logs { follow, lines, since, more };
    match manager.logs(&wanted) {
        Err(error) => error.into(),
        Ok(mut command) => {
            if let Some(note) = manager.log_note(&wanted) {
                aside(&note);
            }
            let error = command.exec();
            Failure::new(format!("{}: {error}", command.get_program().display()))
        }
    }
}

fn status(manager: &dyn Manager, format: &Format, out: &mut Out) -> Result<ExitCode, Failure> {
    let status = manager.status()?;
    if format.json {
        out.json(&status)?;
    } else {
        print(&status, out)?;
    }
    Ok(match status.state {
        State::Running | State::Ready => ExitCode::SUCCESS,
        State::Failed => ExitCode::FAILURE,
        State::Stopped | State::Masked | State::NotInstalled => ExitCode::from(NOT_RUNNING),
    })
}

fn print(status: &Status, out: &mut Out) -> Result<(), Failure> {
    out.line(match status.state {
        State::Running => format!("service   running, started by {}", status.manager),
        State::Ready => {
            format!("service   ready: {} starts it on the first connection", status.manager)
        }
        State::Stopped => "service   stopped; the next session, or `claude-peers service start`, \
                           starts it"
            .to_owned(),
        State::Failed => "service   failed; sessions start a broker of their own".to_owned(),
        State::Masked => "service   masked; sessions start a broker of their own".to_owned(),
        State::NotInstalled => {
            "service   not installed; `claude-peers service install` does it".to_owned()
        }
    })?;
    if let Some(directory) = &status.directory {
        let whose = if status.packaged { "the installed package's" } else { "this user's" };
        out.line(format!("units     {} ({whose})", directory.display()))?;
    }
    if !status.units.is_empty() {
        out.line("")?;
        let header = ["UNIT", "FILE", "STATE", "PROCESS", "SAYS"];
        out.table(&header, status.units.iter().map(row).collect())?;
    }
    for problem in &status.problems {
        out.line(format!("\nPROBLEM: {problem}"))?;
    }
    Ok(())
}

fn row(unit: &UnitStatus) -> Vec<String> {
    vec![
        unit.name.clone(),
        unit.file.clone(),
        unit.active.clone(),
        unit.process.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        super::output::cell(&unit.says, 200),
    ]
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Self::new(error.to_string()).hint(error.hint())
    }
}
