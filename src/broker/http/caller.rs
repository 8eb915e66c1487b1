//! Who is calling, and whether the request may be heard at all.
//!
//! On the Unix socket the kernel has vouched for the user. Over TCP the token must, and a
//! request that a web page could have made (foreign `Host`, any `Origin`) is refused before the
//! token is even looked at.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

use crate::broker::Shared;
use crate::broker::core::idempotency::IdempotencyKey;
use crate::broker::daemon::listener::Transport;
use crate::broker::http::clients;
use crate::broker::http::errors::Refusal;
use crate::broker::http::identity::Identity;
use crate::protocol::{ApiError, Around, ErrorCode, header, route};
use crate::sys::files::{effective_uid, identity, same_place};

/// The middleware before every route.
pub async fn check(
    State(shared): State<Arc<Shared>>,
    Extension(transport): Extension<Transport>,
    mut request: Request,
    next: Next,
) -> Response {
    shared.activity.note();
    let checked = may_be_heard(&shared, transport, &request);
    let mut response = match checked {
        Ok(()) => {
            let around = request.headers().get(header::AROUND).map(HeaderValue::as_bytes);
            let around = around.map(Around::from_header).unwrap_or_default();
            let identity = match (request.headers().get(header::SESSION), &around.inside) {
                (Some(secret), _) => Identity::Session(lossy(secret)),
                (None, Some(inside)) => {
                    let inside = clients::of_shell(transport, inside);
                    Identity::Inside(inside)
                }
                (None, None) => Identity::Owner,
            };
            request.extensions_mut().insert(identity);
            request.extensions_mut().insert(around);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    let name = HeaderName::from_static(header::PROTOCOL);
    response.headers_mut().insert(name, HeaderValue::from(shared.protocol));
    response
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn may_be_heard(shared: &Shared, transport: Transport, request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    if let Transport::Stranger { uid } = transport {
        return Err(Refusal(stranger(uid)));
    }
    if transport == Transport::Tcp {
        check_host(request)?;
        if headers.contains_key(ORIGIN) {
            return Err(Refusal::new(ErrorCode::Forbidden, "requests of web pages are refused"));
        }
        if request.uri().path() != route::HEALTH {
            check_token(shared, headers)?;
        }
    }
    if request.method() == Method::POST {
        check_content_type(headers)?;
    }
    check_settings(shared, headers)
}

/// What another user is told. In a container it may well be the same person, whose user id a user
/// namespace hides, or a process that runs as root there.
fn stranger(uid: u32) -> ApiError {
    let ours = effective_uid();
    let hidden = std::fs::read_to_string("/proc/sys/kernel/overflowuid")
        .is_ok_and(|overflow| overflow.trim() == uid.to_string());
    let message = if uid == ours {
        format!("the broker's user namespace shows every other user as {uid}, which is its own")
    } else {
        format!("this broker serves user id {ours} only, and the caller shows as {uid}")
    };
    let hint = if hidden {
        format!(
            "{uid} stands for a user whom the broker's user namespace does not know. Map the user into it (podman --userns=keep-id, unshare --map-current-user), or start a broker on the caller's side."
        )
    } else {
        format!(
            "In a container, run it as that user (docker run --user {ours}); otherwise use the broker of your own user."
        )
    };
    ApiError::new(ErrorCode::Forbidden, message).hint(hint)
}

/// Only a name for loopback: a foreign one means that a web page's domain was bent to this port.
/// A request may name its host in its address too, and more than once; each must be ours.
fn check_host(request: &Request) -> Result<(), Refusal> {
    let in_address = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let named: Vec<String> =
        request.headers().get_all(HOST).iter().map(lossy).chain(in_address).collect();
    if !named.is_empty() && named.iter().all(|host| is_loopback(host)) {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::Forbidden, "the Host header does not name this machine"))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    ["127.0.0.1", "localhost", "[::1]"].contains(&name.to_ascii_lowercase().as_str())
}

fn check_token(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(AUTHORIZATION).map(lossy).unwrap_or_default();
    let given = given.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let right = given
        .is_some_and(|(_, token)| token.trim().as_bytes().ct_eq(shared.token.as_bytes()).into());
    if right {
        return Ok(());
    }
    Err(Refusal(
        ApiError::new(ErrorCode::Unauthorized, "the token is missing or wrong")
            .hint("`claude-peers token` prints it; send it as `Authorization: Bearer TOKEN`."),
    ))
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(CONTENT_TYPE).map(lossy).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::UnsupportedMediaType, "the body must be application/json"))
}

/// A client with other settings would put its mail where nobody looks for it.
fn check_settings(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    let number = |value: &HeaderValue| lossy(value).trim().parse::<u32>().ok();
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
                .hint("Set CLAUDE_PEERS_DB alike for both (the configuration file serves both), or stop the broker by `claude-peers kill-broker`; another CLAUDE_PEERS_PORT names a broker of its own."),
            ));
        }
    }
    Ok(())
}

/// How long a TCP client may take for its body: one that dawdles keeps a place from others.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// The body of a write: its JSON, and the key that makes a retry safe.
pub struct Write<T> {
    pub body: T,
    pub key: Option<IdempotencyKey>,
}

impl<T: DeserializeOwned> FromRequest<Arc<Shared>> for Write<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &Arc<Shared>) -> Result<Self, Refusal> {
        let path = request.uri().path().to_owned();
        let key = request.headers().get(header::IDEMPOTENCY_KEY).map(lossy);
        if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 128) {
            return Err(Refusal::new(
                ErrorCode::BadRequest,
                "an idempotency key has 1 to 128 characters",
            ));
        }
        let over_tcp = request.extensions().get() == Some(&Transport::Tcp);
        let body = Bytes::from_request(request, state);
        let read = if over_tcp { timeout(BODY_LIMIT, body).await } else { Ok(body.await) };
        let read = read.map_err(|_| {
            let late = format!("the body did not come within {} s", BODY_LIMIT.as_secs());
            Refusal::new(ErrorCode::BadRequest, late)
        })?;
        let bytes = read.map_err(|error| match error.status().as_u16() {
            413 => Refusal::new(ErrorCode::TooLarge, "the body is too large"),
            _ => Refusal::new(ErrorCode::BadRequest, format!("the body cannot be read: {error}")),
        })?;
        let body = serde_json::from_slice(&bytes).map_err(|error| {
            Refusal::new(
                ErrorCode::BadRequest,
                format!("the body is not what this route takes: {error}"),
            )
        })?;
        let key = key.map(|key| IdempotencyKey::new(&key, &[path.as_bytes(), &bytes]));
        Ok(Self { body, key })
    }
}

/// The query of a read.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Shared>> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Shared>) -> Result<Self, Refusal> {
        axum::extract::Query::from_request_parts(parts, state)
            .await
            .map(|query: axum::extract::Query<T>| Self(query.0))
            .map_err(|error| Refusal::new(ErrorCode::BadRequest, error.body_text()))
    }
}
