//! Layout: unsafe code stands in the files listed here, and each block of it has its reason.

use std::collections::BTreeMap;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};

/// The files with unsafe code, and what for. All other code is safe.
const FILES: [(&str, &str); 18] = [
    ("benches/messages/measures/view.rs", "a child with a terminal"),
    ("src/broker/daemon/activation/launchd.rs", "launchd's sockets: a C function"),
    ("src/broker/daemon/activation/mod.rs", "systemd's sockets: inherited descriptors"),
    ("src/broker/daemon/detach.rs", "closing inherited descriptors"),
    ("src/broker/testing/plans.rs", "SQLite's list of statements (tests)"),
    ("src/broker/testing/statements.rs", "SQLite's trace (tests)"),
    ("src/main.rs", "calls the above before any thread is started"),
    ("src/mcp/transport/streams.rs", "standard streams in the runtime's poll"),
    ("src/sys/process/exit.rs", "pidfd and kqueue in the runtime's poll"),
    ("src/sys/signals.rs", "signal masks and dispositions"),
    ("tests/faults/main.rs", "a variable of this process"),
    ("tests/it/inherited.rs", "a child with blocked signals"),
    ("tests/it/support/faults.rs", "system calls that fail"),
    ("tests/it/support/manager.rs", "a child with inherited sockets"),
    ("tests/it/support/processes.rs", "children with terminals and signals"),
    ("tests/it/support/sandbox.rs", "children with limits"),
    ("tests/it/support/seccomp.rs", "system call filters"),
    ("benches/messages/processes.rs", "children with limits"),
];

/// How a block begins; in two parts, so that this line is none.
const BLOCK: &str = concat!("unsafe", " {");

/// The unsafe code of a file, by its tokens.
#[derive(Default)]
struct Unsafe {
    blocks: usize,
    all: usize,
}

fn count(tokens: TokenStream, found: &mut Unsafe) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == "unsafe" => {
                found.all += 1;
                found.blocks += usize::from(matches!(tokens.peek(), Some(TokenTree::Group(_))));
            }
            TokenTree::Group(group) => count(group.stream(), found),
            _ => {}
        }
    }
}

/// The places of blocks in the text, by line.
fn blocks(text: &str) -> Vec<usize> {
    let code = |line: &str| line.split("//").next().unwrap().to_owned();
    let lines = text.lines().enumerate();
    lines.flat_map(|(at, line)| vec![at; code(line).matches(BLOCK).count()]).collect()
}

/// Whether the comment above the statement in this line begins with its reason.
fn has_reason(lines: &[&str], at: usize) -> bool {
    let mut above = lines[..at].iter().rev().map(|line| line.trim());
    // The statement may have begun some lines above.
    let comment: Vec<&str> = above
        .by_ref()
        .skip_while(|line| !line.starts_with("//") && !line.ends_with([';', '}']))
        .take_while(|line| line.starts_with("// "))
        .collect();
    comment.iter().any(|line| line.starts_with("// SAFETY: "))
}

fn collect(directory: &Path, found: &mut BTreeMap<String, String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn unsafe_code_stands_in_these_files_only_and_each_block_says_why_it_is_sound() {
    let mut files = BTreeMap::new();
    for directory in ["src", "tests", "benches"] {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut files);
    }
    let mut wrong = Vec::new();
    for (file, text) in &files {
        let mut found = Unsafe::default();
        count(text.parse().unwrap(), &mut found);
        let is_listed = FILES.iter().any(|(name, _)| name == file);
        if (found.all > 0) != is_listed {
            wrong.push(format!("{file}: {} times unsafe; FILES says otherwise", found.all));
        }
        let (lines, blocks): (Vec<&str>, _) = (text.lines().collect(), blocks(text));
        if blocks.len() != found.blocks {
            wrong.push(format!("{file}: a block of unsafe code does not begin with `{BLOCK}`"));
        }
        for at in blocks {
            if !has_reason(&lines, at) {
                wrong.push(format!("{file}:{}: no comment `// SAFETY: …` above it", at + 1));
            }
        }
    }
    for (name, _) in FILES {
        if !files.contains_key(name) {
            wrong.push(format!("{name} is listed and does not exist"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
