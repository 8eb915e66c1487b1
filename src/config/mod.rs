//! Configuration: environment, file and defaults, read once at start and passed down.
//!
//! The order of precedence is environment, file, default. Each value keeps its source, to show it
//! to people. Nothing below `main` reads the environment by itself.

mod colours;
mod effective;
mod environment;
mod error;
mod file;
mod limits;
mod mistake;
mod paths;
mod settings;
mod unit_directories;
mod value;
mod values;
mod whose;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::files::real_path;
pub use colours::{ColourChoice, colours};
pub use effective::EffectiveSetting;
pub use environment::{
    DIRECTORIES, Environment, FALLBACK_REASON, meeting_variables, server_variables,
};
pub use error::{ConfigError, FileError};
pub use limits::Limits;
pub use mistake::Mistake;
pub use paths::{MAX_SOCKET_PATH, Paths, session_runtime_directory};
pub use settings::{
    DEFAULT_PORT, Fallback, Kind, MAX_MESSAGE_BYTES, Reader, SETTINGS, Setting, SettingId, setting,
};
pub use unit_directories::unit_directories;
use value::Value;
pub use value::{Secret, Source};
use values::Values;
pub use whose::refuse_others_places;

/// `CLAUDE_PEERS_CHANNEL`: whether messages are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelSetting {
    /// Decide by what is known of the client.
    Auto,
    /// Push, even if it is not known whether a push is shown.
    On,
    /// Never push.
    Off,
}

/// Whether and how a session gets an automatic summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoSummary {
    pub enabled: bool,
    pub base_url: String,
    pub model: String,
}

/// The values of all settings.
#[derive(Debug, Clone)]
pub struct Config {
    pub paths: Paths,
    pub port: u16,
    pub database: PathBuf,
    pub channel: ChannelSetting,
    /// Whether a session without a channel is woken when mail waits for it.
    pub wake: bool,
    /// The name of the session that its person chose.
    pub name: Option<String>,
    pub limits: Limits,
    /// The time without peers and calls after which the broker exits; zero means never.
    pub idle_exit: Duration,
    /// How long a hook may block its session while it waits for the broker's answer.
    pub hook_wait: Duration,
    pub auto_summary: AutoSummary,
    pub openai_api_key: Option<Secret>,
    /// [`FALLBACK_REASON`], in a broker that a client started.
    pub fallback_reason: Option<String>,
    /// The Claude Code session in which this process runs, if there is one.
    pub claude: ClaudeEnvironment,
    /// `CODEX_THREAD_ID`: the Codex session whose shell this is
    pub codex_thread: Option<String>,
    /// The environment from which all of this was read, for programs that are started.
    pub environment: Environment,
    /// Every value with its source.
    values: Values,
}

/// How a session of Claude Code was started, as far as it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Entrypoint {
    /// By a person, in a terminal or an editor.
    #[default]
    Person,
    /// `claude -p`
    Print,
    /// By a program, through an SDK.
    Sdk,
}

/// The variables that Claude Code sets for its children.
#[derive(Debug, Clone, Default)]
pub struct ClaudeEnvironment {
    /// `CLAUDE_CODE_SESSION_ID`
    pub session: Option<String>,
    /// `CLAUDE_CODE_ENTRYPOINT`
    pub entrypoint: Entrypoint,
    /// `CLAUDE_CONFIG_DIR`, or `.claude` in the home: its settings and session files
    pub directory: PathBuf,
    /// The name of our MCP server, as far as a hook can tell: `CLAUDE_PLUGIN_ROOT` means that the
    /// plugin configured it
    pub server: &'static str,
    /// `CLAUDE_PROJECT_DIR`
    pub project: Option<PathBuf>,
    /// `CLAUDE_PID`: the client process, as its hooks get it
    pub pid: Option<u32>,
    /// `CLAUDE_CODE_MESSAGING_SOCKET`: the session's inbox socket
    pub inbox: Option<PathBuf>,
    /// `CLAUDE_CODE_MESSAGING_TOKEN`: the token for the inbox socket
    pub inbox_token: Option<Secret>,
}

impl Config {
    /// Reads the settings, and refuses directories that belong to another user.
    ///
    /// # Errors
    ///
    /// If a value is not valid, the file cannot be read, or a directory belongs to another user.
    pub fn load(environment: &Environment) -> Result<Self, ConfigError> {
        refuse_others_places(environment)?;
        let config = Self::from_environment(environment)?;
        whose::check_database(config.database_path())?;
        Ok(config)
    }

    /// Reads the settings like [`Config::load`], but returns a mistake in the configuration file
    /// beside the settings that can be used without it.
    ///
    /// For commands that find a problem or solve it.
    ///
    /// # Errors
    ///
    /// If a value of the environment is not valid, or a directory belongs to another user.
    pub fn load_despite_file(
        environment: &Environment,
    ) -> Result<(Self, Option<ConfigError>), ConfigError> {
        refuse_others_places(environment)?;
        let (config, problem) = match Self::from_environment(environment) {
            Ok(config) => (config, None),
            Err(error @ ConfigError::File(_)) => {
                let salvaged = Self::with_file(environment, |path| Ok(file::File::salvage(path)));
                (salvaged?, Some(error))
            }
            Err(error) => return Err(error),
        };
        whose::check_database(config.database_path())?;
        Ok((config, problem))
    }

