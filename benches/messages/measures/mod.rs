//! The measures, one file per subject.

pub mod burst;
pub mod counts;
pub mod hook;
pub mod idle;
pub mod latency;
pub mod start;
