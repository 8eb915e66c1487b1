//! Claude Code: the server by `claude mcp`, or in its file if there is no such command; hooks and the
//! permission rule in `settings.json`.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::setup::clients::claude_command::{Registration, entry};
use crate::setup::clients::effective_hooks;
use crate::setup::clients::effective_hooks::{Bringer, Places};
use crate::setup::clients::hooks;
use crate::setup::clients::sandbox;
use crate::setup::clients::servers::Servers;
use crate::setup::clients::statusline;
use crate::setup::edit::change::{Change, at, path};
use crate::setup::edit::file::ConfigFile;
use crate::setup::edit::json;
use crate::setup::edit::ownership;
use crate::setup::edit::ownership::PLUGIN;
use crate::setup::edit::removal;
use crate::setup::edit::syntax::Syntax;
use crate::setup::error::SetupError;
use crate::setup::host::Host;
use crate::setup::plan::Options;
use crate::setup::plan::Plan;
use crate::setup::undo::{Record, Store};
use crate::sys::{subprocess, version};

/// The limit of `claude --version`, which starts a large JavaScript program.
const VERSION: Duration = Duration::from_secs(10);

/// The files of Claude Code.
pub struct Claude<'a> {
    host: &'a Host,
    directory: PathBuf,
}

impl<'a> Claude<'a> {
    pub fn new(host: &'a Host) -> Self {
        let named = host.directory("CLAUDE_CONFIG_DIR");
        let directory = named.unwrap_or_else(|| host.home.join(".claude"));
        Self { host, directory }
    }

    /// Returns its program, which need not be in PATH.
    pub fn program(&self) -> Option<PathBuf> {
        let own = [self.host.home.join(".local/bin/claude"), self.directory.join("local/claude")];
        self.host.program_of(&["claude"], &own)
    }

    pub fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// Returns the user's settings file.
    pub fn settings(&self) -> PathBuf {
        self.directory.join("settings.json")
    }

