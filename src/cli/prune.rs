//! `claude-peers prune`: deletes old messages from the history.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::error::CliError;
use crate::cli::output::Out;
use crate::client::Client;
use crate::protocol::history::{MIN_PRUNE_AGE, Prune, Pruned};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claude-peers prune --older-than 90d --dry-run
  claude-peers prune --older-than 52w

To delete old messages all the time, set limits.keep_days (CLAUDE_PEERS_KEEP_DAYS).")]
pub struct Arguments {
    /// Delete messages that were sent longer ago than this, such as 90d or 52w: at least one day.
    /// Messages that are queued or offered stay, however old they are
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Duration,
    /// Only count what would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn age(text: &str) -> Result<Duration, String> {
    let age = humantime::parse_duration(text).map_err(|_| "give an age such as 90d".to_owned())?;
    if age.as_secs() < MIN_PRUNE_AGE {
        return Err("at least one day (1d)".to_owned());
    }
    Ok(age)
}

pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let request = Prune { older_than: arguments.older_than.as_secs(), dry_run: arguments.dry_run };
    let pruned = client.prune(&request).await?;
    if arguments.json {
        out.json(&pruned)?;
    } else {
        out.wrapped(0, sentence(&pruned, arguments.dry_run))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn sentence(pruned: &Pruned, dry_run: bool) -> String {
    let count = |count: u64| match count {
        1 => "1 message".to_owned(),
        count => format!("{count} messages"),
    };
    let what = if dry_run { "Would delete" } else { "Deleted" };
    let mut text = format!("{what} {}", count(pruned.messages));
    if pruned.never_read > 0 {
        // Writing to a string cannot fail.
        let _ = write!(text, " ({} expired or unconfirmed)", pruned.never_read);
    }
    text.push('.');
    if pruned.unread_kept > 0 {
        let kept = count(pruned.unread_kept);
        let _ = write!(text, " {kept} of that age stay, because nobody has read them.");
    }
    text
}
