//! Peers: identity, names, working directory, and what other peers see of them.
//!
//! Like the mailbox, the registry runs inside a request's transaction. The other files build on `keys`
//! and `name_owners`.

mod automatic_names;
mod brief;
mod client_process;
mod client_sessions;
mod ended;
mod hook_reports;
mod hooks_seen;
mod identity;
mod keys;
mod list;
mod listing;
mod location;
mod lookup;
mod name_owners;
mod names;
mod newcomers;
mod place_names;
mod probe;
mod profile;
mod scan;
mod session_servers;
mod shell_session;
mod succession;
mod windows;

pub use automatic_names::ensure_automatic_name as ensure_name;
pub use brief::brief;
pub use client_process::{client_of_hook, client_of_session, client_of_shell};
pub use client_sessions::{
    ShownPeer, client_of_hook_pid, has_moved_on, known_peer_for_hook, peer_for_hook,
    peer_of_session,
};
pub use hook_reports::{
    HookReport, forget_ended_clients, has_newer_hook, note_hook, write_hook_reports,
};
pub use hooks_seen::{is_hook_to_be_recorded, last_hook_at, record_hook};
pub use identity::register;
pub use keys::{client_of_peer, may_return, still_runs};
pub use list::list;
pub use listing::{live_and_backlog, peer, short, short_any, unread, waiting};
pub use location::{has_moved, set_working_directory};
pub use lookup::{Resolved, display_name, resolve};
pub use newcomers::check_new_peer;
pub use probe::{next_number as next_probe_number, unregister};
pub use profile::{Own, Sender, adopt_session_title, party, sender, set_profile, set_seen_now};
pub use session_servers::{merge_new_peer, reattach_receivers, stream_options};
pub use shell_session::peer_of_shell;
pub use succession::live_in_same_place;
