//! `claude-peers setup`: our server in the configuration of Claude Code and other MCP clients.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::error::Failure;
use crate::cli::output::Out;
use crate::config::Environment;
use crate::setup::{Client, Found, Host, Options, Plan, SetupError, Shown, State};
use crate::sys::shell;
use crate::text;

/// Paths and other people's lines are shown whole, but in one line each.
const WIDTH: usize = 10_000;

#[derive(Debug, Args)]
#[command(after_help = "\
  claude-peers setup                     what is here, and what is set up
  claude-peers setup claude              shows what it would change, and asks
  claude-peers setup claude --dry-run    only shows it
  claude-peers setup claude --undo       takes it back
  claude-peers setup --undo              takes back all that it did, for every client

Claude Code gets the server by its own command `claude mcp add --scope user`, and in its
settings.json hooks, which show a session its mail and wake it, and a permission rule, so that it
does not ask before each call. Where its sandbox is on, `claude-peers` in its Bash tool is let
through to the broker's socket. The others get the server in their configuration file: Codex in
config.toml, opencode in opencode.json, Gemini CLI in settings.json, Cursor in mcp.json.

Safe to repeat. Comments, order and format stay; a configuration that cannot be read is not
touched. A copy of each file as it was is kept in the state directory until --undo has put it back.

Exit status: 0 done, or nothing to do; 1 failure, you said no, or there is nobody to ask; 2 wrong
usage.")]
// Each is a switch of its own.
#[allow(clippy::struct_excessive_bools)]
pub struct Arguments {
    /// The client; without one, all that are here
    #[arg(value_enum)]
    client: Option<ClientName>,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take back what setup did; without a client, for all of them
    #[arg(long)]
    undo: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Leave Claude Code's hooks out
    #[arg(long)]
    no_hooks: bool,
    /// Leave Claude Code's permission rule out
    #[arg(long)]
    no_permission: bool,
    /// Leave the sandbox's list of sockets out
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

    /// Something can come of it: it was said that it should, or a person can be asked.
    fn acts(&self, out: &Out) -> bool {
        self.yes || self.dry_run || self.can_ask(out)
    }

    /// A person can be asked.
    fn can_ask(&self, out: &Out) -> bool {
        !self.json && out.is_terminal() && io::stdin().is_terminal()
    }
}

/// What became of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Nothing,
    /// Only shown.
    Shown,
    Declined,
}

pub fn run(
    arguments: &Arguments,
    environment: &Environment,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
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
    let outcome = settle(client, plan, arguments, out)?;
    if arguments.json {
        out.json(&with_outcome(shown, outcome))?;
    }
    Ok(code(outcome))
}

