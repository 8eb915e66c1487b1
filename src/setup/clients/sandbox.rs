//! Claude Code's sandbox for commands, which forbids all Unix sockets except those in its settings.
//!
//! The session's server and hooks run outside it; this is for `claude-peers` in the Bash tool.

use serde_json::Value;

use crate::setup::edit::change::{Change, at, path};
use crate::setup::edit::ownership::SANDBOX_SOCKETS;

/// Returns the change that lets commands in the sandbox reach the broker; `None` if there is no sandbox
/// or they can already.
pub fn opened(settings: &Value, socket: &str) -> Option<Change> {
    let is = |place: &[&str]| at(settings, &path(place)) == Some(&Value::Bool(true));
    if !is(&["sandbox", "enabled"]) || is(&["sandbox", "network", "allowAllUnixSockets"]) {
        return None;
    }
    let sockets = path(&SANDBOX_SOCKETS);
    let listed = at(settings, &sockets).and_then(Value::as_array);
    let socket = Value::String(socket.to_owned());
    let is_listed = listed.is_some_and(|listed| listed.contains(&socket));
    (!is_listed).then_some(Change::Append { path: sockets, value: socket })
}

/// Returns the remark that the list has no effect on this system, if that is so.
pub fn note() -> Option<String> {
    cfg!(target_os = "linux").then(|| {
        "On Linux Claude Code's sandbox ignores sandbox.network.allowUnixSockets. For \
         `claude-peers` in its Bash tool, either set sandbox.network.allowAllUnixSockets, or add \
         claude-peers to sandbox.excludedCommands. The session's tools and hooks need neither."
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::setup::edit::ownership::is_our_socket;

    use super::*;

    #[test]
    fn a_sandbox_is_opened_for_our_socket_once() {
        let socket = "/run/user/1000/claude-peers/broker.sock";
        assert!(opened(&json!({}), socket).is_none());
        assert!(opened(&json!({ "sandbox": { "enabled": false } }), socket).is_none());
        let all =
            json!({ "sandbox": { "enabled": true, "network": { "allowAllUnixSockets": true } } });
        assert!(opened(&all, socket).is_none());
        let mut value = json!({ "sandbox": { "enabled": true } });
        opened(&value, socket).unwrap().apply(&mut value).unwrap();
        assert_eq!(value["sandbox"]["network"]["allowUnixSockets"], json!([socket]));
        assert!(opened(&value, socket).is_none());
        assert!(
            is_our_socket(socket)
                && is_our_socket("/h/.local/state/claude-peers/run/broker-1.sock")
        );
        assert!(!is_our_socket("/run/docker.sock") && !is_our_socket("/x/run/broker.sock"));
    }
}
