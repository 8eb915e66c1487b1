//! The agent programs that `setup` knows, and what it found of each.

use crate::cli::error::CliError;
use crate::cli::output::look::Ink;
use crate::cli::output::table::{Cell, Column};
use crate::cli::output::{Out, cell};
use crate::setup::{Found, State};
use crate::text;

/// The longest path or problem that is shown, in characters: practically all of it.
const WIDTH: usize = 10_000;

/// Prints a line for each agent program, and below them what is wrong with their configuration.
pub fn print(found: &[Found], out: &mut Out) -> Result<(), CliError> {
    let row = |found: &Found| {
        let state = match found.state {
            State::NotFound => "not found",
            State::NotSetUp => "not set up",
            State::Partly => "incomplete",
            State::SetUp => "set up",
            State::Unusable => "unusable",
        };
        let place = out.path(found.place.as_deref().unwrap_or_default());
        let place = cell(&place, WIDTH);
        let ink = match found.state {
            State::NotFound => Ink::Dim,
            State::NotSetUp | State::Partly => Ink::Attention,
            State::SetUp => Ink::Good,
            State::Unusable => Ink::Bad,
        };
        vec![found.client.name().into(), Cell::inked(state, ink), place.into()]
    };
    let columns = [Column::whole("CLIENT"), Column::whole("STATE"), Column::path("WHERE", 20)];
    let rows = found.iter().map(row).collect();
    out.table(&columns, rows)?;
    for found in found {
        if let Some(problem) = &found.problem {
            let name = found.client.name();
            out.wrapped(2, format!("\n{name}: {}", text::terminal_line(problem, WIDTH)))?;
        }
    }
    Ok(())
}
