//! Files that other processes leave us: session files of Claude Code, the broker lock, the hook
//! spool.

use std::cell::RefCell;
use std::fs;

use tempfile::TempDir;

use crate::claude_code::session_file::session_title;
use crate::config::{Config, Environment, Paths};
use crate::endpoint::{broker_lock, hook_spool};
use crate::fuzzing::directory;
use crate::protocol::ProcessId;
use crate::sys::files::{LockFile, beside, private_directory};
use crate::sys::process;

/// The home, its paths, a client process, and the held broker lock.
struct Home {
    directory: TempDir,
    paths: Paths,
    client: ProcessId,
    _lock: LockFile,
}

thread_local! {
    static HOME: RefCell<Option<Home>> = const { RefCell::new(None) };
}

fn home() -> Home {
    let directory = directory();
    let environment: Environment = [("HOME", directory.path())].into_iter().collect();
    let paths = Config::from_environment(&environment).unwrap().paths;
    private_directory(paths.runtime()).unwrap();
    private_directory(paths.state()).unwrap();
    fs::create_dir_all(directory.path().join("sessions")).unwrap();
    let lock = LockFile::try_take(&paths.broker_lock).unwrap().unwrap();
    Home { directory, paths, client: process::own(), _lock: lock }
}

/// The first byte says which file it is; the rest is its content.
pub fn runtime_files(data: &[u8]) {
    let Some((which, content)) = data.split_first() else { return };
    HOME.with_borrow_mut(|held| {
        let home = held.get_or_insert_with(home);
        match which % 3 {
            0 => session_file(home, content),
            1 => lock(home, content),
            _ => spool(home, content),
        }
    });
}

fn session_file(home: &Home, content: &[u8]) {
    let root = home.directory.path();
    fs::write(root.join(format!("sessions/{}.json", home.client.pid)), content).unwrap();
    if let Some(title) = session_title(root, &home.client) {
        assert!(!title.is_empty() && title.chars().count() <= 200);
    }
}

/// The lock is held, by us, whatever stands in its file. No process is signalled for it but the one
/// that is proven to hold it, and that is not tried here.
fn lock(home: &Home, content: &[u8]) {
    fs::write(&home.paths.broker_lock, content).unwrap();
    let holder = broker_lock::holder_of(&home.paths.broker_lock).expect("the lock is held");
    assert_eq!(holder.lock, home.paths.broker_lock);
    let _ = (holder.whereabouts(), holder.is_same(&holder));
    assert!(holder.described().len() < 16 * 1024 + content.len() * 4);
}

/// All events that stand in the file come, again until they are deleted, and nothing else.
fn spool(home: &Home, content: &[u8]) {
    let file = beside(&home.paths.socket, ".unheard");
    fs::write(&file, content).unwrap();
    let drained = hook_spool::drain(&home.paths).unwrap().expect("there is a spool");
    let again = hook_spool::drain(&home.paths).unwrap().expect("it was not deleted");
    assert_eq!(drained.events, again.events);
    assert!(drained.events.len() <= content.split(|byte| *byte == b'\n').count());
    again.delete().unwrap();
    assert!(hook_spool::drain(&home.paths).unwrap().is_none());
}
