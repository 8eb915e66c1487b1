//! Why a configuration file is not changed.

use crate::setup::edit::change::Shape;

/// Why a configuration file is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The client could not read it either.
    #[error("{0}")]
    Broken(String),
    /// It can be read, but there is another kind of value where our entry belongs.
    #[error("{0}")]
    Shape(String),
    /// The changed text would not have the expected value.
    #[error("it is written in a way that this program cannot change safely")]
    Unsure,
}

impl From<Shape> for Problem {
    fn from(shape: Shape) -> Self {
        Self::Shape(shape.to_string())
    }
}
