//! `claude-peers doctor`: what is wrong, and the command that fixes it.

use std::process::ExitCode;

use clap::Args;

use crate::cli::error::Failure;
use crate::cli::output::Out;
use crate::config::{Environment, Source, colours};
use crate::doctor;
use crate::doctor::{Finding, Level, Options};
use crate::text;

#[derive(Debug, Args)]
#[command(after_help = "\
It sends a message to itself through a throw-away peer, which starts the broker if none runs, and
leaves nothing behind. It changes and ends nothing else: what it advises is for you to run.

Exit status: 0 all is well, or there are only warnings; 1 something fails; 2 wrong usage.")]
pub struct Arguments {
    /// Print JSON: an array of {check, level, finding, detail?, fix?}
    #[arg(long)]
    json: bool,
    /// Show settings that have their default value, too
    #[arg(long)]
    all: bool,
    /// Leave Claude Code out: asking it which servers it knows starts them all for a moment
    #[arg(long)]
    no_claude: bool,
}

pub async fn run(
    arguments: &Arguments,
    environment: &Environment,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let options = Options { claude: !arguments.no_claude };
    let findings = doctor::examine(environment, options).await;
    if arguments.json {
        out.json(&findings)?;
    } else {
        print(&findings, arguments.all, environment, out)?;
    }
    let worst = findings.iter().map(|finding| finding.level).max();
    Ok(if worst == Some(Level::Failure) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How things look where a person reads along, and plainly elsewhere.
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

fn print(
    findings: &[Finding],
    all: bool,
    environment: &Environment,
    out: &mut Out,
) -> Result<(), Failure> {
    let style = Style { colour: colours(out.is_terminal(), environment) };
    let default = format!("({})", Source::Default);
    let is_quiet = |finding: &&Finding| {
        !all && finding.check == doctor::VALUE && finding.finding.ends_with(&default)
    };
    let hidden = findings.iter().filter(is_quiet).count();
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let indent = " ".repeat(7 + 2 + width + 2);
    for finding in findings.iter().filter(|finding| !is_quiet(finding)) {
        let said = match finding.level {
            Level::Ok => finding.finding.clone(),
            _ => style.paint("1", &finding.finding),
        };
        out.line(format!("{}  {:width$}  {said}", style.level(finding.level), finding.check))?;
        if let Some(detail) = &finding.detail {
            out.line(format!("{indent}{detail}"))?;
        }
        if let Some(fix) = &finding.fix {
            // Whole, or it would be another command.
            let fix = style.paint("36", &text::terminal_line(fix, 10_000));
            out.line(format!("{indent}fix: {fix}"))?;
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let many = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    out.line("")?;
    out.line(match (count(Level::Failure), count(Level::Warning)) {
        (0, 0) => "All is well.".to_owned(),
        (failures, warnings) => {
            format!("{}, {}.", many(failures, "failure"), many(warnings, "warning"))
        }
    })?;
    if hidden > 0 && out.is_terminal() {
        out.line(format!("{hidden} settings have their default values (--all shows them)."))?;
    }
    Ok(())
}
