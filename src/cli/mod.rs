//! The command line: one file per command. Commands print; what they report is decided below.

mod broker;
mod common;
mod complete;
mod completions;
mod demo;
mod doctor;
pub mod error;
mod events;
mod found;
mod global;
pub mod help;
mod hook;
mod inbox;
mod kill_broker;
mod leading_dash;
mod legend;
mod log;
mod message;
mod moment;
mod open;
pub mod output;
mod overview;
mod peers;
mod prune;
mod scope;
mod send;
mod service;
mod setup;
mod shell_session;
mod status;
mod statusline;
mod token;
mod top;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::broker::daemon::activation::Inherited;
use crate::client::Client;
use crate::config;
use crate::config::{Config, Environment};
use common::{WRONG_USAGE, config_ignoring_file, runtime};
use error::CliError;
use output::Out;
use output::look::Look;
use output::messages::Messages;

/// Lets the Claude Code sessions on this machine find each other and exchange messages.
///
/// Each session runs `claude-peers mcp` as an MCP server. One broker per user stores the sessions
/// and their messages; it starts on demand.
#[derive(Debug, Parser)]
#[command(name = "claude-peers", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    global: global::Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the status of the broker, without starting it
    Status(status::Arguments),
    /// List the sessions on this machine
    #[command(visible_aliases = ["ls", "list", "ps"])]
    Peers(peers::Arguments),
    /// Send a message to a session
    Send(send::Arguments),
    /// Read the messages sent to the command line, or to the session whose shell you are in
    Inbox(inbox::Arguments),
    /// Show recent messages and their status
    Log(log::Arguments),
    /// Show a live view: sessions and messages as they come; read, search, send
    Top(top::Arguments),
    /// Show what happens: peers that come and go, messages and their states
    Watch(watch::Arguments),
    /// Delete old messages from the history
    Prune(prune::Arguments),
    /// Open a page with peers and messages in your browser
    Open(open::Arguments),
    /// Find problems and show how to fix them
    Doctor(doctor::Arguments),
    /// Run a demo: two sessions and a broker in a temporary directory
    Demo(demo::Arguments),
    /// Print the token for requests over TCP
    Token(token::Arguments),
    /// Set up Claude Code and other MCP clients, or undo it
    Setup(setup::Arguments),
    /// Run the broker as a service of your user: install, control and inspect it
    Service(service::Arguments),
    /// Stop the broker, and nothing else
    KillBroker(kill_broker::Arguments),
    /// Serve one session over MCP on standard input and output (Claude Code runs this)
    Mcp,
    /// Handle an event of Claude Code (its hooks run this)
    Hook(hook::Arguments),
    /// Print one line about the session (Claude Code runs this for its status line)
    Statusline(statusline::Arguments),
    /// Run the broker in the foreground
    Broker(broker::Arguments),
    /// Print a shell completion script
    Completions(completions::Arguments),
    /// Print the version
    #[command(hide = true)]
    Version,
}

/// Runs the program and returns its exit code.
#[must_use]
pub fn main(inherited: Inherited) -> ExitCode {
    let environment = Environment::of_this_process();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = complete::asked(&arguments, &environment, Cli::command) {
        return code;
    }
    let colour = global::colour(&arguments);
    let arguments = leading_dash::with_dash_text(arguments, Cli::command);
    let json = wants_json(&arguments);
    let mut command = Cli::command().color(colour);
    if wants_help(&arguments) {
        // Gives the program the options that it shows.
        command.build();
        command = Cli::command()
            .color(colour)
            .override_help(help::of_program(&command, help::look(colour, &environment)));
    }
    let cli = command
        .try_get_matches_from(&arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match cli {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &arguments, json),
    };
    let mut out = cli.global.output(json, &environment);
    let result = match cli.command {
        Some(command) => run(command, inherited, &environment, &mut out),
        None => without_command(&environment, &mut out),
    };
    let result = result.and_then(|code| Ok(out.flush().map(|()| code)?));
    let ended = out.finish();
    match result.and_then(|code| Ok(ended.map(|()| code)?)) {
        Ok(code) => code,
        Err(failure) => failure.report(&out),
    }
}