fn code(outcome: Outcome) -> ExitCode {
    if outcome == Outcome::Declined { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Shows a plan, asks if it must, and carries it out.
fn settle(
    client: Client,
    plan: Plan,
    arguments: &Arguments,
    out: &mut Out,
) -> Result<Outcome, Failure> {
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
            nobody_to_ask(&format!("claude-peers setup {}{undo}", client.name()), out)?;
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
        out.line(if arguments.undo {
            format!("claude-peers is taken out of {title}.")
        } else if !in_effect {
            format!("{title} is set up, but see the warning above.")
        } else {
            format!(
                "{title} is set up. Sessions that are running now see it after a restart. \
                 To undo: claude-peers setup {} --undo",
                client.name()
            )
        })?;
    }
    Ok(Outcome::Done)
}

fn agrees(out: &mut Out) -> Result<bool, Failure> {
    out.raw(b"\nDo it? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn show(title: &str, plan: &Plan, undo: bool, out: &mut Out) -> Result<(), Failure> {
    let steps = plan.steps();
    if steps.is_empty() {
        out.line(if undo {
            format!("{title}: there is nothing to undo.")
        } else {
            format!("{title}: all is in place, nothing changes.")
        })?;
    } else {
        out.line(format!("{title}: this changes"))?;
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
        out.line(format!("\n{}", text::terminal_line(note, WIDTH)))?;
    }
    if let Some(caveat) = &plan.caveat {
        out.line(format!("\nWARNING: {}", text::terminal_line(caveat, WIDTH)))?;
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

/// Without a client: how all of them stand, and those that are here offered or set up.
fn all(arguments: &Arguments, host: &Host, out: &mut Out) -> Result<ExitCode, Failure> {
    let look = |client: Client| client.look(host, arguments.options());
    let found: Vec<Found> = Client::ALL.into_iter().map(look).collect();
    let open = |found: &&Found| matches!(found.state, State::NotSetUp | State::Partly);
    let open: Vec<Client> = found.iter().filter(open).map(|found| found.client).collect();
    if !arguments.json {
        overview(&found, out)?;
        if open.is_empty() {
            none_open(&found, out)?;
        }
    }
    let act = arguments.acts(out);
    if !act && !arguments.json && !open.is_empty() {
        let words: Vec<String> =
            open.iter().map(|client| format!("claude-peers setup {}", client.name())).collect();
        out.line(format!("\nTo set up one: {}", words.join(", ")))?;
        return nobody_to_ask("claude-peers setup", out);
    }
    let plan = |client: Client| (client, client.plan(host, arguments.options()));
    let plans = open.into_iter().filter(|_| act).map(plan).collect();
    let (good, done) = settle_each(plans, arguments, out)?;
    if arguments.json {
        out.json(&json!({ "clients": found, "done": done }))?;
    }
    let unusable = found.iter().any(|found| found.state == State::Unusable);
    let good = good && !(act && unusable);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says why nothing happens.
fn none_open(found: &[Found], out: &mut Out) -> Result<(), Failure> {
    if found.iter().all(|found| found.state == State::NotFound) {
        out.line(
            "\nNone of these is here, so nothing was done. To set one up all the same, name it: \
             claude-peers setup claude",
        )?;
    } else if found.iter().all(|found| found.state != State::Unusable) {
        out.line("\nAll that are here are set up: nothing changes.")?;
    }
    Ok(())
}

/// Without a client: takes back what was done to any of them.
fn undo_all(arguments: &Arguments, host: &Host, out: &mut Out) -> Result<ExitCode, Failure> {
    let plans = Client::ALL.into_iter().map(|client| (client, client.undo(host)));
    let to_do = |plan: &Result<Plan, SetupError>| match plan {
        Ok(plan) => !plan.is_empty() || !plan.notes.is_empty(),
        Err(_) => true,
    };
    let plans: Vec<_> = plans.filter(|(_, plan)| to_do(plan)).collect();
    if plans.is_empty() && !arguments.json {
        out.line("Nothing of claude-peers is set up: there is nothing to undo.")?;
    }
    if !arguments.acts(out) && plans.iter().any(|(_, plan)| plan.is_ok()) {
        for (client, plan) in plans.iter().filter(|_| !arguments.json) {
            if let Ok(plan) = plan {
                show(client.title(), plan, true, out)?;
            }
        }
        return nobody_to_ask("claude-peers setup --undo", out);
    }
    let (good, done) = settle_each(plans, arguments, out)?;
    if arguments.json {
        out.json(&json!({ "done": done }))?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn nobody_to_ask(command: &str, out: &mut Out) -> Result<ExitCode, Failure> {
    out.flush()?;
    Err(Failure::new("nothing was changed: there is nobody to ask")
        .hint(format!("`{command} --yes` does it without a question.")))
}

/// Carries plans out one by one, and says whether all went well, and what became of each. One that
/// fails is no reason to leave the others.
fn settle_each(
    plans: Vec<(Client, Result<Plan, SetupError>)>,
    arguments: &Arguments,
    out: &mut Out,
) -> Result<(bool, Vec<Value>), Failure> {
    let mut good = true;
    let mut done = Vec::new();
    for (client, plan) in plans {
        if !arguments.json {
            out.line("")?;
        }
        let settled = plan.map_err(Failure::from).and_then(|plan| {
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
                failure.report();
                good = false;
            }
        }
    }
    Ok((good, done))
}

fn overview(found: &[Found], out: &mut Out) -> Result<(), Failure> {
    let row = |found: &Found| {
        let state = match found.state {
            State::NotFound => "not here",
            State::NotSetUp => "not set up",
            State::Partly => "partly set up, or by another path",
            State::SetUp => "set up",
            State::Unusable => "unusable",
        };
        let place = super::output::cell(found.place.as_deref().unwrap_or_default(), WIDTH);
        vec![found.client.name().to_owned(), state.to_owned(), place]
    };
    out.table(&["CLIENT", "STATE", "WHERE"], found.iter().map(row).collect())?;
    for found in found {
        if let Some(problem) = &found.problem {
            let name = found.client.name();
            out.line(format!("\n{name}: {}", text::terminal_line(problem, WIDTH)))?;
        }
    }
    Ok(())
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self::new(error.to_string()).hint(error.hint())
    }
}
