//! Documentation: every command line in it is run as it stands, here or by a script that has it.

mod lines;
mod machine;
mod pages;
mod picture;
mod reference;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::CommandFactory as _;

use crate::support::{SessionOptions, until};
use lines::{How, IN_TEXT, LINES, MENTIONS};
use machine::{Machine, answering};
use pages::{Line, all, root, spans};

/// How a line is run.
fn how(line: &str) -> &'static How {
    let found = LINES.iter().find(|(text, _)| *text == line);
    found.map_or(&How::Succeeds, |(_, how)| how)
}

/// Whether a line is one of ours, and so runs in a sandbox unless the list says otherwise.
fn is_ours(line: &str) -> bool {
    line.split(['|', '(', '&', ';']).any(|part| part.trim_start().starts_with("claude-peers "))
        || line == "claude-peers"
}

#[test]
fn every_line_is_run_somewhere() {
    let lines = all();
    assert!(lines.len() > 40, "{}", lines.len());
    for Line { document, text } in &lines {
        assert!(
            is_ours(text) || LINES.iter().any(|(line, _)| line == text),
            "{document}: nothing runs this line; run it, or name the script that does in \
             tests/it/documented/lines.rs:\n{text}"
        );
    }
    for (line, how) in LINES {
        assert!(lines.iter().any(|one| one.text == *line), "no document has the line\n{line}");
        if let How::By(script, words) = how {
            assert_has(script, words);
        }
    }
}

#[test]
fn the_lines_with_our_commands_run_as_they_stand() {
    let lines = all();
    let machine = Machine::new();
    // One of them is in the repository, for what is said to all of it.
    let shop = SessionOptions::new("shop").directory(&machine.directory).start(&machine.sandbox);
    let _others = (shop, ["frontend", "ci"].map(|name| machine.sandbox.session(name)));
    let backend = machine.sandbox.session("backend");
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let answers = scope.spawn(|| answering(backend, &end));
        let _stop = Stop(&end);
        for line in lines.iter().filter(|line| is_ours(&line.text)) {
            // One of them stops the broker, and the sessions come back.
            until("the sessions are live", || machine.sandbox.live_names().len() == 4);
            let since = Instant::now();
            match how(&line.text) {
                How::Succeeds => machine.run(line),
                How::Follows => machine.follow(line),
                How::Keys(keys) => machine.type_into(line, keys),
                How::By(..) => continue,
            }
            println!("{:5.1} s  {}: {}", since.elapsed().as_secs_f32(), line.document, line.text);
        }
        end.store(true, Ordering::Relaxed);
        answers.join().unwrap();
    });
}

/// Ends the thread that answers, also if a line fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A name that means no test runs none, and reports success.
#[test]
fn the_names_of_tests_mean_some() {
    let mut checked = 0;
    for Line { document, text } in all().iter().filter(|line| line.text.starts_with("cargo test "))
    {
        for (module, beginning) in text.split(' ').filter_map(|word| word.split_once("::")) {
            let files: Vec<PathBuf> = if text.contains(" --lib ") {
                ["src", "src/broker"].map(|above| root().join(above).join(module)).into()
            } else {
                [format!("{module}.rs"), format!("{module}/mod.rs")]
                    .map(|name| root().join("tests/it").join(name))
                    .into()
            };
            let file = files.into_iter().find(|file| file.exists());
            let file = file.unwrap_or_else(|| panic!("{document}: {text}"));
            let means_some = beginning.is_empty()
                || std::fs::read_to_string(file).unwrap().contains(&format!("\nfn {beginning}"));
            assert!(means_some, "{document}: {text}");
            checked += 1;
        }
    }
    assert!(checked >= 3, "{checked}");
}

/// With which words a command line begins that is not ours.
const OTHERS: [&str; 21] = [
    ".ci/",
    "./",
    "CI=",
    "CLAUDE_PEERS_",
    "UPDATE_",
    "apt",
    "brew",
    "cargo",
    "claude",
    "curl",
    "docker",
    "git",
    "journalctl",
    "just",
    "make",
    "packaging/",
    "podman",
    "rm",
    "sudo",
    "systemctl",
    "tests/",
];

#[test]
fn the_command_lines_of_others_in_running_text_are_run_somewhere() {
    let spans = spans();
    for Line { document, text } in &spans {
        let first = text.split(' ').next().unwrap();
        let is_word = |begin: &&str| {
            first == *begin || (first.starts_with(begin) && begin.ends_with(['/', '=', '_']))
        };
        if !text.contains(' ') || !OTHERS.iter().any(is_word) {
            continue;
        }
        let is_known = MENTIONS.contains(&text.as_str()) || IN_TEXT.iter().any(|one| one.0 == text);
        assert!(
            is_known,
            "{document}: tests/it/documented/lines.rs does not say what runs `{text}`"
        );
    }
    for text in IN_TEXT.iter().map(|one| one.0).chain(MENTIONS.iter().copied()) {
        assert!(spans.iter().any(|span| span.text == text), "no page says `{text}`");
    }
    for (_, script, words) in IN_TEXT {
        assert_has(script, words);
    }
}

/// Checks that a script has these words in a line that is no comment.
fn assert_has(script: &str, words: &str) {
    let text = std::fs::read_to_string(root().join(script)).unwrap();
    let mut active = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    assert!(active.any(|line| line.contains(words)), "{script} does not run\n{words}");
}

/// Words in the text that begin with our name are commands, too: they and their options exist.
#[test]
fn the_commands_in_running_text_exist() {
    use clap::error::ErrorKind;
    // They are there; what they need is left out in a sentence.
    let fine = [
        ErrorKind::DisplayHelp,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ErrorKind::DisplayVersion,
        ErrorKind::MissingRequiredArgument,
        ErrorKind::MissingSubcommand,
    ];
    let mut checked = 0;
    for Line { document, text } in
        spans().iter().filter(|span| span.text.starts_with("claude-peers "))
    {
        // A pattern, in which something is to be filled in.
        if text.contains(['…', '|', '[', '<']) {
            continue;
        }
        let words = text.split_whitespace().map(|word| word.trim_matches('"'));
        if let Err(error) = claude_peers::cli::Cli::command().try_get_matches_from(words) {
            assert!(fine.contains(&error.kind()), "{document}: `{text}`: {error}");
        }
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}
