//! `GET /health`: the one route that is open to all. Over TCP it gives status and protocol and no
//! more; over the Unix socket the fields of [`Detail`] stand beside them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::protocol::{ProcessId, Timestamp};

/// How the broker came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Started {
    /// A client started it, because no service manager did.
    Fallback,
    /// systemd handed it its sockets.
    Systemd,
    /// launchd handed it its sockets.
    Launchd,
    /// Somebody ran `claude-peers broker`.
    Foreground,
    /// In a way of a later version.
    #[default]
    #[serde(other)]
    Unknown,
}

/// The broker's health.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// `ok`.
    pub status: String,
    pub protocol: u32,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
}

/// What the owner may know of the broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Detail {
    pub version: String,
    pub pid: u32,
    /// The process, by all that makes it one; an older broker does not tell.
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
    /// The service manager listens on the socket and handed it over.
    #[serde(default)]
    pub socket_inherited: bool,
    pub database: String,
    /// Where a damaged database was moved to when this broker started or ran.
    #[serde(default)]
    pub database_moved_to: Option<String>,
    /// What last happened to the database's files under this broker, a sentence: that they were
    /// removed or replaced, and what was done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_note: Option<String>,
    /// Why nothing can be stored now, a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_problem: Option<String>,
    pub tcp: Tcp,
    /// When a hook of ours last spoke in any session, to the hour; none ever did, or an older
    /// broker does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks_spoke_at: Option<Timestamp>,
    /// Seconds without peers and calls after which the broker exits; 0 is never.
    pub idle_exit_seconds: u64,
    /// Where the secret for calls over TCP lies; empty where an older broker does not tell.
    #[serde(default)]
    pub token_file: String,
    /// The configuration file, whether it is there or not; empty where an older broker does not
    /// tell.
    #[serde(default)]
    pub config_file: String,
    /// Why the settings in force are not those of the configuration file as it was last read.
    #[serde(default)]
    pub settings_problem: Option<String>,
    /// The settings that the broker goes by; empty where an older one does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
}

impl Detail {
    /// Where the broker keeps its token: a service need not have the directories of a shell.
    #[must_use]
    pub fn token_file(&self, otherwise: &Path) -> PathBuf {
        if self.token_file.is_empty() { otherwise.to_owned() } else { (&self.token_file).into() }
    }
}

/// A setting that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its key in the configuration file, or its environment variable if it has no key.
    pub name: String,
    pub value: String,
    /// `environment`, `configuration file` or `default`.
    pub source: String,
}

/// The state of the TCP listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tcp {
    pub port: u16,
    pub listening: bool,
    /// The service manager listens on the port and handed it over.
    #[serde(default)]
    pub inherited: bool,
    /// Why not, if it does not listen.
    #[serde(default)]
    pub problem: Option<String>,
}

/// The answer to `POST /v1/shutdown`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stopping {
    pub pid: u32,
}

/// The answer to `POST /v1/afresh`: a database that was removed is to be begun anew.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Afresh {
    /// Where what the broker had was saved; `None` if its database lies where it should.
    #[serde(default)]
    pub saved_in: Option<String>,
}
