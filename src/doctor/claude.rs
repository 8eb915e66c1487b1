//! Claude Code: its version, and whether it knows our server and reaches it.

use std::io;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::config::Environment;
use crate::doctor::finding::Finding;
use crate::doctor::shell;
use crate::mcp::ToolName;
use crate::setup::Host;
use crate::setup::clients::permission;
use crate::setup::clients::permission::Permission;
use crate::sys::subprocess;

const CHECK: &str = "claude";

/// `claude --version` starts a whole JavaScript program.
const VERSION: Duration = Duration::from_secs(10);

/// `claude mcp list` starts every server that it knows, and waits for each.
const LIST: Duration = Duration::from_secs(20);

/// A check that is running on a thread of its own.
pub struct PendingCheck(io::Result<Receiver<Vec<Finding>>>);

/// Starts the check of Claude Code.
pub fn start(environment: &Environment) -> PendingCheck {
    let environment = environment.clone();
    PendingCheck(subprocess::run_on_thread(CHECK, move || ask(&environment)))
}

impl PendingCheck {
    pub fn wait(self) -> Vec<Finding> {
        let limit = VERSION + LIST + Duration::from_secs(2);
        let found = self.0.map_err(|error| error.to_string()).and_then(|found| {
            found
                .recv_timeout(limit)
                .map_err(|_| "the `claude` program hangs: it did not finish in time".to_owned())
        });
        found.unwrap_or_else(|problem| vec![Finding::warning(CHECK, problem)])
    }
}

fn ask(environment: &Environment) -> Vec<Finding> {
    if subprocess::find_in_path(environment.search_path(), "claude").is_none() {
        return vec![Finding::ok(CHECK, "skipped: there is no `claude` in PATH")];
    }
    let version = match subprocess::run_named("claude", &["--version"], VERSION) {
        Ok(said) if said.succeeded() => said.output.trim().to_owned(),
        Ok(said) => {
            let problem = said.first_line();
            return vec![Finding::warning(CHECK, format!("`claude --version` fails: {problem}"))];
        }
        Err(problem) => return vec![Finding::warning(CHECK, problem)],
    };
    vec![match subprocess::run_named("claude", &["mcp", "list"], LIST) {
        Ok(said) if said.succeeded() => {
            let found = registered(environment, &version, &said.output);
            let server = our_server(&said.output);
            return std::iter::once(found)
                .chain(server.and_then(|server| asks(environment, server)))
                .collect();
        }
        Ok(said) => Finding::warning(
            CHECK,
            format!("{version}; `claude mcp list` fails: {}", said.first_line()),
        ),
        Err(problem) => Finding::warning(CHECK, format!("{version}; {problem}")).detail(
            "another configured server may hang; it is not known whether ours is registered",
        ),
    }]
}

/// A server in the output of `claude mcp list`.
#[derive(Debug, Clone, Copy)]
struct ListedServer<'a> {
    name: &'a str,
    command: &'a str,
    state: &'a str,
}

/// Finds our server in the list. Its lines are `NAME: COMMAND - STATE`.
fn our_server(list: &str) -> Option<ListedServer<'_>> {
    list.lines().find_map(|line| {
        let (name, rest) = line.split_once(": ")?;
        let (command, state) = rest.rsplit_once(" - ")?;
        let ours =
            command.contains("claude-peers") && command.split_whitespace().any(|w| w == "mcp");
        let (name, command, state) = (name.trim(), command.trim(), state.trim());
        ours.then_some(ListedServer { name, command, state })
    })
}

