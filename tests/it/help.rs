//! Command line: help and shell completions.

use std::process::Command;

use crate::support::Sandbox;

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
    assert!(help.contains("claude-peers setup claude"), "{help}");
    assert!(sandbox.ok(["--version"]).starts_with("claude-peers "));
    assert!(sandbox.broker().is_none(), "help starts nothing");
}

#[test]
fn completions_are_scripts_that_their_shell_reads() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.ok(["completions", shell]);
        assert!(script.contains("kill-broker") && script.contains("claude-peers"), "{shell}");
        let path = sandbox.path().join(shell);
        std::fs::write(&path, script).unwrap();
        match Command::new(shell).arg("-n").arg(&path).output() {
            Ok(output) => {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
            Err(error) => println!("skipped: {shell}: {error}"),
        }
    }
}

/// What bash would offer for the last word of a line.
fn offered(script: &std::path::Path, line: &[&str]) -> Option<Vec<String>> {
    const ASK: &str = r#"
        source "$0"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        function=$(complete -p claude-peers | sed -E 's/.* -F ([^ ]+) .*/\1/')
        "$function" claude-peers "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = Command::new("bash").args(["-c", ASK]).arg(script).args(line).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[test]
fn bash_completes_every_word_of_a_line() {
    let sandbox = Sandbox::new();
    let script = sandbox.path().join("completions.bash");
    std::fs::write(&script, sandbox.ok(["completions", "bash"])).unwrap();
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
        let Some(words) = offered(&script, line) else {
            println!("skipped: there is no bash");
            return;
        };
        assert!(words.iter().any(|word| word == expected), "{line:?}: {words:?}");
    }
    let help = sandbox.ok(["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    for command in commands.lines().filter_map(|line| line.split_whitespace().next()) {
        let words = offered(&script, &["claude-peers", command, "-"]).unwrap();
        assert!(command == "help" || words.iter().any(|w| w == "--help"), "{command}: {words:?}");
    }
}
