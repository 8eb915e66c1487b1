//! Keeps the session's event stream open: pushes and wakes from the broker.
//!
//! The stream comes back by itself when the broker restarts, with the same instance, so the session
//! keeps its peer, its name and its mail.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::claude_code::session_file;
use crate::client::{Client, ClientError};
use crate::mcp::session::inbox::InboxSocket;
use crate::mcp::session::push::Pusher;
use crate::protocol::stream::{ByeReason, Event};
use crate::protocol::wake::IdleCheck;
use crate::protocol::{PeerId, ProcessId};
use crate::sys::backoff::Backoff;

/// Pauses between attempts to reach a broker that cannot be reached. A tool call does not wait for
/// them.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// A stream that ends sooner suggests that something is wrong with the broker, so the next one is
/// opened after a pause.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);
const LAST_SHORT_PAUSE: Duration = Duration::from_secs(2);

/// Pause after a broker has said goodbye: it is about to be replaced, or was stopped on purpose.
const AFTER_BYE: Duration = Duration::from_millis(300);

/// How a stream ended, or why it failed to open.
enum StreamEnd {
    Bye(ByeReason),
    Broken(ClientError),
}

/// The state of the session's stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StreamState {
    /// It is about to be opened, for the first time or again.
    #[default]
    Opening,
    /// The session is live, as this peer.
    Open(PeerId),
    /// It could not be opened. Another attempt follows after a pause.
    Failed,
}

/// What the stream's events act on, besides pushes.
pub struct StreamOutputs {
    pub state: watch::Sender<StreamState>,
    pub inbox: Option<InboxSocket>,
    /// The client process.
    pub process: Option<ProcessId>,
}

/// Keeps the session's event stream open for as long as the session lasts.
pub async fn keep_open(client: Client, outputs: StreamOutputs, mut pusher: Pusher) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
    loop {
        let since = Instant::now();
        let (end, was_open) = follow_stream(&client, &outputs, &mut pusher).await;
        let was_healthy = was_open && since.elapsed() > HEALTHY_AFTER;
        if was_healthy {
            backoff.reset();
        }
        pusher.set_peer(None);
        outputs.state.send_replace(match &end {
            StreamEnd::Broken(_) if !was_open => StreamState::Failed,
            _ => StreamState::Opening,
        });
        let pause = match end {
            StreamEnd::Bye(ByeReason::Replaced) => {
                tracing::debug!("a newer stream of this instance took over");
                continue;
            }
            StreamEnd::Bye(_) => AFTER_BYE,
            // The broker died: the next attempt starts another at once.
            StreamEnd::Broken(_) if was_healthy => continue,
            StreamEnd::Broken(_) if was_open => backoff.pause_up_to(LAST_SHORT_PAUSE),
            StreamEnd::Broken(error) => {
                tracing::warn!("no broker: {error}");
                backoff.pause()
            }
        };
        pusher.during(tokio::time::sleep(pause)).await;
    }
}

/// Opens the stream and reads it to its end. Returns also whether it ever was open.
async fn follow_stream(
    client: &Client,
    outputs: &StreamOutputs,
    pusher: &mut Pusher,
) -> (StreamEnd, bool) {
    let mut stream = match pusher.during(client.stream()).await {
        Ok(stream) => stream,
        Err(error) => return (StreamEnd::Broken(error), false),
    };
    loop {
        match pusher.during(stream.next()).await {
            Ok(Some(Event::Message { delivery })) => pusher.push(*delivery),
            Ok(Some(Event::Wake { reason })) => {
                if let Some(inbox) = &outputs.inbox {
                    pusher.during(inbox.wake(reason.waiting)).await;
                }
                // Reported even if the inbox rejected it: retrying would fail the same way. In a
                // task, so that it does not delay the pushes that follow.
                let client = client.clone();
                tokio::spawn(async move {
                    if let Err(error) = client.wake_given(&reason).await {
                        tracing::warn!("a wake could not be reported: {error}");
                    }
                });
            }
            Ok(Some(Event::Look { look })) => {
                if let Some(process) = outputs.process.clone() {
                    tokio::spawn(check_idle(client.clone(), process, look));
                }
            }
            // Comes again whenever the client process shows another session, as another peer.
            Ok(Some(Event::Ready { peer })) => {
                tracing::info!(event = "live", peer = %peer.id, "live");
                pusher.set_peer(Some(peer.id.clone()));
                outputs.state.send_replace(StreamState::Open(peer.id.clone()));
                client.note_peer(*peer);
            }
            Ok(Some(Event::Bye { reason })) => return (StreamEnd::Bye(reason), true),
            Ok(Some(Event::Unknown)) => {}
            Ok(None) => {
                let ended =
                    ClientError::Broken { cause: "the stream ended".to_owned(), sent: true };
                return (StreamEnd::Broken(ended), true);
            }
            Err(error) => return (StreamEnd::Broken(error), true),
        }
    }
}

/// Reports whether the client is idle. Where that is not known the broker goes by hooks.
async fn check_idle(client: Client, process: ProcessId, look: IdleCheck) {
    let Some(idle) = session_file::is_idle(&client.config().claude.directory, &process).await
    else {
        return;
    };
    if let Err(error) = client.looked(&look, idle).await {
        tracing::warn!("whether the client is idle could not be reported: {error}");
    }
}
