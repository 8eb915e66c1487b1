//! The name and summary that a session has set, to be set again on a broker that does not know
//! them: one with another database than the session's first.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::protocol::peers::{Profile, ProfileSet, Registered, SetProfile};

/// What a session has set. Kept for the session's life.
#[derive(Debug, Default)]
pub(super) struct OwnProfile(Mutex<Profile>);

impl OwnProfile {
    fn lock(&self) -> MutexGuard<'_, Profile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything: the server now belongs to another session.
    pub fn forget(&self) {
        *self.lock() = Profile::default();
    }

    /// Records what the broker accepted.
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

    /// Returns the summary to set once more, if the session has set another one while `sent` was under
    /// way: which of the two the broker took last is not known.
    pub fn newer_than(&self, sent: &SetProfile) -> Option<SetProfile> {
        let known = self.lock();
        let summary = known.summary.clone().filter(|_| sent.summary.is_some())?;
        (Some(&summary) != sent.summary.as_ref()).then_some(SetProfile {
            summary: Some(summary),
            name: None,
            automatic: known.automatic,
        })
    }

    /// Returns what has to be set again after a registration.
    ///
    /// Nothing, if the broker knows the session: what it has is newer. Name and summary are
    /// separate requests, so that a name that is taken by now does not cost the summary.
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