/// Returns a finding if the client asks before it calls our tools, or does not call them at all.
fn asks(environment: &Environment, server: ListedServer<'_>) -> Option<Finding> {
    let host = Host::load(environment).ok()?;
    let here = std::env::current_dir().ok()?;
    match permission::of_server(&host, &here, server.name, &ToolName::ALL.map(ToolName::as_str)) {
        Permission::Given => None,
        Permission::Missing { rule } => Some(
            Finding::warning(CHECK, "Claude Code asks before each call of our tools")
                .detail(format!(
                    "no settings file that applies here allows {rule}; non-interactive sessions refuse such calls"
                ))
                .fix(setup_command(environment)),
        ),
        Permission::Managed { rule, file } => Some(
            Finding::warning(CHECK, "Claude Code asks before each call of our tools").detail(format!(
                "only the managed settings {} may allow {rule}, and they do not; ask your administrator",
                file.display()
            )),
        ),
        Permission::Denied { rule, file } => Some(
            Finding::warning(CHECK, "Claude Code refuses calls of our tools")
                .detail(format!("{} denies {rule} or one of its tools", file.display())),
        ),
    }
}

fn registered(environment: &Environment, version: &str, list: &str) -> Finding {
    let set_up = setup_command(environment);
    let Some(ListedServer { name, command, state }) = our_server(list) else {
        return Finding::warning(CHECK, format!("{version} does not know the server"))
            .detail("sessions in this directory cannot exchange messages")
            .fix(set_up);
    };
    if state.contains("Connected") {
        return Finding::ok(CHECK, format!("{version} reaches the server {name} (`{command}`)"));
    }
    let failure =
        Finding::failure(CHECK, format!("{version} does not reach the server {name}: {state}"));
    if name.starts_with("plugin:") {
        // No command fixes that: the PATH is set where the client is started.
        return failure.detail(format!(
            "the command `{command}` must be in PATH where `claude` is started; then run in a \
             session: /mcp reconnect {name}"
        ));
    }
    failure
        .detail(format!("its command is `{command}`"))
        .fix(format!("claude mcp remove {}; {set_up}", shell::quoted(name)))
}

/// Returns the command that sets up Claude Code, with a path if this program is not in PATH.
pub fn setup_command(environment: &Environment) -> String {
    let program = match (
        subprocess::find_in_path(environment.search_path(), "claude-peers"),
        std::env::current_exe(),
    ) {
        (None, Ok(path)) => shell::path(&path),
        _ => "claude-peers".to_owned(),
    };
    format!("{program} setup claude")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use crate::doctor::finding::Level;

    #[test]
    fn the_list_of_servers_is_read() {
        let list = "Checking MCP server health…\n\n\
                    docs: https://example.invalid/mcp (HTTP) - ✓ Connected\n";
        let none = registered(&Environment::default(), "2.1.0 (Claude Code)", list);
        assert_eq!(none.level, Level::Warning);
        assert!(none.fix.unwrap().ends_with(" setup claude"));
        let with = |state: &str| format!("{list}peers: /usr/bin/claude-peers mcp - {state}\n");
        let good = registered(&Environment::default(), "2.1.0", &with("✓ Connected"));
        assert_eq!(good.level, Level::Ok, "{}", good.finding);
        let bad = registered(&Environment::default(), "2.1.0", &with("✗ Failed to connect"));
        assert_eq!(bad.level, Level::Failure);
        let fix = bad.fix.unwrap();
        assert!(fix.starts_with("claude mcp remove peers; "), "{fix}");
        assert!(fix.ends_with(" setup claude"), "{fix}");
        let name = "plugin:peers:claude-peers";
        let plugin = |state: &str| {
            registered(
                &Environment::default(),
                "2.1.0",
                &format!("{name}: claude-peers mcp - {state}\n"),
            )
        };
        assert_eq!(plugin("✔ Connected").level, Level::Ok);
        let bad = plugin("✘ Failed to connect — ENOENT: Executable not found in $PATH: \"stdio\"");
        assert_eq!(bad.level, Level::Failure);
        assert!(bad.fix.is_none(), "what the plugin brought is not for `mcp remove` to remove");
        assert!(bad.detail.unwrap().ends_with(&format!("/mcp reconnect {name}")));
    }
}
