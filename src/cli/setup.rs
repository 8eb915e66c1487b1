//! `claude-peers setup`: adds the server to the configuration of Claude Code and other MCP clients.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::found;
use crate::cli::output::Out;
use crate::config::Environment;
use crate::setup::{Client, Found, Host, Options, Plan, SetupError, Shown, State};
use crate::sys::shell;
use crate::text;

/// The longest line of a foreign file or path that is shown, in characters: practically all of it.
const WIDTH: usize = 10_000;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claude-peers setup                    list the clients found, and ask
  claude-peers setup claude             show the changes, and ask
  claude-peers setup claude --dry-run   only show the changes
  claude-peers setup claude --undo      revert the changes
  claude-peers setup --undo             revert the changes for every client

For Claude Code, setup registers the server with `claude mcp add --scope user`, and adds to \
settings.json: hooks that show a session its messages and wake it, and a permission rule, so that \
Claude Code does not ask before each call. If the sandbox is on, setup also allows `claude-peers` in \
the Bash tool to reach the broker's socket. Other clients get the server in their configuration \
file: Codex in config.toml, opencode in opencode.json, Gemini CLI in settings.json, Cursor in \
mcp.json.

You can run setup again at any time. It keeps comments, key order and formatting, and does not \
change a file that it cannot parse. A copy of each original file is kept in the state directory \
until --undo has restored it.

Exit status: 0 done, or nothing to do; 1 failure, you answered no, or there is no terminal to ask \
on; 2 wrong usage.")]
// Each is a switch of the command line.
#[allow(clippy::struct_excessive_bools)]
pub struct Arguments {
    /// The client to set up; default: all clients found on this machine
    #[arg(value_enum)]
    client: Option<ClientName>,
    /// Show the changes, and make none
    #[arg(long)]
    dry_run: bool,
    /// Revert the changes that setup made; without a client, for all of them
    #[arg(long)]
    undo: bool,
    /// Make the changes without asking
    #[arg(short, long)]
    yes: bool,
    /// Print only what fails; needs --yes, because nothing else is asked
    #[arg(short, long, requires = "yes", conflicts_with_all = ["dry_run", "json"])]
    quiet: bool,
    /// Do not add Claude Code's hooks
    #[arg(long)]
    no_hooks: bool,
    /// Do not add Claude Code's permission rule
    #[arg(long)]
    no_permission: bool,
    /// Do not add the broker's socket to Claude Code's sandbox settings
    #[arg(long)]
    no_sandbox: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ClientName {
    Claude,
    Codex,
    Opencode,
    Gemini,
    Cursor,
}

impl From<ClientName> for Client {
    fn from(name: ClientName) -> Self {
        match name {
            ClientName::Claude => Self::Claude,
            ClientName::Codex => Self::Codex,
            ClientName::Opencode => Self::Opencode,
            ClientName::Gemini => Self::Gemini,
            ClientName::Cursor => Self::Cursor,
        }
    }
}

impl Arguments {
    fn options(&self) -> Options {
        Options {
            hooks: !self.no_hooks,
            permission: !self.no_permission,
            sandbox: !self.no_sandbox,
        }
    }

    /// Whether changes can be made or shown: no question is needed, or it can be asked.
    fn acts(&self, out: &Out) -> bool {
        self.yes || self.dry_run || self.can_ask(out)
    }

    /// Whether a person can be asked.
    fn can_ask(&self, out: &Out) -> bool {
        !self.json && out.is_terminal() && io::stdin().is_terminal()
    }
}

/// The outcome for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Nothing,
    /// The changes were only shown.
    Shown,
    Declined,
}

pub fn run(
    arguments: &Arguments,
    environment: &Environment,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    if arguments.quiet {
        out.hush();
    }
    let host = Host::load(environment)?;
    let Some(client) = arguments.client else {
        return if arguments.undo {
            undo_all(arguments, &host, out)
        } else {
            all(arguments, &host, out)
        };
    };
    let client = Client::from(client);
    let plan = if arguments.undo {
        client.undo(&host)?
    } else {
        client.plan(&host, arguments.options())?
    };
    let shown = described(client, &plan);
    let found = arguments.json.then(|| client.look(&host, arguments.options()));
    let outcome = settle(client, plan, arguments, out)?;
    if let Some(found) = found {
        report(&[found], &[with_outcome(shown, outcome)], out)?;
    }
    Ok(code(outcome))
}

