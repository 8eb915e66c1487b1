//! What a session has said of itself, to be said again to a broker that has never heard it: one
//! with another database than the session's first.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::protocol::peers::{Profile, ProfileSet, Registered, SetProfile};

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
