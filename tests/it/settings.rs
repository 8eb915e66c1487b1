//! Command line: invalid settings, files and homes are named, with what to do.

use serde_json::{Value, json};

use crate::support::http::RawPeer;
use crate::support::{Sandbox, SessionOptions, chmod};

#[test]
fn a_configuration_file_that_is_wrong_is_named_with_its_fault() {
    let sandbox = Sandbox::new();
    let path = sandbox.config().paths.config_file;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    for (text, reason) in [
        ("port = ", "not valid"),
        ("prot = 1", "prot"),
        ("port = \"x\"", "port"),
        ("port = 70000", "port"),
        ("[limits]\nmax_unraed = 3", "max_unraed"),
        ("\u{0}", "not valid"),
    ] {
        std::fs::write(&path, text).unwrap();
        for command in ["peers", "broker"] {
            let (code, error) = sandbox.fails([command]);
            assert_eq!(code, 1, "{command}");
            assert!(error.contains(&path.display().to_string()), "{error}");
            assert!(error.contains(reason), "{reason}: {error}");
            assert!(error.contains("hint: Correct "), "{error}");
        }
        // Commands that examine or stop the broker go on with a warning.
        for (command, code) in [("status", 3), ("kill-broker", 0)] {
            let output = sandbox.run([command]);
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(code), "{command}: {error}");
            assert!(error.starts_with("warning: ") && error.contains(reason), "{error}");
            assert!(error.contains(&path.display().to_string()), "{error}");
            assert!(error.contains("hint: Correct "), "{error}");
        }
    }
    // A session reports it by its tools: a server that did not start could say nothing.
    let mut session = SessionOptions::new("backend").at_once().start(&sandbox);
    let result = session.try_call("list_peers", json!({}));
    assert_eq!(result["isError"], true);
    let words = result["content"][0]["text"].as_str().unwrap();
    assert!(words.contains("config.toml") && words.contains("Correct"), "{words}");

    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert_eq!(sandbox.fails(["peers"]).0, 1);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let (code, error) = sandbox.fails(["peers"]);
    assert_eq!(code, 1);
    assert!(error.contains("cannot be read"), "{error}");
    std::fs::remove_dir(&path).unwrap();
    if !rustix::process::geteuid().is_root() {
        std::fs::write(&path, "").unwrap();
        chmod(&path, 0o000);
        let (_, error) = sandbox.fails(["peers"]);
        assert!(error.contains("cannot be read") && error.contains("readable"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
    // A valid file is used, and the environment takes precedence over it.
    std::fs::write(&path, "[limits]\nmax_message_bytes = 10\nmax_unread = 1\n").unwrap();
    let sandbox = sandbox.with("CLAUDE_PEERS_MAX_UNREAD", "2");
    sandbox.ok(["peers"]);
    let (a, b) = (RawPeer::register(&sandbox, "a"), RawPeer::register(&sandbox, "b"));
    assert_eq!(a.try_send(&sandbox, &b.id, "0123456789x").status, 413);
    a.send(&sandbox, &b.id, "0123456789");
    a.send(&sandbox, &b.id, "second");
    assert_eq!(a.try_send(&sandbox, &b.id, "third").status, 429);
}

/// What people see of a typing mistake: the line, the key, what was meant, and the picture.
#[test]
fn a_mistyped_key_is_shown_in_its_line_with_what_was_meant() {
    let sandbox = Sandbox::new();
    let path = sandbox.config().paths.config_file;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = path.display();
    let told = |text: &str| {
        std::fs::write(&path, text).unwrap();
        sandbox.fails(["peers"]).1
    };
    assert_eq!(
        told("wake = true\nprot = 5\n"),
        format!(
            "error: the configuration file {file} is not valid: line 2: there is no setting \
             \"prot\"; did you mean \"port\"?\n  2 | prot = 5\n    | ^^^^\n\
             hint: Correct line 2 of {file}.\n"
        )
    );
    assert_eq!(
        told("[limits]\nmax_unread = \"many\"\n"),
        format!(
            "error: the configuration file {file} is not valid: line 2: limits.max_unread is \
             \"many\", but must be a whole number from 0 to 4294967295\n  \
             2 | max_unread = \"many\"\n    |              ^^^^^^\n\
             hint: Correct line 2 of {file}.\n"
        )
    );
    for (text, words) in [
        ("max_unread = 3", "did you mean \"limits.max_unread\"?"),
        ("limits = 3", "limits must be a table"),
        ("wake = \"on\"", "wake is \"on\", but must be true or false"),
        ("channel = 'maybe'", "must be on, off or auto, in quotes"),
        ("port = 0", "must be a whole number from 1 to 65535"),
        ("database = 'mail.db'", "must be an absolute path, in quotes"),
        ("colour = 1", "line 1: there is no setting \"colour\"\n"),
    ] {
        let error = told(text);
        assert!(error.contains(words), "{error}");
    }
    // Nothing of the file reaches the terminal as it is.
    let error = told("p\u{1b}[31m = 1");
    assert!(!error.contains('\u{1b}'), "{error}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn invalid_settings_are_named() {
    let sandbox = Sandbox::new();
    for (name, value) in [
        ("CLAUDE_PEERS_PORT", "0"),
        ("CLAUDE_PEERS_PORT", "65536"),
        ("CLAUDE_PEERS_PORT", "http"),
        ("CLAUDE_PEERS_DB", "relative.db"),
        ("CLAUDE_PEERS_SOCKET", "relative.sock"),
        ("CLAUDE_PEERS_CHANNEL", "maybe"),
        ("CLAUDE_PEERS_MAX_UNREAD", "-1"),
        ("CLAUDE_PEERS_MESSAGES_PER_MINUTE", "lots"),
        ("CLAUDE_PEERS_MESSAGE_TTL_SECONDS", "1h"),
        ("CLAUDE_PEERS_AUTO_SUMMARY", "perhaps"),
        ("CLAUDE_PEERS_LOG", "syslog"),
    ] {
        let output = sandbox.command(["peers"]).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}={value}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(name) && error.contains(value), "{error}");
        assert!(error.contains(&format!("hint: Correct or unset {name}.")), "{error}");
        assert!(error.contains(", but must be "), "{error}");
    }
    let output = sandbox.command(["peers"]).env("CLAUDE_PEERS_PORT", "abc").output().unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: CLAUDE_PEERS_PORT is \"abc\", but must be a whole number from 1 to 65535\n\
         hint: Correct or unset CLAUDE_PEERS_PORT.\n"
    );
    assert!(sandbox.broker().is_none());
}

