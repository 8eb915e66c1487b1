//! Requests: which are accepted, who calls, what the body is, and how a refusal looks.
//!
//! On the Unix socket the kernel reports the caller's user; who may call over TCP, `over_tcp` decides.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::broker::core::idempotency::IdempotencyKey;
use crate::broker::http::identity::Identity;
use crate::broker::http::over_tcp;
use crate::broker::http::over_tcp::lossy;
use crate::broker::registry;
use crate::broker::shared::Shared;
use crate::config::MAX_MESSAGE_BYTES;
use crate::protocol::bounds::Bounded;
use crate::protocol::messages::MAX_BATCH_BYTES;
use crate::protocol::{ApiError, CallerContext, ErrorCode, header, route};
use crate::sys::files::{effective_uid, identity, same_place};

/// The limit for a client to send its body. A slow client would keep its connection from others.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The connection on which a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// The Unix socket, from a process of the owner, with its pid where the kernel reports one.
    Unix { pid: Option<u32> },
    /// The Unix socket, from another user, who gets an error and nothing else.
    ForeignUser { uid: u32 },
    /// TCP, from any process on the machine.
    Tcp,
}

impl Transport {
    /// Returns the caller's pid as the broker sees it, where the kernel reports one.
    #[must_use]
    pub const fn pid(self) -> Option<u32> {
        match self {
            Self::Unix { pid } => pid,
            Self::Tcp | Self::ForeignUser { .. } => None,
        }
    }
}

/// An [`ApiError`] as an HTTP response.
pub struct Refusal(pub ApiError);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl Refusal {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(ApiError::new(code, message))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}

/// Answers a request for a path without a route.
pub async fn no_route(uri: Uri) -> Refusal {
    Refusal::new(ErrorCode::NotFound, format!("there is no route {}", uri.path()))
}

/// Answers a request with a method that its route does not have.
pub async fn no_method(method: Method, uri: Uri) -> Response {
    let error =
        ApiError::new(ErrorCode::BadRequest, format!("{} does not take {method}", uri.path()));
    (StatusCode::METHOD_NOT_ALLOWED, Json(error)).into_response()
}

/// The middleware before every route: checks the request and adds the caller's `Identity` to it.
pub async fn check(
    State(shared): State<Arc<Shared>>,
    Extension(transport): Extension<Transport>,
    mut request: Request,
    next: Next,
) -> Response {
    shared.activity.record();
    let checked = check_request(&shared, transport, &request);
    let response = match checked {
        Ok(is_page) => match caller(transport, &request, is_page) {
            Ok((identity, around)) => {
                request.extensions_mut().insert(identity);
                request.extensions_mut().insert(around);
                let response = next.run(request).await;
                failpoint!("broker.request.answered");
                response
            }
            Err(error) => Refusal(error).into_response(),
        },
        Err(refusal) => refusal.into_response(),
    };
    answer(&shared, transport, response)
}

/// Returns who calls, and from where.
fn caller(
    transport: Transport,
    request: &Request,
    is_page: bool,
) -> Result<(Identity, CallerContext), ApiError> {
    // A page speaks for its person, whatever else it says.
    let said = |name| request.headers().get(name).filter(|_| !is_page);
    let around = said(header::CONTEXT).map(HeaderValue::as_bytes);
    let mut around = around.map(CallerContext::from_header).unwrap_or_default();
    around.bound()?;
    let identity = match (said(header::SESSION), &around.inside) {
        (Some(secret), _) => Identity::Session(lossy(secret)),
        (None, Some(inside)) => {
            Identity::Inside(registry::client_of_shell(transport.pid(), inside))
        }
        (None, None) => Identity::Owner,
    };
    Ok((identity, around))
}

/// Adds to each answer which protocol the broker speaks, and over TCP what a browser may do with it:
/// neither keep it nor take it for something else.
fn answer(shared: &Shared, transport: Transport, mut response: Response) -> Response {
    let headers = response.headers_mut();
    let name = HeaderName::from_static(header::PROTOCOL);
    headers.insert(name, HeaderValue::from(shared.protocol));
    if transport == Transport::Tcp {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    response
}

/// Checks a request. Returns whether it is the broker's own page that calls, in a browser.
fn check_request(
    shared: &Shared,
    transport: Transport,
    request: &Request,
) -> Result<bool, Refusal> {
    let headers = request.headers();
    if let Transport::ForeignUser { uid } = transport {
        return Err(Refusal(foreign_user_error(uid)));
    }
    let is_page = transport == Transport::Tcp && over_tcp::check(shared, request)?;
    if request.method() == Method::POST {
        check_content_type(headers)?;
    }
    check_protocol(shared, headers)?;
    check_database_setting(shared, headers)?;
    Ok(is_page)
}

/// Returns the error for a caller with another user id.
///
/// That may be the same person all the same: in a container, where a user namespace hides the user
/// id, or where the caller runs as root.
fn foreign_user_error(uid: u32) -> ApiError {
    let ours = effective_uid();
    let hidden = std::fs::read_to_string("/proc/sys/kernel/overflowuid")
        .is_ok_and(|overflow| overflow.trim() == uid.to_string());
    let message = if uid == ours {
        format!(
            "other users cannot be told apart from the broker's own user: the broker's user namespace shows all of them as {uid}"
        )
    } else {
        format!("this broker accepts only user id {ours}; your user id appears as {uid}")
    };
    let hint = if hidden {
        format!(
            "{uid} stands for a user that does not exist in the broker's user namespace. Map your user into it (podman --userns=keep-id, unshare --map-current-user), or start a broker on your side."
        )
    } else {
        format!(
            "In a container, run it as that user (docker run --user {ours}); otherwise use the broker of your own user."
        )
    };
    ApiError::new(ErrorCode::Forbidden, message).hint(hint)
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = given.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if kind.eq_ignore_ascii_case(b"application/json") {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::UnsupportedMediaType, "the body must be application/json"))
}

