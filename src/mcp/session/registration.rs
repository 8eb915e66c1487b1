//! What the server tells the broker about its session: client, directory, names, channel.

use std::path::{Path, PathBuf};

use rmcp::model::InitializeRequestParams;

use crate::claude_code::client_process;
use crate::claude_code::session_file;
use crate::config::Config;
use crate::mcp::session::channel;
use crate::mcp::session::inbox::InboxSocket;
use crate::mcp::session::one_shot::is_one_shot;
use crate::protocol::CallerContext;
use crate::protocol::peers::{CLAUDE_CODE, Register};
use crate::sys::git::Git;
use crate::sys::random;

/// What a server finds out about its session before it first calls the broker.
pub struct Registration {
    /// The registration itself, with a new instance id and session token.
    pub request: Register,
    /// What goes with every call.
    pub around: CallerContext,
    /// The session's inbox socket, if it may be used to wake the session.
    pub inbox: Option<InboxSocket>,
}

/// Returns the registration of this server for the session of its client.
pub async fn registration(config: &Config, client: &InitializeRequestParams) -> Registration {
    let is_claude = client.client_info.name == CLAUDE_CODE;
    // Another agent program that was started inside a session inherits its variables and must not
    // become that session.
    let session = config.claude.session.clone().filter(|_| is_claude);
    let cwd = working_directory(config, is_claude);
    let client_process = client_process::client_of_server(session.as_deref(), is_claude);
    let entrypoint = config.claude.entrypoint;
    let one_shot = is_claude && is_one_shot(entrypoint, client_process.as_ref());
    let directory = std::fs::canonicalize(&cwd).ok();
    let repository = Git::new(config.environment.iter()).repository(&cwd).await.ok();
    let inbox = if is_claude {
        InboxSocket::of_session(config, &client.client_info.version, one_shot)
    } else {
        None
    };
    let title = match client_process.as_ref().filter(|_| is_claude) {
        Some(client) => session_file::session_title_async(&config.claude.directory, client).await,
        None => None,
    };
    let worktree = repository.as_ref().map(|repository| text(&repository.top));
    let around = CallerContext { title, worktree, inside: None };
    let request = Register {
        wakes: inbox.is_some(),
        instance: random::instance_id(),
        secret: random::new_secret(),
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
    Registration { request, around, inbox }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

/// Returns the directory in which the session works. Claude Code names its project in the
/// environment; other clients start the server in it.
fn working_directory(config: &Config, is_claude: bool) -> PathBuf {
    let project = config.claude.project.clone().filter(|path| is_claude && path.is_dir());
    project.or_else(|| std::env::current_dir().ok()).unwrap_or_else(|| PathBuf::from("/"))
}
