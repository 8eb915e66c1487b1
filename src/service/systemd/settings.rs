//! The settings that the service sees: the user manager's variables and the configuration file, but not
//! a shell's variables.

use std::collections::HashMap;
use std::path::Path;

use crate::config::{Config, ConfigError, Environment, SettingId, session_runtime_directory};
use crate::service::error::ServiceError;
use crate::service::systemd::manager_environment;
use crate::sys::files::same_place;
use crate::sys::shell;

/// The socket that our unit listens on.
#[must_use]
pub fn unit_socket(environment: &Environment) -> Option<std::path::PathBuf> {
    session_runtime_directory(environment)
        .map(|directory| directory.join("claude-peers/broker.sock"))
}

/// Returns whether these settings name the socket that the unit serves.
#[must_use]
pub fn is_unit_socket(here: &Environment, config: &Config) -> bool {
    unit_socket(here).is_some_and(|socket| same_place(&socket, &config.paths.socket))
}

/// Returns the configuration as a service of the user manager reads it.
///
/// # Errors
///
/// If the manager cannot be asked, or the service would refuse its configuration.
pub fn of_service(environment: &Environment) -> Result<Config, ServiceError> {
    let variables = parse(&manager_environment(environment)?);
    Config::from_environment(&variables.into_iter().collect()).map_err(|error: ConfigError| {
        ServiceError::refused(format!("the service could not start: {error}"), error.hint())
    })
}

/// Checks that this user's sessions would reach the service.
///
/// # Errors
///
/// If socket, port or database of the service would differ from those here.
pub fn check(here: &Config, service: &Config) -> Result<(), ServiceError> {
    let file = service.paths.config_file.display();
    for (who, config) in [("in this shell", here), ("for the service", service)] {
        if !is_unit_socket(&here.environment, config) {
            return Err(ServiceError::refused(
                format!(
                    "the service uses the default socket and port, but {who} the socket is {} \
                     and the port is {} ({})",
                    config.paths.socket.display(),
                    config.port,
                    config.source(SettingId::Port)
                ),
                format!(
                    "Unset CLAUDE_PEERS_PORT and CLAUDE_PEERS_SOCKET, and take `port` out of \
                     {file}. A broker on another port needs no service: its sessions start it."
                ),
            ));
        }
    }
    if !same_place(here.database_path(), service.database_path()) {
        return Err(ServiceError::refused(
            format!(
                "the database is {} here ({}), but the service would use {}, because it does not \
                 see this shell's variables",
                here.database_path().display(),
                here.source(SettingId::Database),
                service.database_path().display(),
            ),
            format!("Set `database` in {file}, where both see it, and unset CLAUDE_PEERS_DB."),
        ));
    }
    Ok(())
}

/// Checks that this shell's configuration directory is the manager's, where it looks for units.
///
/// # Errors
///
/// If it is another one.
pub fn check_place(here: &Config, service: &Config, order: &str) -> Result<(), ServiceError> {
    let (ours, seen) = (&here.paths.config_file, &service.paths.config_file);
    let base = |file: &Path| file.ancestors().nth(2).unwrap_or(file).to_owned();
    if same_place(ours, seen) {
        return Ok(());
    }
    Err(ServiceError::refused(
        format!(
            "this shell has its configuration below {}, and the service manager below {}: it does \
             not see the variables of a shell",
            base(ours).display(),
            base(seen).display()
        ),
        format!(
            "Run `XDG_CONFIG_HOME={} claude-peers service {order}` instead. Put settings for the \
             broker into {}.",
            shell::path(&base(seen)),
            seen.display()
        ),
    ))
}

/// Returns remarks about settings of this shell that the service does not see. They do no harm.
#[must_use]
pub fn unseen(here: &Config, service: &Config) -> Option<String> {
    let differs = here.limits != service.limits || here.idle_exit != service.idle_exit;
    differs.then(|| {
        format!(
            "The service does not see the limits that are set in this shell; put them into {}.",
            service.paths.config_file.display()
        )
    })
}

/// Parses the output of `systemctl show-environment`.
fn parse(text: &str) -> HashMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), unquoted(value)))
        .collect()
}

/// Parses a value as `systemctl show-environment` prints it: plain, or `$'…'` with escapes as in C.
fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix("$'").and_then(|rest| rest.strip_suffix('\'')) else {
        return value.trim_matches('"').to_owned();
    };
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        text.extend(match c {
            '\\' => chars.next().map(|escaped| match escaped {
                'n' => '\n',
                't' => '\t',
                other => other,
            }),
            plain => Some(plain),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_where_the_manager_does_not_look_is_refused_with_the_one_that_works() {
        let home = tempfile::tempdir().unwrap();
        let own = home.path().join("my settings");
        let config = |xdg: Option<&Path>| {
            let xdg = xdg.map(|path| ("XDG_CONFIG_HOME", path));
            let environment = [("HOME", home.path())].into_iter().chain(xdg).collect();
            Config::from_environment(&environment).unwrap()
        };
        let (here, service) = (config(Some(&own)), config(None));
        assert!(check_place(&service, &service, "install").is_ok());
        let error = check_place(&here, &service, "install").unwrap_err();
        assert!(error.to_string().contains("my settings"), "{error}");
        let order = format!(
            "`XDG_CONFIG_HOME={}/.config claude-peers service install`",
            home.path().display()
        );
        assert!(error.hint().contains(&order), "{}", error.hint());
        let order = format!("`XDG_CONFIG_HOME='{}' claude-peers", own.display());
        let hint = check_place(&service, &here, "uninstall").unwrap_err().hint();
        assert!(hint.contains(&order), "{hint}");
    }

    #[test]
    fn the_managers_environment_is_read() {
        let variables = parse("HOME=/home/a b\nX=$'it\\'s\\n\\\\'\nEMPTY=\nQ=\"q\"\n");
        assert_eq!(variables["HOME"], "/home/a b");
        assert_eq!(variables["X"], "it's\n\\");
        assert_eq!((variables["EMPTY"].as_str(), variables["Q"].as_str()), ("", "q"));
    }
}
