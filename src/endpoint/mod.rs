//! What clients and the broker leave each other as files: the broker lock, and the hook spool; and
//! what other listeners tell.

pub mod broker_lock;
pub mod hook_spool;
pub mod localhost;
pub mod ready;
pub mod release;
pub mod socket;
pub mod typescript;
