//! Builds the test programs of the copy, in a target directory of their own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::tests_named::Program;

/// The name of the package, as it stands in names of built files.
const PACKAGE: &str = "claude_peers";

/// The test programs of a build.
#[derive(Debug, Clone, Default)]
pub struct Programs {
    lib: Option<PathBuf>,
    it: Option<PathBuf>,
}

impl Programs {
    pub fn path(&self, program: Program) -> Option<&Path> {
        match program {
            Program::Lib => self.lib.as_deref(),
            Program::It => self.it.as_deref(),
        }
    }
}

/// Builds test programs, and with the black-box tests the program itself.
pub fn build(tree: &Path, target: &Path, wanted: &[Program]) -> Result<Programs, String> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["test", "--locked", "--no-run"])
        .args(wanted.iter().flat_map(|program| match program {
            Program::Lib => &["--lib"][..],
            Program::It => &["--test", "it"],
        }))
        .args(["--message-format", "json-render-diagnostics", "--config"])
        .arg(format!("profile.dev.package.{}.debug=false", env!("CARGO_PKG_NAME")))
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cargo cannot be run: {error}"))?;
    let errors = child.stderr.take().map(|stderr| {
        std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).collect::<Vec<_>>()
        })
    });
    let mut built = Programs::default();
    for line in BufReader::new(child.stdout.take().ok_or("no output")?).lines() {
        let Ok(line) = line else { break };
        let Ok(message) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        let Some(executable) = message["executable"].as_str() else { continue };
        let kind = message["target"]["kind"][0].as_str();
        match (kind, message["target"]["name"].as_str()) {
            (Some("lib"), _) => built.lib = Some(PathBuf::from(executable)),
            (Some("test"), Some("it")) => built.it = Some(PathBuf::from(executable)),
            _ => {}
        }
    }
    let errors = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let status = child.wait().map_err(|error| error.to_string())?;
    let has_all = wanted.iter().all(|program| built.path(*program).is_some());
    if status.success() && has_all { Ok(built) } else { Err(only_errors(&errors)) }
}

/// The lines of a build's output that belong to errors.
fn only_errors(lines: &[String]) -> String {
    let mut shown = Vec::new();
    let mut of_error = false;
    for line in lines {
        if line.starts_with("error") {
            of_error = true;
        } else if line.starts_with("warning") {
            of_error = false;
        }
        if of_error {
            shown.push(line.as_str());
        }
    }
    if shown.is_empty() { lines.join("\n") } else { shown.join("\n") }
}

/// Gives a new target directory the libraries that this test program was built with, as hard links,
/// so that only the project itself is built.
pub fn share_libraries(target: &Path) -> std::io::Result<()> {
    let ours = target.join("debug");
    if ours.exists() {
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let Some(theirs) = program.ancestors().nth(2).filter(|path| path.ends_with("debug")) else {
        return Ok(());
    };
    for part in ["deps", "build", ".fingerprint"] {
        // A file of cargo's own may be written over in place; a library never is.
        copy(&theirs.join(part), &ours.join(part), part == "deps")?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, link: bool) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy().replace('-', "_");
        let own = text.starts_with(PACKAGE) || text.starts_with(&format!("lib{PACKAGE}"));
        let built = entry.path();
        let kind = entry.file_type()?;
        if own || !kind.is_dir() && link && is_program(&built) {
            continue;
        }
        if kind.is_dir() {
            copy(&built, &to.join(&name), link)?;
        } else if kind.is_file() {
            if !link || fs::hard_link(&built, to.join(&name)).is_err() {
                fs::copy(&built, to.join(&name))?;
            }
            let times = fs::FileTimes::new().set_modified(fs::metadata(&built)?.modified()?);
            if !link {
                fs::File::options().append(true).open(to.join(&name))?.set_times(times)?;
            }
        }
    }
    Ok(())
}

/// Whether a built file is a program or what is left of one: not what other crates link.
fn is_program(path: &Path) -> bool {
    !path.extension().is_some_and(|extension| {
        ["rlib", "rmeta", "so", "dylib", "d"].contains(&extension.to_str().unwrap_or_default())
    })
}
