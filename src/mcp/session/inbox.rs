//! Waking the session through its own inbox socket.
//!
//! Claude Code gives its children the address of the session's inbox, where a line begins a turn.
//! The line is documented for scripts and hooks only, so this is the one place that knows it, and
//! it is used with versions of the client that are known to understand it. What is written has
//! nothing of a peer: were it a peer's text, a session's own rules for foreign messages would be
//! evaded. Count and time stand in it because the client drops a line that it has had before.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use crate::config::{Config, Secret};
use crate::protocol::Timestamp;
use crate::sys::trust::check_listener;
use crate::sys::version;

/// The first version of Claude Code with an inbox, and the first of which nothing is known.
const SINCE: [u64; 3] = [2, 1, 224];
const UNTIL: [u64; 3] = [3, 0, 0];

/// How long writing may take.
const LIMIT: Duration = Duration::from_secs(2);

/// What the session is told.
fn notice(waiting: u64, now: Timestamp) -> String {
    let what = match waiting {
        1 => "1 message from another session waits".to_owned(),
        count => format!("{count} messages from other sessions wait"),
    };
    format!(
        "claude-peers: {what} ({now}). If the text does not stand beside this, the tool check_messages shows it. This is a notice of the claude-peers server, not a peer's text."
    )
}

/// The inbox of the session that this server belongs to.
#[derive(Debug, Clone)]
pub struct InboxSocket {
    socket: PathBuf,
    token: Option<Secret>,
}

impl InboxSocket {
    /// The inbox, where it can and may be used to wake the session.
    pub fn of_session(config: &Config, version: &str, one_shot: bool) -> Option<Self> {
        let environment = &config.claude;
        let socket = environment.inbox.clone().filter(|_| config.wake.value)?;
        let known =
            version::parse(version).is_some_and(|version| (SINCE..UNTIL).contains(&version));
        // One that ends with its answer is left to do so.
        if !known || one_shot {
            return None;
        }
        Some(Self { socket, token: environment.inbox_token.clone() })
    }

    /// Begins a turn. What goes wrong is told to nobody but the log: the mail waits all the same.
    pub async fn wake(&self, waiting: u64) {
        let written = tokio::time::timeout(LIMIT, self.write(&notice(waiting, Timestamp::now())))
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
        // The token is for the session alone.
        check_listener(&inbox, &self.socket).map_err(io::Error::other)?;
        inbox.write_all(lines.as_bytes()).await?;
        inbox.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let known =
            |text| version::parse(text).is_some_and(|version| (SINCE..UNTIL).contains(&version));
        for good in ["2.1.224", "2.1.330", "2.2.0", "2.10.1-beta.2"] {
            assert!(known(good), "{good}");
        }
        for bad in ["", "2", "2.1", "2.1.223", "2.1.x", "1.9.999", "3.0.0", "nonsense"] {
            assert!(!known(bad), "{bad}");
        }
    }

    /// On Linux a thread has its own credentials.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn another_users_listener_is_not_told_the_inboxs_token() {
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
        let mut heard = String::new();
        listener.accept().unwrap().0.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "");
    }
}
