//! Configuration: environment, file and defaults, read once at start and passed down.
//!
//! A value's order of precedence is flag, environment, file, default; each keeps where it came
//! from, so that a person can be told. Nothing below `main` reads the environment by itself.

mod colours;
mod error;
mod file;
mod in_force;
mod limits;
mod paths;
mod unit_directories;
mod whose;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use colours::colours;
pub use error::ConfigError;
use error::bad;
pub use file::FileError;
pub use in_force::InForce;
pub use limits::{Limits, MAX_MESSAGE_BYTES};
pub use paths::{MAX_SOCKET_PATH, Paths};
pub use unit_directories::unit_directories;
pub use whose::refuse_others_places;

/// The port that people know.
pub const DEFAULT_PORT: u16 = 7899;

/// Tells a broker that a client starts why it is not the service that serves.
pub const FALLBACK_REASON: &str = "CLAUDE_PEERS_FALLBACK_REASON";

/// Where a setting's value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Environment,
    File,
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment",
            Self::File => "configuration file",
            Self::Default => "default",
        })
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    pub value: T,
    pub source: Source,
}

/// `CLAUDE_PEERS_CHANNEL`: what to believe about pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelSetting {
    /// Find out.
    Auto,
    /// Push, though nobody can tell whether it is shown.
    On,
    /// Never push.
    Off,
}

/// The automatic description of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoSummary {
    pub enabled: bool,
    pub base_url: String,
    pub model: String,
}

/// A secret that no log and no debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    pub paths: Paths,
    pub port: Setting<u16>,
    pub database: Setting<PathBuf>,
    pub channel: ChannelSetting,
    /// Whether a session without a channel is woken when mail waits for it.
    pub wake: Setting<bool>,
    /// The session's name, as its person chose it.
    pub name: Option<String>,
    pub limits: Limits,
    /// Time without peers and calls after which the broker exits; zero is never.
    pub idle_exit: Duration,
    /// How long a hook may hold its session up while it waits for the broker's answer.
    pub hook_wait: Duration,
    pub auto_summary: AutoSummary,
    pub openai_api_key: Option<Secret>,
    /// [`FALLBACK_REASON`], in a broker that a client started.
    pub fallback_reason: Option<String>,
    /// The Claude Code session around us, if there is one.
    pub claude: ClaudeEnvironment,
    /// `CODEX_THREAD_ID`: the Codex session whose shell this is
    pub codex_thread: Option<String>,
    /// The same once more, for people: every value and where it came from.
    pub in_force: Vec<InForce>,
}

/// How a session of Claude Code was begun, as far as it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Entrypoint {
    /// A person sits before it: in a terminal, in an editor's window.
    #[default]
    Person,
    /// `claude -p`
    Print,
    /// A program, through an SDK.
    Sdk,
}

/// What Claude Code tells its children.
#[derive(Debug, Clone, Default)]
pub struct ClaudeEnvironment {
    /// `CLAUDE_CODE_SESSION_ID`
    pub session: Option<String>,
    /// `CLAUDE_CODE_ENTRYPOINT`
    pub entrypoint: Entrypoint,
    /// `CLAUDE_CONFIG_DIR`, or `.claude` in the home: its settings and what it says of itself
    pub directory: PathBuf,
    /// How it names our MCP server, as far as a hook can tell: `CLAUDE_PLUGIN_ROOT` says that the
    /// plugin brought it
    pub server: &'static str,
    /// `CLAUDE_PROJECT_DIR`
    pub project: Option<PathBuf>,
    /// `CLAUDE_PID`: the client's process, as its hooks are told
    pub pid: Option<u32>,
    /// `CLAUDE_CODE_MESSAGING_SOCKET`: the session's own inbox
    pub inbox: Option<PathBuf>,
    /// `CLAUDE_CODE_MESSAGING_TOKEN`: what the inbox wants to be shown
    pub inbox_token: Option<Secret>,
}