/// Prints help, the version, or what is wrong with a command line.
fn refuse(error: &clap::Error, arguments: &[OsString], json: bool) -> ExitCode {
    if json && error.use_stderr() {
        let rendered = error.render().to_string();
        let text = rendered.trim_start_matches("error: ").trim();
        let code = CliError::new(text).code("usage").exit(WRONG_USAGE);
        return code.report(&Out::new(Look::PLAIN, Messages::new(Look::PLAIN, true), None, None));
    }
    // If this cannot be printed either, no reader is left.
    let _ = error.print();
    // To Claude Code, exit code 2 of a hook means that it blocks the session.
    let is_hook = arguments.get(1).is_some_and(|word| word == "hook");
    let code = if is_hook { error.exit_code().min(1) } else { error.exit_code() };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Without a command: what is going on for a person, and for a program that it named none.
fn without_command(environment: &Environment, out: &mut Out) -> Result<ExitCode, CliError> {
    if !out.is_terminal() {
        let mut command = Cli::command();
        command.build();
        out.messages().write(&help::of_program(&command, Look::PLAIN).to_string());
        return Ok(ExitCode::from(WRONG_USAGE));
    }
    config::refuse_others_places(environment)?;
    let config = config_ignoring_file(environment, out.messages())?;
    let around = shell_session::around(&config);
    let client = Client::new(config)?.around(&around);
    runtime()?.block_on(overview::run(client, environment, out))
}

/// Whether the command line asks for JSON. It may be wrong otherwise.
fn wants_json(arguments: &[OsString]) -> bool {
    options(arguments).any(|word| word == "--json")
}

/// Whether the command line may ask for the help of the program.
fn wants_help(arguments: &[OsString]) -> bool {
    options(arguments).any(|word| word == "--help" || word == "-h" || word == "help")
}

fn options(arguments: &[OsString]) -> impl Iterator<Item = &OsString> {
    arguments.iter().skip(1).take_while(|word| *word != "--")
}

fn run(
    command: Command,
    inherited: Inherited,
    environment: &Environment,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    match command {
        // A server reports it to its model, and a hook prints nothing: both check it themselves.
        Command::Mcp | Command::Hook(_) | Command::Completions(_) | Command::Version => {}
        _ => config::refuse_others_places(environment)?,
    }
    match command {
        Command::Broker(arguments) => broker::run(&arguments, inherited, environment),
        Command::Mcp => mcp(environment),
        Command::Version => {
            out.line(Cli::command().render_version().trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Hook(arguments) => Ok(hook::run(&arguments, environment)),
        Command::Completions(arguments) => completions::run(&arguments, out),
        Command::Service(arguments) => service::run(arguments, environment, out),
        Command::Setup(arguments) => setup::run(&arguments, environment, out),
        Command::Doctor(arguments) => {
            let runtime = runtime()?;
            let code = runtime.block_on(doctor::run(&arguments, environment, out));
            // A check that hangs must not hold the process.
            runtime.shutdown_background();
            code
        }
        Command::Top(arguments) => top::run(&arguments, environment, out),
        Command::Statusline(arguments) => {
            // A mistake in the settings is no reason to break the client's status line.
            let (config, _) = Config::load_despite_file(environment)?;
            statusline::run(&arguments, config, out)
        }
        Command::Demo(arguments) => runtime()?.block_on(demo::run(&arguments, environment, out)),
        command => {
            let config = settings(&command, environment, out.messages())?;
            let messages = out.messages();
            let around = shell_session::around(&config);
            let client = Client::new(config)?.around(&around);
            let client = match command {
                Command::Status(_) | Command::KillBroker(_) => client,
                _ => client.patient(move |what| messages.progress(what)),
            };
            runtime()?.block_on(async {
                match command {
                    Command::Status(arguments) => status::run(&arguments, client, out).await,
                    Command::Peers(arguments) => peers::run(&arguments, &client, out).await,
                    Command::Send(arguments) => send::run(&arguments, &client, out).await,
                    Command::Inbox(arguments) => inbox::run(&arguments, &client, out).await,
                    Command::Log(arguments) => log::run(&arguments, &client, out).await,
                    Command::Watch(arguments) => watch::run(&arguments, &client, out).await,
                    Command::Prune(arguments) => prune::run(&arguments, &client, out).await,
                    Command::Open(arguments) => open::run(&arguments, &client, out).await,
                    Command::Token(arguments) => token::run(&arguments, &client, out).await,
                    Command::KillBroker(arguments) => {
                        kill_broker::run(&arguments, client, out).await
                    }
                    // All others were dispatched above.
                    _ => Ok(ExitCode::SUCCESS),
                }
            })
        }
    }
}

/// Loads the settings.
///
/// A mistake in their file must not keep a broker from being stopped or examined.
fn settings(
    command: &Command,
    environment: &Environment,
    messages: Messages,
) -> Result<Config, CliError> {
    match command {
        Command::KillBroker(_) | Command::Status(_) => config_ignoring_file(environment, messages),
        _ => Ok(Config::load(environment)?),
    }
}

/// Runs the MCP server, and ends the process.
///
/// It does not return: a read of standard input cannot be cancelled and would hold the process.
fn mcp(environment: &Environment) -> Result<ExitCode, CliError> {
    crate::logging::start(crate::logging::Role::Mcp, environment);
    let config = Config::load(environment);
    let runtime = runtime()?;
    runtime.block_on(crate::mcp::run(config));
    // The runtime is not dropped: that would wait for the read.
    std::process::exit(0)
}