    /// Reads the settings of any environment, without the check of directories.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        Self::with_file(environment, file::File::read)
    }

    fn with_file(
        environment: &Environment,
        read: impl FnOnce(&Path) -> Result<file::File, FileError>,
    ) -> Result<Self, ConfigError> {
        let home = paths::home(environment)?;
        let config_file = paths::config_file(&home, environment);
        let file = read(&config_file)?;

        let mut values = Values::load(environment, file)?;

        let port = values.bounded(SettingId::Port);
        let database = match values.path(SettingId::Database) {
            Some(path) => paths::absolute(path, &home),
            None => home.join(match port {
                DEFAULT_PORT => ".claude-peers.db".to_owned(),
                other => format!(".claude-peers-{other}.db"),
            }),
        };
        let paths = Paths::new(&home, port, values.path(SettingId::Socket), environment)?;
        let limits = Limits::of(&values);
        let hook_wait = Duration::from_millis(values.number(SettingId::HookMilliseconds));
        let hook_wait = hook_wait.min(LONGEST_HOOK_WAIT);

        // Effective values that differ from what was set.
        values.settle(SettingId::Database, Value::Path(database.clone()));
        values.settle(SettingId::Socket, Value::Path(paths.socket.clone()));
        values.settle(SettingId::MaxMessageBytes, Value::Number(limits.max_message_bytes.into()));
        values.settle(SettingId::MessageTtlSeconds, Value::Number(limits.time_to_live.as_secs()));
        let milliseconds = hook_wait.as_millis().try_into().unwrap_or(u64::MAX);
        values.settle(SettingId::HookMilliseconds, Value::Number(milliseconds));

        Ok(Self {
            channel: match values.text(SettingId::Channel) {
                Some("on") => ChannelSetting::On,
                Some("off") => ChannelSetting::Off,
                _ => ChannelSetting::Auto,
            },
            wake: values.is_on(SettingId::Wake),
            name: values.text(SettingId::Name).map(str::to_owned),
            idle_exit: Duration::from_secs(values.number(SettingId::IdleExitSeconds)),
            hook_wait,
            auto_summary: AutoSummary {
                enabled: values.is_on(SettingId::AutoSummary),
                base_url: values.text(SettingId::SummaryBaseUrl).unwrap_or_default().to_owned(),
                model: values.text(SettingId::SummaryModel).unwrap_or_default().to_owned(),
            },
            openai_api_key: values.secret(SettingId::OpenaiApiKey).cloned(),
            fallback_reason: environment.text(FALLBACK_REASON),
            claude: ClaudeEnvironment {
                session: environment.text("CLAUDE_CODE_SESSION_ID"),
                entrypoint: match environment.text("CLAUDE_CODE_ENTRYPOINT") {
                    Some(word) if word == "sdk-cli" => Entrypoint::Print,
                    Some(word) if word.starts_with("sdk") => Entrypoint::Sdk,
                    _ => Entrypoint::Person,
                },
                directory: environment
                    .path("CLAUDE_CONFIG_DIR")
                    .unwrap_or_else(|| home.join(".claude")),
                server: match environment.get("CLAUDE_PLUGIN_ROOT") {
                    Some(_) => "plugin:peers:claude-peers",
                    None => "claude-peers",
                },
                project: environment.path("CLAUDE_PROJECT_DIR"),
                pid: environment.text("CLAUDE_PID").and_then(|pid| pid.parse().ok()),
                inbox: environment.path("CLAUDE_CODE_MESSAGING_SOCKET"),
                inbox_token: environment.text("CLAUDE_CODE_MESSAGING_TOKEN").map(Secret),
            },
            codex_thread: environment.text("CODEX_THREAD_ID"),
            paths,
            port,
            database,
            limits,
            environment: environment.clone(),
            values,
        })
    }

    /// Returns the source of a setting's value.
    #[must_use]
    pub fn source(&self, id: SettingId) -> Source {
        self.values.source(id)
    }

    /// Returns all effective settings, in the order of the table.
    #[must_use]
    pub fn effective(&self) -> Vec<EffectiveSetting> {
        effective::list(&self.values)
    }

    /// Returns these settings with the values of `running` for those that need a restart.
    #[must_use]
    pub fn in_place_of(self, running: &Self) -> Self {
        Self {
            paths: running.paths.clone(),
            port: running.port,
            database: running.database.clone(),
            values: self.values.fixed_as_in(&running.values),
            ..self
        }
    }

    /// The database's file, whatever leads there: one file has one lock and one broker.
    #[must_use]
    pub fn database_file(&self) -> PathBuf {
        real_path(&self.database)
    }

    /// The same settings, with the socket's place as it is now (see [`Paths::anew`]).
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { paths: self.paths.anew(), ..self.clone() }
    }

    /// Returns the database as the settings name it, for people.
    #[must_use]
    pub fn database_path(&self) -> &Path {
        &self.database
    }
}

/// The longest time limit for a hook. The entries of `setup` allow 5 s; a person's own may allow a
/// minute.
const LONGEST_HOOK_WAIT: Duration = Duration::from_secs(50);

#[cfg(test)]
mod tests;
