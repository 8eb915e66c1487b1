//! What people look at: the observer's stream, the history, the status line, the page's link, and pruning.

use std::time::{Duration, Instant};

use axum::http::Method;

use crate::client::call::Time;
use crate::client::error::Result;
use crate::client::stream::ObserverStream;
use crate::client::{Client, opened};
use crate::protocol::brief::{Brief, BriefStatus};
use crate::protocol::events::Observe;
use crate::protocol::history::{Prune, Pruned};
use crate::protocol::messages::{DEFAULT_LIMIT, ListMessages, MessageList};
use crate::protocol::page::{OpenPage, PageLink, PageVisit};
use crate::protocol::route;

impl Client {
    /// Opens an observer's stream. It starts a broker only if the client may.
    ///
    /// # Errors
    ///
    /// If the broker refuses or cannot be reached. The same holds for all calls below.
    pub async fn events(&self, request: &Observe) -> Result<ObserverStream> {
        // A call that may be repeated starts or replaces the broker as needed.
        self.health().await?;
        let request = self.request(&Method::GET, route::EVENTS).query(request);
        Ok(ObserverStream::new(opened(request).await?))
    }

    /// Lists messages of the history: all that the request asks for, by several calls if need be.
    pub async fn messages(&self, request: &ListMessages) -> Result<MessageList> {
        let mut list: MessageList = self.get(route::MESSAGES, request).await?;
        // One answer looks at a bounded number of messages, and has a bounded size.
        let limit = if request.limit == 0 { DEFAULT_LIMIT } else { request.limit } as usize;
        while list.messages.len() < limit
            && let Some(before) = list.next.take()
        {
            let rest = u32::try_from(limit - list.messages.len()).unwrap_or(u32::MAX);
            let request = ListMessages { limit: rest, before: Some(before), ..request.clone() };
            let older: MessageList = self.get(route::MESSAGES, &request).await?;
            list.messages.splice(..0, older.messages);
            (list.next, list.truncated) = (older.next, older.truncated);
        }
        Ok(list)
    }

    /// Returns the line about a session that a status line shows.
    pub async fn brief(&self, request: &Brief) -> Result<BriefStatus> {
        self.get(route::BRIEF, request).await
    }

    /// Deletes old messages from the history, or counts them.
    pub async fn prune(&self, request: &Prune) -> Result<Pruned> {
        self.post(route::PRUNE, request).await
    }

    /// Returns a link that opens the page once.
    pub async fn page_link(&self) -> Result<PageLink> {
        self.post(route::PAGE_LINK, &serde_json::json!({})).await
    }

    /// Waits until the page is opened with this code, or the code is no longer good.
    pub async fn page_visit(&self, code: &str, good_for: Duration) -> Result<PageVisit> {
        let body = OpenPage { code: code.to_owned() };
        let time = Time { waits_until: Instant::now() + good_for };
        self.call_known(time, || self.request(&Method::POST, route::PAGE_VISIT).json(&body)).await
    }
}
