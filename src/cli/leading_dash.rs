//! Message text that begins with a dash, on the command line of `send`: a list entry, a negative
//! number, a line of a diff.
//!
//! A word that can be an option is one, and a misspelt option is an error, because a message cannot
//! be taken back. A word that cannot be an option is text.

use std::ffi::{OsStr, OsString};

use clap::Command;

/// The command whose words may begin with a dash.
const SEND: &str = "send";

/// Moves the options of `send` before its words if a word begins with a dash.
pub fn with_dash_text(
    arguments: Vec<OsString>,
    command: impl FnOnce() -> Command,
) -> Vec<OsString> {
    if !arguments.iter().any(|word| word == SEND) {
        return arguments;
    }
    let mut command = command();
    // Gives each command the options that all have.
    command.build();
    let Some(send) = command.find_subcommand(SEND) else { return arguments };
    let Some(at) = place_of_command(&arguments, &command).filter(|at| arguments[*at] == SEND)
    else {
        return arguments;
    };
    let mut options = Vec::new();
    let mut words = Vec::new();
    let mut rest = arguments.iter().skip(at + 1);
    while let Some(word) = rest.next() {
        if word == "--" {
            // The user has separated options and text already.
            return arguments;
        }
        if is_text(word, send) {
            words.push(word.clone());
            continue;
        }
        options.push(word.clone());
        if takes_value(word, send) {
            options.extend(rest.next().cloned());
        }
    }
    if !words.iter().any(|word| word != "-" && begins_with_dash(word)) {
        return arguments;
    }
    let mut with_dash_text: Vec<OsString> = arguments[..=at].to_vec();
    with_dash_text.extend(options);
    with_dash_text.push("--".into());
    with_dash_text.extend(words);
    with_dash_text
}

/// Returns where the name of the command stands: after the options of the program.
fn place_of_command(arguments: &[OsString], program: &Command) -> Option<usize> {
    let mut at = 1;
    while arguments.get(at).is_some_and(|word| begins_with_dash(word)) {
        at += if takes_value(&arguments[at], program) { 2 } else { 1 };
    }
    (at < arguments.len()).then_some(at)
}

fn begins_with_dash(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

/// Whether a word is text: it cannot have been meant as an option.
fn is_text(word: &OsStr, send: &Command) -> bool {
    let Some(name) = word.as_encoded_bytes().strip_prefix(b"-") else { return true };
    let name = name.strip_prefix(b"-").unwrap_or(name);
    // The value of an option may be anything; the name before it decides.
    let end = name.iter().position(|byte| *byte == b'=').unwrap_or(name.len());
    if end < name.len() && known(&name[..end], send).is_some() {
        return false;
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
    let begins_as_one = name.first().is_some_and(u8::is_ascii_alphabetic);
    !begins_as_one || !name.iter().all(is_name)
}

fn known<'a>(name: &[u8], send: &'a Command) -> Option<&'a clap::Arg> {
    send.get_arguments().find(|argument| {
        let long = argument.get_long().is_some_and(|long| long.as_bytes() == name);
        let short = argument.get_short().is_some_and(|short| [short as u32] == codes(name)[..]);
        long || short
    })
}

fn codes(name: &[u8]) -> Vec<u32> {
    name.iter().map(|byte| u32::from(*byte)).collect()
}

/// Whether the next argument is the value of this option.
fn takes_value(word: &OsStr, send: &Command) -> bool {
    let name = word.as_encoded_bytes();
    let name = name.strip_prefix(b"--").or_else(|| name.strip_prefix(b"-")).unwrap_or(name);
    known(name, send).is_some_and(|argument| argument.get_action().takes_values())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn settle(line: &[&str]) -> Vec<String> {
        let line = ["claude-peers", "send"].iter().chain(line).map(OsString::from).collect();
        let with_dash_text = with_dash_text(line, Cli::command);
        with_dash_text.into_iter().skip(2).map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn text_that_begins_with_a_dash_is_told_from_options() {
        for text in [
            "- build: green",
            "-1",
            "--- a/file",
            "---",
            "-> done",
            "-\u{2713}",
            "--wat is this?",
            "-x\ny",
            "–",
            "--naïve",
            "-5°",
        ] {
            assert_eq!(settle(&["peer", text]).last().map(String::as_str), Some(text));
            let with_dash_text = settle(&["peer", text, "--json", "--wait", "5", "more"]);
            if text.starts_with('-') {
                assert_eq!(with_dash_text, ["--json", "--wait", "5", "--", "peer", text, "more"]);
            }
            let with_dash_text = settle(&["--scope=repo", text]);
            assert_eq!(with_dash_text.last().map(String::as_str), Some(text));
        }
    }

    #[test]
    fn options_that_all_commands_have_may_stand_anywhere() {
        let line = ["claude-peers", "--color", "never", "--no-pager", "send", "peer", "- a"];
        let settled = with_dash_text(line.map(OsString::from).to_vec(), Cli::command);
        let expected =
            ["claude-peers", "--color", "never", "--no-pager", "send", "--", "peer", "- a"];
        assert_eq!(settled, expected);
        assert_eq!(
            settle(&["peer", "- a", "--color", "always"]),
            ["--color", "always", "--", "peer", "- a"]
        );
    }

    #[test]
    fn all_else_stays_as_it_is() {
        for line in [
            &["peer", "hello"][..],
            &["peer", "-"],
            &["peer", "hello", "--jsno"],
            &["peer", "-x"],
            &["--wait", "5", "peer", "x"],
            &["peer", "--", "- a"],
            &["peer", "x", "--reply-to", "-1"],
            &["peer", "x", "--wait=5 s"],
            &[],
        ] {
            assert_eq!(settle(line), line);
        }
        let other = ["claude-peers", "log", "- x"].map(OsString::from).to_vec();
        assert_eq!(with_dash_text(other.clone(), Cli::command), other);
    }
}
