//! The page that the broker serves on its TCP address, and how a browser gets access to it.

use serde::{Deserialize, Serialize};

/// The answer to `POST /v1/page/link`, over the Unix socket only: a code that opens the page once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PageLink {
    /// The address of the page with the code in its fragment, which no browser sends to a server.
    pub url: String,
    /// For how long the code can be used, in seconds.
    pub valid_for: u64,
}

/// `POST /v1/page/open`: exchanges the code for a token. It needs no other authentication.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenPage {
    pub code: String,
}

/// The answer to [`OpenPage`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PageOpened {
    /// The page sends it as `Authorization: Bearer TOKEN`. It is valid for this page's origin only, and
    /// until the broker stops.
    pub token: String,
}
