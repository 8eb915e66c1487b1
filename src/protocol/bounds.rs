//! Bounds: how long each field of a request may be.
//!
//! What identifies something is refused where it is too long, because a part of it would be another
//! thing. What only describes a session is cut.

use crate::protocol::brief::Brief;
use crate::protocol::events::Observe;
use crate::protocol::history::Prune;
use crate::protocol::hook::{DirectoryChanged, HookEvent, HookWritten};
use crate::protocol::mailbox::{Confirm, Take, TakeAnswer, Wait, Written};
use crate::protocol::messages::{ListMessages, SendBatch, SendMessage, SendToScope};
use crate::protocol::peers::{ListPeers, Register, SetProfile};
use crate::protocol::wake::{AwaitWake, IdleCheckResult, WakeGiven, WakeOptions};
use crate::protocol::{
    ApiError, CallerContext, ErrorCode, InstanceId, MessageId, PeerId, ProcessId,
};

/// Bytes of a path. No system of ours has longer ones.
pub const MAX_PATH: usize = 4_096;

/// Bytes of a word that means a peer, of a session id, a turn or a tool call.
pub const MAX_WORD: usize = 512;

/// Bytes of the words that are searched for.
pub const MAX_SEARCH: usize = 1_024;

/// Bytes of an id of ours, and of each part of a process identity.
pub const MAX_ID: usize = 128;

/// Bytes of a secret.
pub const MAX_SECRET: usize = 256;

/// Bytes of a name that is no valid one, of a title, and of what a client calls itself.
pub const MAX_LABEL: usize = 256;

/// Bytes of a summary, whatever the settings say.
pub const MAX_SUMMARY: usize = 16 * 1024;

/// The most processes above a command line.
pub const MAX_ANCESTORS: usize = 64;

/// A request whose fields have bounds.
pub trait Bounded {
    /// Cuts what may be cut.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::BadRequest`] with the field and its bound, if another field is too long.
    fn bound(&mut self) -> Result<(), ApiError>;
}

/// Returns the beginning of a text, of at most so many bytes and whole characters.
#[must_use]
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Cuts a text in place.
pub fn shorten(text: &mut String, most: usize) {
    text.truncate(cut(text, most).len());
}

fn shorten_any(text: &mut Option<String>, most: usize) {
    if let Some(text) = text {
        shorten(text, most);
    }
}

pub(in crate::protocol) fn at_most(field: &str, text: &str, most: usize) -> Result<(), ApiError> {
    let length = text.len();
    if length <= most {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::BadRequest,
        format!("the field {field} has {length} bytes, {most} are allowed"),
    ))
}

fn any_at_most(field: &str, text: Option<&str>, most: usize) -> Result<(), ApiError> {
    text.map_or(Ok(()), |text| at_most(field, text, most))
}

fn ids(field: &str, ids: &[MessageId]) -> Result<(), ApiError> {
    ids.iter().try_for_each(|id| at_most(field, id.as_str(), MAX_ID))
}

impl Bounded for ProcessId {
    fn bound(&mut self) -> Result<(), ApiError> {
        at_most("client.start", &self.start, MAX_ID)?;
        at_most("client.boot", &self.boot, MAX_ID)?;
        at_most("client.namespace", &self.namespace, MAX_ID)
    }
}

impl<T: Bounded> Bounded for Option<T> {
    fn bound(&mut self) -> Result<(), ApiError> {
        self.as_mut().map_or(Ok(()), T::bound)
    }
}

impl Bounded for Register {
    fn bound(&mut self) -> Result<(), ApiError> {
        at_most("instance", InstanceId::as_str(&self.instance), MAX_ID)?;
        at_most("secret", &self.secret, MAX_SECRET)?;
        any_at_most("session", self.session.as_deref(), MAX_WORD)?;
        self.client.bound()?;
        at_most("cwd", &self.cwd, MAX_PATH)?;
        any_at_most("directory", self.directory.as_deref(), MAX_PATH)?;
        any_at_most("repo", self.repo.as_deref(), MAX_PATH)?;
        shorten(&mut self.client_name, MAX_LABEL);
        shorten(&mut self.client_version, MAX_LABEL);
        shorten(&mut self.version, MAX_LABEL);
        // What is left is no valid name, either.
        shorten_any(&mut self.name, MAX_LABEL);
        Ok(())
    }
}

impl Bounded for SetProfile {
    fn bound(&mut self) -> Result<(), ApiError> {
        any_at_most("name", self.name.as_deref(), MAX_LABEL)
    }
}

impl Bounded for ListPeers {
    fn bound(&mut self) -> Result<(), ApiError> {
        any_at_most("directory", self.directory.as_deref(), MAX_PATH)?;
        any_at_most("repo", self.repo.as_deref(), MAX_PATH)?;
        any_at_most("name", self.name.as_deref(), MAX_WORD)
    }
}

