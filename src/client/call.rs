//! One call: repeated until there is an answer or its time limit is reached.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::Response;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::{timeout, timeout_at};

use crate::client::busy::{Tell, busy};
use crate::client::error::{ClientError, Result, StartError};
use crate::client::http::{Http, Request, failed};
use crate::client::{autostart, elsewhere};
use crate::config::Config;
use crate::endpoint::socket::holder;
use crate::protocol::{ApiError, ErrorCode};
use crate::sys::backoff::Backoff;

/// The limit of one attempt. A healthy broker answers within milliseconds.
pub(super) const ATTEMPT: Duration = Duration::from_secs(7);

/// The time after which an unanswered attempt checks whether a broker exists at all.
const NOBODY: Duration = Duration::from_secs(3);

/// The limit of a whole call, a start of the broker included.
const CALL: Duration = Duration::from_secs(16);

/// The time that a broker that holds the database but cannot be reached may take to exit.
const LETS_GO: Duration = Duration::from_secs(1);

/// Backoff between attempts. It stays short, so that a broker that is killed again and again is
/// reached between two kills.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(80);

/// The time limit of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    /// The time until which the broker may hold the call (a long poll).
    pub waits_until: Instant,
}

impl Time {
    /// The limit of a call that the broker answers at once.
    pub fn short() -> Self {
        Self { waits_until: Instant::now() }
    }

    fn deadline(self) -> Instant {
        self.waits_until + CALL
    }

    fn attempt(self) -> Duration {
        let now = Instant::now();
        let wait = self.waits_until.saturating_duration_since(now);
        (wait + ATTEMPT).min(self.deadline().saturating_duration_since(now))
    }
}

/// Makes calls: repeats what may be repeated, and starts or replaces the broker where it must.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pub http: Http,
    pub config: Arc<Config>,
    /// Whether a broker is started where none runs.
    pub start: bool,
    /// Waits for a broker that is busy, and is told why.
    pub tell: Option<Tell>,
}

impl Calls {
    /// Makes one attempt. If a process listens but no broker runs, it ends early.
    async fn answer<T: DeserializeOwned>(&self, limit: Duration, request: Request) -> Result<T> {
        let (mut attempt, early) = (std::pin::pin!(attempt(request)), limit.min(NOBODY));
        if let Ok(answer) = timeout(early, &mut attempt).await {
            return answer;
        }
        if self.start && holder(&self.config).is_none() {
            return Err(ClientError::Silent);
        }
        timeout(limit.saturating_sub(early), attempt).await.unwrap_or(Err(ClientError::Silent))
    }

    /// Returns what the broker does before it can serve, if that is why it did not answer.
    fn is_kept_by(&self, error: &ClientError) -> Option<StartError> {
        let listens = match error {
            ClientError::Silent => true,
            ClientError::Start(StartError::Busy { .. }) => false,
            _ => return None,
        };
        busy(&self.config).map(|what| StartError::Busy { what, listens })
    }

    /// Calls until there is an answer.
    ///
    /// A missing broker is started; one that goes away or does not answer is called again. The
    /// deadline bounds all of this, unless the client waits for a broker that is still opening its
    /// database. `sent` becomes true once an attempt may have been carried out without an answer.
    pub async fn call<T: DeserializeOwned>(
        &self,
        mut time: Time,
        sent: &mut bool,
        request: impl Fn() -> Request,
    ) -> Result<T> {
        let mut deadline = time.deadline();
        // The first repetition follows at once.
        let mut pause = Duration::ZERO;
        let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        loop {
            let mut error = match self.answer(time.attempt(), request()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            *sent |= error.may_be_carried_out();
            let remedy = match &error {
                ClientError::Silent if self.start => {
                    timeout_at(deadline.into(), autostart::unstick(&self.config)).await
                }
                ClientError::Silent => Ok(Ok(())),
                ClientError::Refused(refused) if refused.code == ErrorCode::ShuttingDown => {
                    Ok(Ok(()))
                }
                ClientError::Refused(refused)
                    if refused.code == ErrorCode::BrokerTooOld && self.start =>
                {
                    timeout_at(deadline.into(), autostart::replace(&self.config)).await
                }
                // A broker that is exiting releases the database last.
                ClientError::OutOfReach(_) if self.start => {
                    deadline = deadline.min(Instant::now() + LETS_GO);
                    Ok(Ok(()))
                }
                ClientError::Broken { .. } if self.start && elsewhere::is_outside(&self.config) => {
                    if !autostart::is_served(&self.config)? {
                        error = ClientError::Outside(self.config.paths.socket.clone());
                        deadline = deadline.min(Instant::now() + elsewhere::PATIENCE);
                    }
                    Ok(Ok(()))
                }
                ClientError::Broken { .. } if self.start => {
                    let ensured = autostart::ensure(&self.config, self.tell.clone());
                    if self.tell.is_some() {
                        // The start has limits of its own. Time spent on a broker that was opening
                        // its database does not count against the call.
                        let since = Instant::now();
                        let ensured = ensured.await;
                        if since.elapsed() > autostart::LISTEN {
                            time.waits_until += since.elapsed();
                            deadline = time.deadline();
                        }
                        Ok(ensured)
                    } else {
                        timeout_at(deadline.into(), ensured).await
                    }
                }
                ClientError::Broken { .. } => {
                    return Err(match autostart::is_served(&self.config) {
                        Ok(true) => error,
                        Ok(false) => ClientError::NotRunning,
                        Err(unknown) => unknown.into(),
                    });
                }
                _ => return Err(error),
            };
            match remedy {
                Ok(Ok(())) => {}
                // The broker was killed or stopped while it started: the next one may live.
                Ok(Err(not_yet @ (StartError::Ended(_) | StartError::Busy { .. }))) => {
                    error = not_yet.into();
                }
                Ok(Err(failed)) => return Err(failed.into()),
                Err(_) => error = ClientError::Silent,
            }
            if let Some(busy) = self.is_kept_by(&error) {
                if let (Some(tell), StartError::Busy { what, .. }) = (&self.tell, &busy) {
                    tell.say(what);
                    time.waits_until = time.waits_until.max(Instant::now());
                    deadline = time.deadline();
                }
                error = busy.into();
            }
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = backoff.pause();
        }
    }
}

pub(super) async fn attempt<T: DeserializeOwned>(request: Request) -> Result<T> {
    let response = request.send().await?;
    let status = response.status();
    let bytes = read_all(response).await?;
    if !status.is_success() {
        return Err(refusal(&bytes));
    }
    serde_json::from_slice(&bytes).map_err(|error| ClientError::Nonsense(error.to_string()))
}

/// Reads the whole body of an answer. It has no size limit, because the broker is trusted.
pub(super) async fn read_all(response: Response<Incoming>) -> Result<Bytes> {
    let body = Body::new(response.into_body());
    axum::body::to_bytes(body, usize::MAX).await.map_err(|error| failed(&error, true))
}

pub(super) fn refusal(bytes: &[u8]) -> ClientError {
    match serde_json::from_slice::<ApiError>(bytes) {
        Ok(error) => ClientError::Refused(error),
        Err(_) => ClientError::Nonsense(
            String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned(),
        ),
    }
}
