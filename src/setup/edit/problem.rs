//! Why a configuration file is not changed.

use crate::setup::edit::change::Shape;

/// Why a configuration file is not changed.
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
