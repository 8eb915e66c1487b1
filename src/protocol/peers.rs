//! Peers: registration, the list of peers, and a peer's own description of itself.

use serde::{Deserialize, Serialize};

pub use crate::protocol::activity::Activity;
use crate::protocol::scope::Scope;
use crate::protocol::{InstanceId, PeerId, ProcessId, Timestamp};

/// The name by which Claude Code introduces itself to its MCP servers.
pub const CLAUDE_CODE: &str = "claude-code";

/// Whether a push can reach the model of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The client loads no channel of ours: nothing is pushed.
    Absent,
    /// A channel cannot be ruled out: messages are pushed, without a lease.
    Presumed,
    /// This instance has had evidence of a push: messages are pushed with a lease.
    Proven,
}

impl Channel {
    /// Returns the word on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Presumed => "presumed",
            Self::Proven => "proven",
        }
    }

    /// Reads what [`Self::as_str`] returns; any other word is [`Self::Absent`].
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "proven" => Self::Proven,
            "presumed" => Self::Presumed,
            _ => Self::Absent,
        }
    }
}

/// `POST /v1/register`: registers a server's session.
///
/// The same `instance` may register again at any time, and gets the same answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// One life of the server process.
    pub instance: InstanceId,
    /// The session token for later calls of this instance; at least 32 characters.
    pub secret: String,
    /// Claude Code's session id, if the client is Claude Code.
    #[serde(default)]
    pub session: Option<String>,
    /// The client process of the session.
    #[serde(default)]
    pub client: Option<ProcessId>,
    /// The name that the MCP client sent in `initialize`, such as `claude-code`.
    #[serde(default)]
    pub client_name: String,
    #[serde(default)]
    pub client_version: String,
    /// The directory in which the session works, as an absolute path.
    pub cwd: String,
    /// The canonical form of `cwd`: the scope `directory`.
    #[serde(default)]
    pub directory: Option<String>,
    /// The canonical git common directory: the scope `repo`.
    #[serde(default)]
    pub repo: Option<String>,
    /// The name from `CLAUDE_PEERS_NAME`.
    #[serde(default)]
    pub name: Option<String>,
    /// `absent` or `presumed`; only the broker decides that a channel is proven.
    pub channel: Channel,
    /// The session ends with its answer (`claude -p`).
    #[serde(default)]
    pub one_shot: bool,
    /// The server can wake its session.
    #[serde(default)]
    pub wakes: bool,
    /// The version of the server's program.
    #[serde(default)]
    pub version: String,
    /// Registers a probe: a temporary peer that is in no list and can only send to itself.
    /// `POST /v1/unregister` removes it without a trace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
}

/// The answer to `POST /v1/unregister`, by which a probe ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unregistered {
    /// How many messages were deleted with it.
    pub messages: u64,
}

/// The answer to [`Register`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Registered {
    pub peer: Peer,
    /// Notes for the session, each a sentence: for example that a name was taken.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The session has no summary, and no automatic one was tried.
    #[serde(default)]
    pub undescribed: bool,
    /// The profile that the session has set, as the broker knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// A session's own description of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Profile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The summary was generated.
    #[serde(default)]
    pub automatic: bool,
    /// The name that the session chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How a peer can be reached now, by evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reachability {
    /// Live, and there is evidence that a push arrived.
    ChannelProven,
    /// Live, and pushed to; whether a push is shown is not known.
    ChannelPresumed,
    /// Live; the hooks of its client show mail with the session's next step.
    Hooks,
    /// Live; it sees mail when it calls a tool.
    Tools,
    /// Not live; its mail is kept until it returns.
    Away,
    /// Its program has ended and cannot return as this peer. Its mail is kept for a successor: the
    /// next client of the same program in the same directory.
    Ended,
    /// The person at the command line, who reads with `claude-peers inbox`.
    Inbox,
    /// A value of a later version.
    #[serde(other)]
    Unknown,
}

/// The kind of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PeerKind {
    /// A session of Claude Code.
    Session,
    /// A session of another MCP client.
    Client,
    /// The person or script at the command line.
    Cli,
    /// A legacy peer, from an imported database. It only appears in the history.
    Legacy,
    /// A peer that was created by mistake, and whose mail and receivers are another peer's now. It only
    /// appears in the history.
    Absorbed,
    /// The temporary peer with which `doctor` sends a message the whole way.
    Probe,
    /// The broker itself, the sender of notices.
    System,
    /// A kind of another version, whose broker or server still runs.
    #[serde(other)]
    Unknown,
}

impl PeerKind {
    /// Returns the word on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Client => "client",
            Self::Cli => "cli",
            Self::Legacy => "legacy",
            Self::Absorbed => "absorbed",
            Self::Probe => "probe",
            Self::System => "system",
            Self::Unknown => "unknown",
        }
    }

    /// Reads what [`Self::as_str`] returns; any other word is [`Self::Unknown`].
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "session" => Self::Session,
            "client" => Self::Client,
            "cli" => Self::Cli,
            "legacy" => Self::Legacy,
            "absorbed" => Self::Absorbed,
            "probe" => Self::Probe,
            "system" => Self::System,
            _ => Self::Unknown,
        }
    }
}

