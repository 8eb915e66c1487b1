//! `claude-peers open`: opens the page in a browser, or prints a link to it.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::browser::{Outcome, Reason, open_page};
use crate::cli::error::CliError;
use crate::cli::output::Out;
use crate::client::Client;

#[derive(Debug, Args)]
#[command(after_help = "\
The page shows peers and messages as they come, and sends messages as you. It is served by the \
broker, to this machine only. A link opens one page, once, and within a minute; the page then stays \
usable in its tab for a week.

Without a screen or over SSH the link is printed. To open it from another machine, forward the port \
under the same number:
  ssh -L 7899:127.0.0.1:7899 HOST

BROWSER names the program to use; it gets the path of a private file that leads to the page.")]
pub struct Arguments {
    /// Print the link instead of opening a browser
    #[arg(long)]
    print: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    opened: bool,
    program: Option<&'a str>,
    /// A link that is left to the person.
    url: Option<&'a str>,
    /// For how long the link can be used, in seconds.
    valid_for: Option<u64>,
}

pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let messages = out.messages();
    let outcome = if arguments.print {
        Outcome::Link { link: client.page_link().await?, reason: None }
    } else {
        open_page(client, |program, good_for| {
            let seconds = good_for.as_secs();
            messages.note(&format!(
                "Opening the page with {program}. Its link works once, for {seconds} s."
            ));
        })
        .await?
    };
    match outcome {
        Outcome::Opened { program } => {
            if arguments.json {
                let program = Some(&*program);
                out.json(&Report { opened: true, program, url: None, valid_for: None })?;
            } else {
                out.line("The page is open.")?;
            }
        }
        Outcome::Link { link, reason } => {
            if arguments.json {
                let (url, valid_for) = (Some(&*link.url), Some(link.valid_for));
                out.json(&Report { opened: false, program: None, url, valid_for })?;
            } else {
                out.line(&link.url)?;
                out.flush()?;
            }
            if let Some(Reason::NoBrowser(reason)) = &reason {
                messages.note(&format!("No browser was opened: {reason}."));
            }
            messages.note(&format!("The link works once, for {} s.", link.valid_for));
            if reason == Some(Reason::Remote) {
                let port = client.config().port;
                messages.note(&format!(
                    "If your browser is on another machine, forward the port from there first: ssh -L {port}:127.0.0.1:{port} HOST"
                ));
            }
        }
        Outcome::Missed { program, waited } => {
            let seconds = waited.as_secs();
            let error = CliError::new(format!(
                "{program} was started, but no browser opened the page within {seconds} s"
            ));
            return Err(error.code("page_not_opened").hint(
                "Run `claude-peers open --print`, and paste the link into a browser. A browser that is a snap or a Flatpak may not read the file by which it is led to the page.",
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