#[test]
fn a_home_that_is_missing_or_impossible_is_a_clear_error() {
    let sandbox = Sandbox::new();
    let gone = sandbox.path().join("gone");
    let output = sandbox.command(["peers"]).env_remove("HOME").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("HOME is not set") && error.contains("hint: Set HOME"), "{error}");
    for relative in ["home", "./home", "~"] {
        let output = sandbox.command(["peers"]).env("HOME", relative).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("not an absolute path"), "{error}");
    }
    let output = sandbox.command(["peers"]).env("HOME", &gone).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains(&format!("HOME is {}, and there is no such directory", gone.display())),
        "{error}"
    );
    assert!(!gone.exists());

    let long = "l".repeat(100);
    let output = sandbox
        .command(["peers"])
        .env("CLAUDE_PEERS_SOCKET", format!("/tmp/{long}/x.sock"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("too long")
            && error.contains(&long)
            && error.contains("CLAUDE_PEERS_SOCKET"),
        "{error}"
    );
    // Without a runtime directory, a private one in the state directory is used.
    let private =
        sandbox.command(["status", "--json"]).env_remove("XDG_RUNTIME_DIR").output().unwrap();
    let status: Value = serde_json::from_slice(&private.stdout).unwrap();
    let socket = status["socket"].as_str().unwrap().to_owned();
    assert!(!socket.starts_with(&sandbox.path().join("run").display().to_string()), "{socket}");
}

