//! Promises 4 to 6: what callers, files, directories, hosts and texts of others try, one file for each kind.

mod logs;
mod repositories;
mod settings;
mod summary_host;
mod texts;
