//! Command line: help and shell completions.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use claude_peers::cli::help::GROUPS;

use crate::support::{Frozen, PROGRAM, Sandbox, until};

#[test]
fn every_command_explains_itself() {
    let sandbox = Sandbox::new();
    let help = sandbox.ok(["--help"]);
    for command in [
        "status",
        "peers",
        "send",
        "inbox",
        "log",
        "top",
        "demo",
        "doctor",
        "setup",
        "service",
        "token",
        "kill-broker",
        "mcp",
        "broker",
        "completions",
    ] {
        assert!(help.contains(&format!("  {command} ")), "{command}: {help}");
        let text = sandbox.ok([command, "--help"]);
        assert!(text.contains("Usage: claude-peers"), "{text}");
        assert_eq!(sandbox.ok(["help", command]), text);
    }
    assert!(help.contains("claude-peers setup"), "{help}");
    assert!(sandbox.ok(["--version"]).starts_with("claude-peers "));
    assert!(sandbox.broker().is_none(), "help starts nothing");
}

/// The options and words that zsh and fish get have a description each, and bash's have none.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// A directory with the program, so that scripts find it by its name.
fn with_program(sandbox: Sandbox) -> Sandbox {
    let bin = sandbox.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(PROGRAM, bin.join("claude-peers")).unwrap();
    let path = format!("{}:{}", bin.display(), sandbox.variable("PATH").unwrap());
    sandbox.with("PATH", path)
}

fn is_there(shell: &str) -> bool {
    let is_there = Command::new(shell).arg("--version").output().is_ok();
    if !is_there {
        println!("skipped: there is no {shell}");
    }
    is_there
}

/// Writes the script of a shell.
fn script(sandbox: &Sandbox, shell: &str) -> PathBuf {
    let path = sandbox.path().join(format!("completions.{shell}"));
    std::fs::write(&path, sandbox.ok(["completions", shell])).unwrap();
    path
}