/// The broker was started before the file got a mistake, and serves where the file said then.
#[test]
fn a_mistake_in_the_file_keeps_no_broker_from_being_examined_and_stopped() {
    let sandbox = Sandbox::new();
    let port = sandbox.port();
    let path = sandbox.config().paths.config_file;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let good = format!("port = {port}\ndatabase = \"~/mail.db\"\n");
    for mistake in ["prot = 5\n", "[limits]\nmax_unread = \"many\"\n", "wake = \n", "channel = 7\n"]
    {
        std::fs::write(&path, &good).unwrap();
        // Its port is in the file only.
        let sandbox = |arguments: &[&str]| {
            let mut command = sandbox.command(arguments);
            command.env_remove("CLAUDE_PEERS_PORT").stdin(std::process::Stdio::null());
            let output = command.output().unwrap();
            let said = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            (output.status.code().unwrap(), said(output.stdout), said(output.stderr))
        };
        assert_eq!(sandbox(&["peers"]).0, 0);
        std::fs::write(&path, format!("{good}{mistake}")).unwrap();
        assert_eq!(sandbox(&["peers"]).0, 1, "{mistake}");
        let (code, told, warned) = sandbox(&["status"]);
        assert!(
            code == 0 && told.contains("running") && told.contains("mail.db"),
            "{told}{warned}"
        );
        assert!(warned.starts_with("warning: "), "{warned}");

        let (code, told, _) = sandbox(&["doctor", "--no-claude", "--json"]);
        let findings: Value = serde_json::from_str(&told).unwrap();
        let of = |check: &str| {
            findings["findings"].as_array().unwrap().iter().filter(|f| f["check"] == check).count()
        };
        assert_eq!(code, 1);
        assert!(of("configuration") > 0 && of("round trip") > 0 && of("database") > 0, "{told}");

        for service in
            [&["service", "status"][..], &["service", "logs", "-n", "1"], &["service", "stop"]]
        {
            let (_, told, error) = sandbox(service);
            assert!(error.starts_with("warning: "), "{service:?}: {told}{error}");
        }
        let (code, told, error) = sandbox(&["kill-broker"]);
        assert_eq!(code, 0, "{told}{error}");
        std::fs::write(&path, &good).unwrap();
        assert_eq!(sandbox(&["status"]).0, 3, "{mistake}: it was stopped");
    }
}

/// As in a container, whose home is another.
#[test]
fn a_client_that_names_the_socket_uses_that_broker_whatever_its_database() {
    let sandbox = Sandbox::new();
    let mut host = sandbox.session("host");
    let home = sandbox.path().join("another-home");
    std::fs::create_dir(&home).unwrap();
    let elsewhere = |name: &str, value: &str| {
        let session = SessionOptions::new("elsewhere").with("HOME", &home.display().to_string());
        session.with(name, value).at_once().start(&sandbox)
    };
    let refused = elsewhere("CLAUDE_PEERS_NAME", "x").try_call("list_peers", json!({}));
    assert!(refused.to_string().contains("this client's database is"), "{refused}");

    let socket = sandbox.socket().display().to_string();
    let mut named = elsewhere("CLAUDE_PEERS_SOCKET", &socket);
    named.send("host", "from another home");
    assert_eq!(host.push()["content"], "from another home");
    for arguments in [&["peers"][..], &["doctor", "--no-claude"]] {
        let mut command = sandbox.command(arguments);
        command.env("HOME", &home).env("CLAUDE_PEERS_SOCKET", &socket);
        let told = command.output().unwrap();
        let told = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
        assert!(!told.contains("differ in database") && !told.contains("hint"), "{told}");
    }
}
