//! The automatic summary: one or two sentences about a session, from a chat endpoint.
//!
//! The server asks for it once, in the background, if the user gave a key. Only names leave this
//! machine, and never the contents of a file.

mod answer;
mod facts;
mod recent_files;
mod request;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::client::{Client, ClientError};
use crate::config::Config;
use crate::mcp::summary::facts::facts;
use crate::mcp::summary::request::{Settings, request_summary};
use crate::protocol::peers::SetProfile;

/// Sets an automatic summary, once per session, if it has none and the settings allow it.
pub async fn describe_session(client: Client, cwd: String, one_shot: bool) {
    let config = client.config();
    let Some(settings) = settings(config).filter(|_| !one_shot) else { return };
    let Some(mut registered) = client.registered() else { return };
    let undescribed = match registered.wait_for(Option::is_some).await {
        Ok(answer) => answer.as_ref().is_some_and(|answer| answer.undescribed),
        Err(_) => return,
    };
    if !undescribed {
        return;
    }
    // An empty summary is set first, so that a failing endpoint is asked once per session and not
    // again.
    if let Err(error) = set_automatic(&client, String::new()).await {
        return tracing::warn!("no summary: {error}");
    }
    let facts = facts(Path::new(&cwd), &config.environment).await;
    match request_summary(&settings, &facts).await {
        Ok(text) => {
            if let Err(error) = set_automatic(&client, text).await {
                tracing::warn!("no summary: {error}");
            }
        }
        Err(error) => tracing::warn!("no summary: {error}"),
    }
}

/// Returns the settings of the endpoint, if automatic summaries are on.
fn settings(config: &Config) -> Option<Settings> {
    let key = config.openai_api_key.clone().filter(|_| config.auto_summary.enabled)?;
    Some(Settings {
        api_key: key.0,
        base_url: config.auto_summary.base_url.clone(),
        model: config.auto_summary.model.clone(),
    })
}

/// Returns why the endpoint of automatic summaries is never asked, if they are on.
#[must_use]
pub fn endpoint_problem(config: &Config) -> Option<String> {
    settings(config)?.endpoint().err().map(|error| error.to_string())
}

async fn set_automatic(client: &Client, summary: String) -> Result<(), ClientError> {
    let profile = SetProfile { summary: Some(summary), name: None, automatic: true };
    client.set_profile(&profile).await.map(drop)
}
