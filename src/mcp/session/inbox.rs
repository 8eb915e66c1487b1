//! Wakes the session through Claude Code's inbox socket.
//!
//! Claude Code tells its child processes the path of this socket, on which a line of text begins a
//! turn. The line is documented for scripts and hooks only, so only this file knows its form, and it
//! is only used with versions of Claude Code that are known to understand it. The notice contains no
//! text of a peer, because that would evade the session's own rules for foreign messages. It contains
//! count and time because Claude Code drops a line that equals an earlier one.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use crate::config::{Config, Secret};
use crate::protocol::Timestamp;
use crate::sys::clock;
use crate::sys::trust::check_listener;
use crate::sys::version;

/// The first version of Claude Code with an inbox socket, and the first one that may differ.
const MIN_VERSION: [u64; 3] = [2, 1, 224];
const MAX_VERSION_EXCLUSIVE: [u64; 3] = [3, 0, 0];

const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the text that begins the turn.
fn notice(waiting: u64, now: Timestamp) -> String {
    let what = match waiting {
        1 => "1 message from another session waits".to_owned(),
        count => format!("{count} messages from other sessions wait"),
    };
    format!(
        "claude-peers: {what} ({now}). If the message text is not shown next to this notice, call the tool check_messages. This is a notice of the claude-peers server, not a peer's text."
    )
}

/// The inbox socket of the session that this server belongs to.
#[derive(Debug, Clone)]
pub struct InboxSocket {
    socket: PathBuf,
    token: Option<Secret>,
}

impl InboxSocket {
    /// Returns the inbox socket if it can and may be used to wake the session.
    pub fn of_session(config: &Config, version: &str, one_shot: bool) -> Option<Self> {
        let environment = &config.claude;
        let socket = environment.inbox.clone().filter(|_| config.wake)?;
        // A one-shot session is left to end with its answer.
        if !is_known_version(version) || one_shot {
            return None;
        }
        Some(Self { socket, token: environment.inbox_token.clone() })
    }

    /// Begins a turn. A failure is only logged: the messages go on waiting.
    pub async fn wake(&self, waiting: u64) {
        let written =
            tokio::time::timeout(WRITE_TIMEOUT, self.write(&notice(waiting, clock::now())))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match written {
            Ok(()) => tracing::info!(event = "wake", waiting, "the session is woken"),
            Err(error) => tracing::warn!("the session's inbox cannot be written: {error}"),
        }
    }

    async fn write(&self, notice: &str) -> io::Result<()> {
        let mut lines = String::new();
        if let Some(Secret(token)) = &self.token {
            lines += &json!({ "type": "auth", "token": token }).to_string();
            lines.push('\n');
        }
        lines += &json!({ "type": "user", "message": { "role": "user", "content": notice } })
            .to_string();
        lines.push('\n');
        let mut inbox = UnixStream::connect(&self.socket).await?;
        // No other program may read the token.
        check_listener(&inbox, &self.socket).map_err(io::Error::other)?;
        inbox.write_all(lines.as_bytes()).await?;
        inbox.shutdown().await
    }
}

fn is_known_version(version: &str) -> bool {
    version::parse(version)
        .is_some_and(|version| (MIN_VERSION..MAX_VERSION_EXCLUSIVE).contains(&version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for good in ["2.1.224", "2.1.330", "2.2.0", "2.10.1-beta.2"] {
            assert!(is_known_version(good), "{good}");
        }
        for bad in ["", "2", "2.1", "2.1.223", "2.1.x", "1.9.999", "3.0.0", "nonsense"] {
            assert!(!is_known_version(bad), "{bad}");
        }
    }

    #[test]
    fn only_a_lasting_session_of_a_known_version_is_woken_and_only_where_that_is_wanted() {
        let home = tempfile::tempdir().unwrap();
        let config = |wake: &str| {
            let variables = [
                ("HOME", home.path().to_str().unwrap()),
                ("CLAUDE_CODE_MESSAGING_SOCKET", "/run/inbox"),
                ("CLAUDE_PEERS_WAKE", wake),
            ];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Config::from_environment(&variables.into_iter().collect()).unwrap()
        };
        let woken = |wake: &str, version: &str, one_shot: bool| {
            InboxSocket::of_session(&config(wake), version, one_shot).is_some()
        };
        assert!(woken("on", "2.1.330", false));
        for (wake, version, one_shot) in
            [("off", "2.1.330", false), ("on", "2.1.223", false), ("on", "2.1.330", true)]
        {
            assert!(!woken(wake, version, one_shot), "{wake} {version} {one_shot}");
        }
    }

    /// On Linux each thread has its own credentials, so one thread can act as another user.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_token_is_not_written_to_a_socket_of_another_user() {
        use std::io::Read as _;
        use std::os::unix::fs::PermissionsExt as _;
        use std::os::unix::net::UnixListener;

        use rustix::process::Uid;

        if !rustix::process::geteuid().is_root() {
            // Only root can act as another user.
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(directory.path(), open.clone()).unwrap();
        let socket = directory.path().join("inbox");
        let path = socket.clone();
        let bind = move || {
            let nobody = Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            UnixListener::bind(path).unwrap()
        };
        let listener = std::thread::Builder::new().name("nobody".to_owned()).spawn(bind).unwrap();
        let listener = listener.join().unwrap();
        std::fs::set_permissions(&socket, open).unwrap();
        let inbox = InboxSocket { socket, token: Some(Secret("of the session".to_owned())) };
        let error = inbox.write("a notice").await.unwrap_err().to_string();
        assert!(error.contains("65534"), "{error}");
        let mut received = String::new();
        listener.accept().unwrap().0.read_to_string(&mut received).unwrap();
        assert_eq!(received, "");
    }
}
