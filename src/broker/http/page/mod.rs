//! The page: its link, its access, and its bytes.
//!
//! `claude-peers open` gets a link with a code that is good once and for a minute. The page exchanges
//! the code for a token, which it keeps for its tab and sends with each call. Its bytes are in the
//! program, the same for everybody, and hold nothing of any peer.

mod file;
pub(super) mod token;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};

use crate::broker::http::identity::Identity;
use crate::broker::http::request::{EmptyBody, Refusal, Transport, WriteRequest};
use crate::broker::live::page_codes::VALID_FOR;
use crate::broker::shared::Shared;
use crate::protocol::page::{
    OpenPage, PageLink, PageOpened, PageProof, PageVisit, ProvePage, Visit,
};
use crate::protocol::{ApiError, ErrorCode, route};

/// Headers that keep other pages apart from this one, and this one from what it does not need.
const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=(), display-capture=(), payment=(), usb=(), clipboard-read=()",
    ),
];

/// Answers with the page. Nobody needs a token for it, because it says nothing.
pub async fn show(Extension(transport): Extension<Transport>) -> Result<Response, Refusal> {
    if transport != Transport::Tcp {
        return Err(Refusal::new(ErrorCode::NotFound, "the page is served over TCP only"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_SECURITY_POLICY, file::policy());
    Ok((headers, file::PAGE).into_response())
}

/// Makes a link for the person. Only the Unix socket tells who that is.
pub async fn link(
    State(shared): State<Arc<Shared>>,
    Extension(transport): Extension<Transport>,
    Extension(identity): Extension<Identity>,
    _: WriteRequest<EmptyBody>,
) -> Result<Json<PageLink>, Refusal> {
    only_for_person(transport, &identity)?;
    let tcp = shared.tcp.borrow().clone();
    if !tcp.listening {
        let problem = tcp.problem.unwrap_or_default();
        let message =
            format!("the page needs the port, and 127.0.0.1:{} is not open: {problem}", tcp.port);
        let hint = match shared.port_disabled_by {
            Some(_) => {
                "Open it: `systemctl --user unmask claude-peers-tcp.socket`, then restart the broker (`claude-peers kill-broker`)."
            }
            None => {
                "Free the port and restart the broker (`claude-peers kill-broker`), or set another CLAUDE_PEERS_PORT for all sessions and commands: that is another broker, with a database of its own."
            }
        };
        return Err(ApiError::new(ErrorCode::NotFound, message).hint(hint).into());
    }
    let code = shared.live.page_codes.issue();
    let url = format!("http://127.0.0.1:{}{}#{code}", tcp.port, route::PAGE);
    Ok(Json(PageLink { url, valid_for: VALID_FOR.as_secs() }))
}

/// Waits until a link is used, or can no longer be.
pub async fn await_visit(
    State(shared): State<Arc<Shared>>,
    Extension(transport): Extension<Transport>,
    Extension(identity): Extension<Identity>,
    WriteRequest { body, .. }: WriteRequest<OpenPage>,
) -> Result<Json<PageVisit>, Refusal> {
    only_for_person(transport, &identity)?;
    let Some(mut visit) = shared.live.page_codes.visit(&body.code) else {
        return Ok(Json(PageVisit { visit: Visit::Missed }));
    };
    let opened = async {
        let opened = visit.wait_for(|visit| *visit == Visit::Opened).await.is_ok();
        if opened { Visit::Opened } else { Visit::Missed }
    };
    tokio::select! {
        visit = opened => Ok(Json(PageVisit { visit })),
        () = tokio::time::sleep(VALID_FOR) => Ok(Json(PageVisit { visit: Visit::Missed })),
        () = shared.stop.cancelled() => Err(ApiError::stopping().into()),
    }
}

/// Exchanges a code for a page's token.
pub async fn open(
    State(shared): State<Arc<Shared>>,
    Extension(transport): Extension<Transport>,
    WriteRequest { body, .. }: WriteRequest<OpenPage>,
) -> Result<Json<PageOpened>, Refusal> {
    if transport != Transport::Tcp {
        return Err(Refusal::new(ErrorCode::Forbidden, "a page is opened over TCP only"));
    }
    if !shared.live.page_codes.spend(&body.code) {
        let error =
            ApiError::new(ErrorCode::Unauthorized, "this link was used already, or is too old");
        return Err(error.hint("Run `claude-peers open` again.").into());
    }
    tracing::info!(event = "page_opened", "a page was opened");
    let token = token::issue(&shared.token, shared.live.sources.clock.now());
    Ok(Json(PageOpened { token }))
}

/// Proves to a page that this is its broker, before the page sends its token.
pub async fn prove(
    State(shared): State<Arc<Shared>>,
    Extension(transport): Extension<Transport>,
    WriteRequest { body, .. }: WriteRequest<ProvePage>,
) -> Result<Json<PageProof>, Refusal> {
    if transport != Transport::Tcp {
        return Err(Refusal::new(ErrorCode::Forbidden, "a page asks over TCP only"));
    }
    Ok(Json(PageProof { proof: token::prove(&shared.token, &body.until, &body.nonce) }))
}

/// A page writes as the person does. No session, nor a command in its shell, may get one.
fn only_for_person(transport: Transport, identity: &Identity) -> Result<(), Refusal> {
    if !matches!(transport, Transport::Unix { .. }) {
        return Err(Refusal::new(
            ErrorCode::Forbidden,
            "links are given over the Unix socket only",
        ));
    }
    if matches!(identity, Identity::Owner) {
        return Ok(());
    }
    Err(Refusal(
        ApiError::new(ErrorCode::Forbidden, "a session cannot open the page, which writes as you")
            .hint("Run `claude-peers open` in a terminal of your own."),
    ))
}
