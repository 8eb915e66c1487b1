//! Whether Claude Code asks before it calls our tools, by the settings that hold in a directory.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::setup::clients::claude::Claude;
use crate::setup::edit::change::{at, path};
use crate::setup::edit::file::ConfigFile;
use crate::setup::host::Host;

/// The directory of an administrator's settings.
const MANAGED: &str = if cfg!(target_os = "macos") {
    "/Library/Application Support/ClaudeCode/managed-settings.json"
} else {
    "/etc/claude-code/managed-settings.json"
};

/// What Claude Code does with a call of our tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// It is allowed.
    Given,
    /// The user is asked each time; without a user it is refused. The permission rule would allow it.
    Missing { rule: String },
    /// The user is asked each time, and only the administrator's settings could allow it.
    Managed { rule: String, file: PathBuf },
    /// A rule denies it.
    Denied { rule: String, file: PathBuf },
}

/// Evaluates the settings for sessions in `directory`, for the server that the client lists as `server`
/// (`plugin:peers:claude-peers` for the plugin's).
#[must_use]
pub fn of_server(host: &Host, directory: &Path, server: &str, tools: &[&str]) -> Permission {
    let managed = PathBuf::from(MANAGED);
    let own = [
        Claude::new(host).settings(),
        directory.join(".claude/settings.json"),
        directory.join(".claude/settings.local.json"),
    ];
    let files = std::iter::once(managed.clone()).chain(own);
    let settings: Vec<(PathBuf, Value)> =
        files.filter_map(|file| Some((file.clone(), plain(&file)?))).collect();
    let only_managed = settings.iter().any(|(file, value)| {
        *file == managed && value.get("allowManagedPermissionRulesOnly") == Some(&true.into())
    });
    decide(&settings, server, tools, only_managed.then_some(managed))
}

/// Returns the file's JSON. A file that is not JSON counts as empty, as for the client.
fn plain(file: &Path) -> Option<Value> {
    serde_json::from_str(ConfigFile::read(file).ok()?.text()).ok()
}

fn decide(
    settings: &[(PathBuf, Value)],
    server: &str,
    tools: &[&str],
    only: Option<PathBuf>,
) -> Permission {
    let rule = format!("mcp__{}", in_rules(server));
    for (file, value) in settings {
        let denied =
            rules(value, "deny").any(|denied| tools.iter().any(|t| fits(denied, &rule, t)));
        if denied {
            return Permission::Denied { rule, file: file.clone() };
        }
    }
    let counts = |file: &PathBuf| only.as_ref().is_none_or(|only| only == file);
    let allowed = |tool: &&&str| {
        let mut in_force = settings.iter().filter(|(file, _)| counts(file));
        in_force.any(|(_, value)| rules(value, "allow").any(|allowed| fits(allowed, &rule, tool)))
    };
    let asks_nothing = settings.iter().any(|(_, value)| {
        at(value, &path(&["permissions", "defaultMode"])) == Some(&"bypassPermissions".into())
    });
    if asks_nothing || tools.iter().filter(allowed).count() == tools.len() {
        return Permission::Given;
    }
    match only {
        Some(file) => Permission::Managed { rule, file },
        None => Permission::Missing { rule },
    }
}

/// Returns a server's name as the client writes it in tool names.
fn in_rules(server: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    server.chars().map(|c| if kept(c) { c } else { '_' }).collect()
}

fn rules<'a>(settings: &'a Value, kind: &str) -> impl Iterator<Item = &'a str> {
    let list = at(settings, &path(&["permissions", kind])).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// Returns whether a rule is about one tool of the server that `ours` names.
fn fits(rule: &str, ours: &str, tool: &str) -> bool {
    match rule.strip_prefix(ours) {
        Some("") => true,
        Some(rest) => rest.strip_prefix("__").is_some_and(|name| name == "*" || name == tool),
        None => rule == "mcp__*",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TOOLS: [&str; 2] = ["list_peers", "send_message"];
    const PLUGIN: &str = "plugin:peers:claude-peers";

    fn decided(server: &str, permissions: &[Value], only: Option<&str>) -> Permission {
        let file = |n: usize| PathBuf::from(format!("/{n}"));
        let settings: Vec<(PathBuf, Value)> = permissions
            .iter()
            .enumerate()
            .map(|(n, value)| (file(n), json!({ "permissions": value })))
            .collect();
        decide(&settings, server, &TOOLS, only.map(PathBuf::from))
    }

    #[test]
    fn a_rule_counts_for_the_server_that_it_names_and_for_no_other() {
        let given = |server: &str, rules: Value| {
            decided(server, &[json!({ "allow": rules })], None) == Permission::Given
        };
        assert!(given("claude-peers", json!(["Bash", "mcp__claude-peers"])));
        assert!(given("claude-peers", json!(["mcp__claude-peers__*"])));
        assert!(given("my peers", json!(["mcp__my_peers"])));
        assert!(given(PLUGIN, json!(["mcp__plugin_peers_claude-peers"])));
        assert!(given("p", json!(["mcp__p__list_peers", "mcp__p__send_message"])));
        assert!(!given("p", json!(["mcp__p__list_peers"])), "not all of its tools");
        assert!(!given(PLUGIN, json!(["mcp__claude-peers", "mcp__plugin_peers"])));
        assert!(!given("claude-peers", json!(["mcp__claude-peers-other", "mcp__claude"])));
        let rule = "mcp__plugin_peers_claude-peers".to_owned();
        assert_eq!(decided(PLUGIN, &[], None), Permission::Missing { rule });
    }

    #[test]
    fn a_denial_wins_and_who_may_bypass_is_not_asked() {
        let allow = json!({ "allow": ["mcp__p"] });
        let deny = json!({ "deny": ["mcp__p__send_message"] });
        let denied = decided("p", &[allow.clone(), deny], None);
        assert!(matches!(denied, Permission::Denied { file, .. } if file == Path::new("/1")));
        let bypass = json!({ "defaultMode": "bypassPermissions" });
        assert_eq!(decided("p", &[bypass], None), Permission::Given);
        let managed = decided("p", &[json!({}), allow.clone()], Some("/0"));
        assert!(matches!(managed, Permission::Managed { .. }), "{managed:?}");
        assert_eq!(decided("p", &[allow, json!({})], Some("/0")), Permission::Given);
    }
}