/// A peer, as others see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Peer {
    pub id: PeerId,
    #[serde(default)]
    pub name: Option<String>,
    pub kind: PeerKind,
    /// Its event stream is open, or its hooks report events and its client process runs.
    pub live: bool,
    pub reach: Reachability,
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Activity::is_unknown")]
    pub activity: Activity,
    /// Since when the peer is live or away.
    pub since: Timestamp,
    #[serde(default)]
    pub summary: String,
    pub cwd: String,
    #[serde(default)]
    pub repo: Option<String>,
    /// The git branch that is checked out in `cwd`. Only events have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default)]
    pub client_name: String,
    #[serde(default)]
    pub client_version: String,
    #[serde(default)]
    pub one_shot: bool,
    /// The backlog: unread messages without a running lease.
    pub unread: u64,
    /// When the oldest unread message was sent.
    #[serde(default)]
    pub oldest_unread: Option<Timestamp>,
}

impl Peer {
    /// Returns its name, or its id if it has none.
    #[must_use]
    pub fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(self.id.as_str())
    }
}

/// `GET /v1/peers`: query parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListPeers {
    #[serde(default)]
    pub scope: Scope,
    /// Lists away peers and ended sessions, too.
    #[serde(default)]
    pub all: bool,
    /// The directory to which `scope` refers, for a caller that is not a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The repository to which `scope` refers, for a caller that is not a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The most peers to list, nearest first: those in the caller's directory, then those in its
    /// repository, then the others, each by their last activity. 0 means all, in the order in which
    /// they came.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub limit: u32,
    /// Lists only peers whose names begin with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl ListPeers {
    /// Returns the same request without what brokers of earlier versions refuse; `None` if it has
    /// nothing of the kind.
    #[must_use]
    pub fn for_earlier_broker(&self) -> Option<Self> {
        let is_newer = self.limit > 0 || self.name.is_some();
        is_newer.then(|| Self { limit: 0, name: None, ..self.clone() })
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the form that serde calls
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The answer to [`ListPeers`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PeerList {
    /// The caller, if it is a session.
    #[serde(default)]
    pub me: Option<Peer>,
    /// The other peers, live ones first; away ones only with `all`.
    pub peers: Vec<Peer>,
    /// How many more there are than the request's limit.
    #[serde(default)]
    pub more: u64,
    /// How many away peers, with mail or with a name that the person chose, were left out.
    pub away: u64,
    /// The backlog of the away peers that were left out.
    #[serde(default)]
    pub away_unread: Option<u64>,
    /// With `all`: ended sessions that can be resumed, the most recently ended first.
    #[serde(default)]
    pub ended: Vec<EndedSession>,
    /// There are more ended sessions, which ended earlier.
    #[serde(default)]
    pub more_ended: bool,
    /// How many messages are unread in the caller's own mailbox.
    pub waiting: u64,
}

/// An ended session: it is not live, and returns if its client resumes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EndedSession {
    pub id: PeerId,
    /// The name that it had; another peer may have it now.
    #[serde(default)]
    pub name: Option<String>,
    /// The session id with which its client resumes it.
    #[serde(default)]
    pub session: Option<String>,
    pub cwd: String,
    /// When it ended.
    pub since: Timestamp,
    #[serde(default)]
    pub summary: String,
}

/// `POST /v1/profile`: sets the summary and the name of a session.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SetProfile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The summary was generated. It never replaces one that the session set itself. An empty one
    /// records an attempt, so that there is only one.
    #[serde(default)]
    pub automatic: bool,
}

/// The answer to [`SetProfile`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProfileSet {
    pub peer: Peer,
    /// False if an automatic summary gave way to one that the session set itself.
    pub changed: bool,
    /// How many messages are unread in the session's mailbox.
    #[serde(default)]
    pub waiting: u64,
    /// Notes for the session, each a sentence: for example from which peer it took over its name.
    #[serde(default)]
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_word_on_the_wire_and_in_the_database() {
        for kind in [
            PeerKind::Session,
            PeerKind::Client,
            PeerKind::Cli,
            PeerKind::Legacy,
            PeerKind::Absorbed,
            PeerKind::Probe,
            PeerKind::System,
            PeerKind::Unknown,
        ] {
            assert_eq!(PeerKind::from_word(kind.as_str()), kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(serde_json::from_value::<PeerKind>(kind.as_str().into()).unwrap(), kind);
        }
        // The word of former versions, and any of later ones.
        for other in ["history", "ghost"] {
            assert_eq!(PeerKind::from_word(other), PeerKind::Unknown);
            let read: PeerKind = serde_json::from_value(other.into()).unwrap();
            assert_eq!(read, PeerKind::Unknown);
        }
    }
}
