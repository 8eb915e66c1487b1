//! Documentation: where command lines stand in the pages and the man pages.

use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What people read: the pages, and the examples of the man pages.
pub fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        ["README.md", "SECURITY.md", "CONTRIBUTING.md"].map(|name| root().join(name)).into();
    for (directory, extension) in [("docs", "md"), ("packaging/man", "1")] {
        let files =
            std::fs::read_dir(root().join(directory)).unwrap().map(|file| file.unwrap().path());
        found.extend(files.filter(|file| file.extension().is_some_and(|e| e == extension)));
    }
    found.sort();
    found
}

/// A command line, and where it stands.
pub struct Line {
    pub document: String,
    pub text: String,
}

/// All command lines of the documentation.
pub fn all() -> Vec<Line> {
    let mut found = Vec::new();
    for path in documents() {
        let document = path.strip_prefix(root()).unwrap().display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines =
            if document.ends_with(".1") { examples(&text) } else { commands(&document, &text) };
        found.extend(lines.into_iter().map(|text| Line { document: document.clone(), text }));
    }
    found
}

/// The lines of the blocks of `sh` and `console`. A line that goes on is one with the next.
fn commands(document: &str, markdown: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut language = None;
    let mut begun = String::new();
    for line in markdown.lines() {
        if let Some(name) = line.trim_start().strip_prefix("```") {
            language = if language.is_some() { None } else { Some(name.to_owned()) };
            assert!(language.as_deref() != Some(""), "{document}: a block without a language");
            assert!(begun.is_empty(), "{document}: {begun}");
            continue;
        }
        let command = match language.as_deref() {
            Some("sh") => Some(line),
            // What has no prompt was printed.
            Some("console") => line.strip_prefix("$ "),
            _ => None,
        };
        let Some(command) =
            command.filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        else {
            continue;
        };
        begun.push_str(command);
        if begun.ends_with('\\') {
            begun.push('\n');
        } else {
            found.push(std::mem::take(&mut begun));
        }
    }
    assert!(language.is_none(), "{document}: a block without an end");
    found
}

/// The first words of the lines of a man page that are commands.
const PROGRAMS: [&str; 6] = ["claude-peers", "echo", "git", "journalctl", "sudo", "systemctl"];

/// The command lines of a man page: those of its examples, and of blocks that stand as they are. What
/// they do may stand beside them, and before them the shell that they are for.
fn examples(page: &str) -> Vec<String> {
    let plain =
        ["\\fB", "\\fR", "\\fI"].iter().fold(page.to_owned(), |page, font| page.replace(font, ""));
    let plain = plain.replace("\\-", "-").replace("\\(aq", "'").replace("\\*(Aq", "'");
    let mut lines = Vec::new();
    let (mut in_examples, mut in_block) = (false, false);
    for line in plain.lines() {
        if line.starts_with(".SH") || line.ends_with("xamples:") {
            in_examples = line.contains("EXAMPLES") || line.ends_with("xamples:");
        }
        if [".nf", ".fi"].contains(&line) {
            in_block = line == ".nf";
        }
        let mut command = line.trim();
        for shell in ["bash  ", "zsh  ", "fish  "] {
            command = command.strip_prefix(shell).unwrap_or(command).trim_start();
        }
        let command = command.split("   ").next().unwrap().trim_end();
        let is_command = PROGRAMS.contains(&command.split(' ').next().unwrap());
        if (in_examples || in_block) && is_command {
            lines.push(command.to_owned());
        }
    }
    lines
}

/// What stands in code font in the text of the pages, outside of blocks.
pub fn spans() -> Vec<Line> {
    let mut found = Vec::new();
    for path in documents().into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let document = path.strip_prefix(root()).unwrap().display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut within = false;
        let prose: String = text
            .lines()
            .filter(|line| {
                let fence = line.trim_start().starts_with("```");
                within ^= fence;
                !within && !fence
            })
            .flat_map(|line| [line, " "])
            .collect();
        let spans = prose.split('`').skip(1).step_by(2);
        found.extend(spans.map(|text| Line { document: document.clone(), text: text.to_owned() }));
    }
    found
}
