//! Layout: no module imports upward, and no files import each other in a circle.
//!
//! `docs/architecture.md` describes the order of the modules.

mod imports;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imports::{Imports, Module};

/// The layers from the bottom to the top. A file imports from its own layer and from those before it.
const LAYERS: [&[&str]; 29] = [
    // The root declares the modules and defines the version.
    &[""],
    // Nothing at all in what ships.
    &["failpoint"],
    &["protocol"],
    &["text"],
    &["sys"],
    &["config"],
    &["logging"],
    &["endpoint"],
    &["claude_code"],
    &["broker", "store"],
    &["broker", "sources"],
    &["broker", "live"],
    &["broker", "core"],
    &["broker", "registry"],
    &["broker", "mailbox"],
    &["broker", "error"],
    &["broker", "shared"],
    &["broker", "http"],
    &["broker", "daemon"],
    &["broker"],
    &["service"],
    &["client"],
    &["browser"],
    &["setup"],
    &["mcp"],
    &["hook"],
    &["doctor"],
    &["demo"],
    &["top"],
];

/// The module that may import every other.
const TOP: &str = "cli";

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns the position of a module's layer from the bottom; `None` if it has none.
fn layer(module: &str) -> Option<usize> {
    let path: Vec<&str> = module.split("::").collect();
    if path[0] == TOP {
        return Some(LAYERS.len());
    }
    let fits = |layer: &&[&str]| path.starts_with(layer);
    (0..LAYERS.len()).filter(|at| fits(&LAYERS[*at])).max_by_key(|at| LAYERS[*at].len())
}

/// Returns a line for each import that runs upward, and for each module that has no layer.
fn upward(imports: &Imports) -> Vec<String> {
    let mut found = Vec::new();
    for (module, others) in imports {
        let Some(from) = layer(module) else {
            found.push(format!("{module}: no layer in LAYERS"));
            continue;
        };
        for other in others {
            let to = layer(other);
            if to.is_some_and(|to| to > from) {
                found.push(format!("{module} imports {other}, which stands above it"));
            }
        }
    }
    found
}

/// Returns the groups of files that import each other, each with its files in order.
fn circles(imports: &Imports) -> Vec<Vec<Module>> {
    let reach: BTreeMap<&Module, std::collections::BTreeSet<&Module>> =
        imports.keys().map(|module| (module, reached(imports, module))).collect();
    let mut circles = Vec::new();
    for (module, others) in &reach {
        if others.contains(module) {
            let same = |other: &&Module| reach[*other].contains(module);
            let circle: Vec<Module> = others.iter().copied().filter(same).cloned().collect();
            if !circles.contains(&circle) {
                circles.push(circle);
            }
        }
    }
    circles
}

/// Returns every file that `module` needs, directly or by way of others.
fn reached<'a>(imports: &'a Imports, module: &Module) -> std::collections::BTreeSet<&'a Module> {
    let mut seen = std::collections::BTreeSet::new();
    let mut next: Vec<&Module> = imports[module].iter().collect();
    while let Some(module) = next.pop() {
        if seen.insert(module) {
            next.extend(&imports[module]);
        }
    }
    seen
}

#[test]
fn no_module_imports_upward() {
    let found = upward(&imports::read(&sources()));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_files_import_each_other() {
    let found = circles(&imports::read(&sources()));
    let lines: Vec<String> = found.iter().map(|circle| circle.join(" <-> ")).collect();
    assert!(found.is_empty(), "{}", lines.join("\n"));
}

/// Clients know the broker by the wire alone; only the command line starts it.
#[test]
fn nothing_but_the_command_line_reaches_into_the_broker() {
    for (module, others) in imports::read(&sources()) {
        if module.starts_with("broker") || module.split("::").next() == Some(TOP) {
            continue;
        }
        let inside: Vec<&Module> =
            others.iter().filter(|other| other.starts_with("broker")).collect();
        assert!(inside.is_empty(), "{module} imports {inside:?}");
    }
}

/// The checks find what they are there for: imports added in any of the usual ways.
#[test]
fn an_upward_import_and_a_circle_are_found() {
    let tree = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib.rs", "pub mod broker; pub mod mcp; pub mod sys;");
    write("sys/mod.rs", "pub mod files; pub mod git;");
    write("sys/files.rs", "//! Nothing.\npub fn list() {}");
    write("sys/git.rs", "use super::files;\npub fn heads() { files::list() }");
    write("mcp/mod.rs", "mod tools;\npub use tools::Tools;\npub fn serve() { tools::Tools; }");
    write("mcp/tools.rs", "use crate::sys::git::heads;\npub struct Tools;\nfn f() { heads() }");
    let broker = "pub mod http; pub mod mailbox;";
    write("broker/mod.rs", broker);
    write("broker/http.rs", "use crate::broker::mailbox::take;\nfn f() { take() }");
    let mailbox = "use crate::sys::files;\npub fn take() { files::list() }";
    write("broker/mailbox.rs", mailbox);
    let look = || imports::read(tree.path());
    assert_eq!(upward(&look()), [""; 0]);
    assert_eq!(circles(&look()), [[""; 0]; 0]);
    for import in [
        "use crate::mcp::Tools;",
        "use crate::{sys::git, mcp::{self, Tools}};",
        "fn f() { let _ = crate::mcp::Tools; }",
        "fn f() { assert!(matches!(1, crate::mcp::LIMIT)); }",
        "use super::super::mcp::serve;",
        "use crate::mcp;\nfn f() { mcp::serve() }",
        "use super::http::answer as f;",
    ] {
        write("broker/mailbox.rs", &format!("{mailbox}\n{import}"));
        assert_eq!(upward(&look()).len(), 1, "{import}");
    }
    // The circle of the last one, and one between a module and its child.
    assert_eq!(circles(&look()), [["broker::http", "broker::mailbox"]]);
    write("broker/mailbox.rs", mailbox);
    write("mcp/tools.rs", "pub struct Tools;\nfn f() { super::serve() }");
    assert_eq!(circles(&look()), [["mcp", "mcp::tools"]]);
    // What only tests import is not part of the program.
    let tests = "#[cfg(test)]\nmod tests {\n    use crate::mcp::Tools;\n}";
    write("broker/mailbox.rs", &format!("{mailbox}\n{tests}"));
    assert_eq!(upward(&look()), [""; 0]);
}
