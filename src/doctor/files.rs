//! Owners and permissions of the runtime and state directories, locks, token, log and configuration
//! file. The database has a check of its own.

use std::io;
use std::path::Path;

use crate::doctor::finding::{Finding, Level};
use crate::doctor::permissions::{DIRECTORY, FILE, SETTINGS, check_name, check_permissions};
use crate::doctor::shell;
use crate::doctor::snapshot::Snapshot;
use crate::protocol::ids::is_secret;
use crate::sys::files::{MAX_RECORD, read_text, real_path};

const CHECK: &str = "files";

pub fn check(snapshot: &Snapshot) -> Vec<Finding> {
    let paths = &snapshot.config.paths;
    let mut findings = Vec::new();
    findings.extend(directory(snapshot, "the runtime directory", paths.runtime()));
    findings.extend(directory(snapshot, "the state directory", paths.state()));
    // A directory that cannot be used was reported; its files need no findings of their own.
    if findings.iter().all(|finding| finding.level != Level::Failure) {
        for lock in [&paths.broker_lock, &paths.spawn_lock] {
            findings.extend(used(snapshot, "the lock file", lock));
        }
        findings.extend(log(snapshot, &paths.log));
        findings.extend(token(snapshot));
    }
    findings.extend(config_file(snapshot, &paths.config_file));
    if findings.is_empty() {
        findings.push(Finding::ok(
            CHECK,
            format!(
                "{} and {} are private to you",
                paths.runtime().display(),
                paths.state().display()
            ),
        ));
    }
    findings
}

fn directory(snapshot: &Snapshot, what: &str, path: &Path) -> Option<Finding> {
    let finding = check_permissions(&snapshot.config.environment, CHECK, what, path, DIRECTORY)?;
    if finding.fix.is_some() || finding.level == Level::Failure {
        return Some(finding);
    }
    Some(
        finding
            .detail("other users may see the files in it")
            .fix(format!("chmod 700 {}", shell::path(path))),
    )
}

/// Checks the token. A token that others could read is replaced when the broker starts.
fn token(snapshot: &Snapshot) -> Option<Finding> {
    let path = &snapshot.config.paths.token;
    if let Some(finding) =
        check_permissions(&snapshot.config.environment, CHECK, "the token file", path, FILE)
    {
        if finding.level == Level::Failure {
            // The running broker goes on with its own token, so it is restarted as well.
            let fix = finding.fix.as_ref();
            let fix = fix.map(|fix| format!("{fix} && {}", snapshot.restart_of_before()));
            return Some(Finding { fix, ..finding });
        }
        return Some(
            Finding { level: Level::Failure, ..finding }
                .detail("any user who has read it can call the broker over TCP as you; a restart creates a new token")
                .fix(snapshot.restart_of_before()),
        );
    }
    let problem = match read_text(path, MAX_RECORD) {
        Ok(text) if is_secret(text.trim()) => return None,
        // The first broker creates it; a running broker reports that it has lost it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        _ => "contains no token",
    };
    Some(no_token(snapshot, path, problem))
}

fn no_token(snapshot: &Snapshot, path: &Path, problem: &str) -> Finding {
    Finding::warning(CHECK, format!("the token file {} {problem}", path.display()))
        .detail("requests over TCP need it; a restart of the broker creates a new token")
        .fix(snapshot.restart_of_before())
}

/// Returns a finding if the token of a broker that ran before the first call is gone.
pub fn lost_token(snapshot: &Snapshot) -> Option<Finding> {
    snapshot.broker_before.as_ref()?;
    let path = snapshot.detail()?.token_file(&snapshot.config.paths.token);
    let is_lost = std::fs::metadata(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
    (is_lost && !path.is_symlink()).then(|| no_token(snapshot, &path, "is missing"))
}

/// Checks a lock file. Only failures count; one with a second name is replaced by the broker.
fn used(snapshot: &Snapshot, what: &str, path: &Path) -> Option<Finding> {
    check_permissions(&snapshot.config.environment, CHECK, what, path, FILE)
        .filter(|finding| finding.level == Level::Failure)
        .or_else(|| path.is_symlink().then(|| check_name(CHECK, what, path)).flatten())
}

/// Checks the log, which may be a link of our own, also to where nothing is kept.
fn log(snapshot: &Snapshot, path: &Path) -> Option<Finding> {
    let what = "the log";
    match real_path(path) {
        real if real == Path::new("/dev/null") => None,
        real => check_permissions(&snapshot.config.environment, CHECK, what, path, FILE)
            .filter(|finding| finding.level == Level::Failure)
            .or_else(|| check_name(CHECK, what, &real)),
    }
}

/// Checks the configuration file. Other users may read it, but not write it.
fn config_file(snapshot: &Snapshot, path: &Path) -> Option<Finding> {
    let finding = check_permissions(
        &snapshot.config.environment,
        CHECK,
        "the configuration file",
        path,
        SETTINGS,
    )?;
    if finding.level == Level::Failure {
        return Some(finding);
    }
    Some(
        finding
            .detail("any user who can write it decides where your messages go")
            .fix(format!("chmod go-w {}", shell::path(path))),
    )
}
