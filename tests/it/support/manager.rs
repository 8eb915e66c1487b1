//! A small service manager.
//!
//! It listens, starts the broker on the first connection by the protocol of `sd_listen_fds(3)`, and
//! receives the broker's notifications by that of `sd_notify(3)`.

use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{PATIENCE, PROGRAM, Sandbox};

/// Above all descriptors that the program gets.
const HIGH: i32 = 200;

#[derive(Default)]
pub struct Manager {
    /// The sockets that are handed over, each with its name.
    sockets: Vec<(String, OwnedFd)>,
    variables: Vec<(String, String)>,
}

impl Manager {
    /// Listens at the addresses of the sandbox's settings, under unspecific names.
    pub fn listen(sandbox: &Sandbox, unix: bool, tcp: bool) -> Self {
        let mut manager = Self::default();
        if unix {
            manager.add_unix(sandbox, "unknown", &sandbox.socket());
        }
        if tcp {
            manager.add_tcp("unknown", sandbox.port());
        }
        manager
    }

    /// Binds a Unix socket. As with systemd, a file at the path is replaced.
    pub fn add_unix(&mut self, sandbox: &Sandbox, name: &str, path: &Path) {
        claude_peers::sys::files::private_directory(sandbox.config().paths.runtime()).unwrap();
        let _ = std::fs::remove_file(path);
        self.add(name, UnixListener::bind(path).unwrap());
    }

    pub fn add_tcp(&mut self, name: &str, port: u16) {
        self.add(name, TcpListener::bind(("127.0.0.1", port)).unwrap());
    }

    pub fn add(&mut self, name: &str, socket: impl Into<OwnedFd>) {
        self.sockets.push((name.to_owned(), socket.into()));
    }

    /// Sets a variable for the broker only.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// Waits for a connection and starts the broker for it.
    pub fn start_on_connection(&self, sandbox: &Sandbox) -> Child {
        let fds: Vec<BorrowedFd<'_>> = self.sockets.iter().map(|(_, fd)| fd.as_fd()).collect();
        let mut watched: Vec<PollFd<'_>> =
            fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let limit = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
        assert!(poll(&mut watched, Some(&limit)).unwrap() > 0, "no client connects");
        self.start(sandbox)
    }

    /// Starts the broker.
    pub fn start(&self, sandbox: &Sandbox) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(sandbox.path().join("broker.log"))
            .unwrap();
        // The shell's process becomes the broker's, so its pid is the right one.
        let script = "export LISTEN_PID=$$; exec \"$0\" broker";
        let mut command = sandbox.command_of("sh", ["-c", script, PROGRAM]);
        let names: Vec<&str> = self.sockets.iter().map(|(name, _)| name.as_str()).collect();
        command
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let high: Vec<OwnedFd> = self
            .sockets
            .iter()
            .map(|(_, fd)| rustix::io::fcntl_dupfd_cloexec(fd, HIGH).unwrap())
            .collect();
        let hand_over = move || {
            for (number, fd) in (3..).zip(&high) {
                // SAFETY: nothing else of the child uses the numbers from 3 on, and nobody closes
                // this one.
                let mut target =
                    std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
                rustix::io::dup2(fd, &mut target)?;
            }
            Ok(())
        };
        // SAFETY: the closure makes system calls only.
        unsafe { command.pre_exec(hand_over) };
        command.spawn().unwrap()
    }

    /// Runs `client`, whose connection starts the broker.
    pub fn activate<T>(&self, sandbox: &Sandbox, client: impl FnOnce() -> T) -> (T, Child) {
        std::thread::scope(|scope| {
            let broker = scope.spawn(|| self.start_on_connection(sandbox));
            let result = client();
            (result, broker.join().unwrap())
        })
    }
}

/// The notifications of the broker to its manager.
pub struct Notifications {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Notifications {
    pub fn listen(sandbox: &Sandbox) -> Self {
        let path = sandbox.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path }
    }

    /// The value of `NOTIFY_SOCKET`.
    pub fn address(&self) -> String {
        self.path.display().to_string()
    }

    /// The lines of the next notification that comes within `limit`.
    pub fn next_within(&self, limit: Duration) -> Option<Vec<String>> {
        // Zero would mean no limit.
        self.socket.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).unwrap();
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
        Some(text.lines().map(str::to_owned).collect())
    }

    /// All notifications up to now.
    pub fn told(&self) -> Vec<Vec<String>> {
        std::iter::from_fn(|| self.next_within(Duration::ZERO)).collect()
    }

    /// Waits for a notification with this line. Returns it and those before.
    #[track_caller]
    pub fn wait_for(&self, line: &str) -> Vec<Vec<String>> {
        self.wait(line, |said| said == line)
    }

    /// Waits for a status that contains `text`.
    #[track_caller]
    pub fn wait_for_status(&self, text: &str) -> Vec<Vec<String>> {
        self.wait(text, |line| line.starts_with("STATUS=") && line.contains(text))
    }

    #[track_caller]
    fn wait(&self, what: &str, is_it: impl Fn(&str) -> bool) -> Vec<Vec<String>> {
        let since = Instant::now();
        let mut all = Vec::new();
        loop {
            let left = PATIENCE.saturating_sub(since.elapsed());
            let Some(lines) = self.next_within(left).filter(|_| !left.is_zero()) else {
                panic!("the manager was not told {what}: {all:?}");
            };
            let found = lines.iter().any(|line| is_it(line));
            all.push(lines);
            if found {
                return all;
            }
        }
    }
}