/// Prints what was found of the clients before, and what was done.
fn report(clients: &[Found], done: &[Value], out: &mut Out) -> Result<(), CliError> {
    out.json(&json!({ "clients": clients, "done": done }))?;
    Ok(())
}

fn code(outcome: Outcome) -> ExitCode {
    if outcome == Outcome::Declined { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Shows a plan, asks for confirmation if needed, and carries the plan out.
fn settle(
    client: Client,
    plan: Plan,
    arguments: &Arguments,
    out: &mut Out,
) -> Result<Outcome, CliError> {
    let title = client.title();
    let empty = plan.is_empty();
    if !arguments.json {
        show(title, &plan, arguments.undo, out)?;
    }
    if arguments.dry_run {
        return Ok(if empty { Outcome::Nothing } else { Outcome::Shown });
    }
    if !empty && !arguments.yes {
        if !arguments.can_ask(out) {
            let undo = if arguments.undo { " --undo" } else { "" };
            cannot_ask(&format!("claude-peers setup {}{undo}", client.name()), out)?;
        }
        if !agrees(out)? {
            out.line("Nothing was changed.")?;
            return Ok(Outcome::Declined);
        }
    }
    let in_effect = plan.caveat.is_none();
    plan.carry_out()?;
    if empty {
        return Ok(Outcome::Nothing);
    }
    if !arguments.json {
        out.line("")?;
        out.wrapped(
            0,
            if arguments.undo {
                format!("Removed claude-peers from {title}.")
            } else if !in_effect {
                format!("{title} is set up, but see the WARNING above.")
            } else {
                format!(
                    "{title} is set up. Restart running sessions to use it. To undo: claude-peers \
                 setup {} --undo",
                    client.name()
                )
            },
        )?;
    }
    Ok(Outcome::Done)
}

fn agrees(out: &mut Out) -> Result<bool, CliError> {
    out.raw(b"\nMake these changes? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn show(title: &str, plan: &Plan, undo: bool, out: &mut Out) -> Result<(), CliError> {
    let steps = plan.steps();
    if steps.is_empty() {
        out.line(if undo {
            format!("{title}: nothing to undo.")
        } else {
            format!("{title} is already set up; no changes.")
        })?;
    } else {
        out.line(format!("{title}: changes to make"))?;
    }
    for step in steps {
        let (verb, path, diff) = match &step {
            Shown::Run { command } => {
                let words: Vec<String> = command.iter().map(|word| shell::quoted(word)).collect();
                out.line(format!("\n  run     {}", text::terminal_line(&words.join(" "), WIDTH)))?;
                continue;
            }
            Shown::Create { path, diff } => ("create ", path, diff),
            Shown::Edit { path, diff } => ("edit   ", path, diff),
            Shown::Restore { path, diff } => ("restore", path, diff),
            Shown::Remove { path, diff } => ("remove ", path, diff),
        };
        let path = text::terminal_line(&path.display().to_string(), WIDTH);
        out.line(format!("\n  {verb} {path}"))?;
        for line in diff.lines() {
            out.line(format!("    {}", text::terminal(line)))?;
        }
    }
    for note in &plan.notes {
        out.wrapped(0, format!("\n{}", text::terminal_line(note, WIDTH)))?;
    }
    if let Some(caveat) = &plan.caveat {
        out.wrapped(2, format!("\nWARNING: {}", text::terminal_line(caveat, WIDTH)))?;
    }
    Ok(())
}

fn described(client: Client, plan: &Plan) -> Value {
    json!({
        "client": client, "steps": plan.steps(), "notes": plan.notes, "caveat": plan.caveat,
    })
}

fn with_outcome(mut described: Value, outcome: Outcome) -> Value {
    described["changed"] = json!(outcome == Outcome::Done);
    described
}

/// Without a client: lists all clients, and offers to set up those that are found.
fn all(arguments: &Arguments, host: &Host, out: &mut Out) -> Result<ExitCode, CliError> {
    let look = |client: Client| client.look(host, arguments.options());
    let found: Vec<Found> = Client::ALL.into_iter().map(look).collect();
    let open = |found: &&Found| matches!(found.state, State::NotSetUp | State::Partly);
    let open: Vec<Client> = found.iter().filter(open).map(|found| found.client).collect();
    if !arguments.json {
        found::print(&found, out)?;
        if open.is_empty() {
            none_open(&found, out)?;
        }
    }
    let act = arguments.acts(out);
    if !act && !arguments.json && !open.is_empty() {
        let words: Vec<String> =
            open.iter().map(|client| format!("claude-peers setup {}", client.name())).collect();
        out.wrapped(0, format!("\nTo set up a client: {}", words.join(", ")))?;
        return cannot_ask("claude-peers setup", out);
    }
    let plan = |client: Client| (client, client.plan(host, arguments.options()));
    let plans = open.into_iter().filter(|_| act).map(plan).collect();
    let (good, done) = settle_each(plans, arguments, out)?;
    if arguments.json {
        report(&found, &done, out)?;
    }
    let unusable = found.iter().any(|found| found.state == State::Unusable);
    let good = good && !(act && unusable);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reports why nothing is changed.
fn none_open(found: &[Found], out: &mut Out) -> Result<(), CliError> {
    if found.iter().all(|found| found.state == State::NotFound) {
        out.wrapped(
            0,
            "\nNone of these clients was found, so nothing was done. To set one up anyway, name it: \
             claude-peers setup claude",
        )?;
    } else if found.iter().all(|found| found.state != State::Unusable) {
        out.wrapped(0, "\nAll clients found are already set up; no changes.")?;
    }
    Ok(())
}

/// Without a client: reverts the changes for all of them.
fn undo_all(arguments: &Arguments, host: &Host, out: &mut Out) -> Result<ExitCode, CliError> {
    let look = |client: Client| client.look(host, arguments.options());
    let found: Vec<Found> = Client::ALL.into_iter().filter(|_| arguments.json).map(look).collect();
    let plans = Client::ALL.into_iter().map(|client| (client, client.undo(host)));
    let to_do = |plan: &Result<Plan, SetupError>| match plan {
        Ok(plan) => !plan.is_empty() || !plan.notes.is_empty(),
        Err(_) => true,
    };
    let plans: Vec<_> = plans.filter(|(_, plan)| to_do(plan)).collect();
    if plans.is_empty() && !arguments.json {
        out.line("claude-peers is not set up in any client: nothing to undo.")?;
    }
    if !arguments.acts(out) && plans.iter().any(|(_, plan)| plan.is_ok()) {
        for (client, plan) in plans.iter().filter(|_| !arguments.json) {
            if let Ok(plan) = plan {
                show(client.title(), plan, true, out)?;
            }
        }
        return cannot_ask("claude-peers setup --undo", out);
    }
    let (good, done) = settle_each(plans, arguments, out)?;
    if arguments.json {
        report(&found, &done, out)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cannot_ask(command: &str, out: &mut Out) -> Result<ExitCode, CliError> {
    out.flush()?;
    Err(CliError::new("nothing was changed: without a terminal, setup cannot ask for confirmation")
        .hint(format!("To make the changes without asking: {command} --yes")))
}

/// Carries plans out one by one. Returns whether all succeeded, and the outcome of each.
///
/// The others are carried out even if one fails.
fn settle_each(
    plans: Vec<(Client, Result<Plan, SetupError>)>,
    arguments: &Arguments,
    out: &mut Out,
) -> Result<(bool, Vec<Value>), CliError> {
    let mut good = true;
    let mut done = Vec::new();
    for (client, plan) in plans {
        if !arguments.json {
            out.line("")?;
        }
        let settled = plan.map_err(CliError::from).and_then(|plan| {
            let shown = described(client, &plan);
            Ok((shown, settle(client, plan, arguments, out)?))
        });
        match settled {
            Ok((shown, outcome)) => {
                good &= outcome != Outcome::Declined;
                done.push(with_outcome(shown, outcome));
            }
            Err(failure) => {
                out.flush()?;
                failure.report(out);
                good = false;
            }
        }
    }
    Ok((good, done))
}

impl From<SetupError> for CliError {
    fn from(error: SetupError) -> Self {
        Self::new(error.to_string()).hint(error.hint())
    }
}
