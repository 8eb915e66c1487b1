//! The mailbox: states, leases, receivers, evidence, and what a sender learns.

mod breaks;
mod clock_jumps;
mod expiry;
mod growth;
mod history;
mod hooks;
mod leases;
mod limits;
mod loops;
mod near_misses;
mod notices;
mod quiet_hooks;
mod scope;
mod search;
mod sender;
mod statements;
mod states;
mod streams;
mod waiters;
mod wakes;
