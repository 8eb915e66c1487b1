//! Command line: colours only on a terminal that shows them, and only where they are wanted.

use std::io::Read as _;
use std::process::Command;

use crate::support::{Sandbox, in_a_terminal, until};

/// Runs a command on a terminal to its end, and `meanwhile` while it runs. Returns what it wrote.
fn on_a_terminal(command: Command, meanwhile: impl FnOnce()) -> String {
    let (terminal, mut child) = in_a_terminal(command);
    // Output that is not read before the end is lost with the terminal.
    let reader = std::thread::spawn(move || {
        let mut shown = Vec::new();
        // The last close of the other end is an error here.
        let _ = std::fs::File::from(terminal).read_to_end(&mut shown);
        shown
    });
    meanwhile();
    child.wait().unwrap();
    String::from_utf8_lossy(&reader.join().unwrap()).into_owned()
}

#[test]
fn doctor_has_colours_only_where_they_are_shown_and_wanted() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let shown = |set: &[(&str, &str)]| {
        let mut command = sandbox.command(["doctor", "--no-claude"]);
        command.env_remove("NO_COLOR").env("TERM", "xterm").envs(set.iter().copied());
        let shown = on_a_terminal(command, || ());
        assert!(shown.contains("ok "), "{shown}");
        shown.contains("\u{1b}[")
    };
    assert!(shown(&[]));
    assert!(shown(&[("NO_COLOR", "")]));
    assert!(!shown(&[("NO_COLOR", "1")]));
    assert!(!shown(&[("TERM", "dumb")]));
}

#[test]
fn the_log_of_a_broker_on_a_terminal_has_colours_only_where_they_are_wanted() {
    for (set, expected) in
        [(("TERM", "xterm"), true), (("NO_COLOR", "1"), false), (("TERM", "dumb"), false)]
    {
        let sandbox = Sandbox::new();
        let mut command = sandbox.command(["broker"]);
        command.env_remove("NO_COLOR").env("TERM", "xterm").env(set.0, set.1);
        let shown = on_a_terminal(command, || {
            until("it serves", || sandbox.status_is("running"));
            sandbox.ok(["kill-broker"]);
        });
        assert!(shown.contains("serves"), "{shown}");
        assert_eq!(shown.contains("\u{1b}["), expected, "{set:?}: {shown}");
    }
}

#[test]
fn colours_can_be_demanded_and_forbidden() {
    let sandbox = Sandbox::new();
    let _peer = sandbox.session("backend");
    let has_colours = |words: &[&str], set: &[(&str, &str)]| {
        let mut command = sandbox.command(words);
        command.env_remove("NO_COLOR").env("TERM", "xterm").envs(set.iter().copied());
        let output = command.output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap().contains("\u{1b}[")
    };
    for words in [&["peers"][..], &["send", "nobody", "x"], &["--help"], &["send"]] {
        let with = |more: &[&str], set: &[(&str, &str)]| has_colours(&[words, more].concat(), set);
        assert!(!with(&[], &[]), "{words:?}");
        assert!(with(&["--color", "always"], &[("NO_COLOR", "1")]), "{words:?}");
        assert!(with(&[], &[("CLICOLOR_FORCE", "1")]), "{words:?}");
        assert!(!with(&["--color=never"], &[("CLICOLOR_FORCE", "1")]), "{words:?}");
    }
    // What is for programs never has any.
    assert!(!has_colours(&["peers", "--json", "--color", "always"], &[]));
}