/// What a shell offers for the last word of a line.
fn offered(sandbox: &Sandbox, shell: &str, line: &[&str]) -> Vec<String> {
    const BASH: &str = r#"
        source "$0"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        function=$(complete -p claude-peers | sed -E 's/.* -F ([^ ]+) .*/\1/')
        "$function" claude-peers "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    // The completion system asks for a terminal; its last step is replaced by printing.
    const ZSH: &str = r#"
        compdef() { function=$1 }
        _describe() { local -a all; all=("${(@P)${@[-1]}}"); print -rl -- "${all[@]}" }
        compadd() { : }
        script=$0
        source "$script"
        words=("$@") CURRENT=$#
        $function
    "#;
    const FISH: &str = r#"source $argv[1]; complete -C "$argv[2]""#;
    let script = script(sandbox, shell);
    let mut command = match shell {
        "bash" => sandbox.command_of("bash", ["-c", BASH]),
        "zsh" => sandbox.command_of("zsh", ["-f", "-c", ZSH]),
        _ => sandbox.command_of("fish", ["--no-config", "-c", FISH]),
    };
    command.arg(script);
    match shell {
        "fish" => command.arg(line.join(" ")),
        _ => command.args(line),
    };
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// What is offered, without the options, which all commands have.
fn arguments(offers: Vec<String>) -> Vec<String> {
    offers.into_iter().filter(|offer| !offer.starts_with('-')).collect()
}

/// The value of a line that has a description behind it, as each shell separates them.
fn value(offer: &str) -> String {
    offer.split(['\t', ':']).next().unwrap().trim().to_owned()
}

#[test]
fn completions_are_scripts_that_their_shell_reads() {
    let sandbox = Sandbox::new();
    for shell in SHELLS {
        let script = script(&sandbox, shell);
        if is_there(shell) {
            let output = Command::new(shell).arg("-n").arg(&script).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn every_word_of_a_line_is_completed() {
    let sandbox = with_program(Sandbox::new());
    for shell in SHELLS.into_iter().filter(|shell| is_there(shell)) {
        for (line, expected) in [
            (&["claude-peers", "ki"][..], "kill-broker"),
            (&["claude-peers", "send", "--"], "--file"),
            (&["claude-peers", "kill-broker", "--"], "--json"),
            (&["claude-peers", "peers", "--scope", ""], "directory"),
            (&["claude-peers", "service", "ins"], "install"),
            (&["claude-peers", "service", "logs", "--"], "--follow"),
            (&["claude-peers", "completions", "b"], "bash"),
            (&["claude-peers", "help", "kill"], "kill-broker"),
        ] {
            let words = offered(&sandbox, shell, line);
            assert!(
                words.iter().any(|word| value(word) == expected),
                "{shell} {line:?}: {words:?}"
            );
        }
        for (_, commands) in GROUPS {
            for command in commands {
                let words = offered(&sandbox, shell, &["claude-peers", command, "--"]);
                assert!(words.iter().any(|w| value(w) == "--help"), "{shell} {command}: {words:?}");
            }
        }
    }
    assert!(sandbox.broker().is_none(), "completion starts nothing");
}

#[test]
fn live_peers_and_recent_messages_are_completed_and_no_broker_is_started() {
    let sandbox = with_program(Sandbox::new());
    let to = |shell, word| arguments(offered(&sandbox, shell, &["claude-peers", "send", word]));
    for shell in SHELLS.into_iter().filter(|shell| is_there(shell)) {
        assert_eq!(to(shell, ""), [""; 0], "{shell}");
    }
    assert!(sandbox.broker().is_none(), "completion starts nothing");

    let _sessions = ["backend", "frontend"].map(|name| sandbox.session(name));
    let sent = sandbox.json(["send", "backend", "which port?"])["id"].as_str().unwrap().to_owned();
    for shell in SHELLS.into_iter().filter(|shell| is_there(shell)) {
        // On a busy machine the broker's answer may come too late for a person who waits.
        let full = |line: &[&str]| {
            let mut offers = Vec::new();
            until("the broker answers in time", || {
                offers = arguments(offered(&sandbox, shell, line));
                !offers.is_empty()
            });
            offers
        };
        let to = |word| full(&["claude-peers", "send", word]);
        let names = |word| to(word).iter().map(|offer| value(offer)).collect::<Vec<_>>();
        assert_eq!(names("fro"), ["frontend"], "{shell}");
        let all = names("");
        assert!(
            ["backend", "frontend"].iter().all(|name| all.contains(&(*name).to_owned())),
            "{all:?}"
        );
        let message = full(&["claude-peers", "log", &sent[..4]]);
        assert_eq!(
            message.iter().map(|offer| value(offer)).collect::<Vec<_>>(),
            [&*sent],
            "{shell}"
        );
        if shell != "bash" {
            let described = to("fro").concat();
            assert!(described.ends_with("/frontend"), "{shell}: {described}");
            assert!(message[0].ends_with("cli: which port?"), "{shell}: {message:?}");
        }
        let answers = full(&["claude-peers", "send", "backend", "--reply-to", ""]);
        assert!(answers.iter().any(|offer| value(offer) == sent), "{shell}: {answers:?}");
    }
}

/// A broker that does not answer holds nobody up who presses a key.
#[test]
fn a_broker_that_hangs_does_not_delay_a_completion() {
    if !is_there("bash") {
        return;
    }
    let sandbox = with_program(Sandbox::new());
    sandbox.ok(["peers"]);
    let broker = sandbox.broker().unwrap();
    let frozen = Frozen::new(broker.pid);
    let since = Instant::now();
    assert_eq!(arguments(offered(&sandbox, "bash", &["claude-peers", "send", ""])), [""; 0]);
    // Of that, the program waits 150 ms; the rest is what a busy machine takes to start it.
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    drop(frozen);
}

#[test]
fn help_shows_the_commands_in_groups_and_their_other_names() {
    let sandbox = Sandbox::new();
    let help = sandbox.ok(["--help"]);
    for (title, _) in GROUPS {
        assert!(help.contains(&format!("\n{title}:\n")), "{title}: {help}");
    }
    assert!(help.contains("[aliases: ls, list, ps]"), "{help}");
    for alias in ["ls", "list", "ps"] {
        assert_eq!(sandbox.ok([alias, "--help"]), sandbox.ok(["peers", "--help"]));
    }
    assert_eq!(sandbox.ok(["version"]), sandbox.ok(["--version"]));
    // Without a command, a program is told that it named none.
    let none = sandbox.run::<&str>([]);
    assert_eq!((none.status.code(), none.stdout.len()), (Some(2), 0));
    assert_eq!(String::from_utf8(none.stderr).unwrap(), help);
    assert!(sandbox.broker().is_none(), "help starts nothing");
}
