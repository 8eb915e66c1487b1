//! Tells what is ours in another program's configuration, even where a person wrote it.

use std::path::Path;

use serde_json::Value;

/// The name under which the server is registered.
pub const SERVER: &str = "claude-peers";

/// The plugin's server in a permission rule of Claude Code.
pub const PLUGIN_SERVER: &str = "plugin_peers_claude-peers";

/// `sandbox.network.allowUnixSockets`: the paths of sockets that commands may connect to.
pub const SANDBOX_SOCKETS: [&str; 3] = ["sandbox", "network", "allowUnixSockets"];

/// Returns whether a value is ours: a server entry, a permission rule, a group of hooks,
/// a status line, the path of our program or of the broker's socket.
pub fn is_ours(value: &Value) -> bool {
    match value {
        Value::String(text) => is_rule(text) || is_program(text) || is_our_socket(text),
        Value::Object(_) => is_server(value) || is_group(value) || is_status_line(value),
        _ => false,
    }
}

pub fn is_rule(text: &str) -> bool {
    text.strip_prefix("mcp__").is_some_and(|name| name == SERVER || name == PLUGIN_SERVER)
}

fn is_program(word: &str) -> bool {
    Path::new(word).file_name().is_some_and(|name| name == "claude-peers")
}

/// Returns `command` and `args` as one list; some clients have both in `command`.
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

/// Returns whether a server entry runs `claude-peers mcp`, directly or through another program.
pub fn is_server(server: &Value) -> bool {
    words(server).windows(2).any(|pair| is_program(pair[0]) && pair[1] == "mcp")
}

/// Returns whether a server entry runs `claude-peers mcp` directly, so that its path may be updated.
pub fn is_plain_server(server: &Value) -> bool {
    matches!(words(server)[..], [program, "mcp"] if is_program(program))
}

/// Returns whether all hooks of a group are ours.
pub fn is_group(group: &Value) -> bool {
    group
        .get("hooks")
        .and_then(Value::as_array)
        .is_some_and(|hooks| !hooks.is_empty() && hooks.iter().all(is_hook))
}

/// Returns whether a hook runs `claude-peers hook` and nothing else. A hook that wraps it is its
/// author's.
pub fn is_hook(hook: &Value) -> bool {
    let Some(command) = hook.get("command").and_then(Value::as_str) else { return false };
    let Some((program, event)) = command.rsplit_once(" hook ") else { return false };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    event.split_whitespace().all(|part| part.chars().all(word))
        && one_word(program.trim()).is_some_and(is_program)
}

/// Returns whether a status line runs `claude-peers statusline` and nothing else.
pub fn is_status_line(line: &Value) -> bool {
    let command = line.get("command").and_then(Value::as_str);
    let program = command.and_then(|command| command.trim().strip_suffix(" statusline"));
    program.is_some_and(|program| one_word(program.trim()).is_some_and(is_program))
}

/// Returns whether these settings contain a hook of ours.
pub fn has_hook(settings: &Value) -> bool {
    let events = settings.get("hooks").and_then(Value::as_object);
    let groups = events.into_iter().flatten().filter_map(|(_, groups)| groups.as_array()).flatten();
    groups.filter_map(|group| group.get("hooks")?.as_array()).flatten().any(is_hook)
}

/// The plugin that contains server and hooks.
pub const PLUGIN: &str = "peers@claude-peers";

/// Returns whether these settings enable or disable the plugin; `None` if they do neither.
pub fn plugin(settings: &Value) -> Option<bool> {
    settings.get("enabledPlugins")?.get(PLUGIN)?.as_bool()
}

/// Returns the content of a quoted word, or the word itself if it is one plain word for a shell.
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

/// Returns whether a path is that of a broker's socket, in any directory.
pub fn is_our_socket(text: &str) -> bool {
    let mut parts = text.rsplit('/');
    let (name, directory) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_in_ours =
        directory == "claude-peers" || (directory == "run" && parts.next() == Some("claude-peers"));
    let stem = name.strip_suffix(".sock");
    is_in_ours && stem.is_some_and(|stem| stem.starts_with("broker"))
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
}
