//! The caller of a request, as the database knows it.

use rusqlite::{Connection, OptionalExtension as _};

use crate::broker::store::Fault;
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
                // Peers of an older database have no receivers: one that has is a probe.
                "SELECT r.peer, r.instance, p.kind = 'history'
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

    /// The name of this way in, for leases and offers.
    #[must_use]
    pub fn receiver(&self) -> String {
        self.instance.as_ref().map_or_else(|| "cli".to_owned(), ToString::to_string)
    }

    /// The database's word for the way by which it is shown what it asks for.
    #[must_use]
    pub const fn via(&self) -> &'static str {
        if self.instance.is_some() { "tool" } else { "cli" }
    }
}
