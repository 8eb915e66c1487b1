//! Which session this server belongs to: what it tells the broker of its client.

use std::path::{Path, PathBuf};

use rmcp::model::InitializeRequestParams;

use super::channel;
use super::lasting::is_one_shot;
use super::wake::Inbox;
use crate::config::Config;
use crate::git;
use crate::process::{self, Process};
use crate::protocol::peers::Register;
use crate::protocol::{InstanceId, ids::random_secret};

/// The name by which Claude Code introduces itself.
pub const CLAUDE_CODE: &str = "claude-code";

/// This server's registration: an instance of its own, for the session of its client; and the
/// session's inbox, if that can wake it.
pub async fn registration(
    config: &Config,
    client: &InitializeRequestParams,
) -> (Register, Option<Inbox>) {
    let is_claude = client.client_info.name == CLAUDE_CODE;
    // Another agent that was started inside a session inherits its variables and must not
    // become that session.
    let session = config.claude.session.clone().filter(|_| is_claude);
    let cwd = working_directory(config, is_claude);
    let client_process = client_process(session.as_deref());
    let entrypoint = config.claude.entrypoint;
    let one_shot = is_claude && is_one_shot(entrypoint, client_process.as_ref());
    let directory = std::fs::canonicalize(&cwd).ok();
    let repository = git::repository(&cwd).await.ok();
    let inbox = if is_claude {
        Inbox::of_session(config, &client.client_info.version, one_shot)
    } else {
        None
    };
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
    (registration, inbox)
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

/// The process whose session this is: the nearest one above us that does not carry the session's
/// own id in its environment, for the client gives it to its children only. So a wrapper (a
/// shell, a package runner) is seen through. Where that cannot be read it is our parent.
fn client_process(session: Option<&str>) -> Option<Process> {
    let parent = process::parent_pid();
    let above =
        process::ancestors(std::process::id()).into_iter().filter(|p| !process::is_init(*p));
    let is_client = |pid: &u32| match process::environment_value(*pid, "CLAUDE_CODE_SESSION_ID") {
        Some(value) => value.as_deref().and_then(|v| v.to_str()) != session,
        None => true,
    };
    let pid = match session {
        Some(_) => { above }.find(is_client).unwrap_or(parent),
        None => parent,
    };
    // Our parent is init where the client is gone, and nobody where it is of another pid namespace:
    // then the broker may see it. In a container the client may itself be the first process.
    if pid == 0 || process::is_init(pid) { None } else { Process::find(pid) }
}
