//! Who is who: the same key gets the same peer, name and mailbox again.
//!
//! A session of Claude Code is known by its session id, any other client by its process and
//! directory. Peers are never merged: when two claim one identity, the second is a new peer, and
//! the mail stays with the first.

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::{Effect, Tx};
use crate::broker::registry::keys::{
    bind_key, create_peer, is_live_or_arriving, known_instance, last_of_process, session_key,
    session_of, still_runs,
};
use crate::broker::registry::listing::peer;
use crate::broker::registry::{names, probe, succession};
use crate::broker::store::Fault;
use crate::protocol::peers::{CLAUDE_CODE, Channel, PeerKind, Profile, Register, Registered};
use crate::protocol::{ApiError, Around, ErrorCode, PeerId, ProcessId};
use crate::sys::process;

fn is_session(key: &str) -> bool {
    key.starts_with("session:")
}

/// Makes a receiver's session known; the same instance may do so any number of times.
///
/// # Errors
///
/// If the instance belongs to somebody with another secret, or the request makes no sense.
pub fn register(tx: &mut Tx<'_>, request: &Register, around: &Around) -> Result<Registered, Fault> {
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
            RegistrationMatch::Heir { of, key } => {
                bind_key(tx, &key, &of)?;
                succession::reset_summary(tx, &of)?;
                notes.push(
                    "An earlier session of your program in this directory has ended; its name and its unread mail are yours."
                        .to_owned(),
                );
                of
            }
            RegistrationMatch::Nobody { key } => {
                let kind = if is_session(&key) { PeerKind::Session } else { PeerKind::Client };
                let id = create_peer(tx, kind)?;
                bind_key(tx, &key, &id)?;
                id
            }
            RegistrationMatch::Claimed { by } => {
                let first = peer(tx, &by)?;
                notes.push(format!(
                    "Another live client already holds this session as {}; you are a new peer, and earlier mail stays there.",
                    first.name.as_deref().unwrap_or(by.as_str())
                ));
                create_peer(tx, PeerKind::Session)?
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
    // A session that only reconnects keeps its name, whoever else is slower to come back.
    let wanted = request.name.as_deref().filter(|_| known.is_none());
    let around =
        Around { title: around.title.clone().filter(|_| known.is_none()), ..around.clone() };
    names::assign_at_registration(tx, &id, wanted, &around, &mut notes)?;
    let before = tx.state.live.presence.lock().note_arriving(&id);
    tx.state.effects.push(Effect::Arriving { peer: id.clone(), before });
    let profile = profile(tx, &id)?;
    let undescribed = profile.summary.is_none();
    let profile = Some(profile).filter(|profile| *profile != Profile::default());
    Ok(Registered { peer: peer(tx, &id)?, notes, undescribed, profile })
}

/// What a session has said of itself.
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

enum RegistrationMatch {
    /// The same identity as before.
    Peer(PeerId),
    /// That of a client which has ended, to be known by this key as well.
    Heir { of: PeerId, key: String },
    /// A new identity, to be known by this key.
    Nobody { key: String },
    /// The identity is in use by another live client.
    Claimed { by: PeerId },
}

fn find(tx: &Tx<'_>, request: &Register) -> Result<RegistrationMatch, Fault> {
    match (&request.session, &request.client) {
        (Some(session), client) => {
            // Its hooks know better: a server is told the wrong id where a session is continued.
            let said = client.as_ref().map(|client| session_of(tx, client)).transpose()?.flatten();
            find_session(tx, said.as_ref().unwrap_or(session), client.as_ref())
        }
        (None, Some(client)) => match session_of(tx, client)? {
            // It was told nothing, and its client's hooks know.
            Some(said) if request.client_name == CLAUDE_CODE => {
                find_session(tx, &said, Some(client))
            }
            _ => find_process(tx, client, request),
        },
        (None, None) => {
            Ok(RegistrationMatch::Nobody { key: format!("instance:{}", request.instance) })
        }
    }
}

fn find_session(
    tx: &Tx<'_>,
    session: &str,
    client: Option<&ProcessId>,
) -> Result<RegistrationMatch, Fault> {
    let key = session_key(session);
    let known: Option<(String, Option<String>)> = tx
        .db
        .prepare_cached("SELECT p.id, p.client_process FROM keys k JOIN peers p ON p.id = k.peer WHERE k.key = ?1")?
        .query_row([&key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((id, held_by)) = known {
        let id = PeerId::from_text(id);
        let same_client = match (client, &held_by) {
            (Some(client), Some(held_by)) => client.to_string() == *held_by,
            // Who does not say which client it serves does not share another's.
            (None, Some(_)) => false,
            (_, None) => true,
        };
        let gone = held_by.as_deref().is_some_and(|holder| !still_runs(holder));
        let claimed = !same_client && !gone && is_live_or_arriving(tx, &id);
        return Ok(if claimed {
            RegistrationMatch::Claimed { by: id }
        } else {
            RegistrationMatch::Peer(id)
        });
    }
    // After /clear a reconnected server may be given a session id that nobody knows yet. The
    // window is the same, and so is the peer, if its last server is gone.
    if let Some(client) = client.filter(|client| process::runs_as(client, "claude"))
        && let Some(id) = last_of_process(tx, client)?
        && !is_live_or_arriving(tx, &id)
    {
        bind_key(tx, &key, &id)?;
        return Ok(RegistrationMatch::Peer(id));
    }
    Ok(RegistrationMatch::Nobody { key })
}

/// A client that has no session ids may host several sessions in one process, so each takes the
/// first identity of its process and directory that nobody uses.
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
                    Some(of) => RegistrationMatch::Heir { of, key },
                    None => RegistrationMatch::Nobody { key },
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
