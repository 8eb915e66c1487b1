//! The server's link to the broker: the event stream, and the session's own description.
//!
//! It comes up by itself, and comes back by itself when the broker restarts, with the same
//! instance, so the session keeps its peer, its name and its mail.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::claude_code::session_file;
use crate::client::{Client, ClientError};
use crate::mcp::session::inbox::Inbox;
use crate::mcp::session::push::Handed;
use crate::mcp::summary;
use crate::protocol::PeerId;
use crate::protocol::peers::SetProfile;
use crate::protocol::stream::{ByeReason, Event};
use crate::protocol::wake::Look;
use crate::sys::process::Process;

/// Pauses between attempts to reach a broker that cannot be had. A tool call tries at once.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// A stream that ends sooner says that something is wrong with the broker: it is not opened
/// again and again without a pause.
const LASTED: Duration = Duration::from_secs(5);
const LAST_SHORT_PAUSE: Duration = Duration::from_secs(2);

/// A broker that said goodbye is about to be replaced or was stopped on purpose.
const AFTER_BYE: Duration = Duration::from_millis(300);

/// How a stream ended, or failed to open.
enum Ended {
    Bye(ByeReason),
    Broken(ClientError),
}

/// How the stream is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is about to be opened, for the first time or again.
    #[default]
    Opening,
    /// The session is live, as this peer.
    Open(PeerId),
    /// It could not be opened. That is tried again, now and then.
    Failed,
}

/// What goes to and fro between the link and the rest of the server.
pub struct Ends {
    pub deliveries: mpsc::UnboundedSender<Handed>,
    pub standing: watch::Sender<Standing>,
    pub inbox: Option<Inbox>,
    /// The client.
    pub process: Option<Process>,
}

/// Keeps the session's event stream open for as long as the session lasts.
pub async fn keep_open(client: Client, ends: Ends) {
    let mut pause = FIRST_PAUSE;
    loop {
        let since = Instant::now();
        let (ended, was_open) = follow_stream(&client, &ends).await;
        let lasted = was_open && since.elapsed() > LASTED;
        if lasted {
            pause = FIRST_PAUSE;
        }
        ends.standing.send_replace(match &ended {
            Ended::Broken(_) if !was_open => Standing::Failed,
            _ => Standing::Opening,
        });
        match ended {
            Ended::Bye(ByeReason::Replaced) => {
                tracing::debug!("a newer stream of this instance took over");
            }
            Ended::Bye(_) => tokio::time::sleep(AFTER_BYE).await,
            // The broker is gone without a word: the next attempt starts another at once.
            Ended::Broken(_) if lasted => {}
            Ended::Broken(_) if was_open => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_SHORT_PAUSE);
            }
            Ended::Broken(error) => {
                tracing::warn!("no broker: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

/// Opens the stream and reads it to its end; says also whether it ever was open.
async fn follow_stream(client: &Client, ends: &Ends) -> (Ended, bool) {
    let mut me = None;
    let mut stream = match client.stream().await {
        Ok(stream) => stream,
        Err(error) => return (Ended::Broken(error), false),
    };
    loop {
        match stream.next().await {
            Ok(Some(Event::Message { delivery })) => {
                let Some(to) = me.clone() else { continue };
                // An error means that the session is ending.
                let _ = ends.deliveries.send(Handed { to, delivery: *delivery });
            }
            Ok(Some(Event::Wake { reason })) => {
                if let Some(inbox) = &ends.inbox {
                    inbox.wake(reason.waiting).await;
                }
                // Also where the inbox takes nothing: it would not the next time. In the
                // background, because pushes come behind it.
                let client = client.clone();
                tokio::spawn(async move {
                    if let Err(error) = client.wake_given(&reason).await {
                        tracing::warn!("a wake could not be reported: {error}");
                    }
                });
            }
            Ok(Some(Event::Look { look })) => {
                if let Some(process) = ends.process.clone() {
                    tokio::spawn(look_at(client.clone(), process, look));
                }
            }
            // Also whenever the window has gone on to another session, and is another peer.
            Ok(Some(Event::Ready { peer })) => {
                tracing::info!(event = "live", peer = %peer.id, "live");
                me = Some(peer.id.clone());
                ends.standing.send_replace(Standing::Open(peer.id.clone()));
                client.note_peer(*peer);
            }
            Ok(Some(Event::Bye { reason })) => return (Ended::Bye(reason), true),
            Ok(Some(Event::Unknown)) => {}
            Ok(None) => {
                return (Ended::Broken(ClientError::Broken("the stream ended".to_owned())), true);
            }
            Err(error) => return (Ended::Broken(error), true),
        }
    }
}

/// Tells the broker whether the client is idle. Where that is not known the broker goes by hooks.
async fn look_at(client: Client, process: Process, look: Look) {
    let Some(idle) = session_file::is_idle(&client.config().claude.directory, &process).await
    else {
        return;
    };
    if let Err(error) = client.looked(&look, idle).await {
        tracing::warn!("whether the client is idle could not be told: {error}");
    }
}

/// Describes the session by itself, in the background, once: if nobody has, and nothing forbids.
pub async fn describe(client: Client, cwd: String, one_shot: bool) {
    let config = client.config();
    let Some(key) =
        config.openai_api_key.clone().filter(|_| config.auto_summary.enabled && !one_shot)
    else {
        return;
    };
    let Some(mut registered) = client.registered() else { return };
    let undescribed = match registered.wait_for(Option::is_some).await {
        Ok(answer) => answer.as_ref().is_some_and(|answer| answer.undescribed),
        Err(_) => return,
    };
    if !undescribed {
        return;
    }
    let settings = summary::Settings {
        api_key: key.0,
        base_url: config.auto_summary.base_url.clone(),
        model: config.auto_summary.model.clone(),
    };
    // Claimed first, so that a failing service is asked once per session and no more.
    if let Err(error) = set_automatic(&client, String::new()).await {
        return tracing::warn!("no summary: {error}");
    }
    let facts = summary::facts(std::path::Path::new(&cwd)).await;
    match summary::describe(&settings, &facts).await {
        Ok(text) => {
            if let Err(error) = set_automatic(&client, text).await {
                tracing::warn!("no summary: {error}");
            }
        }
        Err(error) => tracing::warn!("no summary: {error}"),
    }
}

async fn set_automatic(client: &Client, summary: String) -> Result<(), ClientError> {
    let profile = SetProfile { summary: Some(summary), name: None, automatic: true };
    client.set_profile(&profile).await.map(drop)
}
