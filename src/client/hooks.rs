//! The calls of hooks and wakes. Most have one attempt: nobody may be held up by them.

use std::time::Duration;

use axum::http::Method;
use tokio::time::timeout;

use crate::client::Client;
use crate::client::call::attempt;
use crate::client::error::{ClientError, Result};
use crate::protocol::hook::{HookEvent, HookMail, HookMoved, HookWritten};
use crate::protocol::mailbox::Noted;
use crate::protocol::wake::{AwaitWake, Look, Looked, Looks, Reason, Wake, WakeGiven};
use crate::protocol::{ErrorCode, route};

impl Client {
    /// One attempt, and short: a hook must not hold its session. A broker that is older than the
    /// hook is asked once more, in its own words.
    ///
    /// # Errors
    ///
    /// If there is no broker, or no quick answer.
    pub async fn hook(&self, event: &HookEvent, limit: Duration) -> Result<HookMail> {
        let ask = async |event: &HookEvent| {
            attempt(self.request(&Method::POST, route::HOOK).json(event)).await
        };
        let attempts = async {
            match ask(event).await {
                Err(error) if error.code() == Some(ErrorCode::BadRequest) => {
                    ask(&event.for_an_older_broker()).await
                }
                answer => answer,
            }
        };
        timeout(limit, attempts).await.unwrap_or(Err(ClientError::Silent))
    }

    /// One attempt, as for the hook's event itself.
    ///
    /// # Errors
    ///
    /// If there is no broker any more, or no quick answer.
    pub async fn hook_written(&self, written: &HookWritten, limit: Duration) -> Result<Noted> {
        let request = self.request(&Method::POST, route::HOOK_WRITTEN).json(written);
        timeout(limit, attempt(request)).await.unwrap_or(Err(ClientError::Silent))
    }

    /// One attempt, as for the hook's event itself.
    ///
    /// # Errors
    ///
    /// If there is no broker any more, or no quick answer.
    pub async fn hook_moved(&self, moved: &HookMoved, limit: Duration) -> Result<Noted> {
        let request = self.request(&Method::POST, route::HOOK_MOVED).json(moved);
        timeout(limit, attempt(request)).await.unwrap_or(Err(ClientError::Silent))
    }

    /// Returns when the session is to be woken, which may be in days. One attempt.
    ///
    /// # Errors
    ///
    /// If there is no broker, or it ends.
    pub async fn await_wake(&self, request: &AwaitWake, looks: Looks) -> Result<Wake> {
        let call = self.request(&Method::POST, route::WAKE).query(&looks);
        attempt(call.json(request)).await
    }

    /// Says whether the client was idle where a turn seemed to be under way.
    pub async fn looked(&self, look: &Look, idle: bool) -> Result<Noted> {
        let looked = Looked { peer: look.peer.clone(), turn: look.turn, idle };
        self.post(route::WAKE_LOOKED, &looked).await
    }

    /// Says that a tool's answer is out. One attempt: it is a hint and no more.
    ///
    /// # Errors
    ///
    /// If there is no broker, or one that does not know of it.
    pub async fn tool_answered(&self) -> Result<Noted> {
        let request = self.request(&Method::POST, route::TOOL_ANSWERED);
        attempt(request.json(&serde_json::json!({}))).await
    }

    /// Says that a session was woken.
    pub async fn wake_given(&self, reason: &Reason) -> Result<Noted> {
        let given = WakeGiven { peer: reason.peer.clone(), upto: reason.upto };
        self.post(route::WAKE_GIVEN, &given).await
    }
}
