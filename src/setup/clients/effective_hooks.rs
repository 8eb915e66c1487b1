//! Whether Claude Code runs our hooks: where they are configured, and which setting disables them.
//!
//! Its settings are several files in order of precedence: the administrator's, the project's local and
//! shared ones, the user's. Options on a session's command line are not known here.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::setup::edit::file::MAX_BYTES;
use crate::setup::edit::ownership;
use crate::sys::files::read_text;

/// The paths of settings files, which need not exist.
#[derive(Debug, Clone)]
pub struct Places {
    /// The administrator's files; later ones take precedence.
    managed: Vec<PathBuf>,
    /// The others, from the nearest to the user's.
    others: [PathBuf; 3],
}

impl Places {
    /// Returns the files for sessions that are started in `project`. `user` is the directory of the
    /// user's settings.
    #[must_use]
    pub fn of(user: &Path, project: &Path) -> Self {
        let system = Path::new(if cfg!(target_os = "macos") {
            "/Library/Application Support/ClaudeCode"
        } else {
            "/etc/claude-code"
        });
        // Settings that an organisation distributes are cached in a file.
        let mut managed = managed_in(system);
        managed.push(user.join("remote-settings.json"));
        Self { managed, others: others(user, project) }
    }
}

fn others(user: &Path, project: &Path) -> [PathBuf; 3] {
    let project = project.join(".claude");
    [project.join("settings.local.json"), project.join("settings.json"), user.join("settings.json")]
}

fn managed_in(directory: &Path) -> Vec<PathBuf> {
    let mut files = vec![directory.join("managed-settings.json")];
    let parts = std::fs::read_dir(directory.join("managed-settings.d"));
    let mut parts: Vec<PathBuf> =
        parts.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    parts.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    parts.sort();
    files.extend(parts);
    files
}

/// Whether our hooks run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hooks {
    /// No hook of ours is configured.
    Absent,
    /// They are in this file, or in the plugin that it enables.
    InForce { place: PathBuf },
    /// The file that contains them nevertheless.
    Off { place: PathBuf, obstacle: Obstacle },
}

/// A setting that disables our hooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    pub key: &'static str,
    /// The file that contains the setting.
    pub file: PathBuf,
    /// Whether the file is an administrator's.
    pub managed: bool,
}

/// The source of our hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bringer {
    Administrator,
    Plugin,
    Settings,
}

/// One settings file that Claude Code can read.
struct File {
    path: PathBuf,
    value: Value,
}

impl File {
    fn read(path: &Path) -> Option<Self> {
        let value = serde_json::from_str(&read_text(path, MAX_BYTES).ok()?).ok()?;
        Some(Self { path: path.to_owned(), value })
    }

    fn switch(&self, key: &str) -> Option<bool> {
        self.value.get(key)?.as_bool()
    }
}

/// Returns all files, the nearest first.
struct Files {
    managed: Vec<File>,
    others: Vec<File>,
}

impl Files {
    fn read(places: &Places) -> Self {
        Self {
            managed: places.managed.iter().rev().filter_map(|path| File::read(path)).collect(),
            others: places.others.iter().filter_map(|path| File::read(path)).collect(),
        }
    }

    fn obstacle(&self, bringer: Bringer) -> Option<Obstacle> {
        let managed =
            |key| set(&self.managed, key).map(|file| Obstacle { key, file, managed: true });
        if let Some(found) = managed("disableAllHooks") {
            return Some(found);
        }
        if bringer == Bringer::Administrator {
            return None;
        }
        if let Some(found) = managed("allowManagedHooksOnly") {
            return Some(found);
        }
        let strict = self.managed.iter().find(|file| only_plugins(&file.value));
        if let Some(file) = strict.filter(|_| bringer == Bringer::Settings) {
            let (key, file) = ("strictPluginOnlyCustomization", file.path.clone());
            return Some(Obstacle { key, file, managed: true });
        }
        let key = "disableAllHooks";
        set(&self.others, key).map(|file| Obstacle { key, file, managed: false })
    }
}

/// Returns the nearest file that has the setting, if it enables it.
fn set(files: &[File], key: &str) -> Option<PathBuf> {
    let nearest = files.iter().find_map(|file| Some((file, file.switch(key)?)));
    nearest.filter(|(_, on)| *on).map(|(file, _)| file.path.clone())
}

/// Returns the setting that would disable our hooks.
#[must_use]
pub fn obstacle(places: &Places, bringer: Bringer) -> Option<Obstacle> {
    Files::read(places).obstacle(bringer)
}

/// Returns whether our hooks run in sessions with these settings.
#[must_use]
pub fn hooks(places: &Places) -> Hooks {
    let files = Files::read(places);
    let has_ours = |file: &&File| ownership::has_hook(&file.value);
    let mut all = files.managed.iter().chain(&files.others);
    let plugin = all
        .find_map(|file| Some((file, ownership::plugin(&file.value)?)))
        .filter(|(_, enabled)| *enabled);
    let found = if let Some(file) = files.managed.iter().find(has_ours) {
        Some((Bringer::Administrator, file))
    } else if let Some((file, _)) = plugin {
        // Plugin hooks may run where hooks in settings may not.
        Some((Bringer::Plugin, file))
    } else {
        files.others.iter().find(has_ours).map(|file| (Bringer::Settings, file))
    };
    let Some((bringer, file)) = found else { return Hooks::Absent };
    let place = file.path.clone();
    match files.obstacle(bringer) {
        Some(obstacle) => Hooks::Off { place, obstacle },
        None => Hooks::InForce { place },
    }
}

