//! `claude-peers hook`: for Claude Code's hooks, not for people.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::config::Config;
use crate::hook;
use crate::protocol::hook::Event;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The event; its JSON is read from standard input
    #[arg(value_enum)]
    event: EventName,
}

/// Spelled as Claude Code spells its events.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum EventName {
    SessionStart,
    UserPromptSubmit,
    PostToolUse,
    Stop,
    SessionEnd,
}

impl From<EventName> for Event {
    fn from(name: EventName) -> Self {
        match name {
            EventName::SessionStart => Self::SessionStart,
            EventName::UserPromptSubmit => Self::UserPromptSubmit,
            EventName::PostToolUse => Self::PostToolUse,
            EventName::Stop => Self::Stop,
            EventName::SessionEnd => Self::SessionEnd,
        }
    }
}

/// Always a success: a hook that fails disturbs the session.
pub fn run(arguments: &Arguments) -> ExitCode {
    if let (Ok(config), Ok(runtime)) = (Config::load(), super::runtime()) {
        hook::run(arguments.event.into(), std::io::stdin(), config, runtime);
    }
    ExitCode::SUCCESS
}
