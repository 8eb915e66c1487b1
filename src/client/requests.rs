//! Requests of a session: what may be repeated, and what must not be done twice.

use axum::http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::client::call::Time;
use crate::client::error::{ClientError, Result};
use crate::client::http::Request;
use crate::protocol::{ErrorCode, header};
use crate::sys::clock;
use crate::sys::random::idempotency_key;

impl Client {
    pub(super) async fn get<Q: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &'static str,
        query: &Q,
    ) -> Result<T> {
        self.call_known(Time::short(), || self.request(&Method::GET, path).query(query)).await
    }

    pub(super) async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &'static str,
        body: &B,
    ) -> Result<T> {
        let key = idempotency_key(clock::now());
        self.call_known(Time::short(), || self.write_request(path, &key, body)).await
    }

    /// Returns a request that changes something. Each attempt of one call has the same `key`.
    pub(super) fn write_request(
        &self,
        path: &'static str,
        key: &str,
        body: &impl Serialize,
    ) -> Request {
        self.request(&Method::POST, path).header(header::IDEMPOTENCY_KEY, key).json(body)
    }

    /// Sends what must not be sent twice. If it is not known whether it was carried out, the error says
    /// so.
    pub(super) async fn post_once<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &'static str,
        body: &B,
    ) -> Result<T> {
        let key = idempotency_key(clock::now());
        self.call_once(|| self.write_request(path, &key, body)).await
    }

    pub(super) async fn call_once<T: DeserializeOwned>(
        &self,
        request: impl Fn() -> Request,
    ) -> Result<T> {
        let mut sent = false;
        let result = self.call_noting(Time::short(), &mut sent, request).await;
        result.map_err(|error| if sent { error.after_an_attempt() } else { error })
    }

    pub(super) async fn call_known<T: DeserializeOwned>(
        &self,
        time: Time,
        request: impl Fn() -> Request,
    ) -> Result<T> {
        let result = self.call_noting(time, &mut false, request).await;
        // It may be repeated, whatever became of it.
        result.map_err(ClientError::into_last)
    }

    /// Makes a call, and once again after a registration if the broker does not know the session.
    async fn call_noting<T: DeserializeOwned>(
        &self,
        time: Time,
        sent: &mut bool,
        request: impl Fn() -> Request,
    ) -> Result<T> {
        match self.calls.call(time, sent, &request).await {
            Err(error)
                if error.code() == Some(ErrorCode::UnknownSession) && self.session.is_some() =>
            {
                // What it says of the registration is no answer to the call.
                self.register(Time::short()).await.map_err(|error| match error {
                    error if *sent => ClientError::Unknown(Box::new(error)),
                    error => error,
                })?;
                self.calls.call(time, sent, &request).await
            }
            result => result,
        }
    }
}
