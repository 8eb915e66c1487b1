//! `claude-peers hook`: run by Claude Code's hooks, not by people.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::cli::common::runtime;
use crate::config::{Config, Environment};
use crate::hook;
use crate::protocol::hook::HookEventName;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The event; its JSON input is read from standard input
    #[arg(value_enum)]
    event: EventName,

    /// With Stop and StopFailure: keep running until the idle session has a message, then exit with
    /// code 2, which wakes the session (for hooks with "asyncRewake")
    #[arg(long)]
    wait: bool,
}

/// The events, spelled as in Claude Code.
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

impl From<EventName> for HookEventName {
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

/// Handles an event. Every error is a success without output: a hook that fails disturbs its
/// session.
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
        // A thread that still waits must not hold the process.
        runtime.shutdown_background();
        return notice.map_or(ExitCode::SUCCESS, |notice| {
            eprintln!("{notice}");
            ExitCode::from(WAKE)
        });
    }
    hook::run(arguments.event.into(), std::io::stdin(), config, runtime);
    ExitCode::SUCCESS
}

/// The exit code with which Claude Code gives a hook's output to the model.
const WAKE: u8 = 2;
