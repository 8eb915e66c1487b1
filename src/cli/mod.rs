//! The command line: one file per command. Commands print; they do not think.

mod broker;
mod common;
mod completions;
mod demo;
mod doctor;
pub mod error;
mod hook;
mod inbox;
mod kill_broker;
mod leading_dash;
mod log;
mod message;
pub mod output;
mod peers;
mod scope;
mod send;
mod service;
mod setup;
mod shell_session;
mod status;
mod token;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::broker::daemon::activation::Inherited;
use crate::client::Client;
use crate::config;
use crate::config::{Config, Environment};
use common::{config_ignoring_file, report_progress, runtime};
use error::Failure;
use output::Out;

/// Sessions of Claude Code on this machine find each other and talk.
///
/// Each session runs `claude-peers mcp` as an MCP server; one broker per user keeps peers and
/// mail. The broker starts by itself when it is needed.
#[derive(Debug, Parser)]
#[command(name = "claude-peers", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "\
Set up Claude Code once:
  claude-peers setup claude

Exit status: 0 success, 1 failure, 2 wrong usage, 3 no broker is running (status) or no service
listens (service status), 124 nothing came in time (--wait).")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say how the broker is, without starting it
    Status(status::Arguments),
    /// List the peers: sessions that are here
    Peers(peers::Arguments),
    /// Send a message to a peer
    Send(send::Arguments),
    /// Read the messages that peers sent to the command line or, in the shell of a session, to that
    Inbox(inbox::Arguments),
    /// Show recent messages and what became of them
    Log(log::Arguments),
    /// Find out what is wrong, and how to fix it
    Doctor(doctor::Arguments),
    /// Run two sessions and a broker in a throw-away directory, and let them talk
    Demo(demo::Arguments),
    /// Print the token for calls over TCP
    Token,
    /// Set up Claude Code and other MCP clients: the server, hooks and permission; or undo it
    Setup(setup::Arguments),
    /// Let the operating system run the broker: install, control and look at the service
    Service(service::Arguments),
    /// Stop the broker, and only the broker
    KillBroker(kill_broker::Arguments),
    /// Serve one session over standard input and output (MCP); Claude Code runs this
    Mcp,
    /// Handle an event of Claude Code; its hooks run this
    Hook(hook::Arguments),
    /// Run the broker in the foreground
    Broker(broker::Arguments),
    /// Print a completion script
    Completions(completions::Arguments),
}

/// Runs the program.
#[must_use]
pub fn main(inherited: Inherited) -> ExitCode {
    let arguments = leading_dash::settled(std::env::args_os().collect(), &Cli::command());
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Where even this cannot be printed there is nobody to tell.
            let _ = error.print();
            // To Claude Code the usual code of wrong usage says that the hook blocks the session.
            let is_hook = std::env::args_os().nth(1).is_some_and(|word| word == "hook");
            let code = if is_hook { error.exit_code().min(1) } else { error.exit_code() };
            return ExitCode::from(u8::try_from(code).unwrap_or(1));
        }
    };
    let mut out = Out::stdout();
    let environment = Environment::of_this_process();
    match run(cli.command, inherited, &environment, &mut out)
        .and_then(|code| out.flush().map(|()| code).map_err(Failure::from))
    {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn run(
    command: Command,
    inherited: Inherited,
    environment: &Environment,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    match command {
        // A server says it to its model, and a hook says nothing: both find out by themselves.
        Command::Mcp | Command::Hook(_) | Command::Completions(_) => {}
        _ => config::refuse_others_places(environment)?,
    }
    match command {
        Command::Broker(arguments) => broker::run(&arguments, inherited, environment),
        Command::Mcp => mcp(environment),
        Command::Hook(arguments) => Ok(hook::run(&arguments, environment)),
        Command::Completions(arguments) => completions::run(&arguments, &mut Cli::command(), out),
        Command::Service(arguments) => service::run(arguments, environment, out),
        Command::Setup(arguments) => setup::run(&arguments, environment, out),
        Command::Doctor(arguments) => {
            let runtime = runtime()?;
            let code = runtime.block_on(doctor::run(&arguments, environment, out));
            // What hangs must not hold the process.
            runtime.shutdown_background();
            code
        }
        Command::Demo(arguments) => runtime()?.block_on(demo::run(&arguments, environment, out)),
        command => {
            let config = settings(&command, environment)?;
            let around = shell_session::around(&config);
            let client = Client::new(config)?.around(&around);
            let client = match command {
                Command::Status(_) | Command::KillBroker(_) => client,
                _ => client.patient(report_progress),
            };
            runtime()?.block_on(async {
                match command {
                    Command::Status(arguments) => status::run(&arguments, client, out).await,
                    Command::Peers(arguments) => peers::run(&arguments, &client, out).await,
                    Command::Send(arguments) => send::run(&arguments, &client, out).await,
                    Command::Inbox(arguments) => inbox::run(&arguments, &client, out).await,
                    Command::Log(arguments) => log::run(&arguments, &client, out).await,
                    Command::Token => token::run(&client, out).await,
                    Command::KillBroker(arguments) => {
                        kill_broker::run(&arguments, client, out).await
                    }
                    // The others were dispatched above.
                    _ => Ok(ExitCode::SUCCESS),
                }
            })
        }
    }
}

/// The settings. A mistake in their file must not keep a broker from being stopped or looked at.
fn settings(command: &Command, environment: &Environment) -> Result<Config, Failure> {
    match command {
        Command::KillBroker(_) | Command::Status(_) => config_ignoring_file(environment),
        _ => Ok(Config::load(environment)?),
    }
}

/// Standard output belongs to the protocol, so this never returns to the usual way out: a read
/// of standard input cannot be cancelled, and must not hold the process.
fn mcp(environment: &Environment) -> Result<ExitCode, Failure> {
    crate::logging::start(crate::logging::Role::Mcp, environment);
    let config = Config::load(environment);
    let runtime = runtime()?;
    runtime.block_on(crate::mcp::run(config));
    // The runtime still lives: dropping it would wait for that read.
    std::process::exit(0)
}