impl Bounded for SendMessage {
    fn bound(&mut self) -> Result<(), ApiError> {
        at_most("to", &self.to, MAX_WORD)?;
        any_at_most("reply_to", self.reply_to.as_ref().map(MessageId::as_str), MAX_ID)?;
        any_at_most("from_session", self.from_session.as_deref(), MAX_WORD)
    }
}

/// Each message is bounded for itself, where it is accepted or refused.
impl Bounded for SendBatch {
    fn bound(&mut self) -> Result<(), ApiError> {
        Ok(())
    }
}

impl Bounded for SendToScope {
    fn bound(&mut self) -> Result<(), ApiError> {
        any_at_most("directory", self.directory.as_deref(), MAX_PATH)?;
        any_at_most("repo", self.repo.as_deref(), MAX_PATH)?;
        any_at_most("from_session", self.from_session.as_deref(), MAX_WORD)
    }
}

impl Bounded for ListMessages {
    fn bound(&mut self) -> Result<(), ApiError> {
        any_at_most("peer", self.peer.as_deref(), MAX_WORD)?;
        for (field, id) in [("id", &self.id), ("thread", &self.thread), ("before", &self.before)] {
            any_at_most(field, id.as_ref().map(MessageId::as_str), MAX_ID)?;
        }
        any_at_most("search", self.search.as_deref(), MAX_SEARCH)?;
        any_at_most("state", self.state.as_deref(), MAX_WORD)
    }
}

impl Bounded for Observe {
    fn bound(&mut self) -> Result<(), ApiError> {
        Ok(())
    }
}

impl Bounded for Prune {
    fn bound(&mut self) -> Result<(), ApiError> {
        Ok(())
    }
}

impl Bounded for Brief {
    fn bound(&mut self) -> Result<(), ApiError> {
        any_at_most("session", self.session.as_deref(), MAX_WORD)
    }
}

impl Bounded for Take {
    fn bound(&mut self) -> Result<(), ApiError> {
        Ok(())
    }
}

impl Bounded for Wait {
    fn bound(&mut self) -> Result<(), ApiError> {
        Ok(())
    }
}

impl Bounded for TakeAnswer {
    fn bound(&mut self) -> Result<(), ApiError> {
        at_most("id", self.id.as_str(), MAX_ID)
    }
}

impl Bounded for Confirm {
    fn bound(&mut self) -> Result<(), ApiError> {
        ids("ids", &self.ids)
    }
}

impl Bounded for Written {
    fn bound(&mut self) -> Result<(), ApiError> {
        ids("ids", &self.ids)
    }
}

impl Bounded for HookEvent {
    fn bound(&mut self) -> Result<(), ApiError> {
        at_most("session", &self.session, MAX_WORD)?;
        self.client.bound()?;
        at_most("turn", &self.turn, MAX_WORD)?;
        at_most("occasion", &self.occasion, MAX_WORD)?;
        at_most("source", &self.source, MAX_WORD)?;
        at_most("cwd", &self.cwd, MAX_PATH)?;
        // What cannot be an id of ours was not pushed by us.
        self.seen.retain(|id| id.as_str().len() <= MAX_ID);
        Ok(())
    }
}

impl Bounded for DirectoryChanged {
    fn bound(&mut self) -> Result<(), ApiError> {
        at_most("session", &self.session, MAX_WORD)?;
        self.client.bound()?;
        at_most("cwd", &self.cwd, MAX_PATH)?;
        any_at_most("directory", self.directory.as_deref(), MAX_PATH)?;
        any_at_most("repo", self.repo.as_deref(), MAX_PATH)?;
        any_at_most("worktree", self.worktree.as_deref(), MAX_PATH)
    }
}

impl Bounded for HookWritten {
    fn bound(&mut self) -> Result<(), ApiError> {
        at_most("session", &self.session, MAX_WORD)?;
        at_most("turn", &self.turn, MAX_WORD)?;
        ids("ids", &self.ids)
    }
}

impl Bounded for AwaitWake {
    fn bound(&mut self) -> Result<(), ApiError> {
        at_most("session", &self.session, MAX_WORD)?;
        self.client.bound()
    }
}

impl Bounded for WakeOptions {
    fn bound(&mut self) -> Result<(), ApiError> {
        Ok(())
    }
}

impl Bounded for WakeGiven {
    fn bound(&mut self) -> Result<(), ApiError> {
        at_most("peer", PeerId::as_str(&self.peer), MAX_ID)
    }
}

impl Bounded for IdleCheckResult {
    fn bound(&mut self) -> Result<(), ApiError> {
        at_most("peer", PeerId::as_str(&self.peer), MAX_ID)
    }
}

