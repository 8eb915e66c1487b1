//! `claude-peers token`: the secret for calls over TCP.

use std::process::ExitCode;

use crate::cli::error::Failure;
use crate::cli::output::Out;
use crate::client::Client;

/// Prints the token, but only if the listener on the port is ours: another user may hold it, and
/// must not be sent the secret.
pub async fn run(client: &Client, out: &mut Out) -> Result<ExitCode, Failure> {
    let health = client.health().await?;
    let mut file = client.config().paths.token.clone();
    if let Some(detail) = health.detail {
        file = detail.token_file(&file);
        let tcp = detail.tcp;
        if !tcp.listening {
            let problem = tcp.problem.unwrap_or_default();
            let problem = format!("127.0.0.1:{} is not the broker's: {problem}", tcp.port);
            return Err(Failure::new(problem)
                .hint("Free the port and restart the broker, or set CLAUDE_PEERS_PORT."));
        }
    }
    let token = std::fs::read_to_string(&file)
        .map_err(|error| Failure::new(format!("the token file {}: {error}", file.display())))?;
    out.line(token.trim())?;
    Ok(ExitCode::SUCCESS)
}
