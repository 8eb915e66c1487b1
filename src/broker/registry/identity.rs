//! Registration: the same key gets the same peer, name and mailbox again.
//!
//! A session of Claude Code is known by its session id, any other client by its process and
//! directory. Peers are never merged: if two clients claim one identity, the second becomes a new
//! peer, and the mail stays with the first. From then on each client comes back to its own peer.

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::{Effect, Tx};
use crate::broker::registry::keys::{
    bind_key, create_peer, is_live_or_arriving, known_instance, last_of_process, session_key,
    session_of, still_runs,
};
use crate::broker::registry::listing::peer;
use crate::broker::registry::windows::Owned;
use crate::broker::registry::{names, probe, succession, windows};
use crate::broker::store::Fault;
use crate::protocol::peers::{CLAUDE_CODE, Channel, PeerKind, Profile, Register, Registered};
use crate::protocol::{ApiError, CallerContext, ErrorCode, PeerId, ProcessId};
use crate::sys::process;

fn is_session(key: &str) -> bool {
    key.starts_with("session:")
}

/// Registers a server's session and returns its peer.
///
/// The same instance may register any number of times, and gets the same peer.
///
/// # Errors
///
/// * [`ErrorCode::Forbidden`] if the instance registered with another secret.
/// * [`ErrorCode::BadRequest`] if the instance id or the secret is too short.
pub fn register(
    tx: &mut Tx<'_>,
    request: &Register,
    around: &CallerContext,
) -> Result<Registered, Fault> {
    if request.secret.len() < 32 || request.instance.as_str().is_empty() {
        return Err(ApiError::new(ErrorCode::BadRequest, "instance or secret is too short").into());
    }
    if request.probe {
        return probe::register(tx, request);
    }
    let mut notes = Vec::new();
    let known = known_instance(tx, request)?;
    let id = match known.clone() {
        Some(id) => id,
        None => match find(tx, request)? {
            RegistrationMatch::Peer(id) => id,
            RegistrationMatch::Successor { of, key } => {
                bind_key(tx, &key, &of)?;
                succession::reset_summary(tx, &of)?;
                notes.push(
                    "An earlier session of your program in this directory has ended; you continue it, with its name and its unread mail."
                        .to_owned(),
                );
                of
            }
            RegistrationMatch::New { key } => {
                let kind = if is_session(&key) { PeerKind::Session } else { PeerKind::Client };
                let id = create_peer(tx, kind)?;
                bind_key(tx, &key, &id)?;
                id
            }
            RegistrationMatch::Window { of, key } => {
                bind_key(tx, &key, &of)?;
                of
            }
            RegistrationMatch::Claimed { by, key } => {
                let first = peer(tx, &by)?;
                notes.push(format!(
                    "Another running client is already registered for this session, as {}. You are registered as a new peer; earlier messages stay with the other one.",
                    first.name.as_deref().unwrap_or(by.as_str())
                ));
                let id = create_peer(tx, PeerKind::Session)?;
                if let Some(key) = key {
                    bind_key(tx, &key, &id)?;
                }
                id
            }
        },
    };
    describe(tx, &id, request)?;
    tx.db
        .prepare_cached(
            "INSERT INTO receivers (instance, peer, secret, channel, client_process, registered_at, wakes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (instance) DO UPDATE SET
                 channel = CASE WHEN channel = 'proven' AND excluded.channel <> 'absent' THEN channel
                                ELSE excluded.channel END",
        )?
        .execute(params![
            request.instance.as_str(),
            id.as_str(),
            request.secret,
            (if request.channel == Channel::Absent { Channel::Absent } else { Channel::Presumed }).as_str(),
            request.client.as_ref().map(ToString::to_string),
            tx.now.millis(),
            request.wakes,
        ])?;
    failpoint!("broker.registration.inserted");
    // A session that only reconnects keeps its name, even if an earlier owner reconnects later.
    let wanted = request.name.as_deref().filter(|_| known.is_none());
    let around =
        CallerContext { title: around.title.clone().filter(|_| known.is_none()), ..around.clone() };
    names::assign_at_registration(tx, &id, wanted, &around, &mut notes)?;
    let before = tx.state.live.presence.lock().note_arriving(&id);
    tx.state.effects.push(Effect::Arriving { peer: id.clone(), before });
    let profile = profile(tx, &id)?;
    let undescribed = profile.summary.is_none();
    let profile = Some(profile).filter(|profile| *profile != Profile::default());
    Ok(Registered { peer: peer(tx, &id)?, notes, undescribed, profile })
}

/// Returns the profile that a session has set: its summary and the name that it chose.
fn profile(tx: &Tx<'_>, id: &PeerId) -> Result<Profile, Fault> {
    Ok(tx
        .db
        .prepare_cached(
            "SELECT CASE WHEN summary_source <> 'none' THEN summary END,
                    summary_source = 'automatic',
                    CASE WHEN name_source = 'tool' AND NOT client_named THEN name END
             FROM peers WHERE id = ?1",
        )?
        .query_row([id.as_str()], |row| {
            Ok(Profile { summary: row.get(0)?, automatic: row.get(1)?, name: row.get(2)? })
        })?)
}

