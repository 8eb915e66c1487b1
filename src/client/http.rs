//! HTTP/1.1 over the broker's socket.
//!
//! Each connection is made here, so that no byte is sent before the listener's user is verified
//! (see [`crate::sys::trust`]).

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::uri::{self, Authority, PathAndQuery, Scheme};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use tokio::net::UnixStream;
use tower_service::Service;

use crate::client::error::{ClientError, OutOfReach};
use crate::config::Config;
use crate::endpoint::socket;
use crate::sys::trust::{Untrusted, check_listener, check_way};

/// A pool of connections to the broker.
#[derive(Debug, Clone)]
pub struct Http {
    calls: legacy::Client<Connector, Body>,
}

impl Http {
    pub fn new(config: Arc<Config>) -> Self {
        let calls = legacy::Client::builder(TokioExecutor::new())
            // Without an idle time-out the pool needs no timer.
            .pool_idle_timeout(None)
            .build(Connector { config });
        Self { calls }
    }

    pub fn request(&self, method: Method, path: &'static str) -> Request {
        Request {
            calls: self.calls.clone(),
            method,
            path: PathAndQuery::from_static(path),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            flaw: None,
        }
    }
}

/// A request builder. An invalid part is reported when the request is sent.
#[derive(Debug, Clone)]
pub struct Request {
    calls: legacy::Client<Connector, Body>,
    method: Method,
    path: PathAndQuery,
    headers: HeaderMap,
    body: Bytes,
    flaw: Option<String>,
}

impl Request {
    /// Returns a request with the same headers.
    pub fn like_this(&self, method: Method, path: &'static str) -> Self {
        Self { method, path: PathAndQuery::from_static(path), ..self.clone() }
    }

    pub fn header<V>(mut self, name: &'static str, value: V) -> Self
    where
        V: TryInto<HeaderValue>,
        V::Error: Into<axum::http::Error>,
    {
        match value.try_into() {
            Ok(value) => {
                self.headers.insert(HeaderName::from_static(name), value);
            }
            Err(error) => self.flaw = Some(format!("{name}: {}", error.into())),
        }
        self
    }

    pub fn query(mut self, query: &impl Serialize) -> Self {
        match serde_urlencoded::to_string(query) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => match format!("{}?{text}", self.path).try_into() {
                Ok(path) => self.path = path,
                Err(error) => self.flaw = Some(error.to_string()),
            },
            Err(error) => self.flaw = Some(error.to_string()),
        }
        self
    }

    pub fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => {
                self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                self.body = bytes.into();
            }
            Err(error) => self.flaw = Some(error.to_string()),
        }
        self
    }

    /// Sends the request and returns the head of the answer. The body is not read yet.
    pub async fn send(self) -> Result<Response<Incoming>, ClientError> {
        if let Some(flaw) = self.flaw {
            return Err(ClientError::Broken { cause: flaw, sent: false });
        }
        let mut request = axum::http::Request::new(Body::from(self.body));
        *request.method_mut() = self.method;
        let mut uri = uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(Authority::from_static("localhost"));
        uri.path_and_query = Some(self.path);
        *request.uri_mut() = Uri::from_parts(uri)
            .map_err(|error| ClientError::Broken { cause: error.to_string(), sent: false })?;
        *request.headers_mut() = self.headers;
        // Without a connection no byte was sent.
        self.calls.request(request).await.map_err(|error| failed(&error, !error.is_connect()))
    }
}

/// Converts an error of the HTTP client: an untrusted or unreachable socket, else the innermost
/// cause. `sent` says whether a part of the request may have been sent.
pub fn failed(error: &(dyn Error + 'static), sent: bool) -> ClientError {
    let mut cause = error;
    loop {
        match cause.downcast_ref() {
            Some(ConnectError::Untrusted(untrusted)) => return untrusted.clone().into(),
            Some(ConnectError::OutOfReach(held)) => return held.clone().into(),
            Some(ConnectError::Io(_)) | None => {}
        }
        match cause.source() {
            Some(deeper) => cause = deeper,
            None => return ClientError::Broken { cause: cause.to_string(), sent },
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    #[error(transparent)]
    OutOfReach(OutOfReach),
}

/// Connects to the broker of these settings, at the socket where it serves now.
#[derive(Debug, Clone)]
struct Connector {
    config: Arc<Config>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<UnixStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let config = Arc::clone(&self.config);
        Box::pin(async move { connect(&config).await.map(TokioIo::new) })
    }
}

/// Connects to a listener of our own user, by a path that only our user can change.
async fn connect(config: &Config) -> Result<UnixStream, ConnectError> {
    let mut nobody = io::Error::from(io::ErrorKind::NotFound);
    let sockets = socket::route(config).map_err(|holder| {
        let database = config.database_file();
        ConnectError::OutOfReach(OutOfReach { database, holder: holder.described() })
    })?;
    for path in sockets {
        check_way(&path, &config.paths.home)?;
        match UnixStream::connect(&path).await {
            Ok(stream) => {
                check_listener(&stream, &path)?;
                return Ok(stream);
            }
            Err(error) if is_nobody(&error) => nobody = error,
            Err(error) => return Err(error.into()),
        }
    }
    Err(nobody.into())
}

/// Returns whether the system says that no process listens there.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
