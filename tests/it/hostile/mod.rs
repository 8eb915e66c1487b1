//! Promise 4: what callers, files, directories, hosts and texts of others try, one file for each kind.

mod databases;
mod files;
mod floods;
mod http;
mod logs;
mod repositories;
mod settings;
#[cfg(target_os = "linux")]
mod squatters;
mod summary_host;
mod texts;
#[cfg(target_os = "linux")]
mod users;
