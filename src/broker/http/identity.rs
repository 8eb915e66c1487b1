//! Authentication: which peer a request acts as.

use crate::broker::core::{Caller, Tx};
use crate::broker::registry;
use crate::broker::store::Fault;
use crate::protocol::{ApiError, ErrorCode, InstanceId, ShellSession};

/// The identity that a request claims, by its transport and its session token.
#[derive(Debug, Clone)]
pub enum Identity {
    /// The owner, by the Unix socket's credentials or the token of the TCP port: acts as `cli`.
    Owner,
    /// The owner's command line inside a session: acts as that session, if it has a peer here.
    Inside(ShellSession),
    /// A server, by the session token that it received when it registered.
    Session(String),
}

impl Identity {
    /// Returns the caller that this identity stands for.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UnknownSession`] for a session token that this broker did not give out.
    pub fn authenticate(&self, tx: &Tx<'_>) -> Result<Caller, Fault> {
        match self {
            Self::Owner => Caller::owner(tx.db),
            Self::Inside(inside) => {
                let presence = &tx.state.live.presence;
                match registry::peer_of_shell(tx.db, inside, presence)? {
                    Some(peer) => Ok(Caller::command_line_of(peer)),
                    None => Caller::owner(tx.db),
                }
            }
            Self::Session(token) => Caller::by_token(tx.db, token)?.ok_or_else(|| {
                ApiError::new(ErrorCode::UnknownSession, "this broker does not know the session")
                    .hint("Register again.")
                    .into()
            }),
        }
    }

    /// Returns the caller and its instance, if it is a session's server.
    ///
    /// # Errors
    ///
    /// As [`Identity::authenticate`], and [`ErrorCode::Forbidden`] for a command line.
    pub fn authenticate_session(&self, tx: &Tx<'_>) -> Result<(Caller, InstanceId), Fault> {
        let caller = self.authenticate(tx)?;
        let instance = caller.instance.clone().ok_or_else(|| {
            ApiError::new(ErrorCode::Forbidden, "only a registered session can do this")
        })?;
        Ok((caller, instance))
    }
}
