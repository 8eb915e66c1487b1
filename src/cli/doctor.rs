//! `claude-peers doctor`: prints what is wrong, and the commands that fix it.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::output::Out;
use crate::cli::output::look::Ink;
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
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also show the checks that found nothing wrong, and settings that have their default value
    #[arg(long, short, alias = "all")]
    verbose: bool,
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
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        out.json(&json!({
            "findings": findings,
            "failures": count(Level::Failure),
            "warnings": count(Level::Warning),
        }))?;
    } else {
        print(&findings, arguments.verbose, out)?;
    }
    let worst = findings.iter().map(|finding| finding.level).max();
    Ok(if worst == Some(Level::Failure) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The columns of a level and the blanks after it.
const LEVEL: usize = 9;

fn print(findings: &[Finding], verbose: bool, out: &mut Out) -> Result<(), CliError> {
    let default = format!("({})", Source::Default);
    let is_default =
        |finding: &Finding| finding.check == doctor::VALUE && finding.finding.ends_with(&default);
    // A person looks for what is wrong; a file or program gets all but what is as it always is.
    let is_shown = |finding: &&Finding| {
        verbose || finding.level != Level::Ok || !out.is_terminal() && !is_default(finding)
    };
    let shown: Vec<&Finding> = findings.iter().filter(is_shown).collect();
    let width = shown.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for finding in &shown {
        one(finding, width, out)?;
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let many = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    if !shown.is_empty() {
        out.line("")?;
    }
    let hidden = findings.iter().filter(|finding| !is_default(finding));
    let fine = hidden.filter(|finding| finding.level == Level::Ok).count();
    let fine = if verbose || !out.is_terminal() {
        String::new()
    } else {
        format!(" {} ok (claude-peers doctor -v shows them).", many(fine, "check"))
    };
    let (ink, summary) = match (count(Level::Failure), count(Level::Warning)) {
        (0, 0) => (Ink::Good, "No problems found.".to_owned()),
        (failures, warnings) => {
            let ink = if failures > 0 { Ink::Bad } else { Ink::Attention };
            (ink, format!("{}, {}.", many(failures, "failure"), many(warnings, "warning")))
        }
    };
    let painted = out.look().paint(ink, &summary);
    out.painted(format!("{painted}{fine}"))?;
    Ok(())
}

/// Prints a finding, its further lines below its first word.
fn one(finding: &Finding, width: usize, out: &mut Out) -> Result<(), CliError> {
    let look = out.look();
    let (ink, level) = match finding.level {
        Level::Ok => (Ink::Good, "ok"),
        Level::Warning => (Ink::Attention, "WARNING"),
        Level::Failure => (Ink::Bad, "FAILURE"),
    };
    let indent = LEVEL + width + 2;
    // On a narrow terminal the text has lines of its own.
    let is_narrow = look.width.is_some_and(|columns| columns < indent + 40);
    let level = look.paint(ink, &format!("{level:LEVEL$}"));
    let beginning = format!("{level}{:width$}  ", finding.check);
    let indent = if is_narrow { 4 } else { indent };
    let beginning = if is_narrow { format!("{}\n    ", beginning.trim_end()) } else { beginning };
    out.after(&beginning, indent, &finding.finding)?;
    let blank = " ".repeat(indent);
    if let Some(detail) = &finding.detail {
        out.after(&blank, indent, detail)?;
    }
    if let Some(fix) = &finding.fix {
        // It is neither cut nor wrapped: half a command is another one.
        let fix = look.paint(Ink::Typed, &text::terminal_line(fix, 10_000));
        out.painted(format!("{blank}fix: {fix}"))?;
    }
    Ok(())
}
