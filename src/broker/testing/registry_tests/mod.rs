//! The registry: identities, names, and the peer that a word means.

mod client_processes;
mod days;
mod identity;
mod listing;
mod lookup;
mod names;
mod near_misses;
mod times;
mod windows;
