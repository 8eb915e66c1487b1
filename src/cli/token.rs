//! `claude-peers token`: prints the secret for requests over TCP.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::output::Out;
use crate::client::Client;
use crate::sys::files::{MAX_RECORD, read_text};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the token if the broker listens on the port.
///
/// Another user may have the port instead, and must not be sent the secret.
pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let health = client.health().await?;
    let mut file = client.config().paths.token.clone();
    if let Some(detail) = health.detail {
        file = detail.token_file(&file);
        let tcp = detail.tcp;
        if !tcp.listening {
            let problem = tcp.problem.unwrap_or_default();
            let problem =
                format!("the broker does not listen on 127.0.0.1:{}: {problem}", tcp.port);
            return Err(CliError::new(problem).hint(
                "Free the port and restart the broker, or set another CLAUDE_PEERS_PORT for all sessions and commands: that is another broker, with a database of its own.",
            ));
        }
    }
    let token = read_text(&file, MAX_RECORD)
        .map_err(|error| CliError::new(format!("the token file {}: {error}", file.display())))?;
    let token = token.trim();
    if arguments.json {
        out.json(&json!({ "token": token }))?;
    } else {
        out.line(token)?;
    }
    Ok(ExitCode::SUCCESS)
}
