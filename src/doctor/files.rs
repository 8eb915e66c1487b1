//! Owners and permissions: runtime and state directory, token, configuration file. The database
//! has a check of its own.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::scene::Scene;
use super::shell::{self, as_root};
use super::{Finding, Level};
use crate::files::effective_uid;
use crate::listeners::user_name;

const CHECK: &str = "files";

/// Below this many characters it is no secret, and a broker replaces it.
const TOKEN: usize = 32;

pub fn check(scene: &Scene) -> Vec<Finding> {
    let paths = &scene.config.paths;
    let mut findings = Vec::new();
    findings.extend(directory("the runtime directory", paths.runtime()));
    findings.extend(directory("the state directory", paths.state()));
    findings.extend(token(scene));
    findings.extend(config_file(&paths.config_file));
    if findings.is_empty() {
        findings.push(Finding::ok(
            CHECK,
            format!(
                "{} and {} are yours alone",
                paths.runtime().display(),
                paths.state().display()
            ),
        ));
    }
    findings
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}

/// What is wrong with a file that must be ours and for us alone; one that is missing is nothing.
pub fn private(check: &'static str, what: &str, path: &Path, open: u32) -> Option<Finding> {
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            return Some(Finding::failure(check, format!("{what} {shown}: {error}")));
        }
    };
    if metadata.uid() != effective_uid() {
        return Some(foreign(check, what, path, metadata.uid()));
    }
    (mode(&metadata) & open != 0).then(|| {
        Finding::warning(
            check,
            format!("{what} {shown} is open to others (mode {:04o})", mode(&metadata)),
        )
    })
}

/// Something of ours that belongs to somebody else.
pub fn foreign(check: &'static str, what: &str, path: &Path, owner: u32) -> Finding {
    let finding = Finding::failure(
        check,
        format!("{what} {} belongs to user {}", path.display(), user_name(owner)),
    );
    let recursive = if path.is_dir() { "-R " } else { "" };
    let command = format!("chown {recursive}{} {}", effective_uid(), shell::path(path));
    match as_root(&command) {
        Some(command) => finding.mend(command),
        None => finding.mend(format!("mv {0} {0}.of-{owner}", shell::path(path))),
    }
}

fn directory(what: &str, path: &Path) -> Option<Finding> {
    let finding = private(CHECK, what, path, 0o077)?;
    if finding.mend.is_some() || finding.level == Level::Failure {
        return Some(finding);
    }
    Some(
        finding
            .detail("others may see what lies in it")
            .mend(format!("chmod 700 {}", shell::path(path))),
    )
}

/// A secret that others could read is none any more: a broker that starts makes a new one.
fn token(scene: &Scene) -> Option<Finding> {
    let path = &scene.config.paths.token;
    if let Some(finding) = private(CHECK, "the token file", path, 0o077) {
        if finding.level == Level::Failure {
            return Some(finding);
        }
        return Some(
            Finding { level: Level::Failure, ..finding }
                .detail("whoever read it can call the broker over TCP as you; a broker that starts makes a new one")
                .mend(scene.restart_of_before()),
        );
    }
    let problem = match std::fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= TOKEN => return None,
        Ok(_) => "was cut short",
        // The first broker makes it.
        Err(_) if scene.broker_before.is_none() => return None,
        Err(_) => "is missing",
    };
    Some(
        Finding::warning(CHECK, format!("the token file {} {problem}", path.display()))
            .detail("calls over TCP need it; a broker that starts makes a new one")
            .mend(scene.restart_of_before()),
    )
}

/// Anybody may read it, but who can write it decides where mail goes.
fn config_file(path: &Path) -> Option<Finding> {
    let finding = private(CHECK, "the configuration file", path, 0o022)?;
    if finding.level == Level::Failure {
        return Some(finding);
    }
    Some(
        finding
            .detail("who can write it decides where your messages go")
            .mend(format!("chmod go-w {}", shell::path(path))),
    )
}
