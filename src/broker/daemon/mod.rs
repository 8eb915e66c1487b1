//! The broker's life as a process: sockets, start, takeover, reload, shutdown, the service manager.

pub mod activation;
pub mod lifecycle;
pub mod listener;
pub mod notify;
pub mod opening;
pub mod reload;
pub mod takeover;
