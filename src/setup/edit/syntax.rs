//! The syntax of a configuration file.

use serde_json::Value;

use crate::setup::edit::change::Change;
use crate::setup::edit::problem::Problem;
use crate::setup::edit::{json, toml};

/// The syntax of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// JSON, with or without comments.
    Json,
    Toml,
}

impl Syntax {
    /// Parses the text.
    pub fn parse(self, text: &str) -> Result<Value, Problem> {
        match self {
            Self::Json => json::parse(text),
            Self::Toml => toml::parse(text),
        }
    }

    /// Returns the text with these changes, all other bytes as they were.
    pub fn edit(self, text: &str, changes: &[Change]) -> Result<String, Problem> {
        match self {
            Self::Json => json::edit(text, changes),
            Self::Toml => toml::edit(text, changes),
        }
    }
}
