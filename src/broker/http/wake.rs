//! Waking a session whose mail would otherwise lie until its person comes back.
//!
//! There are two ways to wake one: a hook of its client that waits here ([`await_wake`]), and its
//! MCP server, which is told over its stream ([`follow`]). The hook is the better one, being
//! documented; while it waits the server keeps still. When it is time is decided in the
//! transaction ([`mailbox::wake`]), so one batch of mail is one wake over both.
//!
//! Nothing is polled: a bell says that mail came, and a timer runs only while mail waits. Where it
//! waits for the end of a turn, whoever is to wake is asked now and then to look at the client: an
//! interrupted turn has an end that no hook tells.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::broker::live::signals::Subscription;
use crate::broker::mailbox;
use crate::broker::mailbox::When;
use crate::broker::shared::Shared;
use crate::protocol::stream::Event;
use crate::protocol::wake::{Look, Looks, Reason, Wake};
use crate::protocol::{ApiError, InstanceId, PeerId};

/// How long after the database failed it is asked again whether a session is to be woken.
const AFTER_A_FAILURE: Duration = Duration::from_secs(30);

/// Pauses between two looks at a client that seems to be at work.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LAST_LOOK: Duration = Duration::from_secs(5);

/// How long a hook may look at its client before waking is the server's business.
const A_LOOK: Duration = Duration::from_secs(3);

/// A place among the waiters. It is left when the wait ends, for whatever reason, and the
/// session's MCP server looks again: waking is its business now.
struct Place {
    shared: Arc<Shared>,
    client: String,
    peer: PeerId,
    generation: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.live.hook_waiters.unregister(&self.client, self.generation);
        self.shared.live.signals.notify(&self.peer);
    }
}

/// Waits until the peer is to be woken by the hook that calls.
///
/// # Errors
///
/// If the broker stops, or the database fails.
pub async fn await_wake(
    shared: &Arc<Shared>,
    client: String,
    peer: PeerId,
    looks: Looks,
) -> Result<Wake, ApiError> {
    let (generation, replaced) = shared.live.hook_waiters.register(client.clone(), peer.clone());
    let place = Place { shared: Arc::clone(shared), client, peer: peer.clone(), generation };
    let mut signal = shared.live.signals.subscribe(&peer);
    let look_at =
        looks.look_in.map(|seconds| Instant::now() + Duration::from_secs(seconds.min(60)));
    let woken = tokio::select! {
        () = replaced.cancelled() => Ok(Wake::Replaced),
        () = shared.stop.cancelled() => Err(ApiError::stopping()),
        found = until_time(shared, &peer, &mut signal, || true, |_| look_at) => found.map(Into::into),
    };
    // Who looks keeps its place until it is back.
    if let Ok(Wake::Look(_)) = woken {
        tokio::spawn(async move {
            tokio::time::sleep(A_LOOK).await;
            drop(place);
        });
    }
    woken
}

/// Tells a session's MCP server when to wake it, as long as its stream is open. A window that
/// shows another session is another peer's from then on.
pub async fn follow(shared: &Shared, instance: &InstanceId, generation: u64) {
    let now = || {
        let inner = shared.live.presence.lock();
        let stream = inner.stream(instance).filter(|stream| stream.generation == generation)?;
        Some((stream.peer.clone(), Arc::clone(&stream.reattached)))
    };
    while let Some((peer, moved)) = now() {
        tokio::select! {
            () = moved.notified() => {}
            () = follow_peer(shared, instance, generation, &peer) => {}
        }
    }
}

async fn follow_peer(shared: &Shared, instance: &InstanceId, generation: u64, peer: &PeerId) {
    let mut signal = shared.live.signals.subscribe(peer);
    let is_mine = || !shared.live.hook_waiters.has(peer);
    let mut pace = Pace::default();
    loop {
        match until_time(shared, peer, &mut signal, is_mine, |turn| Some(pace.next(turn))).await {
            Ok(found) => {
                if let Found::AtWork(look) = &found {
                    pace.looked(look.turn);
                }
                if let Some(stream) = shared.live.presence.lock().stream(instance)
                    && (stream.generation, &stream.peer) == (generation, peer)
                {
                    stream.send(found.into());
                }
            }
            Err(error) => {
                tracing::warn!("a session is not woken yet: {error}");
                tokio::select! {
                    () = tokio::time::sleep(AFTER_A_FAILURE) => {}
                    () = signal.notified() => {}
                }
            }
        }
    }
}

/// What there is to do for whoever is to wake a session.
enum Found {
    Reason(Reason),
    /// There would be reason, but for a turn.
    AtWork(Look),
}

impl From<Found> for Wake {
    fn from(found: Found) -> Self {
        match found {
            Found::Reason(reason) => Self::Mail(reason),
            Found::AtWork(look) => Self::Look(look),
        }
    }
}

impl From<Found> for Event {
    fn from(found: Found) -> Self {
        match found {
            Found::Reason(reason) => Self::Wake { reason },
            Found::AtWork(look) => Self::Look { look },
        }
    }
}

/// When to look next at a turn; another turn begins anew.
#[derive(Debug, Default)]
struct Pace {
    turn: u64,
    at: Option<Instant>,
    pause: Duration,
}

impl Pace {
    fn next(&self, turn: u64) -> Instant {
        self.at.filter(|_| self.turn == turn).unwrap_or_else(Instant::now)
    }

    fn looked(&mut self, turn: u64) {
        let goes_on = self.turn == turn && self.at.is_some();
        self.pause = if goes_on { (self.pause * 2).min(LAST_LOOK) } else { FIRST_LOOK };
        (self.turn, self.at) = (turn, Some(Instant::now() + self.pause));
    }
}

/// Returns when it is time for a wake, which is then for the caller to give, or to look at a turn
/// if `look_at` says that it can. It looks for mail first, and again whenever the bell has rung.
async fn until_time(
    shared: &Shared,
    peer: &PeerId,
    signal: &mut Subscription,
    is_mine: impl Fn() -> bool,
    look_at: impl Fn(u64) -> Option<Instant>,
) -> Result<Found, ApiError> {
    loop {
        let asked = peer.clone();
        let when = if is_mine() {
            shared.store.inspect(move |tx| mailbox::wake_when(tx, &asked)).await?
        } else {
            When::OnceItRings
        };
        match when {
            When::Now(reason) => return Ok(Found::Reason(reason)),
            When::OnceItRings => signal.notified().await,
            When::In(time) => tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = signal.notified() => {}
            },
            When::AtWork { look, settles_in, left } => {
                let looks_in = look_at(look.turn)
                    .map(|at| at.saturating_duration_since(Instant::now()).max(settles_in));
                if looks_in.is_some_and(|time| time.is_zero()) {
                    return Ok(Found::AtWork(look));
                }
                tokio::select! {
                    () = tokio::time::sleep(looks_in.unwrap_or(left).min(left)) => {}
                    () = signal.notified() => {}
                }
            }
        }
    }
}
