//! A configuration file's text in the syntax that it has.

use serde_json::Value;

use crate::setup::edit::change::{Change, Shape};
use crate::setup::edit::{json, toml};

/// How a client writes its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// With or without comments.
    Json,
    Toml,
}

/// Why a text is left alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The client itself could not read it.
    #[error("{0}")]
    Broken(String),
    /// It can be read, but something else stands where our entry belongs.
    #[error("{0}")]
    Shape(String),
    /// What came out does not mean what it should.
    #[error("it is written in a way that this program cannot change safely")]
    Unsure,
}

impl From<Shape> for Problem {
    fn from(shape: Shape) -> Self {
        Self::Shape(shape.to_string())
    }
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
