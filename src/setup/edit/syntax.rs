//! A configuration file's text in the syntax that it has.

use serde_json::Value;

use crate::setup::edit::change::Change;
use crate::setup::edit::problem::Problem;
use crate::setup::edit::{json, toml};

/// How a client writes its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// With or without comments.
    Json,
    Toml,
}

impl Syntax {
    /// What the text means.
    pub fn parse(self, text: &str) -> Result<Value, Problem> {
        match self {
            Self::Json => json::parse(text),
            Self::Toml => toml::parse(text),
        }
    }

    /// The text with these changes, and otherwise as it was.
    pub fn edit(self, text: &str, changes: &[Change]) -> Result<String, Problem> {
        match self {
            Self::Json => json::edit(text, changes),
            Self::Toml => toml::edit(text, changes),
        }
    }
}