/// The identity under which a server registers.
enum RegistrationMatch {
    /// The same identity as before.
    Peer(PeerId),
    /// The identity of a client which has ended. This key is added to it.
    Successor { of: PeerId, key: String },
    /// A new identity with this key.
    New { key: String },
    /// The identity is in use by another client, and so is every peer that others had beside it. A
    /// client that names its process is known by this key from now on.
    Claimed { by: PeerId, key: Option<String> },
    /// The identity is in use by another client. A window beside it has ended, and is continued: this
    /// key is added to its peer.
    Window { of: PeerId, key: String },
}

fn find(tx: &Tx<'_>, request: &Register) -> Result<RegistrationMatch, Fault> {
    match (&request.session, &request.client) {
        (Some(session), client) => {
            // The session that the hooks report is right: where a session is continued, its server gets
            // another id.
            let shown = client.as_ref().map(|client| session_of(tx, client)).transpose()?.flatten();
            find_session(tx, shown.as_ref().unwrap_or(session), client.as_ref())
        }
        (None, Some(client)) => match session_of(tx, client)? {
            // The server has no session id, but the hooks of its client reported one.
            Some(shown) if request.client_name == CLAUDE_CODE => {
                find_session(tx, &shown, Some(client))
            }
            _ => find_process(tx, client, request),
        },
        (None, None) => {
            Ok(RegistrationMatch::New { key: format!("instance:{}", request.instance) })
        }
    }
}

fn find_session(
    tx: &Tx<'_>,
    session: &str,
    client: Option<&ProcessId>,
) -> Result<RegistrationMatch, Fault> {
    let key = session_key(session);
    if let Some(Owned { peer: id, client: owner }) = windows::owned_for(tx.db, session, client)? {
        let same_client = match (client, &owner) {
            (Some(client), Some(owner)) => client.to_string() == *owner,
            // A server that names no client does not share the client of another.
            (None, Some(_)) => false,
            (_, None) => true,
        };
        let (gone, runs) = match &owner {
            Some(owner) if !same_client => {
                (!still_runs(owner), windows::runs_beside(owner, client))
            }
            _ => (false, false),
        };
        let claimed = !same_client && !gone && (runs || is_live_or_arriving(tx, &id));
        if !claimed {
            return Ok(RegistrationMatch::Peer(id));
        }
        let Some(client) = client else {
            return Ok(RegistrationMatch::Claimed { by: id, key: None });
        };
        let key = windows::window_key(session, client);
        return Ok(match windows::ended_window(tx, session)? {
            Some(of) => RegistrationMatch::Window { of, key },
            None => RegistrationMatch::Claimed { by: id, key: Some(key) },
        });
    }
    // After /clear a server that reconnects may have a session id without a peer. The client
    // process is the same, and so is the peer, if its last server is gone.
    if let Some(client) = client.filter(|client| process::runs_as(client, "claude"))
        && let Some(id) = last_of_process(tx, client)?
        && !is_live_or_arriving(tx, &id)
    {
        bind_key(tx, &key, &id)?;
        return Ok(RegistrationMatch::Peer(id));
    }
    Ok(RegistrationMatch::New { key })
}

/// Returns the identity of a client without session ids.
///
/// Such a client may host several sessions in one process, so each session takes the first identity
/// of its process and directory that is not in use.
fn find_process(
    tx: &Tx<'_>,
    client: &ProcessId,
    request: &Register,
) -> Result<RegistrationMatch, Fault> {
    let cwd = &request.cwd;
    let mut number = 0u32;
    loop {
        number += 1;
        let key = format!("process:{client}:{number}:{cwd}");
        let known: Option<String> = tx
            .db
            .prepare_cached("SELECT peer FROM keys WHERE key = ?1")?
            .query_row([&key], |row| row.get(0))
            .optional()?;
        match known.map(PeerId::from_text) {
            None => {
                return Ok(match succession::predecessor(tx, request)? {
                    Some(of) => RegistrationMatch::Successor { of, key },
                    None => RegistrationMatch::New { key },
                });
            }
            Some(id) if !is_live_or_arriving(tx, &id) => {
                return Ok(RegistrationMatch::Peer(id));
            }
            Some(_) => {}
        }
    }
}

fn describe(tx: &Tx<'_>, id: &PeerId, request: &Register) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "UPDATE peers SET cwd = ?2, directory = ?3, repo = ?4, client_name = ?5, client_version = ?6,
                              client_process = ?7, one_shot = ?8, seen_at = ?9
             WHERE id = ?1",
        )?
        .execute(params![
            id.as_str(),
            request.cwd,
            request.directory,
            request.repo,
            request.client_name,
            request.client_version,
            request.client.as_ref().map(ToString::to_string),
            request.one_shot,
            tx.now.millis(),
        ])?;
    Ok(())
}