    /// Returns its state file, which contains the servers. An old installation has it in the
    /// configuration directory.
    fn state(&self) -> PathBuf {
        let old = self.directory.join(".config.json");
        if std::fs::metadata(&old).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0) {
            return old;
        }
        let named = self.host.directory("CLAUDE_CONFIG_DIR");
        named.unwrap_or_else(|| self.host.home.clone()).join(".claude.json")
    }

    /// Returns its servers, as `claude mcp add` writes them.
    fn servers(&self) -> Servers {
        Servers::usual(self.state(), &self.host.program)
    }

    fn read(file: &ConfigFile) -> Result<Value, SetupError> {
        json::parse(file.text()).map_err(|problem| SetupError::text(&file.path, &problem, ""))
    }

    /// Plans the set-up.
    pub fn plan(&self, store: Store, options: Options) -> Result<Plan, SetupError> {
        let mut plan = Plan::new(store, false);
        let settings = ConfigFile::read(&self.settings())?;
        let state = ConfigFile::read(&self.state())?;
        let (settings_value, state_value) = (Self::read(&settings)?, Self::read(&state)?);
        plan.caveat = unread(&settings);
        let servers = self.servers();
        let in_settings = !removal::removals(&settings_value, servers.container).is_empty();
        plan.present = servers.ours(&state_value).is_some() || in_settings;
        if has_plugin(&settings_value) {
            plan.notes
                .push(format!("The plugin {PLUGIN} already contains the server and the hooks."));
            if plan.present && self.is_beside_plugin(&settings_value, &state_value) {
                plan.notes.push(
                    "To remove the second, unneeded registration: claude-peers setup claude --undo"
                        .to_owned(),
                );
            }
            plan.notes.extend(self.obstacle(Bringer::Plugin));
            plan.present = true;
            // Only the user's settings can contain the rule, so the plugin cannot.
            let permission = permission(&settings_value, ownership::PLUGIN_SERVER);
            let mut changes: Vec<Change> =
                permission.filter(|_| options.permission).into_iter().collect();
            self.add_status_line(&settings_value, options, &mut changes, &mut plan.notes);
            plan.change(settings, Syntax::Json, &changes, "correct that, and run this again")?;
            return Ok(plan);
        }

        let wanted = servers.wanted(&state_value);
        plan.notes.extend(wanted.note);
        if wanted.changes.is_empty() {
            // It is there already.
        } else if let Some(program) = self.program() {
            // `claude mcp` may replace a read-only file.
            state.check_writable()?;
            let now = entry(&state_value, &wanted.name);
            let mut value = state_value.clone();
            for change in &wanted.changes {
                change.apply(&mut value).map_err(|shape| {
                    SetupError::text(&state.path, &shape.into(), &servers.by_hand())
                })?;
            }
            let wanted_entry = entry(&value, &wanted.name);
            let name = wanted.name.clone();
            let config = state;
            plan.registrations.push(Registration {
                program,
                config,
                name,
                now,
                wanted: wanted_entry,
            });
        } else {
            plan.notes.push(
                "There is no `claude` in PATH, so setup edits ~/.claude.json directly.".to_owned(),
            );
            plan.change(state, Syntax::Json, &wanted.changes, &servers.by_hand())?;
        }

        let mut changes = Vec::new();
        if options.permission {
            changes.extend(permission(&settings_value, &wanted.name));
        }
        if options.hooks {
            // Its program is run only if there is something to do.
            let newest = Some([u64::MAX; 3]);
            if !self.hooks(&settings_value, newest).is_empty() {
                let version = self.version();
                changes.extend(self.hooks(&settings_value, version));
                if let Some(needed) = hooks::lacks_stop_failure(version) {
                    plan.notes.push(format!(
                        "The hook StopFailure is left out: it needs {needed}. Everything works without \
                         it, but a session whose turn failed is woken later than with it."
                    ));
                }
            }
            plan.notes.extend(self.obstacle(Bringer::Settings));
        }
        if options.sandbox
            && let Some(change) = sandbox::opened(&settings_value, &self.host.socket)
        {
            changes.push(change);
            plan.notes.extend(sandbox::note());
        }
        self.add_status_line(&settings_value, options, &mut changes, &mut plan.notes);
        plan.change(settings, Syntax::Json, &changes, "correct that, and run this again")?;
        Ok(plan)
    }

    /// Plans the status line if it is wanted, and offers it otherwise when something else is set up.
    fn add_status_line(
        &self,
        settings: &Value,
        options: Options,
        changes: &mut Vec<Change>,
        notes: &mut Vec<String>,
    ) {
        if !options.status_line {
            notes.extend(statusline::offer(settings).filter(|_| !changes.is_empty()));
            return;
        }
        match statusline::wanted(settings, &hooks::quoted(&self.host.program)) {
            Ok(change) => changes.extend(change),
            Err(remark) => notes.push(remark),
        }
    }

    /// Returns what keeps our hooks from running in sessions that are started here.
    fn obstacle(&self, bringer: Bringer) -> Option<String> {
        let project = std::env::current_dir().unwrap_or_else(|_| self.host.home.clone());
        let found = effective_hooks::obstacle(&Places::of(&self.directory, &project), bringer)?;
        let (key, file) = (found.key, found.file.display());
        let whose = if found.managed { " It is an administrator's." } else { "" };
        Some(format!(
            "{key} is set in {file}. Until it is removed, none of our hooks run, and sessions see \
             mail only when they call a tool.{whose}"
        ))
    }

    /// Returns the version that `claude --version` prints.
    fn version(&self) -> Option<[u64; 3]> {
        let program = self.program()?;
        let said = subprocess::run_named(program.to_str()?, &["--version"], VERSION).ok()?;
        version::parse(&said.output).filter(|_| said.succeeded())
    }

    /// Returns whether more of ours is set up than the permission rule of the plugin's server.
    fn is_beside_plugin(&self, settings: &Value, state: &Value) -> bool {
        let hooks = settings.get("hooks").and_then(Value::as_object);
        let mut events = hooks.into_iter().flat_map(|events| events.keys());
        self.servers().ours(state).is_some()
            || permission(settings, ownership::SERVER).is_none()
            || events.any(|event| !removal::hook_removals(settings, event).is_empty())
    }

    /// Returns the changes that give each event our group of hooks exactly once, in its current form.
    fn hooks(&self, value: &Value, version: Option<[u64; 3]>) -> Vec<Change> {
        let mut changes = Vec::new();
        for (event, group) in hooks::groups(&hooks::quoted(&self.host.program), version) {
            let groups = path(&["hooks", event]);
            let others = removal::hook_removals(value, event);
            let is_there = at(value, &groups)
                .and_then(Value::as_array)
                .is_some_and(|list| list.contains(&group));
            if is_there && others.len() == 1 {
                continue;
            }
            changes.extend(others);
            changes.push(Change::Append { path: groups, value: group });
        }
        changes
    }

    /// Plans how to undo the set-up.
    pub fn undo(&self, store: Store) -> Result<Plan, SetupError> {
        let record = store.load()?;
        let mut plan = Plan::new(store, true);
        let servers = self.servers();
        let state = ConfigFile::read(&self.state())?;
        let by_command =
            record.server(&state.path).is_some() || (record.is_empty() && self.program().is_some());
        if by_command {
            self.unregister(&mut plan, state, &record)?;
        } else {
            plan.take_back(state, &servers, &record)?;
        }
        let settings = ConfigFile::read(&self.settings())?;
        plan.take_back(settings, &Servers { file: self.settings(), ..servers }, &record)?;
        Ok(plan)
    }

    /// Plans how `claude mcp` removes the server.
    fn unregister(
        &self,
        plan: &mut Plan,
        state: ConfigFile,
        record: &Record,
    ) -> Result<(), SetupError> {
        let value = Self::read(&state)?;
        let known = record.server(&state.path).cloned();
        let servers = self.servers();
        let name = known.as_ref().map(|known| known.name.as_str());
        let name = name.or_else(|| servers.ours(&value).map(|(name, _)| name));
        let now = name.and_then(|name| entry(&value, name));
        if known.is_some() && now.is_none() {
            plan.mark_stale(&state.path);
        }
        if let (Some(name), Some(now)) = (name, now.filter(ownership::is_server)) {
            let name = name.to_owned();
            if let Some(program) = self.program() {
                let wanted = known.and_then(|known| known.before);
                let (config, now) = (state, Some(now));
                plan.registrations.push(Registration { program, config, name, now, wanted });
            } else {
                plan.notes.push(format!(
                    "There is no `claude` program in PATH, so the server stays registered. \
                     Later: claude mcp remove --scope user {name}"
                ));
            }
        }
        Ok(())
    }
}

/// Checks that a settings file is plain JSON: Claude Code ignores the whole file otherwise.
fn unread(settings: &ConfigFile) -> Option<String> {
    let text = settings.text();
    let error = serde_json::from_str::<Value>(text).err().filter(|_| !text.trim().is_empty())?;
    Some(format!(
        "Claude Code ignores the whole of {} because it is not plain JSON (line {}): take comments \
         and trailing commas out of it, or none of your settings there counts.",
        settings.path.display(),
        error.line()
    ))
}

fn rule(name: &str) -> String {
    format!("mcp__{name}")
}

fn permission(value: &Value, name: &str) -> Option<Change> {
    let allow = path(&["permissions", "allow"]);
    let rule = Value::String(rule(name));
    let rules = at(value, &allow).and_then(Value::as_array);
    let is_there = rules.is_some_and(|rules| rules.contains(&rule));
    (!is_there).then_some(Change::Append { path: allow, value: rule })
}

fn has_plugin(settings: &Value) -> bool {
    ownership::plugin(settings) == Some(true)
}
