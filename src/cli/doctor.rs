//! `claude-peers doctor`: prints what is wrong, and the commands that fix it.

use std::process::ExitCode;

use clap::Args;

use crate::cli::error::CliError;
use crate::cli::output::Out;
use crate::config::{Environment, Source};
use crate::doctor;
use crate::doctor::{Finding, Level, Options};
use crate::text;

#[derive(Debug, Args)]
#[command(after_help = "\
Doctor sends itself a test message, which starts the broker if none is running, and leaves nothing \
behind. It makes no other changes: the commands that it prints are for you to run.

Exit status: 0 no problems, or only warnings; 1 a check failed; 2 wrong usage.")]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub struct Arguments {
    /// Print JSON: an array of {check, level, finding, detail?, fix?}
    #[arg(long)]
    json: bool,
    /// Also show settings that have their default value
    #[arg(long)]
    all: bool,
    /// Skip the check of Claude Code: it runs `claude mcp list`, which briefly starts all configured
    /// MCP servers
    #[arg(long)]
    no_claude: bool,
    /// Check every page and index of the database, which is otherwise done only if it is small (8 MiB)
    #[arg(long)]
    deep: bool,
}

pub async fn run(
    arguments: &Arguments,
    environment: &Environment,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let options = Options { claude: !arguments.no_claude, deep: arguments.deep };
    let findings = doctor::examine(environment, options).await;
    if arguments.json {
        out.json(&findings)?;
    } else {
        print(&findings, arguments.all, out)?;
    }
    let worst = findings.iter().map(|finding| finding.level).max();
    Ok(if worst == Some(Level::Failure) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The look of the report: with colours on a terminal, plain elsewhere.
struct Style {
    colour: bool,
}

impl Style {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn level(&self, level: Level) -> String {
        match level {
            Level::Ok => self.paint("32", "ok     "),
            Level::Warning => self.paint("1;33", "WARNING"),
            Level::Failure => self.paint("1;31", "FAILURE"),
        }
    }
}

fn print(findings: &[Finding], all: bool, out: &mut Out) -> Result<(), CliError> {
    let style = Style { colour: out.look().colour };
    let default = format!("({})", Source::Default);
    let is_quiet = |finding: &&Finding| {
        !all && finding.check == doctor::VALUE && finding.finding.ends_with(&default)
    };
    let hidden = findings.iter().filter(is_quiet).count();
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let indent = " ".repeat(7 + 2 + width + 2);
    for finding in findings.iter().filter(|finding| !is_quiet(finding)) {
        let text = match finding.level {
            Level::Ok => text::terminal(&finding.finding),
            _ => style.paint("1", &text::terminal(&finding.finding)),
        };
        out.painted(format!("{}  {:width$}  {text}", style.level(finding.level), finding.check))?;
        if let Some(detail) = &finding.detail {
            out.line(format!("{indent}{detail}"))?;
        }
        if let Some(fix) = &finding.fix {
            // It is not cut: half a command is another one.
            let fix = style.paint("36", &text::terminal_line(fix, 10_000));
            out.painted(format!("{indent}fix: {fix}"))?;
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let many = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    out.line("")?;
    out.line(match (count(Level::Failure), count(Level::Warning)) {
        (0, 0) => "No problems found.".to_owned(),
        (failures, warnings) => {
            format!("{}, {}.", many(failures, "failure"), many(warnings, "warning"))
        }
    })?;
    if hidden > 0 && out.is_terminal() {
        out.line(format!("{hidden} settings have their default values (--all shows them)."))?;
    }
    Ok(())
}