/// The environment as a function, so that a test can hold it.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Config {
    /// Reads environment and file of this process.
    ///
    /// # Errors
    ///
    /// If a value makes no sense or the file cannot be read.
    pub fn load() -> Result<Self, ConfigError> {
        refuse_others_places()?;
        let config = Self::from_environment(&|name| std::env::var_os(name))?;
        whose::check_database(config.database_path())?;
        Ok(config)
    }

    /// The same, for commands that find out what is wrong or end it: a mistake in the
    /// configuration file is handed back beside what can be used without it.
    ///
    /// # Errors
    ///
    /// If a value of the environment makes no sense.
    pub fn load_despite_file() -> Result<(Self, Option<ConfigError>), ConfigError> {
        refuse_others_places()?;
        let (config, problem) = Self::despite_file(&|name| std::env::var_os(name))?;
        whose::check_database(config.database_path())?;
        Ok((config, problem))
    }

    fn despite_file(lookup: Lookup<'_>) -> Result<(Self, Option<ConfigError>), ConfigError> {
        match Self::from_environment(lookup) {
            Ok(config) => Ok((config, None)),
            Err(error @ (ConfigError::File(_) | ConfigError::InFile { .. })) => {
                Ok((Self::with_file(lookup, |path| Ok(file::File::salvage(path)))?, Some(error)))
            }
            Err(error) => Err(error),
        }
    }

    /// The same as [`Config::load`], for a given environment. An empty variable counts as unset.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn from_environment(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        Self::with_file(lookup, file::File::read)
    }

    fn with_file(
        lookup: Lookup<'_>,
        read: impl FnOnce(&Path) -> Result<file::File, FileError>,
    ) -> Result<Self, ConfigError> {
        let variable = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        let home = paths::home(&variable)?;
        let config_file = paths::config_file(&home, &variable);
        let file = read(&config_file)?;

        let port =
            pick(number("CLAUDE_PEERS_PORT", text("CLAUDE_PEERS_PORT"))?, file.port, DEFAULT_PORT);
        if port.value == 0 {
            return Err(bad("CLAUDE_PEERS_PORT", "0", "a port from 1 to 65535 is needed").of(
                port.source,
                "port",
                &config_file,
            ));
        }
        let default_database = home.join(match port.value {
            DEFAULT_PORT => ".claude-peers.db".to_owned(),
            other => format!(".claude-peers-{other}.db"),
        });
        let mut database = pick(
            variable("CLAUDE_PEERS_DB").map(PathBuf::from),
            file.database.clone(),
            default_database,
        );
        database.value = paths::absolute(&database.value, &home).ok_or_else(|| {
            bad("CLAUDE_PEERS_DB", &database.value.to_string_lossy(), "an absolute path is needed")
                .of(database.source, "database", &config_file)
        })?;
        let paths = Paths::new(&home, port.value, &variable)?;

        let limits = limits::read(&text, &file)?;
        let idle_exit_seconds = pick(
            number("CLAUDE_PEERS_IDLE_EXIT_SECONDS", text("CLAUDE_PEERS_IDLE_EXIT_SECONDS"))?,
            file.idle_exit_seconds,
            600u64,
        );
        let hook_milliseconds = pick(
            number("CLAUDE_PEERS_HOOK_MILLISECONDS", text("CLAUDE_PEERS_HOOK_MILLISECONDS"))?,
            file.hook_milliseconds,
            HOOK_MILLISECONDS,
        );
        let channel_word =
            pick(text("CLAUDE_PEERS_CHANNEL"), file.channel.clone(), "auto".to_owned());
        let mut config = Self {
            channel: channel(&channel_word)
                .map_err(|error| error.of(channel_word.source, "channel", &config_file))?,
            wake: pick(switch("CLAUDE_PEERS_WAKE", text("CLAUDE_PEERS_WAKE"))?, file.wake, true),
            name: text("CLAUDE_PEERS_NAME").or(file.name.clone()),
            idle_exit: Duration::from_secs(idle_exit_seconds.value),
            hook_wait: Duration::from_millis(hook_milliseconds.value).min(LONGEST_HOOK_WAIT),
            auto_summary: AutoSummary {
                enabled: switch("CLAUDE_PEERS_AUTO_SUMMARY", text("CLAUDE_PEERS_AUTO_SUMMARY"))?
                    .or(file.auto_summary.enabled)
                    .unwrap_or(true),
                base_url: text("CLAUDE_PEERS_SUMMARY_BASE_URL")
                    .or_else(|| text("OPENAI_BASE_URL"))
                    .or(file.auto_summary.base_url.clone())
                    .unwrap_or_else(|| "https://api.openai.com/v1".to_owned()),
                model: text("CLAUDE_PEERS_SUMMARY_MODEL")
                    .or(file.auto_summary.model.clone())
                    .unwrap_or_else(|| "gpt-4o-mini".to_owned()),
            },
            openai_api_key: text("OPENAI_API_KEY").map(Secret),
            fallback_reason: text(FALLBACK_REASON),
            claude: ClaudeEnvironment {
                session: text("CLAUDE_CODE_SESSION_ID"),
                entrypoint: match text("CLAUDE_CODE_ENTRYPOINT") {
                    Some(word) if word == "sdk-cli" => Entrypoint::Print,
                    Some(word) if word.starts_with("sdk") => Entrypoint::Sdk,
                    _ => Entrypoint::Person,
                },
                directory: variable("CLAUDE_CONFIG_DIR")
                    .map_or_else(|| home.join(".claude"), PathBuf::from),
                server: match variable("CLAUDE_PLUGIN_ROOT") {
                    Some(_) => "plugin:peers:claude-peers",
                    None => "claude-peers",
                },
                project: variable("CLAUDE_PROJECT_DIR").map(PathBuf::from),
                pid: text("CLAUDE_PID").and_then(|pid| pid.parse().ok()),
                inbox: variable("CLAUDE_CODE_MESSAGING_SOCKET").map(PathBuf::from),
                inbox_token: text("CLAUDE_CODE_MESSAGING_TOKEN").map(Secret),
            },
            codex_thread: text("CODEX_THREAD_ID"),
            paths,
            port,
            database,
            limits,
            in_force: Vec::new(),
        };
        config.in_force = in_force::list(&config, &text, &file);
        Ok(config)
    }

    /// The database as the settings name it, for people.
    #[must_use]
    pub fn database_path(&self) -> &Path {
        &self.database.value
    }
}

