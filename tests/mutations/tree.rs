//! The copy of the project in which the mutations are made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};

use crate::VARIABLE;
use crate::list::{Kind, Mutation};
use crate::schemata;

/// The function of the copy that says whether a mutation is switched on.
const SWITCH: &str = r#"
/// Whether this process has the mutation of this name.
pub fn broken(name: &str) -> bool {
    static NAME: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    #[allow(clippy::disallowed_methods)]
    let read = || std::env::var("@VARIABLE@").ok();
    NAME.get_or_init(read).as_deref() == Some(name)
}
"#;

/// What of the project is not copied, at its root.
const LEFT_OUT: [&str; 2] = ["target", ".git"];

/// The copy.
#[derive(Debug)]
pub struct Tree {
    pub root: PathBuf,
}

impl Tree {
    /// Brings the copy up to date, with these mutations in it. A file whose text is the same is not
    /// written, so that a build finds it unchanged.
    pub fn write(
        project: &Path,
        root: PathBuf,
        mutations: &[Mutation],
    ) -> std::result::Result<Self, String> {
        let mut files: BTreeMap<&str, Vec<&Mutation>> = BTreeMap::new();
        for mutation in mutations.iter().filter(|one| one.kind == Kind::Switch) {
            files.entry(&mutation.file).or_default().push(mutation);
        }
        let failed = |error: std::io::Error| format!("the tree cannot be copied: {error}");
        let mut copied = BTreeSet::new();
        for path in all_files(project, &LEFT_OUT).map_err(failed)? {
            let source = project.join(&path);
            let mut text = fs::read(&source).map_err(failed)?;
            let name = path.to_str().unwrap_or_default();
            if let Some(mutations) = files.get(name) {
                let broken =
                    if name == "src/main.rs" { "claude_peers::broken" } else { "crate::broken" };
                let original = String::from_utf8_lossy(&text).into_owned();
                text = schemata::switched(&original, mutations, broken)?.into_bytes();
            }
            text = changed(name, text)?;
            write_if_changed(&source, &root.join(&path), &text).map_err(failed)?;
            copied.insert(path);
        }
        if root.is_dir() {
            for path in all_files(&root, &LEFT_OUT).map_err(failed)? {
                if !copied.contains(&path) {
                    fs::remove_file(root.join(path)).map_err(failed)?;
                }
            }
        }
        Ok(Self { root })
    }

    /// Makes one mutation, alone. Returns what undoes it.
    pub fn make(&self, mutation: &Mutation) -> std::result::Result<Undo, String> {
        let path = self.root.join(&mutation.file);
        let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let broken = schemata::replaced(&text, mutation)?;
        fs::write(&path, broken).map_err(|error| error.to_string())?;
        Ok(Undo { path, text })
    }
}

/// Undoes one mutation when it is dropped.
#[derive(Debug)]
pub struct Undo {
    path: PathBuf,
    text: String,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.path, &self.text) {
            eprintln!("{} is left broken: {error}", self.path.display());
        }
    }
}

/// Changes the few files that make the switch work.
fn changed(name: &str, text: Vec<u8>) -> std::result::Result<Vec<u8>, String> {
    let (find, replace) = match name {
        "src/lib.rs" => {
            let switch = SWITCH.replace("@VARIABLE@", VARIABLE);
            return Ok([text, switch.into_bytes()].concat());
        }
        // The copy lies in the directory of another project.
        "Cargo.toml" if !String::from_utf8_lossy(&text).contains("\n[workspace]") => {
            return Ok([text, b"\n[workspace]\n".to_vec()].concat());
        }
        // The processes that a test starts have the mutation of the test program, and a broker that
        // one of them starts has it, too.
        "tests/it/support/sandbox.rs" | "src/client/autostart.rs" => (
            ".env_clear()",
            format!(
                ".env_clear().envs(std::env::var(\"{VARIABLE}\").map(|id| (\"{VARIABLE}\", id)))"
            ),
        ),
        _ => return Ok(text),
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    if text.matches(find).count() != 1 {
        return Err(format!("{name} has not one `{find}`, where the switch is passed on"));
    }
    Ok(text.replace(find, &replace).into_bytes())
}

/// All files below a directory, relative to it.
fn all_files(root: &Path, left_out: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            let kind = entry.file_type()?;
            if left_out.iter().any(|name| path == Path::new(name)) {
                continue;
            }
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Writes a file, with the mode of its source, unless it is the same already.
fn write_if_changed(source: &Path, target: &Path, text: &[u8]) -> Result<()> {
    if fs::read(target).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::create_dir_all(target.parent().unwrap_or(target))?;
    fs::write(target, text)?;
    fs::set_permissions(target, fs::metadata(source)?.permissions())
}
