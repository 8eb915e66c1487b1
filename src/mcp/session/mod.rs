//! Which session this server belongs to: what it tells the broker of its client.

pub mod channel;
pub mod inbox;
pub mod one_shot;
pub mod push;
pub mod stream;

use std::path::{Path, PathBuf};

use rmcp::model::InitializeRequestParams;

use crate::claude_code::client_process;
use crate::claude_code::session_file;
use crate::config::Config;
use crate::mcp::session::inbox::Inbox;
use crate::mcp::session::one_shot::is_one_shot;
use crate::protocol::peers::{CLAUDE_CODE, Register};
use crate::protocol::{Around, InstanceId, ids::random_secret};
use crate::sys::git;

/// This server's registration: an instance of its own, for the session of its client; what goes
/// with it; and the session's inbox, if that can wake it.
pub async fn registration(
    config: &Config,
    client: &InitializeRequestParams,
) -> (Register, Around, Option<Inbox>) {
    let is_claude = client.client_info.name == CLAUDE_CODE;
    // Another agent that was started inside a session inherits its variables and must not
    // become that session.
    let session = config.claude.session.clone().filter(|_| is_claude);
    let cwd = working_directory(config, is_claude);
    let client_process = client_process::of_server(session.as_deref(), is_claude);
    let entrypoint = config.claude.entrypoint;
    let one_shot = is_claude && is_one_shot(entrypoint, client_process.as_ref());
    let directory = std::fs::canonicalize(&cwd).ok();
    let repository = git::repository(&cwd).await.ok();
    let inbox = if is_claude {
        Inbox::of_session(config, &client.client_info.version, one_shot)
    } else {
        None
    };
    let title = match client_process.as_ref().filter(|_| is_claude) {
        Some(client) => session_file::own_name_in_time(&config.claude.directory, client).await,
        None => None,
    };
    let worktree = repository.as_ref().map(|repository| text(&repository.top));
    let around = Around { title, worktree, inside: None };
    let registration = Register {
        wakes: inbox.is_some(),
        instance: InstanceId::generate(),
        secret: random_secret(),
        channel: channel::detect(config.channel, is_claude, entrypoint, client_process.as_ref()),
        session,
        client: client_process,
        client_name: short(&client.client_info.name),
        client_version: short(&client.client_info.version),
        directory: directory.as_deref().map(text),
        repo: repository.map(|repository| text(&repository.common_dir)),
        cwd: text(&cwd),
        name: config.name.clone(),
        one_shot,
        version: crate::VERSION.to_owned(),
        probe: false,
    };
    (registration, around, inbox)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

/// Where the session works. Claude Code names its project; others start us in it.
fn working_directory(config: &Config, is_claude: bool) -> PathBuf {
    let project = config.claude.project.clone().filter(|path| is_claude && path.is_dir());
    project.or_else(|| std::env::current_dir().ok()).unwrap_or_else(|| PathBuf::from("/"))
}