/// Returns whether an administrator allows only plugins to have hooks.
fn only_plugins(settings: &Value) -> bool {
    match settings.get("strictPluginOnlyCustomization") {
        Some(Value::Bool(strict)) => *strict,
        Some(Value::Array(parts)) => parts.iter().any(|part| part == "hooks"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn places(root: &Path) -> Places {
        Places {
            managed: managed_in(&root.join("etc")),
            others: others(&root.join("home/.claude"), &root.join("project")),
        }
    }

    const USER: &str = "home/.claude/settings.json";
    const PROJECT: &str = "project/.claude/settings.json";
    const LOCAL: &str = "project/.claude/settings.local.json";
    const MANAGED: &str = "etc/managed-settings.json";
    const PART: &str = "etc/managed-settings.d/10-hooks.json";

    fn ours() -> Value {
        let group =
            json!({ "hooks": [{ "type": "command", "command": "claude-peers hook Stop" }] });
        json!({ "hooks": { "Stop": [group] } })
    }

    fn with(key: &str, value: bool) -> Value {
        json!({ key: value })
    }

    #[test]
    fn what_keeps_our_hooks_from_running_is_found_wherever_it_stands() {
        let off = |key, by, managed| Some((key, by, managed));
        let disabled = with("disableAllHooks", true);
        let theirs = with("allowManagedHooksOnly", true);
        let plugin = json!({ "enabledPlugins": { "peers@claude-peers": true } });
        let strict = json!({ "strictPluginOnlyCustomization": ["hooks"] });
        let mut both = ours();
        both["disableAllHooks"] = json!(true);
        let cases = [
            (vec![(USER, ours())], None),
            (vec![(USER, both)], off("disableAllHooks", USER, false)),
            (
                vec![(USER, ours()), (PROJECT, disabled.clone())],
                off("disableAllHooks", PROJECT, false),
            ),
            (vec![(USER, ours()), (LOCAL, disabled.clone())], off("disableAllHooks", LOCAL, false)),
            // The nearer one wins.
            (
                vec![
                    (USER, ours()),
                    (PROJECT, disabled.clone()),
                    (LOCAL, with("disableAllHooks", false)),
                ],
                None,
            ),
            (
                vec![(USER, ours()), (MANAGED, disabled.clone())],
                off("disableAllHooks", MANAGED, true),
            ),
            (
                vec![(USER, ours()), (PART, theirs.clone())],
                off("allowManagedHooksOnly", PART, true),
            ),
            (
                vec![
                    (USER, ours()),
                    (MANAGED, theirs.clone()),
                    (PART, with("allowManagedHooksOnly", false)),
                ],
                None,
            ),
            // It is the administrator's to say.
            (vec![(USER, ours()), (PROJECT, theirs.clone())], None),
            (
                vec![(USER, plugin.clone()), (MANAGED, theirs.clone())],
                off("allowManagedHooksOnly", MANAGED, true),
            ),
            (
                vec![(USER, plugin.clone()), (LOCAL, disabled.clone())],
                off("disableAllHooks", LOCAL, false),
            ),
            (
                vec![(USER, ours()), (MANAGED, strict.clone())],
                off("strictPluginOnlyCustomization", MANAGED, true),
            ),
            (vec![(USER, plugin), (MANAGED, strict)], None),
            // Nobody else's settings switch off what is an administrator's.
            (vec![(MANAGED, ours()), (USER, disabled)], None),
        ];
        for (files, expected) in cases {
            let root = tempfile::tempdir().unwrap();
            for (name, value) in &files {
                let path = root.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, value.to_string()).unwrap();
            }
            match (hooks(&places(root.path())), expected) {
                (Hooks::InForce { place }, None) => assert!(place.starts_with(root.path())),
                (Hooks::Off { obstacle, .. }, Some((key, file, managed))) => {
                    let file = root.path().join(file);
                    assert_eq!(obstacle, Obstacle { key, file, managed });
                }
                (found, expected) => panic!("{files:?}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn where_none_of_our_hooks_stands_nothing_keeps_it_from_running() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(hooks(&places(root.path())), Hooks::Absent);
        let path = root.path().join(USER);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for other in [
            json!({ "disableAllHooks": true }),
            json!({ "hooks": { "Stop": [{ "hooks": [{ "type": "command", "command": "true" }] }] } }),
            json!({ "enabledPlugins": { "peers@claude-peers": false } }),
        ] {
            std::fs::write(&path, other.to_string()).unwrap();
            assert_eq!(hooks(&places(root.path())), Hooks::Absent, "{other}");
        }
        // The client goes without a file that is no plain JSON.
        std::fs::write(&path, format!("// mine\n{}", ours())).unwrap();
        assert_eq!(hooks(&places(root.path())), Hooks::Absent);
    }
}
