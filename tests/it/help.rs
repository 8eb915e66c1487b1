//! Help and completions.

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
    assert!(sandbox.holder().is_none(), "help starts nothing");
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
