//! Peers: registration, the directory of who is here, and what a peer says of itself.

use serde::{Deserialize, Serialize};

use crate::protocol::scope::Scope;
use crate::protocol::{InstanceId, PeerId, ProcessId, Timestamp};

/// The name by which Claude Code introduces itself to its MCP servers.
pub const CLAUDE_CODE: &str = "claude-code";

/// Whether a push of ours can reach the model of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// It loads no channel of ours: never pushed.
    Absent,
    /// It cannot be ruled out: pushed, but not counted on.
    Presumed,
    /// This instance has had evidence of a push.
    Proven,
}

impl Channel {
    /// Returns its word on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Presumed => "presumed",
            Self::Proven => "proven",
        }
    }

    /// Reads what [`Self::as_str`] writes; any other word is [`Self::Absent`].
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "proven" => Self::Proven,
            "presumed" => Self::Presumed,
            _ => Self::Absent,
        }
    }
}

/// `POST /v1/register`: a receiver process makes its session known.
///
/// The same `instance` may register again at any time; it gets the same answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// One life of the receiver process.
    pub instance: InstanceId,
    /// The secret that later calls of this instance carry; at least 32 characters.
    pub secret: String,
    /// Claude Code's session id, if the client is Claude Code.
    #[serde(default)]
    pub session: Option<String>,
    /// The process whose session this is.
    #[serde(default)]
    pub client: Option<ProcessId>,
    /// The name that the MCP client gave itself, such as `claude-code`.
    #[serde(default)]
    pub client_name: String,
    #[serde(default)]
    pub client_version: String,
    /// Where the session works, an absolute path.
    pub cwd: String,
    /// The canonical form of `cwd`: the scope `directory`.
    #[serde(default)]
    pub directory: Option<String>,
    /// The canonical git common directory: the scope `repo`.
    #[serde(default)]
    pub repo: Option<String>,
    /// The name that the person chose by `CLAUDE_PEERS_NAME`.
    #[serde(default)]
    pub name: Option<String>,
    /// `absent` or `presumed`; only the broker decides that a channel is proven.
    pub channel: Channel,
    /// `claude -p`: the session ends with its answer.
    #[serde(default)]
    pub one_shot: bool,
    /// The receiver can wake its session.
    #[serde(default)]
    pub wakes: bool,
    /// The version of the receiver's program.
    #[serde(default)]
    pub version: String,
    /// A throw-away peer that checks the way of a message: nobody sees it, it can only write to
    /// itself, and `POST /v1/unregister` removes it without a trace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
}

/// The answer to `POST /v1/unregister`, by which a probe ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unregistered {
    /// How many messages went with it.
    pub messages: u64,
}

/// The answer to [`Register`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registered {
    pub peer: Peer,
    /// What the session should know, a sentence each: a name that was taken, say.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Nobody has described the session yet, nor tried to.
    #[serde(default)]
    pub undescribed: bool,
    /// What the broker knows that the session has said of itself, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// What a session has said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The program made the summary.
    #[serde(default)]
    pub automatic: bool,
    /// The name that it chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How a peer can be reached, by evidence and not by hope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reachability {
    /// Live, and a push has been seen to arrive.
    ChannelProven,
    /// Live; pushed to, but whether that is shown is not known.
    ChannelPresumed,
    /// Live; its client's hooks show mail with the session's next step.
    Hooks,
    /// Live; it sees mail when it calls a tool.
    Tools,
    /// Not here; mail waits for it.
    Away,
    /// Its program has ended and cannot come back as this peer. Mail waits for an heir: whoever
    /// starts the program there next.
    Ended,
    /// The person at the CLI, who reads by `claude-peers inbox`.
    Inbox,
    /// Something of a later version.
    #[serde(other)]
    Unknown,
}

/// What a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerKind {
    /// A session of Claude Code.
    Session,
    /// A session of another MCP client.
    Client,
    /// The person or script at the command line.
    Cli,
    /// A peer imported from a legacy database. It only appears in the history.
    Legacy,
    /// A peer that was made by mistake and whose mail and receivers are another peer's now. It only
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
    /// Returns its word on the wire and in the database.
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

    /// Reads what [`Self::as_str`] writes; any other word is [`Self::Unknown`].
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
pub struct Peer {
    pub id: PeerId,
    #[serde(default)]
    pub name: Option<String>,
    pub kind: PeerKind,
    /// Its server holds its stream open right now, or its hooks speak and its client runs.
    pub live: bool,
    pub reach: Reachability,
    /// Live since, or away since.
    pub since: Timestamp,
    #[serde(default)]
    pub summary: String,
    pub cwd: String,
    #[serde(default)]
    pub repo: Option<String>,
    #[serde(default)]
    pub client_name: String,
    #[serde(default)]
    pub client_version: String,
    #[serde(default)]
    pub one_shot: bool,
    /// Messages that wait for it.
    pub unread: u64,
    /// When the oldest of these was sent.
    #[serde(default)]
    pub oldest_unread: Option<Timestamp>,
}

/// `GET /v1/peers`: query parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListPeers {
    #[serde(default)]
    pub scope: Scope,
    /// Away peers in full, too.
    #[serde(default)]
    pub all: bool,
    /// For a caller that is no session: the directory that `scope` refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// For a caller that is no session: the repository that `scope` refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
}

/// The answer to [`ListPeers`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerList {
    /// The caller, if it is a session.
    #[serde(default)]
    pub me: Option<Peer>,
    /// The others: live ones first; away ones only with `all`.
    pub peers: Vec<Peer>,
    /// How many away peers with mail, or with a name that the person chose, were left out.
    pub away: u64,
    /// Messages that wait for those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_unread: Option<u64>,
    /// With `all`: sessions that have ended and can be resumed, the last ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<EndedSession>,
    /// There are more of these, which ended earlier.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_ended: bool,
    /// Messages that wait for the caller.
    pub waiting: u64,
}

/// A session that has ended: nothing waits for it, and it comes back if its client resumes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndedSession {
    pub id: PeerId,
    /// The name that it had; another may have it now.
    #[serde(default)]
    pub name: Option<String>,
    /// By which its client resumes it.
    #[serde(default)]
    pub session: Option<String>,
    pub cwd: String,
    /// When it ended.
    pub since: Timestamp,
    #[serde(default)]
    pub summary: String,
}

/// `POST /v1/profile`: what a session says of itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetProfile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The summary was made by the program. It never replaces one that the session set itself.
    /// An empty one says that the program is about to try, so that it tries once only.
    #[serde(default)]
    pub automatic: bool,
}

/// The answer to [`SetProfile`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProfileSet {
    pub peer: Peer,
    /// False if an automatic summary gave way to one that the session set itself.
    pub changed: bool,
    /// Messages that wait for the session.
    #[serde(default)]
    pub waiting: u64,
    /// What the session should know, a sentence each: of whom it took its name over, say.
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
