//! The broker's events for a command that follows them, over restarts of the broker.

use std::time::Duration;

use crate::cli::error::CliError;
use crate::cli::output::messages::Messages;
use crate::client::{Client, ObserverStream};
use crate::protocol::events::{Observe, Observed};
use crate::sys::backoff::Backoff;

/// The pauses between attempts to reach the broker again.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The events, from a snapshot on.
pub struct Events {
    request: Observe,
    stream: Option<ObserverStream>,
    backoff: Backoff,
}

impl Events {
    /// Opens the stream.
    pub async fn open(client: &Client, recent: u32) -> Result<Self, CliError> {
        let request = Observe { recent };
        let stream = Some(client.events(&request).await?);
        Ok(Self { request, stream, backoff: Backoff::new(PAUSE, LONGEST_PAUSE) })
    }

    /// Returns the next event. If the broker goes away it is waited for, and its snapshot comes again.
    ///
    /// # Errors
    ///
    /// If the broker refuses.
    pub async fn next(
        &mut self,
        client: &Client,
        messages: Messages,
    ) -> Result<Observed, CliError> {
        let mut is_told = false;
        loop {
            if let Some(stream) = &mut self.stream {
                match stream.next().await {
                    Ok(Some(Observed::Bye { .. }) | None) | Err(_) => {
                        self.stream = None;
                        tokio::time::sleep(self.backoff.pause()).await;
                    }
                    Ok(Some(Observed::Unknown)) => {}
                    Ok(Some(event)) => {
                        self.backoff.reset();
                        return Ok(event);
                    }
                }
                continue;
            }
            match client.events(&self.request).await {
                Ok(stream) => self.stream = Some(stream),
                Err(error) if error.code().is_some() => return Err(error.into()),
                Err(error) => {
                    if !is_told {
                        messages
                            .note(&format!("The broker cannot be reached, trying again: {error}"));
                        is_told = true;
                    }
                    tokio::time::sleep(self.backoff.pause()).await;
                }
            }
        }
    }
}
