//! What a client and the broker leave each other as files: where the broker serves, and what hooks spooled while none ran.

pub mod broker_lock;
pub mod hook_spool;
pub mod ready;
pub mod release;
pub mod socket;
pub mod typescript;
