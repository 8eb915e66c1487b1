//! Text that begins with a dash, on the command line of `send`: a list entry, a negative number, a
//! line of a diff. What can be an option is one, and a misspelt one is an error, for a message
//! cannot be called back; what never could be an option is text.

use std::ffi::{OsStr, OsString};

use clap::Command;

/// The command whose words may begin with a dash.
const SEND: &str = "send";

/// The arguments with all options of `send` before its words, where a word begins with a dash.
pub fn settled(arguments: Vec<OsString>, command: &Command) -> Vec<OsString> {
    let Some(send) = command.find_subcommand(SEND) else { return arguments };
    if arguments.get(1).is_none_or(|word| word != SEND) {
        return arguments;
    }
    let mut options = Vec::new();
    let mut words = Vec::new();
    let mut rest = arguments.iter().skip(2);
    while let Some(word) = rest.next() {
        if word == "--" {
            // Whoever writes it knows what it is for.
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
    let mut settled: Vec<OsString> = arguments[..2].to_vec();
    settled.extend(options);
    settled.push("--".into());
    settled.extend(words);
    settled
}

fn begins_with_dash(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

/// Whether it is text, and could not have been meant as an option.
fn is_text(word: &OsStr, send: &Command) -> bool {
    let Some(name) = word.as_encoded_bytes().strip_prefix(b"-") else { return true };
    let name = name.strip_prefix(b"-").unwrap_or(name);
    // A value may be anything; the option before it is known by its name.
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

/// Whether the next argument belongs to this one.
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
        let settled = settled(line, &Cli::command());
        settled.into_iter().skip(2).map(|word| word.into_string().unwrap()).collect()
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
            let settled = settle(&["peer", text, "--json", "--wait", "5", "more"]);
            if text.starts_with('-') {
                assert_eq!(settled, ["--json", "--wait", "5", "--", "peer", text, "more"]);
            }
            let settled = settle(&["--scope=repo", text]);
            assert_eq!(settled.last().map(String::as_str), Some(text));
        }
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
        assert_eq!(settled(other.clone(), &Cli::command()), other);
    }
}
