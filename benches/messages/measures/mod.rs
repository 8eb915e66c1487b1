//! The measures, one file per subject.

pub mod burst;
pub mod counts;
pub mod crowd;
pub mod hook;
pub mod hops;
pub mod idle;
pub mod latency;
pub mod list;
pub mod million;
pub mod start;
pub mod tokens;
pub mod trace;
pub mod view;
