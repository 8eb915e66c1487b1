//! The changes that take everything of ours out of another program's configuration.

use serde_json::Value;

use crate::setup::edit::change::{Change, Path as Place, at, path};
use crate::setup::edit::ownership::{
    SANDBOX_SOCKETS, is_group, is_hook, is_our_socket, is_rule, is_server, is_status_line,
};

/// Returns the changes that remove everything recognisably ours from the servers in `container`, the
/// permissions, the hooks and the status line.
pub fn removals(value: &Value, container: &str) -> Vec<Change> {
    let mut out = Vec::new();
    let servers = value.get(container).and_then(Value::as_object);
    for (name, server) in servers.into_iter().flatten() {
        if is_server(server) {
            out.push(Change::Remove { path: path(&[container, name]) });
        }
    }
    let rules = path(&["permissions", "allow"]);
    out.extend(taken_from(value, &rules, |rule| rule.as_str().is_some_and(is_rule)));
    let ours = |socket: &Value| socket.as_str().is_some_and(is_our_socket);
    out.extend(taken_from(value, &path(&SANDBOX_SOCKETS), ours));
    let events = value.get("hooks").and_then(Value::as_object);
    for event in events.into_iter().flat_map(|events| events.keys()) {
        out.extend(hook_removals(value, event));
    }
    if value.get("statusLine").is_some_and(is_status_line) {
        out.push(Change::Remove { path: path(&["statusLine"]) });
    }
    prune(value, out)
}

/// Returns the changes that remove our hooks of one event, from the last to the first.
pub fn hook_removals(value: &Value, event: &str) -> Vec<Change> {
    let groups = path(&["hooks", event]);
    let mut out = Vec::new();
    for (index, group) in elements(value, &groups).iter().enumerate().rev() {
        if is_group(group) {
            out.push(Change::Take { path: groups.clone(), index });
        } else {
            let hooks = path(&["hooks", event, &index.to_string(), "hooks"]);
            out.extend(taken_from(value, &hooks, is_hook));
        }
    }
    out
}

fn taken_from(value: &Value, place: &Place, ours: impl Fn(&Value) -> bool) -> Vec<Change> {
    let found = elements(value, place).iter().enumerate().rev();
    found
        .filter(|(_, element)| ours(element))
        .map(|(index, _)| Change::Take { path: place.clone(), index })
        .collect()
}

fn elements<'a>(value: &'a Value, place: &Place) -> &'a [Value] {
    at(value, place).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Adds the removal of objects and arrays that the changes leave empty.
fn prune(value: &Value, mut changes: Vec<Change>) -> Vec<Change> {
    let mut after = value.clone();
    let mut places: Vec<Place> = Vec::new();
    for change in &changes {
        // A change that fails here fails for the file, too, and is reported there.
        let _ = change.apply(&mut after);
        let place = match change {
            Change::Take { path, .. } => path.clone(),
            Change::Remove { path } => path[..path.len().saturating_sub(1)].to_vec(),
            _ => continue,
        };
        places.extend((1..=place.len()).rev().map(|depth| place[..depth].to_vec()));
    }
    for place in places {
        let empty = at(&after, &place).is_some_and(|value| {
            value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(serde_json::Map::is_empty)
        });
        let change = Change::Remove { path: place };
        if empty && change.apply(&mut after).is_ok() {
            changes.push(change);
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_of_ours_is_left_and_nothing_else_is_gone() {
        let theirs = json!({ "type": "command", "command": "notify" });
        let ours = json!({ "type": "command", "command": "/a/claude-peers hook Stop" });
        let mut value = json!({
            "mcpServers": { "claude-peers": { "command": "/a/claude-peers", "args": ["mcp"] } },
            "statusLine": { "type": "command", "command": "'/a b/claude-peers' statusline" },
            "permissions": { "allow": ["Bash", "mcp__claude-peers", "mcp__claude-peers-other"] },
            "hooks": {
                "Stop": [{ "hooks": [ours, theirs] }, { "hooks": [ours] }],
                "SessionEnd": [{ "hooks": [ours] }],
            },
        });
        for change in removals(&value, "mcpServers") {
            change.apply(&mut value).unwrap();
        }
        let left = json!({
            "permissions": { "allow": ["Bash", "mcp__claude-peers-other"] },
            "hooks": { "Stop": [{ "hooks": [theirs] }] },
        });
        assert_eq!(value, left);
    }
}