/// The runtime directory of this user's sessions (`$XDG_RUNTIME_DIR`, or the one that logind
/// makes), if there is one and it is truly the user's.
#[must_use]
pub fn session_runtime_directory() -> Option<PathBuf> {
    paths::session_runtime_directory(&|name| {
        std::env::var_os(name).filter(|value| !value.is_empty())
    })
}

fn pick<T>(environment: Option<T>, file: Option<T>, default: T) -> Setting<T> {
    match (environment, file) {
        (Some(value), _) => Setting { value, source: Source::Environment },
        (None, Some(value)) => Setting { value, source: Source::File },
        (None, None) => Setting { value: default, source: Source::Default },
    }
}

fn number<T: std::str::FromStr>(
    name: &str,
    text: Option<String>,
) -> Result<Option<T>, ConfigError> {
    text.map(|text| {
        text.trim().parse().map_err(|_| bad(name, &text, "a whole number in range is needed"))
    })
    .transpose()
}

fn switch(name: &str, text: Option<String>) -> Result<Option<bool>, ConfigError> {
    text.map(|text| match text.trim().to_ascii_lowercase().as_str() {
        "on" | "1" | "true" | "yes" => Ok(true),
        "off" | "0" | "false" | "no" => Ok(false),
        _ => Err(bad(name, &text, "on or off is needed")),
    })
    .transpose()
}

fn channel(word: &Setting<String>) -> Result<ChannelSetting, ConfigError> {
    match word.value.trim().to_ascii_lowercase().as_str() {
        "auto" => Ok(ChannelSetting::Auto),
        "on" => Ok(ChannelSetting::On),
        "off" => Ok(ChannelSetting::Off),
        _ => Err(bad("CLAUDE_PEERS_CHANNEL", &word.value, "on, off or auto is needed")),
    }
}

/// A healthy broker answers within milliseconds. One that does not is in trouble, or its machine
/// is busy.
const HOOK_MILLISECONDS: u64 = 200;

/// The entries that we make give a hook 5 s; somebody else's may give it a minute.
const LONGEST_HOOK_WAIT: Duration = Duration::from_secs(50);

#[cfg(test)]
mod tests;
