//! Pushes messages into the session as `notifications/claude/channel`, in order.
//!
//! A push that was written is an offer, and not evidence that the model had it. One instance
//! writes no id twice, however often the broker offers it.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::client::Client;
use crate::mcp::session::known::KnownMessages;
use crate::mcp::transport::output::PushLines;
use crate::protocol::mailbox::{Delivery, Written};
use crate::protocol::{MessageId, PeerId};
use crate::sys::backoff::Backoff;
use crate::text;

const METHOD: &str = "notifications/claude/channel";

/// Most receipts in one call to the broker.
const MAX_RECEIPTS: usize = 256;

/// Shortest time between two calls with receipts, so that pushes that come together are reported
/// together. Nothing waits for a receipt: the ids are kept here, and the broker pushes on within
/// its push window.
const RECEIPT_DEBOUNCE: Duration = Duration::from_millis(5);

/// So many receipts are reported at once: half the push window, so that a burst does not stop at it.
const RECEIPTS_AT_ONCE: usize = 128;

/// The most pushes, and about the most bytes of text, that are written together.
const MAX_TOGETHER: usize = 64;
const BYTES_TOGETHER: usize = 64 * 1024;

/// Pauses between attempts to report receipts.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Longest values of the notification's attributes, in characters.
const MAX_SUMMARY: usize = 500;
const MAX_PATH: usize = 1_000;
const MAX_NAME: usize = 120;

/// A message, and the peer to which the broker handed it.
struct PushForPeer {
    to: PeerId,
    delivery: Delivery,
}

/// Pushes that are being written, and where the last of them ends.
struct Writing {
    ids: Vec<MessageId>,
    position: u64,
}

/// The pushes of one session, from the event stream to the client.
///
/// Pushes wait until the client listens, and for each other. They are written while the stream's
/// loop waits for something else, see [`Pusher::during`].
pub struct Pusher {
    lines: PushLines,
    queue: VecDeque<PushForPeer>,
    writing: Option<Writing>,
    /// From when on the client listens; `None` as long as that is not known.
    opens_at: watch::Receiver<Option<Instant>>,
    /// The peer of the open stream.
    me: Option<PeerId>,
    known: KnownMessages,
    written: mpsc::UnboundedSender<MessageId>,
    /// Whether the client is gone. What was not written is offered to the next server.
    closed: bool,
}

impl Pusher {
    /// Pushes by `lines` from `opens_at` on, except what is `known`, and sends the id of each push to
    /// `written`.
    pub fn new(
        lines: PushLines,
        opens_at: watch::Receiver<Option<Instant>>,
        written: mpsc::UnboundedSender<MessageId>,
        known: KnownMessages,
    ) -> Self {
        Self {
            lines,
            queue: VecDeque::new(),
            writing: None,
            opens_at,
            me: None,
            known,
            written,
            closed: false,
        }
    }

    /// Notes which peer the open stream belongs to, or that no stream is open.
    ///
    /// Messages for another peer are dropped while a stream is open: the session has become another
    /// one, and the broker offers them to their own peer again.
    pub fn set_peer(&mut self, me: Option<PeerId>) {
        self.me = me;
    }

    /// Adds a message that came over the stream. One that comes before the stream says which peer it
    /// belongs to is ignored.
    pub fn push(&mut self, delivery: Delivery) {
        failpoint!("server.push.received");
        if let Some(to) = self.me.clone().filter(|_| !self.closed) {
            self.queue.push_back(PushForPeer { to, delivery });
        }
    }

