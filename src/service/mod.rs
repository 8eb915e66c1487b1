//! The broker as a service of the operating system: its state, and orders to its manager.
//!
//! Nothing here prints; `cli` does.

pub mod systemd;
