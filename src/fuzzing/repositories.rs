//! Git's small files, as a stranger may have written them.

use std::fs;
use std::path::Path;

use tokio::runtime::Runtime;

use crate::fuzzing::{directory, runtime};
use crate::sys::git::Git;

/// The files that an input fills, in this order, each up to the next byte 0xFF. `work` is the
/// directory that a session works in.
const FILES: [&str; 10] = [
    "work/.git/HEAD",
    "work/.git/config",
    "work/.git/commondir",
    "work/.git/gitdir",
    "work/.git/config.worktree",
    "work/.git",
    "work/.git/packed-refs",
    "work/HEAD",
    "work/commondir",
    "work/config",
];

/// The branch of the repository beside it, which must never be shown.
const SECRET: &str = "secret-of-another";

thread_local! {
    static RUNTIME: Runtime = runtime();
}

/// Whatever stands in git's files of a directory, it is never taken for another repository, nor is
/// another one's branch shown, and nobody waits.
pub fn repositories(data: &[u8]) {
    let directory = directory();
    let root = directory.path();
    let other = root.join("other");
    git_directory(&other.join(".git"), &format!("ref: refs/heads/{SECRET}\n"));
    let work = root.join("work");
    for (file, content) in FILES.iter().zip(data.split(|byte| *byte == 0xff)) {
        let path = root.join(file);
        if content.is_empty() || path.exists() {
            continue;
        }
        // Where `.git` is a file by now, it stays one.
        let parent = path.parent().filter(|parent| parent.ends_with(".git") && !parent.is_file());
        if let Some(parent) = parent {
            git_directory(parent, "");
        }
        let _ = fs::create_dir_all(path.parent().unwrap());
        let _ = fs::write(path, content);
    }
    fs::create_dir_all(work.join("src")).unwrap();
    if data.len().is_multiple_of(3) {
        // What looks like a bare repository.
        fs::create_dir_all(work.join("objects")).unwrap();
        fs::create_dir_all(work.join("refs")).unwrap();
    }
    let git = Git::new([("HOME", root.as_os_str()), ("PATH", "/nowhere".as_ref())]);
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            for place in [&work, &work.join("src")] {
                let found = git.repository(place).await;
                let branch = git.branch(place).await;
                if let Ok(repository) = &found {
                    assert!(repository.top.starts_with(root), "{repository:?}");
                    assert!(!repository.top.starts_with(&other), "{repository:?}");
                    assert!(!repository.common_dir.starts_with(&other), "{repository:?}");
                    let _ = repository.name();
                }
                if let Some(branch) = branch {
                    assert!(found.is_ok(), "a branch without a repository");
                    assert!(branch != SECRET || data.windows(6).any(|part| part == b"secret"));
                }
            }
        });
    });
}

fn git_directory(path: &Path, head: &str) {
    fs::create_dir_all(path.join("objects")).unwrap();
    fs::create_dir_all(path.join("refs")).unwrap();
    if !head.is_empty() {
        fs::write(path.join("HEAD"), head).unwrap();
    }
}
