//! What a session has said of itself, to be said again to a broker that has never heard it: one
//! with another database than the session's first.

use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::Method;

use crate::client::call::Time;
use crate::client::{Client, Session};
use crate::protocol::ids::random_secret;
use crate::protocol::peers::{Profile, ProfileSet, Registered, SetProfile};
use crate::protocol::{header, route};

/// Kept for the session's life.
#[derive(Debug, Default)]
pub(super) struct Said(Mutex<Profile>);

impl Said {
    fn lock(&self) -> MutexGuard<'_, Profile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session is another one from now on.
    pub fn forget(&self) {
        *self.lock() = Profile::default();
    }

    /// The session has said something, and the broker took it.
    pub fn note(&self, said: &SetProfile, answer: &ProfileSet) {
        let mut known = self.lock();
        // An automatic summary may have given way to one that the session gave itself.
        if let Some(summary) = said.summary.as_ref().filter(|_| answer.changed) {
            known.summary = Some(summary.clone());
            known.automatic = said.automatic;
        }
        if said.name.is_some() {
            known.name.clone_from(&answer.peer.name);
        }
    }

    /// What is to be said again after a registration: nothing where the broker knows the session,
    /// and so knows better than we. Name and summary are said one after the other: one that was
    /// taken meanwhile does not cost the other.
    pub fn to_repeat(&self, answer: &Registered) -> Vec<SetProfile> {
        let mut known = self.lock();
        if let Some(profile) = &answer.profile {
            known.clone_from(profile);
            return Vec::new();
        }
        if !answer.undescribed {
            return Vec::new();
        }
        let summary = known.summary.clone().map(|summary| SetProfile {
            summary: Some(summary),
            name: None,
            automatic: known.automatic,
        });
        let name = known.name.clone().filter(|name| answer.peer.name.as_ref() != Some(name));
        let name = name.map(|name| SetProfile { name: Some(name), ..SetProfile::default() });
        summary.into_iter().chain(name).collect()
    }
}

impl Client {
    /// Tells a broker that has never heard it what the session has said of itself.
    pub(super) async fn say_again(&self, session: &Session, answer: &mut Registered) {
        for profile in session.said.to_repeat(answer) {
            let key = random_secret();
            let request = || {
                self.request(&Method::POST, route::PROFILE)
                    .header(header::IDEMPOTENCY_KEY, &key)
                    .json(&profile)
            };
            match self.call::<ProfileSet>(Time::short(), request).await {
                Ok(set) => {
                    answer.undescribed &= profile.summary.is_none();
                    answer.peer = set.peer;
                }
                // A name that another has by now, say. The session is known all the same.
                Err(error) => tracing::warn!("what the session said of itself is lost: {error}"),
            }
        }
    }
}
