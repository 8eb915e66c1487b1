//! Peers: identity, names, place, and what other peers see of them.
//!
//! Like the mailbox, the registry runs inside a request's transaction. `keys` and `name_owners` stand
//! below the other files.

mod automatic_names;
mod client_process;
mod client_sessions;
mod ended;
mod hooks_seen;
mod identity;
mod keys;
mod listing;
mod location;
mod lookup;
mod name_owners;
mod names;
mod place_names;
mod probe;
mod profile;
mod session_servers;
mod shell_session;
mod succession;

pub use automatic_names::ensure_automatic_name as ensure_name;
pub use client_process::{client_of_hook, client_of_session, client_of_shell};
pub use client_sessions::{
    Said, Shown, client_above, forget_ended_clients, has_spoken_since, is_past, peer_of_session,
    shown,
};
pub use hooks_seen::{hooks_spoke_at, note_hook};
pub use identity::register;
pub use keys::{may_return, still_runs};
pub use listing::{list, live_and_backlog, peer, unread, waiting};
pub use location::{is_elsewhere, note_place};
pub use lookup::{Resolved, resolve};
pub use probe::{next_number as next_probe_number, unregister};
pub use profile::{Sender, note_title, party, sender, set_profile, set_seen_now};
pub use session_servers::{absorb, hand_over, opening};
pub use shell_session::peer_around;
pub use succession::live_in_same_place;
