//! The tests that lists name, found in the sources.

use std::path::{Path, PathBuf};

/// A test program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The unit tests.
    Lib,
    /// The black-box tests.
    It,
}

/// Splits `lib:module::test` and `it:module::test`.
pub fn split(named: &str) -> Option<(Program, &str)> {
    match named.split_once(':')? {
        ("lib", path) => Some((Program::Lib, path)),
        ("it", path) => Some((Program::It, path)),
        _ => None,
    }
}

/// Whether the sources have this test.
pub fn exists(project: &Path, named: &str) -> bool {
    let Some((program, path)) = split(named) else { return false };
    let mut parts: Vec<&str> = path.split("::").collect();
    let Some(function) = parts.pop() else { return false };
    let mut file = match program {
        Program::Lib => project.join("src/lib.rs"),
        Program::It => project.join("tests/it/main.rs"),
    };
    let mut directory = file.parent().unwrap().to_path_buf();
    let mut inline = Vec::new();
    for part in parts {
        match file_of(&directory, part).filter(|_| inline.is_empty()) {
            Some(found) => {
                file = found;
                directory.push(part);
            }
            None => inline.push(part),
        }
    }
    let Ok(text) = std::fs::read_to_string(&file) else { return false };
    let mut text = text.as_str();
    for module in inline {
        let Some((_, rest)) = text.split_once(&format!("mod {module} {{")) else { return false };
        text = rest;
    }
    has_test(text, function)
}

/// The file of a module, in either style.
fn file_of(directory: &Path, module: &str) -> Option<PathBuf> {
    let candidates =
        [directory.join(format!("{module}.rs")), directory.join(module).join("mod.rs")];
    candidates.into_iter().find(|path| path.is_file())
}

/// Whether a function of this name stands in the text under a `test` attribute, or in a macro that
/// writes tests.
fn has_test(text: &str, function: &str) -> bool {
    text.match_indices(&format!("fn {function}(")).any(|(at, _)| {
        let above = text[..at].trim_end().trim_end_matches("async").trim_end();
        let lines = above.lines().rev().map(str::trim);
        let mut attributes =
            lines.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        attributes.any(|line| line.contains("test]") || line.contains("test("))
    })
}
