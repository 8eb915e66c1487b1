//! Doctor: settings that differ between client and broker, and the source of each value.

use super::{examine, is_clean, is_found_and_fixed};
use crate::support::{Sandbox, free_port, send_signal, until};

/// The same sandbox, with a broker that was started without these variables.
fn restarted_elsewhere(sandbox: Sandbox) -> Sandbox {
    sandbox.ok(["kill-broker"]);
    let mut command = sandbox.command(["peers"]);
    for name in ["DB", "MAX_UNREAD", "MESSAGE_BURST"] {
        command.env_remove(format!("CLAUDE_PEERS_{name}"));
    }
    assert!(command.output().unwrap().status.success());
    sandbox
}

/// After the fix both use the client's value, wherever in the file it is.
#[test]
fn settings_that_differ_are_named_with_their_sources() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let file = sandbox.config().paths.config_file;
    let other = sandbox.path().join("it's other.db").display().to_string();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", other.clone());
    let words = ["differ in database", &other, "here (environment)", "in the broker (default)"];
    is_found_and_fixed(&sandbox, "configuration", "failure", &words);
    assert_eq!(sandbox.json(["status"])["health"]["database"], other.as_str());

    // The file has the key already, has the table already, has neither.
    let sandbox = restarted_elsewhere(sandbox);
    let another = sandbox.path().join("another&.db").display().to_string();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", another.clone());
    is_found_and_fixed(&sandbox, "configuration", "failure", &["differ in database", &another]);
    let sandbox = restarted_elsewhere(sandbox).with("CLAUDE_PEERS_MAX_UNREAD", "7");
    is_found_and_fixed(&sandbox, "configuration", "warning", &["limits.max_unread", "7 here"]);
    let sandbox = restarted_elsewhere(sandbox).with("CLAUDE_PEERS_MESSAGE_BURST", "3");
    is_found_and_fixed(&sandbox, "configuration", "warning", &["limits.message_burst"]);
    let sandbox = restarted_elsewhere(sandbox).with("CLAUDE_PEERS_IDLE_EXIT_SECONDS", "60");
    is_found_and_fixed(&sandbox, "configuration", "warning", &["idle_exit_seconds"]);
    let text = std::fs::read_to_string(&file).unwrap();
    let expected = format!(
        "idle_exit_seconds = 60\ndatabase = \"{another}\"\n[limits]\nmessage_burst = 3\nmax_unread = 7\n"
    );
    assert_eq!(text, expected);

    // A value that changed in the file since the broker started.
    std::fs::write(&file, text.replace("= 7", "= 8")).unwrap();
    let sandbox = sandbox.with("CLAUDE_PEERS_MAX_UNREAD", "");
    let words = ["limits.max_unread", "8 here (configuration file)", "7 in the broker"];
    is_found_and_fixed(&sandbox, "configuration", "warning", &words);
}

#[test]
fn a_reload_that_failed_is_reported_until_the_broker_starts_again() {
    let sandbox = Sandbox::new();
    is_clean(&sandbox);
    let paths = sandbox.config().paths;
    let file = paths.config_file;
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let broker = sandbox.broker().unwrap();
    std::fs::write(&file, "no TOML").unwrap();
    send_signal(broker.pid, rustix::process::Signal::HUP);
    // With such a file no command can ask the broker. Its log tells when it has read the file.
    let log = paths.log;
    until("it has read the file", || {
        std::fs::read_to_string(&log).unwrap().contains("could not be reloaded")
    });
    std::fs::remove_file(&file).unwrap();
    is_found_and_fixed(&sandbox, "configuration", "warning", &["told to reload", "old settings"]);
}

#[test]
fn a_database_in_use_by_a_broker_with_other_settings_is_reported() {
    let sandbox = Sandbox::new();
    let database = sandbox.path().join("one.db").display().to_string();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", database);
    sandbox.ok(["peers"]);
    let running = sandbox.broker().unwrap().pid.to_string();
    let sandbox = sandbox.with("CLAUDE_PEERS_PORT", free_port().to_string());
    is_found_and_fixed(&sandbox, "configuration", "failure", &["in use by a broker", &running]);
}

#[test]
fn a_configuration_that_cannot_be_used_is_a_finding() {
    let sandbox = Sandbox::new();
    let file = sandbox.config().paths.config_file;
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "prot = 1").unwrap();
    is_found_and_fixed(&sandbox, "configuration", "failure", &["not valid", "prot", "port"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "port = 1");
    // What cannot be guessed is left out, and all other settings stay.
    let good = "wake = false\n[auto_summary]\nenabled = false\n";
    for mistake in ["model = 4", "colour = 1", "nonsense"] {
        std::fs::write(&file, format!("{good}{mistake}\n")).unwrap();
        is_found_and_fixed(&sandbox, "configuration", "failure", &["not valid", "line 4"]);
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("{good}# {mistake}\n"));
        assert!(file.with_extension("toml.old").is_file());
    }
    let output = sandbox.command(["doctor"]).env("CLAUDE_PEERS_PORT", "many").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("fix: unset CLAUDE_PEERS_PORT\n"), "{told}");
}

#[test]
fn every_value_is_shown_with_its_source_and_no_secret_is() {
    let sandbox = Sandbox::new().with("OPENAI_API_KEY", "sk-secret-of-mine");
    std::fs::create_dir_all(sandbox.config().paths.config_file.parent().unwrap()).unwrap();
    std::fs::write(sandbox.config().paths.config_file, "[limits]\nmax_unread = 5\n").unwrap();
    let (_, findings) = examine(&sandbox);
    let settings: Vec<&str> = findings
        .iter()
        .filter(|f| f["check"] == "setting")
        .map(|f| f["finding"].as_str().unwrap())
        .collect();
    let port = format!("port = {} (environment)", sandbox.port());
    for told in [
        &*port,
        "limits.max_unread = 5 (configuration file)",
        "limits.message_burst = 20 (default)",
        "OPENAI_API_KEY = set (environment)",
    ] {
        assert!(settings.contains(&told), "{told}: {settings:#?}");
    }
    let quiet = sandbox.ok(["doctor", "--no-claude"]);
    let all = sandbox.ok(["doctor", "--no-claude", "--all"]);
    assert!(quiet.contains(&port) && !quiet.contains("message_burst"), "{quiet}");
    assert!(settings.iter().all(|setting| all.contains(setting)), "{all}");
    for text in [quiet, all, format!("{findings:?}")] {
        assert!(!text.contains("sk-secret") && !text.contains(&sandbox.token()), "{text}");
    }
}
