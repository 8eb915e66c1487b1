//! Promise 4: what callers, files and directories of others try, one file for each kind.

mod repositories;
mod settings;
