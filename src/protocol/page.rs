//! The page that the broker serves on its TCP address, and how a browser gets access to it.

use serde::{Deserialize, Serialize};

use crate::protocol::ApiError;
use crate::protocol::bounds::{Bounded, MAX_SECRET, at_most};

/// The answer to `POST /v1/page/link`, over the Unix socket only: a code that opens the page once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PageLink {
    /// The address of the page with the code in its fragment, which no browser sends to a server.
    pub url: String,
    /// For how long the code can be used, in seconds.
    pub valid_for: u64,
}

impl PageLink {
    /// Returns the code in the address.
    #[must_use]
    pub fn code(&self) -> &str {
        self.url.split_once('#').map_or("", |(_, code)| code)
    }
}

/// `POST /v1/page/open`: exchanges the code for a token. It needs no other authentication.
///
/// `POST /v1/page/visit`, over the Unix socket only: waits until the code is used, or can no longer be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OpenPage {
    pub code: String,
}

impl Bounded for OpenPage {
    fn bound(&mut self) -> Result<(), ApiError> {
        at_most("code", &self.code, MAX_SECRET)
    }
}

/// The answer to [`OpenPage`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PageOpened {
    /// The page sends it as `Authorization: Bearer TOKEN`. It opens the routes that the page needs, to
    /// the page's own origin and to programs, for a week. A restart of the broker does not end it, a new
    /// token file does.
    pub token: String,
}

/// `POST /v1/page/proof`: has the broker prove that it knows a page's token, which is not sent. It needs no
/// authentication.
///
/// Whoever takes the port after the broker has left it must not be sent the token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ProvePage {
    /// Until when the token is valid, as it says itself.
    pub until: String,
    /// Random text of the page.
    pub nonce: String,
}

impl Bounded for ProvePage {
    fn bound(&mut self) -> Result<(), ApiError> {
        at_most("until", &self.until, MAX_SECRET)?;
        at_most("nonce", &self.nonce, MAX_SECRET)
    }
}

/// The answer to [`ProvePage`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PageProof {
    /// HMAC-SHA256, with the token as its key, of `claude-peers page proof ` and the nonce, as hexadecimal
    /// digits.
    pub proof: String,
}

/// What became of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Visit {
    /// It can still be used.
    Expected,
    /// A page was opened with it.
    Opened,
    /// It can no longer be used, or never could.
    Missed,
    /// A state of a later version.
    #[serde(other)]
    #[cfg_attr(test, schemars(skip))]
    Unknown,
}

/// The answer to `POST /v1/page/visit`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PageVisit {
    pub visit: Visit,
}
