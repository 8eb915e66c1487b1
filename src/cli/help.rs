//! The help of the program as a whole: its commands in groups, wrapped once, at the width of the
//! terminal. The help of each command is clap's.

use std::fmt::Write as _;
use std::io;

use clap::builder::StyledStr;
use clap::{Arg, Command};

use crate::cli::output::look::{Ink, Look};
use crate::text;

/// The commands, by what they are for.
pub const GROUPS: [(&str, &[&str]); 4] = [
    ("Everyday", &["peers", "send", "inbox", "log", "top", "open", "watch"]),
    ("Set-up", &["setup", "demo", "completions"]),
    ("Service and troubleshooting", &["status", "doctor", "service", "prune", "kill-broker"]),
    ("Plumbing", &["mcp", "hook", "statusline", "broker", "token"]),
];

/// The widest help.
pub const MAX_WIDTH: usize = 100;

/// What follows the options.
pub const EXAMPLES: [(&str, &str); 4] = [
    ("claude-peers setup", "Set up Claude Code and other clients, once"),
    ("claude-peers", "Show what is going on"),
    ("claude-peers send backend \"The API is deployed.\"", "Send a message to the session backend"),
    ("claude-peers peers --json", "For scripts"),
];

const EXIT_STATUS: &str = "0 success, 1 failure, 2 wrong usage, 3 the broker is not running (status) \
    or the service is not running (service status), 4 it is not known whether the message was stored \
    (send), 124 timed out (--wait).";

/// Returns the help of the whole program.
pub fn of_program(command: &Command, look: Look) -> StyledStr {
    let look = Look { width: Some(look.width.unwrap_or(MAX_WIDTH).min(MAX_WIDTH)), ..look };
    let mut help = String::new();
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    for paragraph in about.split("\n\n") {
        let paragraph = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        add(&mut help, "", 0, &paragraph, look);
        help.push('\n');
    }
    let usage = look.paint(Ink::Strong, "Usage:");
    add(&mut help, &format!("{usage} "), 7, "claude-peers [OPTIONS] [COMMAND]", look);
    let rows = |names: &[&str]| -> Vec<(String, String)> {
        let found = names.iter().filter_map(|name| command.find_subcommand(name));
        found.map(|one| (one.get_name().to_owned(), summary(one))).collect()
    };
    for (title, names) in GROUPS {
        section(&mut help, title, &rows(names), look);
    }
    let options: Vec<(String, String)> =
        command.get_arguments().filter(|argument| !argument.is_hide_set()).map(option).collect();
    section(&mut help, "Options", &options, look);
    let examples = EXAMPLES.map(|(line, what)| (line.to_owned(), what.to_owned()));
    heading(&mut help, "Examples", look);
    for (line, what) in examples {
        add(&mut help, "  ", 2, &line, look);
        add(&mut help, "      ", 6, &what, look);
    }
    heading(&mut help, "Exit status", look);
    add(&mut help, "  ", 2, EXIT_STATUS, look);
    help.push('\n');
    let more = "`claude-peers COMMAND --help` explains a command.";
    add(&mut help, "", 0, more, look);
    StyledStr::from(help)
}

/// Returns what a command does, and its other names.
fn summary(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    if aliases.is_empty() { about } else { format!("{about} [aliases: {}]", aliases.join(", ")) }
}

fn option(argument: &Arg) -> (String, String) {
    let short = argument.get_short().map_or("   ".to_owned(), |short| format!("-{short},"));
    let long = argument.get_long().unwrap_or_default();
    let mut words = format!("{short} --{long}");
    if argument.get_action().takes_values() {
        for name in argument.get_value_names().unwrap_or_default() {
            let _ = write!(words, " <{name}>");
        }
    }
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    // Here `-h` and `--help` are the same.
    let mut help = help.replace(" (see more with '--help')", "");
    let values: Vec<_> = argument.get_possible_values();
    if argument.get_action().takes_values() && !values.is_empty() {
        let names: Vec<&str> = values.iter().map(clap::builder::PossibleValue::get_name).collect();
        let _ = write!(help, " [{}]", names.join(", "));
    }
    (words, help)
}

fn heading(help: &mut String, title: &str, look: Look) {
    let _ = writeln!(help, "\n{}", look.paint(Ink::Strong, &format!("{title}:")));
}

fn section(help: &mut String, title: &str, rows: &[(String, String)], look: Look) {
    heading(help, title, look);
    let width = rows.iter().map(|(name, _)| text::columns(name)).max().unwrap_or(0);
    for (name, what) in rows {
        let padded = format!("  {name:width$}  ");
        add(help, &look.paint(Ink::Typed, &padded), width + 4, what, look);
    }
}

/// Adds a beginning, and text that is wrapped beside it.
fn add(help: &mut String, beginning: &str, indent: usize, what: &str, look: Look) {
    let lines = text::wrap(what, look.room(indent)).join(&format!("\n{}", " ".repeat(indent)));
    let _ = writeln!(help, "{beginning}{lines}");
}

/// Returns the look of help, which is made before the command line is understood.
pub fn look(colour: clap::ColorChoice, environment: &crate::config::Environment) -> Look {
    use crate::cli::output::look::Wanted;
    use crate::config::ColourChoice;
    let colours = match colour {
        clap::ColorChoice::Auto => ColourChoice::Auto,
        clap::ColorChoice::Always => ColourChoice::Always,
        clap::ColorChoice::Never => ColourChoice::Never,
    };
    Look::of(&io::stdout(), Wanted { colours, absolute: false }, environment)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let command = crate::cli::Cli::command();
        let shown: BTreeSet<&str> = command
            .get_subcommands()
            .filter(|one| !one.is_hide_set())
            .map(Command::get_name)
            .collect();
        let grouped: Vec<&str> =
            GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), shown);
        assert_eq!(grouped.len(), shown.len());
    }

    #[test]
    fn the_help_is_wrapped_once_at_the_width_of_the_terminal() {
        let mut command = crate::cli::Cli::command();
        command.build();
        for width in [60, 80, 200] {
            let look = Look { width: Some(width), ..Look::PLAIN };
            let help = of_program(&command, look).to_string();
            for line in help.lines() {
                assert!(text::columns(line) <= width.min(MAX_WIDTH), "{width}: {line}");
            }
            assert!(help.contains("Everyday:") && help.contains("--color <WHEN>"), "{help}");
        }
    }
}
