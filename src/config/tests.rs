use crate::config::*;

fn load(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_environment(&pairs.iter().copied().collect())
}

#[test]
fn a_port_names_a_broker_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().to_str().unwrap();
    let plain = load(&[("HOME", dir), ("XDG_RUNTIME_DIR", dir)]).unwrap();
    assert_eq!(plain.port, 7899);
    assert_eq!(plain.database_path(), home.path().join(".claude-peers.db"));
    assert_eq!(plain.paths.socket, home.path().join("claude-peers/broker.sock"));
    let other =
        load(&[("HOME", dir), ("XDG_RUNTIME_DIR", dir), ("CLAUDE_PEERS_PORT", "7900")]).unwrap();
    assert_eq!(other.database_path(), home.path().join(".claude-peers-7900.db"));
    assert_eq!(other.paths.socket, home.path().join("claude-peers/broker-7900.sock"));
    assert_eq!(other.source(SettingId::Port), Source::Environment);
}

#[test]
fn without_a_runtime_directory_the_socket_lies_in_the_state_directory() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().to_str().unwrap();
    let missing = home.path().join("missing");
    let config = load(&[("HOME", dir), ("XDG_RUNTIME_DIR", missing.to_str().unwrap())]).unwrap();
    assert_eq!(config.paths.socket, config.paths.state().join("run/broker.sock"));
    assert!(config.paths.state().starts_with(home.path()));
}

#[test]
fn token_and_log_lie_where_the_system_has_such_files() {
    let places = |apple, xdg: Option<&str>| {
        let environment = xdg.map(|xdg| ("XDG_STATE_HOME", xdg)).into_iter().collect();
        let (state, logs) = paths::state_and_logs(Path::new("/Users/ann"), &environment, apple);
        (state.display().to_string(), logs.display().to_string())
    };
    let both = |path: &str| (path.to_owned(), path.to_owned());
    assert_eq!(places(false, None), both("/Users/ann/.local/state/claude-peers"));
    assert_eq!(places(false, Some("/s")), both("/s/claude-peers"));
    assert_eq!(places(true, Some("/s")), both("/s/claude-peers"));
    let (state, logs) = places(true, None);
    assert_eq!(state, "/Users/ann/Library/Application Support/claude-peers");
    assert_eq!(logs, "/Users/ann/Library/Logs/claude-peers");
    // The longest name of a user that leaves a socket's path within macOS's limit.
    assert!(format!("{state}/run/broker-65535.sock").len() < 103 - 20);
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().to_str().unwrap();
    std::fs::create_dir_all(home.path().join(".config/claude-peers")).unwrap();
    let file = home.path().join(".config/claude-peers/config.toml");
    std::fs::write(&file, "port = 8000\n[limits]\nmax_unread = 5\nmessages_per_minute = 7\n")
        .unwrap();
    let config = load(&[("HOME", dir), ("CLAUDE_PEERS_MAX_UNREAD", "0")]).unwrap();
    assert_eq!((config.port, config.source(SettingId::Port)), (8000, Source::File));
    assert_eq!(config.limits.max_unread, 0);
    assert_eq!(config.limits.messages_per_minute, 7);

    std::fs::write(&file, "port = 8000\nprot = 1\n").unwrap();
    let error = load(&[("HOME", dir)]).unwrap_err().to_string();
    assert!(error.contains("prot") && error.contains("config.toml"), "{error}");
}

#[test]
fn values_without_sense_are_named() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().to_str().unwrap();
    for (name, value) in [
        ("CLAUDE_PEERS_PORT", "0"),
        ("CLAUDE_PEERS_PORT", "70000"),
        ("CLAUDE_PEERS_MAX_UNREAD", "many"),
        ("CLAUDE_PEERS_CHANNEL", "maybe"),
        ("CLAUDE_PEERS_AUTO_SUMMARY", "perhaps"),
        ("CLAUDE_PEERS_DB", "relative.db"),
    ] {
        let error = load(&[("HOME", dir), (name, value)]).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        assert!(!error.hint().is_empty());
    }
    let missing = home.path().join("missing");
    assert!(matches!(load(&[]), Err(ConfigError::NoHome)));
    assert!(matches!(load(&[("HOME", "here")]), Err(ConfigError::RelativeHome(_))));
    assert!(matches!(
        load(&[("HOME", missing.to_str().unwrap())]),
        Err(ConfigError::MissingHome(_))
    ));
    let long = format!("/{}", "x".repeat(120));
    assert!(matches!(
        load(&[("HOME", dir), ("CLAUDE_PEERS_SOCKET", &long)]),
        Err(ConfigError::SocketPathTooLong { .. })
    ));
}

#[test]
fn a_value_of_the_file_without_sense_is_named_there() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().to_str().unwrap();
    std::fs::create_dir_all(home.path().join(".config/claude-peers")).unwrap();
    let file = home.path().join(".config/claude-peers/config.toml");
    for line in ["port = 0", "database = 'relative.db'", "channel = 'maybe'"] {
        std::fs::write(&file, line).unwrap();
        let error = load(&[("HOME", dir)]).unwrap_err();
        for words in [error.to_string(), error.hint()] {
            assert!(words.contains("config.toml") && !words.contains("CLAUDE_PEERS"), "{words}");
        }
    }
}

#[test]
fn a_file_that_never_ends_or_never_begins_is_not_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().to_str().unwrap();
    std::fs::create_dir_all(home.path().join(".config/claude-peers")).unwrap();
    let file = home.path().join(".config/claude-peers/config.toml");
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    let error = load(&[("HOME", dir)]).unwrap_err().to_string();
    assert!(error.contains("too large"), "{error}");
    std::fs::remove_file(&file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    let error = load(&[("HOME", dir)]).unwrap_err().to_string();
    assert!(error.contains("pipe"), "{error}");
    // A settings file that is switched off.
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/null", &file).unwrap();
    load(&[("HOME", dir)]).unwrap();
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().to_str().unwrap();
    let config = load(&[("HOME", dir), ("OPENAI_API_KEY", ""), ("CLAUDE_PEERS_PORT", "")]).unwrap();
    assert!(config.openai_api_key.is_none());
    assert_eq!(config.source(SettingId::Port), Source::Default);
}

#[test]
fn every_value_says_where_it_came_from_and_no_secret_is_told() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().to_str().unwrap();
    std::fs::create_dir_all(home.path().join(".config/claude-peers")).unwrap();
    std::fs::write(
        home.path().join(".config/claude-peers/config.toml"),
        "idle_exit_seconds = 7\n[limits]\nmax_unread = 5\n",
    )
    .unwrap();
    let config = load(&[
        ("HOME", dir),
        ("CLAUDE_PEERS_MAX_UNREAD", "6"),
        ("OPENAI_API_KEY", "sk-secret"),
        ("CLAUDE_PEERS_CHANNEL", ""),
    ])
    .unwrap();
    let effective = config.effective();
    let of = |name: &str| {
        let found = effective.iter().find(|s| s.name() == name).unwrap();
        (found.value.as_str(), found.source)
    };
    assert_eq!(of("limits.max_unread"), ("6", Source::Environment));
    assert_eq!(of("idle_exit_seconds"), ("7", Source::File));
    assert_eq!(of("port"), ("7899", Source::Default));
    assert_eq!(of("channel"), ("auto", Source::Default));
    assert_eq!(of("OPENAI_API_KEY"), ("set", Source::Environment));
    assert!(!format!("{config:?}").contains("sk-secret"));
}
