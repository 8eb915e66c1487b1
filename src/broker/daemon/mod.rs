//! The broker as a process: its sockets, start, takeover, reload and stop, and what the service
//! manager is told.

pub mod activation;
pub mod connections;
pub mod detach;
mod impossible_clock;
pub mod lifecycle;
pub mod listener;
pub mod notify;
pub mod reload;
pub mod startup;
pub mod takeover;
pub mod token;
pub mod upkeep;
