//! Documentation: the reference of commands and the table of settings are the program's own.
//!
//! After a change of either:
//!
//! ```sh
//! UPDATE_DOCS=1 cargo test --test it documented::reference
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use claude_peers::config::{Fallback, SETTINGS, Setting};

use crate::support::Sandbox;

const ADVICE: &str = "UPDATE_DOCS=1 cargo test --test it documented::reference";

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// Compares a page with what it should be, or writes it.
#[track_caller]
fn is_up_to_date(name: &str, expected: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(page(name), expected).unwrap();
    }
    let written = std::fs::read_to_string(page(name)).unwrap_or_default();
    assert!(written == expected, "docs/{name} is stale: {ADVICE}");
}

/// The first lines of the table of settings.
const TABLE: &str = "| variable | file | default | |\n|---|---|---|---|\n";

/// A row of the table of settings.
fn row(setting: &Setting) -> String {
    let key = setting.key.map(|key| format!(" `{key}`")).unwrap_or_default();
    let default = match setting.default {
        Fallback::Value(value) => format!("`{value}`"),
        Fallback::Words(words) => words.to_owned(),
    };
    assert!(!setting.help.contains('|') && !default.contains('|'), "{}", setting.variable);
    format!("| `{}` |{key} | {default} | {} |\n", setting.variable, setting.help)
}

#[test]
fn the_page_has_every_setting_as_the_program_has_it() {
    let written = std::fs::read_to_string(page("settings.md")).unwrap();
    let (before, rest) = written.split_once(TABLE).unwrap();
    let end = rest.find("\n\n").unwrap() + 1;
    let rows: String = SETTINGS.iter().map(row).collect();
    is_up_to_date("settings.md", &format!("{before}{TABLE}{rows}{}", &rest[end..]));
}

const BEGINNING: &str = "\
# Commands

What `--help` prints, for every command. The same is in the man pages: `man claude-peers-send` and so on.
";

/// The commands that the help shows, and theirs, by the words that call them.
fn collect(command: &Command, words: &[&str], found: &mut Vec<Vec<String>>) {
    found.push(words.iter().map(|&word| word.to_owned()).collect());
    for below in
        command.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help")
    {
        collect(below, &[words, &[below.get_name()]].concat(), found);
    }
}

#[test]
fn the_page_has_the_help_of_every_command_as_it_is_printed() {
    let sandbox = Sandbox::new();
    let mut commands = Vec::new();
    collect(&claude_peers::cli::Cli::command(), &[], &mut commands);
    assert!(commands.len() > 20, "{}", commands.len());
    let mut text = BEGINNING.to_owned();
    for words in &commands {
        let help = sandbox.ok(words.iter().map(String::as_str).chain(["--help"]));
        let name: Vec<&str> =
            ["claude-peers"].into_iter().chain(words.iter().map(String::as_str)).collect();
        let help: String = help.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        write!(text, "\n## {}\n\n```text\n{}\n```\n", name.join(" "), help.trim_end()).unwrap();
    }
    is_up_to_date("cli.md", &text);
}
