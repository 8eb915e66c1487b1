//! Waking an idle session whose messages would otherwise wait until its person comes back.
//!
//! There are two ways to wake a session: a hook of its client that waits here ([`await_wake`]), and its
//! MCP server, which is told over its stream ([`wake_over_stream`]). The hook is preferred, because
//! Claude Code documents it; while one waits, the server is told nothing. The mailbox decides when to
//! wake, and hands each wake out once.
//!
//! Nothing is polled: a signal says that messages came, and a timer runs only while messages wait. While
//! they wait for the end of a turn, the hook or server is asked now and then for an idle check, because
//! no hook reports the end of a turn that was interrupted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::broker::live::signals::Subscription;
use crate::broker::mailbox;
use crate::broker::mailbox::WakeTime;
use crate::broker::shared::Shared;
use crate::protocol::stream::Event;
use crate::protocol::wake::{IdleCheck, Wake, WakeOptions, WakeReason};
use crate::protocol::{ApiError, InstanceId, PeerId};

/// The pause before the next try after the database failed.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(30);

/// Pauses between two idle checks of a client that seems to be at work: the first, and the longest.
const FIRST_IDLE_CHECK: Duration = Duration::from_secs(1);
const LAST_IDLE_CHECK: Duration = Duration::from_secs(5);

/// How long a hook may take for an idle check before the server may wake the session instead.
const IDLE_CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// The registration of a waiting hook. When the wait ends, for whatever reason, it is removed and the
/// session's MCP server is notified, because it may wake the session now.
struct HookRegistration {
    shared: Arc<Shared>,
    client: String,
    peer: PeerId,
    generation: u64,
}

impl Drop for HookRegistration {
    fn drop(&mut self) {
        self.shared.live.hook_waiters.unregister(&self.client, self.generation);
        self.shared.live.signals.notify(&self.peer);
    }
}

/// Waits until the hook that calls is to wake the peer, or to check whether its client is idle.
///
/// # Errors
///
/// If the broker stops, or the database fails.
pub async fn await_wake(
    shared: &Arc<Shared>,
    client: String,
    peer: PeerId,
    looks: WakeOptions,
) -> Result<Wake, ApiError> {
    let (generation, replaced) = shared.live.hook_waiters.register(client.clone(), peer.clone());
    let registration =
        HookRegistration { shared: Arc::clone(shared), client, peer: peer.clone(), generation };
    let mut signal = shared.live.signals.subscribe(&peer);
    let check_at =
        looks.look_in.map(|seconds| Instant::now() + Duration::from_secs(seconds.min(60)));
    let woken = tokio::select! {
        () = replaced.cancelled() => Ok(Wake::Replaced),
        () = shared.stop.cancelled() => Err(ApiError::stopping()),
        found = until_time(shared, &peer, &mut signal, || true, |_| check_at) => found.map(Into::into),
    };
    // A hook that checks its client stays registered until it is back.
    if let Ok(Wake::Look(_)) = woken {
        tokio::spawn(async move {
            tokio::time::sleep(IDLE_CHECK_TIMEOUT).await;
            drop(registration);
        });
    }
    woken
}

/// Tells a session's MCP server when to wake it, as long as its stream is open. A stream that is attached
/// to another peer is told about that one from then on.
pub async fn wake_over_stream(shared: &Shared, instance: &InstanceId, generation: u64) {
    let current = || {
        let streams = shared.live.presence.lock();
        let stream = streams.stream(instance).filter(|stream| stream.generation == generation)?;
        Some((stream.peer.clone(), Arc::clone(&stream.reattached)))
    };
    while let Some((peer, reattached)) = current() {
        tokio::select! {
            () = reattached.notified() => {}
            () = wake_peer(shared, instance, generation, &peer) => {}
        }
    }
}

async fn wake_peer(shared: &Shared, instance: &InstanceId, generation: u64, peer: &PeerId) {
    let mut signal = shared.live.signals.subscribe(peer);
    let is_mine = || !shared.live.hook_waiters.has(peer);
    let mut pace = IdleCheckPace::default();
    loop {
        match until_time(shared, peer, &mut signal, is_mine, |turn| Some(pace.next(turn))).await {
            Ok(found) => {
                if let WakeOutcome::AtWork(look) = &found {
                    pace.checked(look.turn);
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
                    () = tokio::time::sleep(RETRY_AFTER_FAILURE) => {}
                    () = signal.notified() => {}
                }
            }
        }
    }
}

/// What a hook or a server is to do.
enum WakeOutcome {
    Reason(WakeReason),
    /// Check whether the turn that seems to be under way has ended.
    AtWork(IdleCheck),
}

impl From<WakeOutcome> for Wake {
    fn from(found: WakeOutcome) -> Self {
        match found {
            WakeOutcome::Reason(reason) => Self::Mail(reason),
            WakeOutcome::AtWork(look) => Self::Look(look),
        }
    }
}

impl From<WakeOutcome> for Event {
    fn from(found: WakeOutcome) -> Self {
        match found {
            WakeOutcome::Reason(reason) => Self::Wake { reason },
            WakeOutcome::AtWork(look) => Self::Look { look },
        }
    }
}

/// When the next idle check of a turn is due. Another turn starts over.
#[derive(Debug, Default)]
struct IdleCheckPace {
    turn: u64,
    at: Option<Instant>,
    pause: Duration,
}

impl IdleCheckPace {
    fn next(&self, turn: u64) -> Instant {
        self.at.filter(|_| self.turn == turn).unwrap_or_else(Instant::now)
    }

    fn checked(&mut self, turn: u64) {
        let goes_on = self.turn == turn && self.at.is_some();
        self.pause = if goes_on { (self.pause * 2).min(LAST_IDLE_CHECK) } else { FIRST_IDLE_CHECK };
        (self.turn, self.at) = (turn, Some(Instant::now() + self.pause));
    }
}

/// Returns when it is time for a wake, which the caller is to give, or for an idle check, if `check_at`
/// says when the caller can make one.
///
/// It reads the mailbox at once, and again after each signal.
async fn until_time(
    shared: &Shared,
    peer: &PeerId,
    signal: &mut Subscription,
    is_mine: impl Fn() -> bool,
    check_at: impl Fn(u64) -> Option<Instant>,
) -> Result<WakeOutcome, ApiError> {
    loop {
        let asked = peer.clone();
        let when = if is_mine() {
            shared.store.inspect(move |tx| mailbox::next_wake(tx, &asked)).await?
        } else {
            WakeTime::OnSignal
        };
        match when {
            WakeTime::Now(_) => {
                let claimed = peer.clone();
                // In a transaction, though it writes nothing: a wake that cannot be recorded as given is
                // not handed out.
                let claim =
                    shared.store.write_unsynced(move |tx| mailbox::claim_wake(tx, &claimed));
                // `None`: another hook or server was told meanwhile, or the session is at work.
                if let Some(reason) = claim.await? {
                    return Ok(WakeOutcome::Reason(reason));
                }
            }
            WakeTime::OnSignal => signal.notified().await,
            WakeTime::In(time) => tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = signal.notified() => {}
            },
            WakeTime::AfterTurn { look, settles_in, left } => {
                let check_in = check_at(look.turn)
                    .map(|at| at.saturating_duration_since(Instant::now()).max(settles_in));
                if check_in.is_some_and(|time| time.is_zero()) {
                    return Ok(WakeOutcome::AtWork(look));
                }
                tokio::select! {
                    () = tokio::time::sleep(check_in.unwrap_or(left).min(left)) => {}
                    () = signal.notified() => {}
                }
            }
        }
    }
}
