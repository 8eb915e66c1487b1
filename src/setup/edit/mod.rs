//! Changes of other programs' configuration files that leave every other byte as it was.

pub mod change;
pub mod diff;
pub mod file;
pub mod json;
pub mod ownership;
pub mod problem;
pub mod removal;
pub mod syntax;
pub mod toml;
