//! The broker's wire protocol: JSON over HTTP/1.1, one module per noun.
//!
//! Every type here is plain data. Both the broker and its clients depend on this
//! module and on nothing else of each other. MCP servers outlive upgrades of the
//! broker, so a field may be added (with a default) but never renamed or removed.

pub mod activity;
pub mod bounds;
pub mod brief;
pub mod context;
pub mod error;
pub mod events;
pub mod health;
pub mod history;
pub mod hook;
pub mod ids;
pub mod js_json;
pub mod mailbox;
pub mod messages;
pub mod names;
#[cfg(test)]
mod openapi;
pub mod page;
pub mod peers;
pub mod process_id;
pub mod scope;
pub mod stream;
pub mod time;
pub mod vocabulary;
pub mod wake;

pub use context::{CallerContext, ShellSession};
pub use error::{ApiError, ErrorCode};
pub use ids::{InstanceId, MessageId, PeerId};
pub use process_id::ProcessId;
pub use time::Timestamp;

/// The version of the protocol that this build speaks.
///
/// It grows when a client needs something that an older broker does not have. A client then replaces
/// a fallback broker that is older than itself.
///
/// 2: several messages in one request.
pub const PROTOCOL: u32 = 2;

/// Names of the HTTP headers that are common to all calls.
pub mod header {
    /// The caller's [`super::PROTOCOL`]; the broker's answer has its own under the same name.
    pub const PROTOCOL: &str = "claude-peers-protocol";
    /// The database path in the caller's settings; the broker refuses another one than its own.
    pub const DATABASE: &str = "claude-peers-database";
    /// The device and inode of that database, if it exists: its path may differ in a container.
    pub const DATABASE_FILE: &str = "claude-peers-database-file";
    /// The session token, from which the broker derives the sender of a message.
    pub const SESSION: &str = "claude-peers-session";
    /// The context of the call: [`super::context::CallerContext`], as JSON.
    pub const CONTEXT: &str = "claude-peers-around";
    /// The idempotency key: random for each write. A retry with the same key gets the stored answer.
    pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
}

/// Paths of the API.
pub mod route {
    pub const HEALTH: &str = "/health";
    pub const REGISTER: &str = "/v1/register";
    pub const UNREGISTER: &str = "/v1/unregister";
    pub const STREAM: &str = "/v1/stream";
    pub const PEERS: &str = "/v1/peers";
    pub const PROFILE: &str = "/v1/profile";
    pub const MESSAGES: &str = "/v1/messages";
    pub const BATCH: &str = "/v1/messages/batch";
    pub const SCOPE: &str = "/v1/messages/scope";
    pub const TAKE: &str = "/v1/mailbox/take";
    pub const ANSWER: &str = "/v1/mailbox/answer";
    pub const CONFIRM: &str = "/v1/mailbox/confirm";
    pub const WRITTEN: &str = "/v1/mailbox/written";
    pub const HOOK: &str = "/v1/hook";
    pub const HOOK_MOVED: &str = "/v1/hook/moved";
    pub const HOOK_WRITTEN: &str = "/v1/hook/written";
    pub const TOOL_ANSWERED: &str = "/v1/tool/answered";
    pub const WAKE: &str = "/v1/wake";
    pub const WAKE_GIVEN: &str = "/v1/wake/given";
    pub const WAKE_LOOKED: &str = "/v1/wake/looked";
    pub const EVENTS: &str = "/v1/events";
    pub const BRIEF: &str = "/v1/brief";
    pub const PRUNE: &str = "/v1/prune";
    pub const PAGE: &str = "/";
    pub const PAGE_LINK: &str = "/v1/page/link";
    pub const PAGE_OPEN: &str = "/v1/page/open";
    pub const PAGE_PROOF: &str = "/v1/page/proof";
    pub const PAGE_VISIT: &str = "/v1/page/visit";
    pub const SHUTDOWN: &str = "/v1/shutdown";
    pub const FRESH_DATABASE: &str = "/v1/afresh";
}
