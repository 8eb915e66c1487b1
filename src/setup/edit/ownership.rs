//! What is recognisably ours in another program's configuration, whoever wrote it there.

use std::path::Path;

use serde_json::Value;

use crate::setup::clients::sandbox;
use crate::setup::clients::sandbox::is_our_socket;
use crate::setup::edit::change::{Change, Path as Place, at, path};

/// The name under which the server is registered.
pub const SERVER: &str = "claude-peers";

/// How a permission rule of Claude Code names the server that the plugin brings.
pub const PLUGIN_SERVER: &str = "plugin_peers_claude-peers";

/// A server entry, a permission rule, a group of hooks, or our program's path.
pub fn is_ours(value: &Value) -> bool {
    match value {
        Value::String(text) => is_rule(text) || is_program(text) || is_our_socket(text),
        Value::Object(_) => is_server(value) || is_group(value),
        _ => false,
    }
}

fn is_rule(text: &str) -> bool {
    text.strip_prefix("mcp__").is_some_and(|name| name == SERVER || name == PLUGIN_SERVER)
}

fn is_program(word: &str) -> bool {
    Path::new(word).file_name().is_some_and(|name| name == "claude-peers")
}

/// `command` and `args` as one list; some clients have it all in `command`.
fn words(server: &Value) -> Vec<&str> {
    ["command", "args"]
        .iter()
        .filter_map(|key| server.get(key))
        .flat_map(|value| match value {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            value => value.as_str().into_iter().collect::<Vec<_>>(),
        })
        .collect()
}

/// A server entry that runs `claude-peers mcp`, directly or through another program.
pub fn is_server(server: &Value) -> bool {
    words(server).windows(2).any(|pair| is_program(pair[0]) && pair[1] == "mcp")
}

/// The same, but not through another program: its command may be kept up to date.
pub fn is_plain_server(server: &Value) -> bool {
    matches!(words(server)[..], [program, "mcp"] if is_program(program))
}

/// A group of hooks that are all ours.
pub fn is_group(group: &Value) -> bool {
    group
        .get("hooks")
        .and_then(Value::as_array)
        .is_some_and(|hooks| !hooks.is_empty() && hooks.iter().all(is_hook))
}

/// A hook that runs `claude-peers hook` and nothing else. One that wraps it is its author's.
pub fn is_hook(hook: &Value) -> bool {
    let Some(command) = hook.get("command").and_then(Value::as_str) else { return false };
    let Some((program, event)) = command.rsplit_once(" hook ") else { return false };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    event.split_whitespace().all(|part| part.chars().all(word))
        && one_word(program.trim()).is_some_and(is_program)
}

/// Whether a hook of ours stands in these settings.
pub fn has_hook(settings: &Value) -> bool {
    let events = settings.get("hooks").and_then(Value::as_object);
    let groups = events.into_iter().flatten().filter_map(|(_, groups)| groups.as_array()).flatten();
    groups.filter_map(|group| group.get("hooks")?.as_array()).flatten().any(is_hook)
}

/// The plugin that brings server and hooks.
pub const PLUGIN: &str = "peers@claude-peers";

/// Whether these settings switch the plugin on or off, if they say.
pub fn plugin(settings: &Value) -> Option<bool> {
    settings.get("enabledPlugins")?.get(PLUGIN)?.as_bool()
}

/// What stands in the quotes, or the word itself where a shell reads nothing more into it.
fn one_word(text: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            let inner = inner.strip_suffix(quote)?;
            let escaped = if quote == '"' {
                inner.replace("\\\\", "").replace("\\\"", "")
            } else {
                inner.to_owned()
            };
            return (!escaped.contains(quote)).then_some(inner);
        }
    }
    let special = |c: char| c.is_whitespace() || ['|', ';', '&', '<', '>', '('].contains(&c);
    (!text.contains(special)).then_some(text)
}

/// The changes that take all that is recognisably ours out of the servers in `container`, the
/// permissions and the hooks.
pub fn taken_out(value: &Value, container: &str) -> Vec<Change> {
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
    out.extend(taken_from(value, &sandbox::sockets(), ours));
    let events = value.get("hooks").and_then(Value::as_object);
    for event in events.into_iter().flat_map(|events| events.keys()) {
        out.extend(hooks_taken_out(value, event));
    }
    prune(value, out)
}

/// The changes that take our hooks of one event out, from the last to the first.
pub fn hooks_taken_out(value: &Value, event: &str) -> Vec<Change> {
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

/// Adds the removal of what the changes leave empty.
fn prune(value: &Value, mut changes: Vec<Change>) -> Vec<Change> {
    let mut after = value.clone();
    let mut places: Vec<Place> = Vec::new();
    for change in &changes {
        // What cannot be done here cannot be done to the file either, and is told there.
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
    fn ours_is_told_from_what_wraps_it_and_from_what_is_like_it() {
        let hook = |command: &str| is_hook(&json!({ "type": "command", "command": command }));
        assert!(hook("claude-peers hook Stop"));
        assert!(hook("\"/opt/my tools/claude-peers\" hook Stop --wait"));
        assert!(hook("'/opt/claude-peers' hook SessionStart"));
        assert!(!hook("tee -a x | /usr/bin/claude-peers hook Stop"));
        assert!(!hook("env A=1 /usr/bin/claude-peers hook Stop"));
        assert!(!hook("/usr/bin/claude-peers hook Stop; notify-send done"));
        assert!(!hook("/usr/bin/claude-peers hook Stop | tee -a x"));
        assert!(!hook("\"/bin/mark\" && \"/usr/bin/claude-peers\" hook Stop"));
        assert!(hook("\"/opt/R&D (new)/a hook b/claude-peers\" hook Stop --wait"));
        assert!(!hook("/usr/bin/other hook Stop"));
        assert!(!hook("claude-peers status"));

        assert!(is_server(&json!({ "command": "/usr/bin/claude-peers", "args": ["mcp"] })));
        assert!(is_server(&json!({ "type": "local", "command": ["/x/claude-peers", "mcp"] })));
        let wrapped = json!({ "command": "env", "args": ["A=1", "claude-peers", "mcp"] });
        assert!(is_server(&wrapped) && !is_plain_server(&wrapped));
        assert!(!is_server(
            &json!({ "command": "bun", "args": ["/x/claude-peers-mcp/server.ts"] })
        ));
        assert!(!is_server(&json!(null)));
    }

    #[test]
    fn nothing_of_ours_is_left_and_nothing_else_is_gone() {
        let theirs = json!({ "type": "command", "command": "notify" });
        let ours = json!({ "type": "command", "command": "/a/claude-peers hook Stop" });
        let mut value = json!({
            "mcpServers": { "claude-peers": { "command": "/a/claude-peers", "args": ["mcp"] } },
            "permissions": { "allow": ["Bash", "mcp__claude-peers", "mcp__claude-peers-other"] },
            "hooks": {
                "Stop": [{ "hooks": [ours, theirs] }, { "hooks": [ours] }],
                "SessionEnd": [{ "hooks": [ours] }],
            },
        });
        for change in taken_out(&value, "mcpServers") {
            change.apply(&mut value).unwrap();
        }
        let left = json!({
            "permissions": { "allow": ["Bash", "mcp__claude-peers-other"] },
            "hooks": { "Stop": [{ "hooks": [theirs] }] },
        });
        assert_eq!(value, left);
    }
}