/// Refuses a client whose protocol is newer than the broker's.
fn check_protocol(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    let number = |value: &HeaderValue| value.to_str().ok()?.trim().parse::<u32>().ok();
    if let Some(theirs) = headers.get(header::PROTOCOL).and_then(number)
        && theirs > shared.protocol
    {
        return Err(Refusal(
            ApiError::new(
                ErrorCode::BrokerTooOld,
                format!("the broker speaks protocol {}, the client {theirs}", shared.protocol),
            )
            .hint("Restart the broker: `claude-peers kill-broker`."),
        ));
    }
    Ok(())
}

/// Refuses a client whose settings name another database. Its messages would be stored where the
/// sessions that it means do not look.
fn check_database_setting(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some(theirs) = headers.get(header::DATABASE) {
        use std::os::unix::ffi::OsStrExt as _;
        let ours = shared.config.database_path();
        let is_same_file = || {
            let file = headers.get(header::DATABASE_FILE).map(lossy);
            file.is_some() && file == identity(ours)
        };
        if !same_place(Path::new(OsStr::from_bytes(theirs.as_bytes())), ours) && !is_same_file() {
            return Err(Refusal(
                ApiError::new(
                    ErrorCode::SettingsDiffer,
                    format!("this client's database is {}, the running broker's is {}", lossy(theirs), ours.display()),
                )
                .hint("Use the same CLAUDE_PEERS_DB for both (best in the configuration file), or stop the running broker with `claude-peers kill-broker`. To run a second broker, set another CLAUDE_PEERS_PORT."),
            ));
        }
    }
    Ok(())
}

/// An empty JSON object, the body of a route without parameters.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmptyBody {}

impl Bounded for EmptyBody {
    fn bound(&mut self) -> Result<(), ApiError> {
        Ok(())
    }
}

/// The body of a write request, and its idempotency key.
pub struct WriteRequest<T> {
    pub body: T,
    pub key: Option<IdempotencyKey>,
}

impl<T: DeserializeOwned + Bounded> FromRequest<Arc<Shared>> for WriteRequest<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &Arc<Shared>) -> Result<Self, Refusal> {
        let path = request.uri().path().to_owned();
        let key = request.headers().get(header::IDEMPOTENCY_KEY).map(lossy);
        key.as_deref().map_or(Ok(()), check_key)?;
        let read = timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await;
        let read = read.map_err(|_| {
            let late = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Refusal::new(ErrorCode::BadRequest, late)
        })?;
        let bytes = read.map_err(|error| match error.status().as_u16() {
            413 => Refusal::new(
                ErrorCode::TooLarge,
                format!("the body is too large: {path} takes {} bytes at most", max_body(&path)),
            ),
            _ => Refusal::new(ErrorCode::BadRequest, format!("the body cannot be read: {error}")),
        })?;
        let mut body: T = serde_json::from_slice(&bytes).map_err(|error| {
            Refusal::new(
                ErrorCode::BadRequest,
                format!("the body is not valid for this route: {error}"),
            )
        })?;
        body.bound()?;
        let key = key.map(|key| IdempotencyKey::new(&key, &[path.as_bytes(), &bytes]));
        failpoint!("broker.request.read");
        Ok(Self { body, key })
    }
}

/// Checks the form of an idempotency key.
pub fn check_key(key: &str) -> Result<(), ApiError> {
    if (1..=128).contains(&key.len()) {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::BadRequest, "an idempotency key has 1 to 128 characters"))
}

/// Returns the largest body of a route, in bytes: a message of the largest size with each byte escaped
/// as `\u0000`, and room for the rest, or several messages.
#[must_use]
pub fn max_body(path: &str) -> usize {
    match path {
        route::BATCH => MAX_BATCH_BYTES,
        _ => MAX_MESSAGE_BYTES as usize * 6 + 64 * 1024,
    }
}

/// The query parameters of a request.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + Bounded> FromRequestParts<Arc<Shared>> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Shared>) -> Result<Self, Refusal> {
        axum::extract::Query::from_request_parts(parts, state)
            .await
            .map_err(|error| Refusal::new(ErrorCode::BadRequest, error.body_text()))
            .and_then(|axum::extract::Query(mut query): axum::extract::Query<T>| {
                query.bound()?;
                Ok(Self(query))
            })
    }
}
