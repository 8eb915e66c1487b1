//! Questions, whose sender waits for the reply, and the replies to them.

use std::process::{Child, Stdio};

use serde_json::json;

use super::http::{RawPeer, Request};
use super::{Sandbox, Session, until};

/// A wait that is longer than any test needs, and never waited out, in seconds.
pub const LONG: u64 = 60;

/// Starts a `send_message` that waits. Returns the request's id and, once it is stored, that of the
/// message.
pub fn ask(
    sandbox: &Sandbox,
    session: &mut Session,
    to: &str,
    text: &str,
    seconds: u64,
) -> (u64, String) {
    let arguments = json!({ "to_id": to, "message": text, "wait_seconds": seconds });
    let request = session.start_request(
        "tools/call",
        json!({ "name": "send_message", "arguments": arguments, "_meta": { "progressToken": text } }),
    );
    (request, stored(sandbox, text))
}

/// The id of the message of this text, once it is stored.
pub fn stored(sandbox: &Sandbox, text: &str) -> String {
    let mut id = String::new();
    until("the message is stored", || {
        let log = sandbox.json(["log", "-n", "500"]);
        let found = log["messages"].as_array().unwrap().iter().find(|m| m["text"] == text).cloned();
        id = found.map(|m| m["id"].as_str().unwrap().to_owned()).unwrap_or_default();
        !id.is_empty()
    });
    id
}

/// Sends as the peer; returns the message's id.
#[track_caller]
pub fn reply(
    sandbox: &Sandbox,
    from: &RawPeer,
    to: &str,
    text: &str,
    reply_to: Option<&str>,
) -> String {
    let mut body = json!({ "to": to, "text": text });
    if let Some(id) = reply_to {
        body["reply_to"] = json!(id);
    }
    let answer = Request::post("/v1/messages", &body).session(&from.secret).unix(sandbox);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[track_caller]
pub fn assert_read(sandbox: &Sandbox, id: &str, via: &str) {
    until("it is read", || sandbox.message(id)["state"] == "read");
    assert_eq!(sandbox.message(id)["read_via"], via);
}

/// Replies as soon as the next broker serves.
pub fn reply_to_the_next_broker(
    sandbox: &Sandbox,
    peer: &RawPeer,
    to: &str,
    text: &str,
    question: &str,
) -> String {
    until("another broker serves", || sandbox.status_is("running"));
    reply(sandbox, peer, to, text, Some(question))
}

/// Starts `claude-peers send --wait`. Returns the process and, once it is stored, the message's id.
pub fn cli_ask(sandbox: &Sandbox, to: &str, text: &str, more: &[&str]) -> (Child, String) {
    let wait = LONG.to_string();
    let mut command = sandbox.command(["send", "--wait", &wait]);
    command.args(more).args([to, text]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = stored(sandbox, text);
    (child, id)
}
