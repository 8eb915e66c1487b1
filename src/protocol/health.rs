//! `GET /health`: the only route without a token.
//!
//! Over TCP the answer has status and protocol only; over the Unix socket also the fields of
//! [`Detail`].

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::protocol::{ProcessId, Timestamp};

/// How the broker was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Started {
    /// A client started it, because no service manager did.
    Fallback,
    /// systemd started it and passed its sockets.
    Systemd,
    /// launchd started it and passed its sockets.
    Launchd,
    /// A person or a script ran `claude-peers broker`.
    Foreground,
    /// A value of a later version.
    #[default]
    #[serde(other)]
    #[cfg_attr(test, schemars(skip))]
    Unknown,
}

/// The broker's health.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Health {
    /// `ok`.
    pub status: String,
    pub protocol: u32,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
}

/// What the broker tells its own user only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Detail {
    pub version: String,
    pub pid: u32,
    /// The identity of the broker process; absent from an older broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    pub started: Started,
    pub started_at: Timestamp,
    pub uptime_seconds: u64,
    /// Live peers.
    pub peers: u64,
    /// Unread messages in all mailboxes.
    pub backlog: u64,
    pub socket: String,
    /// The service manager bound the socket and passed it to the broker.
    #[serde(default)]
    pub socket_inherited: bool,
    pub database: String,
    /// Where this broker moved a damaged database.
    #[serde(default)]
    pub database_moved_to: Option<String>,
    /// What last happened to the database's files under this broker, as a sentence: that they were
    /// removed or replaced, and what the broker did then.
    #[serde(default)]
    pub database_note: Option<String>,
    /// Why nothing can be stored now, as a sentence.
    #[serde(default)]
    pub database_problem: Option<String>,
    pub tcp: Tcp,
    /// When a hook of any session last reported an event, to the hour. Absent if none ever did, and
    /// from an older broker.
    #[serde(default)]
    pub hooks_spoke_at: Option<Timestamp>,
    /// Seconds without peers and calls after which the broker exits; 0 means never.
    pub idle_exit_seconds: u64,
    /// The path of the token for calls over TCP; empty from an older broker.
    #[serde(default)]
    pub token_file: String,
    /// The path of the configuration file, whether or not it exists; empty from an older broker.
    #[serde(default)]
    pub config_file: String,
    /// Why the effective settings differ from the configuration file as it was last read.
    #[serde(default)]
    pub settings_problem: Option<String>,
    /// The effective settings of the broker; empty from an older broker.
    #[serde(default)]
    pub settings: Vec<Setting>,
}

impl Detail {
    /// Returns the path of the broker's token, else `otherwise` if an older broker does not tell it.
    ///
    /// The directories of a service may differ from those of a shell.
    #[must_use]
    pub fn token_file(&self, otherwise: &Path) -> PathBuf {
        if self.token_file.is_empty() { otherwise.to_owned() } else { (&self.token_file).into() }
    }
}

/// An effective setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Setting {
    /// Its key in the configuration file, or its environment variable if it has no key.
    pub name: String,
    pub value: String,
    /// `environment`, `configuration file` or `default`.
    pub source: String,
}

/// The state of the TCP listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tcp {
    pub port: u16,
    pub listening: bool,
    /// The service manager bound the port and passed it to the broker.
    #[serde(default)]
    pub inherited: bool,
    /// Why the broker does not listen, as a sentence.
    #[serde(default)]
    pub problem: Option<String>,
}

/// The answer to `POST /v1/shutdown`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stopping {
    pub pid: u32,
}

/// The answer to `POST /v1/afresh`, the request for an empty database in place of a removed one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FreshDatabase {
    /// Where the broker saved its data; `None` if its database is in place.
    #[serde(default)]
    pub saved_in: Option<String>,
}
