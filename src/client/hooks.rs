//! The calls of hooks and wakes. Most make one attempt, because a hook must not delay its session.

use std::time::Duration;

use axum::http::Method;
use tokio::time::timeout;

use crate::client::Client;
use crate::client::call::attempt;
use crate::client::error::{ClientError, Result};
use crate::protocol::hook::{DirectoryChanged, HookEvent, HookMail, HookWritten};
use crate::protocol::mailbox::Noted;
use crate::protocol::wake::{
    AwaitWake, IdleCheck, IdleCheckResult, Wake, WakeGiven, WakeOptions, WakeReason,
};
use crate::protocol::{ErrorCode, route};

impl Client {
    /// Reports a hook event and returns the mail to show. Makes one attempt.
    ///
    /// A broker that is older than the hook is asked once more, without the fields that it does
    /// not know.
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
                    ask(&event.without_new_fields()).await
                }
                answer => answer,
            }
        };
        timeout(limit, attempts).await.unwrap_or(Err(ClientError::Silent))
    }

    /// Reports that a hook's output was written. Makes one attempt.
    ///
    /// # Errors
    ///
    /// If there is no broker any more, or no quick answer.
    pub async fn hook_written(&self, written: &HookWritten, limit: Duration) -> Result<Noted> {
        let request = self.request(&Method::POST, route::HOOK_WRITTEN).json(written);
        timeout(limit, attempt(request)).await.unwrap_or(Err(ClientError::Silent))
    }

    /// Reports that the session's directory changed. Makes one attempt.
    ///
    /// # Errors
    ///
    /// If there is no broker any more, or no quick answer.
    pub async fn hook_moved(&self, moved: &DirectoryChanged, limit: Duration) -> Result<Noted> {
        let request = self.request(&Method::POST, route::HOOK_MOVED).json(moved);
        timeout(limit, attempt(request)).await.unwrap_or(Err(ClientError::Silent))
    }

    /// Waits until the session is to be woken, which may take days. Makes one attempt.
    ///
    /// # Errors
    ///
    /// If there is no broker, or it ends.
    pub async fn await_wake(&self, request: &AwaitWake, looks: WakeOptions) -> Result<Wake> {
        let call = self.request(&Method::POST, route::WAKE).query(&looks);
        attempt(call.json(request)).await
    }

    /// Reports whether the client was idle although a turn seemed to run.
    pub async fn looked(&self, look: &IdleCheck, idle: bool) -> Result<Noted> {
        let looked = IdleCheckResult { peer: look.peer.clone(), turn: look.turn, idle };
        self.post(route::WAKE_LOOKED, &looked).await
    }

    /// Reports that a tool's answer was written. Makes one attempt, because it is only a hint.
    ///
    /// # Errors
    ///
    /// If there is no broker, or one that does not know of it.
    pub async fn tool_answered(&self) -> Result<Noted> {
        let request = self.request(&Method::POST, route::TOOL_ANSWERED);
        attempt(request.json(&serde_json::json!({}))).await
    }

    /// Reports that a session was woken.
    pub async fn wake_given(&self, reason: &WakeReason) -> Result<Noted> {
        let given = WakeGiven { peer: reason.peer.clone(), upto: reason.upto };
        self.post(route::WAKE_GIVEN, &given).await
    }
}
