//! Long polls: calls that the broker holds until there is something to return, or their time is over.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::client::call::Time;
use crate::client::error::Result;
use crate::protocol::mailbox::{Answered, MAX_WAIT, Take, TakeAnswer, Taken, Wait};
use crate::protocol::{MessageId, route};
use crate::sys::clock;
use crate::sys::random::idempotency_key;

impl Client {
    /// Takes the unread messages; if there are none, waits for one up to `limit`.
    ///
    /// # Errors
    ///
    /// If the broker refuses or cannot be reached. The same holds for all calls below.
    pub async fn take_within(&self, request: &Take, limit: Duration) -> Result<Taken> {
        let is_empty = |taken: &Taken| taken.messages.is_empty();
        self.post_waiting(route::TAKE, request, limit, is_empty).await
    }

    /// Waits up to `limit` for the answer to a message of ours, and takes it.
    pub async fn answer_to(&self, id: &MessageId, limit: Duration) -> Result<Answered> {
        let request = TakeAnswer { id: id.clone() };
        let is_empty = |answered: &Answered| answered.answer.is_none();
        self.post_waiting(route::ANSWER, &request, limit, is_empty).await
    }

    /// Repeats a long poll until `limit`, because the broker bounds each call.
    async fn post_waiting<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &'static str,
        body: &B,
        limit: Duration,
        is_empty: impl Fn(&T) -> bool,
    ) -> Result<T> {
        let over = Instant::now() + limit;
        loop {
            let left = over.saturating_duration_since(Instant::now());
            let waits_until = Instant::now() + left.min(Duration::from_secs(MAX_WAIT));
            let key = idempotency_key(clock::now());
            let answer = self
                .call_known(Time { waits_until }, || {
                    let left = waits_until.saturating_duration_since(Instant::now());
                    // Whole seconds, rounded up.
                    let wait_seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
                    self.write_request(path, &key, body).query(&Wait { wait_seconds })
                })
                .await?;
            if !is_empty(&answer) || Instant::now() >= over {
                return Ok(answer);
            }
        }
    }
}
