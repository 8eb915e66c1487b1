//! Who may call over TCP, where every process on the machine can connect, and every web page can send
//! requests.
//!
//! The caller needs the token, and a request that a web page could have sent (a foreign `Host`, any
//! `Origin`) is refused before the token is even checked. There is one exception: the broker's own page
//! carries a token of its own, which opens a few routes and is worth nothing with any other origin.

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use subtle::ConstantTimeEq as _;

use crate::broker::http::page::token;
use crate::broker::shared::Shared;
use crate::protocol::{ApiError, ErrorCode, route};

/// Says where a request comes from. Browsers set it, and no script can.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What needs no token. `PAGE_OPEN` needs a code.
const OPEN_ROUTES: [&str; 4] = [route::HEALTH, route::PAGE, route::PAGE_OPEN, route::PAGE_PROOF];

/// Checks a request that came over TCP. Returns whether it is the broker's own page that calls, in a
/// browser.
pub fn check(shared: &Shared, request: &Request) -> Result<bool, ApiError> {
    check_host(request)?;
    let headers = request.headers();
    let given = bearer(headers);
    let path = request.uri().path();
    let page_token = given.as_deref().filter(|given| token::has_form(given));
    if [route::PAGE_OPEN, route::PAGE_PROOF].contains(&path) || page_token.is_some() {
        check_own_site(shared, headers)?;
    } else if headers.contains_key(ORIGIN) {
        return Err(ApiError::new(ErrorCode::Forbidden, "requests of web pages are refused"));
    }
    if OPEN_ROUTES.contains(&path) {
        return Ok(false);
    }
    if let Some(given) = page_token {
        check_page_token(shared, given)?;
        check_page_route(request.method(), path)?;
        return Ok(true);
    }
    check_token(shared, given.as_deref())?;
    Ok(false)
}

/// Rejects any `Host` that is not loopback: protection against DNS rebinding.
///
/// A request may carry several `Host` headers, and a host in its request target. All must be
/// loopback, and there must be one.
fn check_host(request: &Request) -> Result<(), ApiError> {
    let in_target = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let named: Vec<String> =
        request.headers().get_all(HOST).iter().map(lossy).chain(in_target).collect();
    if !named.is_empty() && named.iter().all(|host| is_loopback(host)) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::Forbidden,
        "the Host header does not name this machine's loopback address",
    ))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    ["127.0.0.1", "localhost", "[::1]"].contains(&name.to_ascii_lowercase().as_str())
}

/// Refuses a request of the page that another page, or the same page by another address, could have
/// sent.
///
/// The page is at the one address that `claude-peers open` prints. A browser takes `localhost` for
/// another origin, and so do we.
fn check_own_site(shared: &Shared, headers: &HeaderMap) -> Result<(), ApiError> {
    let host = format!("127.0.0.1:{}", shared.config.port);
    let origin = format!("http://{host}");
    let is_only = |name: &HeaderName, value: &str| {
        headers.get_all(name).iter().all(|given| given.as_bytes() == value.as_bytes())
    };
    if is_only(&HOST, &host) && is_only(&ORIGIN, &origin) && is_only(&FETCH_SITE, "same-origin") {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Forbidden, "requests of other web pages are refused")
        .hint(format!("The page is at {origin}; `claude-peers open` opens it.")))
}

pub(super) fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Returns the token that a request carries.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let given = headers.get(AUTHORIZATION).map(lossy)?;
    let (scheme, token) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn check_token(shared: &Shared, given: Option<&str>) -> Result<(), ApiError> {
    let right = given.is_some_and(|token| token.as_bytes().ct_eq(shared.token.as_bytes()).into());
    if right {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Unauthorized, "the token is missing or wrong")
        .hint("`claude-peers token` prints it; send it as `Authorization: Bearer TOKEN`."))
}

fn check_page_token(shared: &Shared, given: &str) -> Result<(), ApiError> {
    if token::is_valid(&shared.token, given, shared.live.sources.clock.now()) {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Unauthorized, "this page's access has ended")
        .hint("Run `claude-peers open` again."))
}

/// Refuses all that the page does not need: it reads, and it sends messages as its person.
fn check_page_route(method: &Method, path: &str) -> Result<(), ApiError> {
    let is_open = match path {
        route::PEERS | route::EVENTS => method == Method::GET,
        route::MESSAGES => method == Method::GET || method == Method::POST,
        _ => false,
    };
    if is_open {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Forbidden, format!("the page may not use {method} {path}")))
}
