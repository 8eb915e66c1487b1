//! `claude-peers hook`: for Claude Code's hooks, not for people.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::cli::common::runtime;
use crate::config::{Config, Environment};
use crate::hook;
use crate::protocol::hook::Event;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The event; its JSON is read from standard input
    #[arg(value_enum)]
    event: EventName,

    /// With Stop and StopFailure: stay until mail waits for the idle session, then end with exit code 2, which
    /// wakes it (for a hook with "asyncRewake")
    #[arg(long)]
    wait: bool,
}

/// Spelled as Claude Code spells its events.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum EventName {
    SessionStart,
    UserPromptSubmit,
    PostToolUse,
    Stop,
    StopFailure,
    Notification,
    SessionEnd,
}

impl From<EventName> for Event {
    fn from(name: EventName) -> Self {
        match name {
            EventName::SessionStart => Self::SessionStart,
            EventName::UserPromptSubmit => Self::UserPromptSubmit,
            EventName::PostToolUse => Self::PostToolUse,
            EventName::Stop => Self::Stop,
            EventName::StopFailure => Self::StopFailure,
            EventName::Notification => Self::Notification,
            EventName::SessionEnd => Self::SessionEnd,
        }
    }
}

/// A hook that fails disturbs its session, so whatever goes wrong is a success without a word.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    let (Ok(config), Ok(runtime)) = (Config::load(environment), runtime()) else {
        return ExitCode::SUCCESS;
    };
    if arguments.wait {
        let notice = match arguments.event {
            EventName::Stop | EventName::StopFailure => {
                hook::wait_for_wake(std::io::stdin(), config, &runtime)
            }
            _ => None,
        };
        // Its threads may still wait for something; the process does not.
        runtime.shutdown_background();
        return notice.map_or(ExitCode::SUCCESS, |notice| {
            eprintln!("{notice}");
            ExitCode::from(WAKE)
        });
    }
    hook::run(arguments.event.into(), std::io::stdin(), config, runtime);
    ExitCode::SUCCESS
}

/// The exit code by which a hook speaks to the model.
const WAKE: u8 = 2;
