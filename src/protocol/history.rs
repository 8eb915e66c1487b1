//! The history as a whole: deleting what is old from it.

use serde::{Deserialize, Serialize};

/// The least age of what can be deleted, in seconds: a day. What is younger may still be repeated by a
/// retry, or be waiting for late evidence.
pub const MIN_PRUNE_AGE: u64 = 24 * 60 * 60;

/// `POST /v1/prune`: deletes messages that were sent longer ago than this and are not unread: those that
/// are `read`, `expired` or `unconfirmed`. What is `queued` or `offered` stays, however old it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// In seconds; at least [`MIN_PRUNE_AGE`].
    pub older_than: u64,
    /// Only counts what would be deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// The answer to [`Prune`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pruned {
    /// How many messages were deleted, or would be.
    pub messages: u64,
    /// How many of them were never known to be read: `expired` or `unconfirmed`.
    pub never_read: u64,
    /// How many messages of that age are unread, and stay.
    pub unread_kept: u64,
}