    /// Writes pushes while `work` is not done. What `work` has ready comes first, so that pushes that
    /// come together are written together.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let is_busy = self.writing.is_some() || !self.queue.is_empty();
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.advance(), if is_busy => {}
            }
        }
    }

    /// Writes the next pushes. Cancelling it loses nothing: what was begun is written all the same.
    async fn advance(&mut self) {
        if self.writing.is_none() {
            self.wait_until_open().await;
            self.begin_next();
        }
        let Some(writing) = &self.writing else { return };
        let written = self.lines.written(writing.position).await;
        let Some(Writing { ids, .. }) = self.writing.take() else { return };
        if written.is_err() {
            return self.close();
        }
        failpoint!("server.push.written");
        for id in ids {
            self.report(id);
        }
    }

    async fn wait_until_open(&mut self) {
        let opens_at = self.opens_at.wait_for(Option::is_some).await.map(|at| *at);
        let Ok(opens_at) = opens_at else { return self.close() };
        if let Some(at) = opens_at.filter(|at| *at > Instant::now()) {
            tokio::time::sleep_until(at).await;
        }
    }

    /// Begins to write the first pushes of the queue that are still to be written.
    fn begin_next(&mut self) {
        let (mut ids, mut position, mut bytes) = (Vec::new(), 0, 0);
        while ids.len() < MAX_TOGETHER
            && bytes < BYTES_TOGETHER
            && let Some(PushForPeer { to, delivery }) = self.queue.pop_front()
        {
            if self.me.as_ref().is_some_and(|me| *me != to) {
                continue;
            }
            // The same message may have come twice over the stream, or a tool was faster.
            if !self.known.begin_push(&delivery.id) {
                self.report(delivery.id);
                continue;
            }
            match self.lines.add(&notification(&delivery)) {
                Ok(end) => position = end,
                Err(_) => return self.close(),
            }
            failpoint!("server.push.added");
            bytes += delivery.text.len();
            ids.push(delivery.id);
        }
        if !ids.is_empty() {
            self.writing = Some(Writing { ids, position });
        }
    }

    fn report(&mut self, id: MessageId) {
        if self.written.send(id).is_err() {
            self.close();
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.queue.clear();
    }
}

/// Reports pushes as written, as many in one call as there are, until the broker has taken them:
/// it pushes no more than its push window beyond the receipts that it has.
pub async fn receipt_loop(client: Client, mut written: mpsc::UnboundedReceiver<MessageId>) {
    let mut ids = Vec::new();
    let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
    let mut next = Instant::now();
    while !ids.is_empty() || written.recv_many(&mut ids, MAX_RECEIPTS).await > 0 {
        let enough = async {
            while ids.len() < RECEIPTS_AT_ONCE {
                match written.recv().await {
                    Some(id) => ids.push(id),
                    None => return,
                }
            }
        };
        // Otherwise the time is over.
        let _ = tokio::time::timeout_at(next, enough).await;
        while ids.len() < MAX_RECEIPTS
            && let Ok(id) = written.try_recv()
        {
            ids.push(id);
        }
        match client.written(&Written { ids: ids.clone() }).await {
            Ok(_) => {
                failpoint!("server.push.reported");
                ids.clear();
                backoff.reset();
                next = Instant::now() + RECEIPT_DEBOUNCE;
            }
            Err(error) => {
                tracing::warn!("pushes could not be reported: {error}");
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }
}

#[derive(Serialize)]
struct Notification {
    jsonrpc: &'static str,
    method: &'static str,
    params: Params,
}

#[derive(Serialize)]
struct Params {
    content: String,
    meta: Attributes,
}

/// The attributes of a push. Claude Code drops the whole message if one is not a single-line string.
#[derive(Serialize)]
struct Attributes {
    #[serde(skip_serializing_if = "String::is_empty")]
    from_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    from_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    from_summary: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    from_cwd: String,
    sent_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reply_to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<&'static str>,
}

fn notification(delivery: &Delivery) -> Notification {
    Notification { jsonrpc: "2.0", method: METHOD, params: params(delivery) }
}

/// Returns the notification's content and attributes.
fn params(delivery: &Delivery) -> Params {
    let reply_to = delivery.reply_to.as_ref().map(MessageId::as_str).unwrap_or_default();
    let meta = Attributes {
        from_id: text::id(&delivery.from_id),
        from_name: text::line(delivery.from_name.as_deref().unwrap_or_default(), MAX_NAME),
        from_summary: text::line(&delivery.from_summary, MAX_SUMMARY),
        from_cwd: text::line(&delivery.from_cwd, MAX_PATH),
        sent_at: delivery.sent_at.to_string(),
        message_id: text::id(&delivery.id),
        reply_to: text::line(reply_to, MAX_NAME),
        repeat: delivery.repeat.then_some("true"),
        notice: delivery.from_id.is_broker().then_some("true"),
    };
    Params { content: text::block(&delivery.text), meta }
}

#[cfg(test)]
mod tests;
