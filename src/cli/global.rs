//! The options that every command has: how its output looks.

use std::io;

use clap::{Args, ValueEnum};

use crate::cli::output::Out;
use crate::cli::output::look::{Look, Wanted};
use crate::cli::output::messages::Messages;
use crate::cli::output::pager::Pager;
use crate::config::{ColourChoice, Environment};

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Options {
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value = "auto",
        hide_possible_values = true
    )]
    color: Colours,
    /// Show local times instead of ages like "4m ago"
    #[arg(long, global = true)]
    absolute: bool,
    /// Do not show long output in a pager
    #[arg(long, global = true)]
    no_pager: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Colours {
    /// On a terminal, unless NO_COLOR is set or TERM is "dumb"
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Options {
    /// Returns the output of a command with these options.
    pub fn output(&self, json: bool, environment: &Environment) -> Out {
        let colours = match self.color {
            Colours::Auto => ColourChoice::Auto,
            Colours::Always => ColourChoice::Always,
            Colours::Never => ColourChoice::Never,
        };
        let wanted = Wanted { colours, absolute: self.absolute };
        let look = Look::of(&io::stdout(), wanted, environment);
        let messages = Messages::new(Look::of(&io::stderr(), wanted, environment), json);
        let pager = Pager::of(environment).filter(|_| !self.no_pager);
        Out::new(look, messages, pager, environment.text("HOME"))
    }
}

/// Returns when to use colours, before the command line is understood: what it is refused with has
/// colours, too.
pub fn colour(arguments: &[std::ffi::OsString]) -> clap::ColorChoice {
    let mut words = arguments.iter().skip(1).take_while(|word| *word != "--");
    let mut choice = clap::ColorChoice::Auto;
    while let Some(word) = words.next().and_then(|word| word.to_str()) {
        let value = match word.strip_prefix("--color") {
            Some("") => words.next().and_then(|word| word.to_str()),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        choice = match value {
            Some("always") => clap::ColorChoice::Always,
            Some("never") => clap::ColorChoice::Never,
            _ => choice,
        };
    }
    choice
}
