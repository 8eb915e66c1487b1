//! `claude-peers top`: shows the live view.

use std::process::ExitCode;

use clap::Args;

use crate::cli::common::{WRONG_USAGE, runtime};
use crate::cli::error::CliError;
use crate::cli::output::Out;
use crate::cli::shell_session;
use crate::client::Client;
use crate::config::{Config, Environment};
use crate::top;

#[derive(Debug, Args)]
#[command(after_help = "\
Keys:
  arrows, j k        select, scroll          s          send, answer
  Enter              open a conversation     /          search the history
  Esc                back                    a          list those that are away
  Tab                other pane              ?          all keys, and what the words mean
  PgUp PgDn Home End                         q, Ctrl-C  quit

The mouse selects, opens and scrolls. Nothing that is only looked at is marked as read.")]
pub struct Arguments {
    /// Leave the mouse to the terminal, for selecting text
    #[arg(long)]
    no_mouse: bool,
}

pub fn run(
    arguments: &Arguments,
    environment: &Environment,
    out: &Out,
) -> Result<ExitCode, CliError> {
    if !top::is_there() {
        return Err(CliError::new("top needs a terminal, for its output and for its keys")
            .hint("`claude-peers peers` lists the sessions, and `claude-peers watch` prints what happens, for scripts.")
            .code("no_terminal")
            .exit(WRONG_USAGE));
    }
    let config = Config::load(environment)?;
    let options = top::Options {
        mouse: !arguments.no_mouse,
        colours: out.look().colour,
        home: config.paths.home.clone(),
    };
    let around = shell_session::around(&config);
    let client = Client::new(config)?.around(&around);
    let runtime = runtime()?;
    let end = runtime.block_on(top::run(&client, &options));
    // A call that is under way must not hold the process.
    runtime.shutdown_background();
    Ok(match end? {
        top::End::Quit => ExitCode::SUCCESS,
        top::End::NoTerminal => ExitCode::FAILURE,
        top::End::Signal(number) => ExitCode::from(u8::try_from(128 + number).unwrap_or(1)),
    })
}
