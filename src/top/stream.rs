//! What the broker tells, and how the connection stands.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;

use crate::client::{Client, ClientError};
use crate::protocol::events::{Observe, Observed};
use crate::sys::backoff::Backoff;
use crate::top::model::command::Problem;
use crate::top::model::feed::KEPT;

/// Pauses between attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// What the stream brings.
#[derive(Debug)]
pub enum News {
    Observed(Observed),
    /// The broker went away, or cannot be reached. It is tried again.
    Lost(Problem),
}

/// Follows the broker's events for as long as they are taken.
///
/// The first attempt starts a broker if none runs, as every command does. Later ones do not: who stopped
/// it may have meant it. `connect` has it tried at once, with a start.
pub async fn follow(client: Client, news: Sender<News>, connect: Arc<Notify>) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
    let mut may_start = true;
    loop {
        let client = if may_start { client.clone() } else { client.clone().without_start() };
        let Some(problem) = follow_once(&client, &news, &mut backoff).await else { return };
        if news.send(News::Lost(problem)).await.is_err() {
            return;
        }
        may_start = tokio::select! {
            () = sleep(backoff.pause()) => false,
            () = connect.notified() => true,
        };
    }
}

/// Follows one stream to its end. Returns why it ended; `None` if nobody takes the news any more.
async fn follow_once(
    client: &Client,
    news: &Sender<News>,
    backoff: &mut Backoff,
) -> Option<Problem> {
    let recent = u32::try_from(KEPT).unwrap_or(u32::MAX);
    let mut stream = match client.events(&Observe { recent }).await {
        Ok(stream) => stream,
        Err(error) => return Some(unreachable(&error)),
    };
    loop {
        match stream.next().await {
            Ok(Some(event)) => {
                if !matches!(event, Observed::Bye { .. }) {
                    backoff.reset();
                }
                news.send(News::Observed(event)).await.ok()?;
            }
            Ok(None) => return Some(stopped()),
            Err(error) => return Some(unreachable(&error)),
        }
    }
}

fn unreachable(error: &ClientError) -> Problem {
    match error {
        ClientError::NotRunning => stopped(),
        error => Problem::from(error),
    }
}

fn stopped() -> Problem {
    Problem {
        what: "The broker has stopped.".to_owned(),
        hint: Some("Any session, or r, starts it again.".to_owned()),
    }
}