impl Bounded for CallerContext {
    fn bound(&mut self) -> Result<(), ApiError> {
        shorten_any(&mut self.title, MAX_LABEL);
        any_at_most("worktree", self.worktree.as_deref(), MAX_PATH)?;
        let Some(inside) = &mut self.inside else { return Ok(()) };
        any_at_most("inside.session", inside.session.as_deref(), MAX_WORD)?;
        inside.above.truncate(MAX_ANCESTORS);
        inside.above.iter_mut().try_for_each(ProcessId::bound)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    /// Gives each text of a request, one after the other, one byte too many, and returns the fields
    /// whose text stayed as long.
    fn unbounded<T>(request: &Value) -> Vec<String>
    where
        T: Bounded + serde::Serialize + serde::de::DeserializeOwned,
    {
        let fields = request.as_object().unwrap().keys();
        let is_unbounded = |field: &&String| {
            let mut changed = request.clone();
            let huge = Value::from("x".repeat(MAX_SUMMARY + 1));
            changed[field.as_str()] = if request[*field].is_array() { json!([huge]) } else { huge };
            let Ok(mut read) = serde_json::from_value::<T>(changed) else { return false };
            if let Err(error) = read.bound() {
                assert_eq!(error.code, ErrorCode::BadRequest);
                assert!(error.message.contains(&format!("the field {field} has")), "{error}");
                return false;
            }
            let left: Map<String, Value> =
                serde_json::from_value(serde_json::to_value(&read).unwrap()).unwrap();
            left.get(*field).is_some_and(|left| left.to_string().len() > MAX_SUMMARY)
        };
        fields.filter(is_unbounded).cloned().collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn each_text_of_each_request_has_a_bound() {
        let register = json!({
            "instance": "i", "secret": "s", "session": "s", "client_name": "c", "client_version": "1",
            "cwd": "/", "directory": "/", "repo": "/", "name": "n", "channel": "absent",
            "version": "1",
        });
        assert_eq!(unbounded::<Register>(&register), NONE);
        let hook = json!({
            "event": "Stop", "session": "s", "turn": "t", "occasion": "o", "seen": ["m"],
            "source": "s", "cwd": "/",
        });
        assert_eq!(unbounded::<HookEvent>(&hook), NONE);
        let moved = json!({
            "session": "s", "cwd": "/", "directory": "/", "repo": "/", "worktree": "/",
        });
        assert_eq!(unbounded::<DirectoryChanged>(&moved), NONE);
        let written = json!({ "session": "s", "turn": "t", "ids": ["m"] });
        assert_eq!(unbounded::<HookWritten>(&written), NONE);
        let send = json!({ "to": "a", "text": "t", "reply_to": "m", "from_session": "s" });
        // The limit of a text is a setting.
        assert_eq!(unbounded::<SendMessage>(&send), ["text"]);
        let scope = json!({
            "scope": "machine", "text": "t", "directory": "/", "repo": "/", "from_session": "s",
        });
        assert_eq!(unbounded::<SendToScope>(&scope), ["text"]);
        // So is that of a summary, with a bound in its place.
        let profile = json!({ "summary": "s", "name": "n" });
        assert_eq!(unbounded::<SetProfile>(&profile), ["summary"]);
        let peers = json!({ "directory": "/", "repo": "/", "name": "n" });
        assert_eq!(unbounded::<ListPeers>(&peers), NONE);
        assert_eq!(unbounded::<ListMessages>(&json!({ "peer": "p", "id": "m" })), NONE);
        assert_eq!(unbounded::<Confirm>(&json!({ "ids": ["m"] })), NONE);
        assert_eq!(unbounded::<Written>(&json!({ "ids": ["m"] })), NONE);
        assert_eq!(unbounded::<TakeAnswer>(&json!({ "id": "m" })), NONE);
        assert_eq!(unbounded::<AwaitWake>(&json!({ "session": "s" })), NONE);
        assert_eq!(unbounded::<WakeGiven>(&json!({ "peer": "p", "upto": 1 })), NONE);
        let looked = json!({ "peer": "p", "turn": 1, "idle": true });
        assert_eq!(unbounded::<IdleCheckResult>(&looked), NONE);
        assert_eq!(unbounded::<CallerContext>(&json!({ "title": "t", "worktree": "/" })), NONE);
    }

    #[test]
    fn each_part_of_a_process_has_a_bound() {
        for part in ["start", "boot", "namespace"] {
            let mut client = json!({ "pid": 1 });
            client[part] = "x".repeat(MAX_ID + 1).into();
            let mut client: ProcessId = serde_json::from_value(client).unwrap();
            let error = client.bound().unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("grün", 3), "gr");
        assert_eq!(cut("grün", 4), "grü");
        assert_eq!(cut("grün", 100), "grün");
        let mut text = "店店".to_owned();
        shorten(&mut text, 5);
        assert_eq!(text, "店");
    }
}
