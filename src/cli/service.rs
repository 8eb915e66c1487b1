//! `claude-peers service`: controls the broker as a service of systemd or launchd.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::common::{NOT_RUNNING, config_ignoring_file, runtime};
use crate::cli::error::CliError;
use crate::cli::output::Out;
use crate::cli::output::look::Ink;
use crate::cli::output::messages::Messages;
use crate::cli::output::table::{Cell, Column};
use crate::client::{Client, control};
use crate::config::{Config, Environment};
use crate::service::launchd::Launchd;
use crate::service::{Logs, Manager, ServiceError, State, Status, Step, UnitStatus, manager};
use crate::text;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// How a user disables a package's units.
const HOW_TO_DISABLE: &str = "\
This does not last: the next session that needs the broker starts the service again, or starts a \
broker itself if no service is installed. Units that came with a package are removed with the \
package. To disable them for your user only:

  systemctl --user mask --now claude-peers.socket claude-peers-tcp.socket claude-peers.service";

/// What happens after the service was removed.
const AFTER_UNINSTALL: &str = "\
Sessions that need a broker then start one themselves. Units that came with a package are removed with \
the package. To disable them for your user only:

  systemctl --user mask --now claude-peers.socket claude-peers-tcp.socket claude-peers.service";

#[derive(Debug, Subcommand)]
enum Command {
    /// Have the system start the broker on the first connection, now and after each login
    #[command(after_help = "\
Writes systemd units (or a launchd agent) for this user with the path of this program, and starts \
them. If a package has installed units, those are used unchanged. You can run it again at any time: \
after an upgrade it updates what has changed and restarts the broker, and no message is lost.

The service does not see the environment variables of your shell. Put its settings into the \
configuration file, ~/.config/claude-peers/config.toml.")]
    Install(Order),
    /// Remove the service; the database is kept
    #[command(after_help = AFTER_UNINSTALL)]
    Uninstall(Order),
    /// Open the sockets; the broker starts on the first connection
    Start(Order),
    /// Stop the broker and close its sockets, until a session needs them again
    #[command(after_help = HOW_TO_DISABLE)]
    Stop(Order),
    /// Restart the broker; no message is lost
    Restart(Order),
    /// Show the status of the service
    #[command(after_help = "\
Exit status: 0 the service is running or ready, 1 it has failed or its status is unknown, 3 it is \
stopped, masked or not installed.")]
    Status(Format),
    /// Show the log of the broker and of the sessions' MCP servers
    #[command(after_help = "\
Shows the journal, or the log file if a session started the broker or there is no journal.

Examples:
  claude-peers service logs --follow
  claude-peers service logs --since '1 hour ago'
  claude-peers service logs -- --output=json --priority=warning")]
    Logs(LogArguments),
    /// Print the property list that `install` writes for launchd
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
struct Order {
    /// Print only what fails
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
struct LogArguments {
    /// Keep printing new lines
    #[arg(short, long)]
    follow: bool,
    /// Show only the last COUNT lines
    #[arg(short = 'n', long, value_name = "COUNT")]
    lines: Option<u32>,
    /// Show lines since TIME, in the format of journalctl ("1 hour ago", "today", "2026-01-31 12:00")
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
) -> Result<ExitCode, CliError> {
    // With a mistake in the settings, a service that is installed or started would not run.
    let config = match arguments.command {
        Command::Status(_) | Command::Logs(_) | Command::Stop(_) | Command::Uninstall(_) => {
            config_ignoring_file(environment, out.messages())?
        }
        _ => Config::load(environment)?,
    };
    let manager = manager(&config);
    let (steps, order) = match arguments.command {
        Command::Plist => {
            out.raw(Launchd::new(&config).property_list()?.as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Status(format) => return status(&*manager, &format, out),
        Command::Logs(arguments) => return Err(logs(&*manager, arguments, out.messages())),
        Command::Install(order) => (manager.install()?, order),
        Command::Uninstall(order) => (manager.uninstall()?, order),
        Command::Start(order) => (manager.start()?, order),
        Command::Stop(order) => (stop(&config)?, order),
        Command::Restart(order) => (manager.restart()?, order),
    };
    if order.quiet {
        out.hush();
    }
    if order.format.json {
        let changed = steps.iter().any(|step| step.changed);
        out.json(&json!({ "changed": changed, "steps": steps }))?;
    } else {
        for step in &steps {
            out.wrapped(0, &step.what)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn stop(config: &Config) -> Result<Vec<Step>, CliError> {
    let client = Client::new(config.clone())?;
    Ok(runtime()?.block_on(control::stop_service(client))?)
}

/// Replaces this process by the program that shows the log. Returns only if that fails.
fn logs(manager: &dyn Manager, arguments: LogArguments, messages: Messages) -> CliError {
    let LogArguments { follow, lines, since, more } = arguments;
    let wanted = Logs { follow, lines, since, more };
    match manager.logs(&wanted) {
        Err(error) => error.into(),
        Ok(mut command) => {
            if let Some(text) = manager.log_note(&wanted) {
                messages.note(&text);
            }
            let error = command.exec();
            CliError::new(format!("{}: {error}", command.get_program().display()))
        }
    }
}

fn status(manager: &dyn Manager, format: &Format, out: &mut Out) -> Result<ExitCode, CliError> {
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

fn print(status: &Status, out: &mut Out) -> Result<(), CliError> {
    let (ink, state) = match status.state {
        State::Running => (Ink::Good, format!("running, started by {}", status.manager)),
        State::Ready => {
            (Ink::Good, format!("ready: {} starts it on the first connection", status.manager))
        }
        State::Stopped => (
            Ink::Dim,
            "stopped; it starts with the next session or with `claude-peers service start`"
                .to_owned(),
        ),
        State::Failed => (Ink::Bad, "failed; sessions start the broker themselves".to_owned()),
        State::Masked => (Ink::Dim, "masked; sessions start the broker themselves".to_owned()),
        State::NotInstalled => {
            (Ink::Dim, "not installed; to install it: claude-peers service install".to_owned())
        }
    };
    out.field(ink, "service", state)?;
    if let Some(directory) = &status.directory {
        let owner = if status.packaged { "of the installed package" } else { "of this user" };
        out.field(Ink::Dim, "units", format!("{} ({owner})", directory.display()))?;
    }
    if !status.units.is_empty() {
        out.line("")?;
        out.table(&UNIT_COLUMNS, status.units.iter().map(row).collect())?;
    }
    for problem in &status.problems {
        out.line("")?;
        let problem = text::terminal_line(problem, usize::MAX);
        let look = out.look();
        out.painted(look.paragraph("PROBLEM: ", Ink::Bad, &problem).trim_end())?;
    }
    Ok(())
}

const UNIT_COLUMNS: [Column; 5] = [
    Column::whole("UNIT"),
    Column::whole("FILE"),
    Column::whole("STATE"),
    Column::whole("PROCESS").right(),
    Column::text("SAYS", 10),
];

fn row(unit: &UnitStatus) -> Vec<Cell> {
    vec![
        unit.name.clone().into(),
        unit.file.clone().into(),
        unit.active.clone().into(),
        unit.process.map_or_else(|| "-".to_owned(), |pid| pid.to_string()).into(),
        super::output::cell(&unit.says, 200).into(),
    ]
}

impl From<ServiceError> for CliError {
    fn from(error: ServiceError) -> Self {
        Self::new(error.to_string()).hint(error.hint())
    }
}
