//! The caller of a request, and the receivers of messages, as the database knows them.

use std::fmt;

use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, ToSql};

use crate::broker::store::Fault;
use crate::protocol::messages::Via;
use crate::protocol::{InstanceId, PeerId};

/// A caller that the database knows.
#[derive(Debug, Clone)]
pub struct Caller {
    pub peer: PeerId,
    /// The server that calls; `None` for a command line.
    pub instance: Option<InstanceId>,
    /// `doctor`'s temporary peer, which may write to itself only.
    pub probe: bool,
    /// The command line of a session, and not the session's server.
    pub by_command_line: bool,
}

impl Caller {
    /// Returns the peer `cli`, which all command lines outside a session share.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn owner(db: &Connection) -> Result<Self, Fault> {
        let peer: String = db
            .prepare_cached("SELECT id FROM peers WHERE kind = 'cli'")?
            .query_row([], |row| row.get(0))?;
        let peer = PeerId::from_text(peer);
        Ok(Self { peer, instance: None, probe: false, by_command_line: false })
    }

    /// Returns the command line of a session, which acts as that session.
    #[must_use]
    pub const fn command_line_of(peer: PeerId) -> Self {
        Self { peer, instance: None, probe: false, by_command_line: true }
    }

    /// Returns the server that registered with this session token.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn by_token(db: &Connection, token: &str) -> Result<Option<Self>, Fault> {
        Ok(db
            .prepare_cached(
                "SELECT r.peer, r.instance, p.kind = 'probe'
                 FROM receivers r JOIN peers p ON p.id = r.peer WHERE r.secret = ?1",
            )?
            .query_row([token], |row| {
                Ok(Self {
                    peer: PeerId::from_text(row.get::<_, String>(0)?),
                    instance: Some(InstanceId::from_text(row.get::<_, String>(1)?)),
                    probe: row.get(2)?,
                    by_command_line: false,
                })
            })
            .optional()?)
    }

    /// Returns the receiver that this caller is, for leases and offers.
    #[must_use]
    pub fn receiver(&self) -> Receiver {
        self.instance.clone().map_or(Receiver::Cli, Receiver::Instance)
    }

    /// Returns the way by which this caller is shown what it asks for.
    #[must_use]
    pub const fn via(&self) -> Via {
        if self.instance.is_some() { Via::Tool } else { Via::Cli }
    }
}

/// One way into one session, as offers and leases name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receiver {
    /// One life of a session's server.
    Instance(InstanceId),
    /// The hooks of the session with this id.
    Hook(String),
    /// One waiting call of a command line, by a random id. All command lines are one peer, so what
    /// one call took is kept from the others until it has shown it.
    Waiter(InstanceId),
    /// A command line that does not wait.
    Cli,
}

/// The prefixes and the word of the database, for all receivers but instances.
const HOOK: &str = "hook:";
const WAITER: &str = "wait:";
const CLI: &str = "cli";

impl Receiver {
    /// Reads the database's text.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        if text == CLI {
            Self::Cli
        } else if let Some(session) = text.strip_prefix(HOOK) {
            Self::Hook(session.to_owned())
        } else if let Some(id) = text.strip_prefix(WAITER) {
            Self::Waiter(InstanceId::from_text(id))
        } else {
            Self::Instance(InstanceId::from_text(text))
        }
    }
}

/// The database's text.
impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(id) => write!(f, "{id}"),
            Self::Hook(session) => write!(f, "{HOOK}{session}"),
            Self::Waiter(id) => write!(f, "{WAITER}{id}"),
            Self::Cli => f.write_str(CLI),
        }
    }
}

impl ToSql for Receiver {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Instance(id) => id.as_str().into(),
            Self::Cli => CLI.into(),
            Self::Hook(_) | Self::Waiter(_) => self.to_string().into(),
        })
    }
}

impl FromSql for Receiver {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str().map(Self::from_text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_read_from_the_text_that_was_written() {
        let id = InstanceId::from_text("abc123");
        for (receiver, text) in [
            (Receiver::Instance(id.clone()), "abc123"),
            (Receiver::Hook("wait:x".to_owned()), "hook:wait:x"),
            (Receiver::Waiter(id), "wait:abc123"),
            (Receiver::Cli, "cli"),
        ] {
            assert_eq!(receiver.to_string(), text);
            assert_eq!(Receiver::from_text(text), receiver);
        }
    }
}
