//! Documentation: `tests/README.md` names each promise's attacks, their tests, and every file of tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The promises of the project. Each has a section of the README.
const PROMISES: std::ops::RangeInclusive<usize> = 1..=8;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    std::fs::read_to_string(project().join("tests/README.md")).unwrap()
}

/// The section of a promise: its heading, and what stands below it.
fn section(readme: &str, promise: usize) -> Option<(&str, &str)> {
    let heading = format!("\n### Promise {promise}: ");
    let (_, rest) = readme.split_once(&heading)?;
    let (title, rest) = rest.split_once('\n')?;
    let end = rest.find("\n#").unwrap_or(rest.len());
    Some((title, &rest[..end]))
}

/// The rows of the tables of a text, without headings: the first cell, and the second.
fn rows(text: &str) -> Vec<(&str, &str)> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = rows.map(|row| row.split_once(" | ").unwrap_or((row, "")));
    rows.filter(|row| !["attack", "file"].contains(&row.0)).collect()
}

/// The words in backticks in a cell.
fn words(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The tests that the section of a promise names.
fn named(section: &str) -> Vec<&str> {
    rows(section).into_iter().flat_map(|(_, tests)| words(tests)).collect()
}

/// The files of tests by module: `setup::claude` is `tests/it/setup/claude.rs`.
fn modules() -> BTreeMap<String, String> {
    let root = project().join("tests/it");
    let mut found = BTreeMap::new();
    let mut left = vec![root.clone()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("support") {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&root).unwrap().with_extension("");
                let parts: Vec<&str> = relative.iter().map(|part| part.to_str().unwrap()).collect();
                let name = parts.join("::");
                let name = name.strip_suffix("::mod").unwrap_or(&name).to_owned();
                found.insert(name, std::fs::read_to_string(path).unwrap());
            }
        }
    }
    found.remove("main");
    found
}

/// The first lines of a file, which say what it shows.
fn header(text: &str) -> Vec<&str> {
    text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect()
}

/// The promises that a file's header names: "Promise 3: …" or "Promises 1 and 2: …".
fn shown(text: &str) -> Vec<usize> {
    let beginnings = header(text).into_iter().filter_map(|line| {
        let rest = line.strip_prefix("Promises ").or_else(|| line.strip_prefix("Promise "))?;
        Some(rest.split(':').next().unwrap())
    });
    beginnings
        .flat_map(|numbers| numbers.split(" and ").map(|number| number.parse().unwrap()))
        .collect()
}

/// Whether a file has this test, under `#[test]` or `#[tokio::test]`.
fn has_test(text: &str, name: &str) -> bool {
    let function = format!("fn {name}(");
    let Some(at) = text.find(&function) else { return false };
    let above = text[..at].lines().rev().map(str::trim);
    let mut above =
        above.filter(|line| !line.starts_with("#[cfg") && !["", "async"].contains(line));
    above.next().is_some_and(|line| ["#[test]", "#[tokio::test]"].contains(&line))
}

/// Whether a file has any test.
fn has_tests(text: &str) -> bool {
    text.contains("#[test]") || text.contains("#[tokio::test]")
}

/// Whether what a row names is there: a module of tests, a test in it, or a file.
///
/// A file of Rust has tests in it, so that no file stands there by mistake.
fn exists(name: &str, modules: &BTreeMap<String, String>) -> bool {
    if name.contains('/') {
        let path = project().join(name);
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        return path.exists()
            && (!is_rust || std::fs::read_to_string(path).is_ok_and(|text| has_tests(&text)));
    }
    if modules.contains_key(name) {
        return true;
    }
    let Some((module, test)) = name.rsplit_once("::") else { return false };
    modules.get(module).is_some_and(|text| has_test(text, test))
}

#[test]
fn every_promise_has_attacks_and_every_attack_has_tests_that_exist() {
    let (readme, modules) = (readme(), modules());
    for promise in PROMISES {
        let (title, section) = section(&readme, promise)
            .unwrap_or_else(|| panic!("tests/README.md has no section \"Promise {promise}: …\""));
        assert!(!title.is_empty(), "promise {promise} is not restated");
        assert!(section.contains("\n| attack | tests |\n"), "promise {promise} has no attacks");
        let attacks = rows(section);
        assert!(!attacks.is_empty(), "no attack on promise {promise} is named");
        for (attack, tests) in attacks {
            assert!(
                attack.contains(' '),
                "promise {promise}: \"{attack}\" is no attack, in the first column"
            );
            let tests = words(tests);
            assert!(!tests.is_empty(), "promise {promise}: no test makes the attack \"{attack}\"");
            for name in tests {
                assert!(
                    exists(name, &modules),
                    "promise {promise}: tests/README.md names `{name}`, which does not exist or \
                     has no tests"
                );
            }
        }
        assert!(
            named(section).iter().any(|name| name.contains("::")),
            "no test in tests/it is named for promise {promise}"
        );
    }
    let (last, next) = (*PROMISES.end(), PROMISES.end() + 1);
    assert!(section(&readme, next).is_none(), "there are {last} promises");
}

#[test]
fn every_file_is_listed_by_its_first_line_and_under_the_promises_that_it_shows() {
    let (readme, modules) = (readme(), modules());
    for (module, text) in &modules {
        let first = header(text).first().copied().unwrap_or_default();
        assert!(first.contains(": "), "{module} opens with no line that says what it shows");
        let row = format!("| `{module}` | {first} |");
        assert!(
            readme.lines().any(|line| line == row),
            "tests/README.md, section \"Files\", needs the row\n{row}"
        );
        for promise in shown(text) {
            assert!(PROMISES.contains(&promise), "{module} shows promise {promise}");
            let (_, section) = section(&readme, promise).unwrap();
            let below = format!("{module}::");
            assert!(
                named(section).iter().any(|name| name == module || name.starts_with(&below)),
                "tests/README.md, section \"Promise {promise}\", does not name {module}, whose \
                 header does"
            );
        }
    }
    let files = readme.split_once("\n## Files\n").unwrap().1;
    let files = files.split("\n## ").next().unwrap();
    for name in rows(files).into_iter().flat_map(|(file, _)| words(file)) {
        assert!(exists(name, &modules), "section \"Files\" names `{name}`, which does not exist");
    }
}

/// Directories of tests beside `tests/it`: each has a program `run`.
#[test]
fn every_other_directory_of_tests_is_named() {
    let readme = readme();
    for above in ["tests", "tests/system"] {
        for entry in std::fs::read_dir(project().join(above)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{above}/{}", entry.file_name().to_str().unwrap());
            let run = entry.path().join("run").exists();
            assert!(
                !run || readme.contains(&format!("`{name}`")),
                "tests/README.md does not name `{name}`, which has a `run`"
            );
        }
    }
}

#[test]
fn every_other_name_in_the_readme_exists() {
    let readme = readme();
    let paths = readme.split('`').skip(1).step_by(2).filter(|word| {
        ["tests/", "src/", "benches/", ".cargo/", ".ci/"].iter().any(|top| word.starts_with(top))
    });
    for path in paths {
        let path = path.split([' ', '*']).next().unwrap();
        let found: PathBuf = project().join(path);
        assert!(found.exists(), "tests/README.md names {path}, which does not exist");
    }
    let variables = readme.split('`').skip(1).step_by(2);
    let variables = variables.filter(|word| word.starts_with("CLAUDE_PEERS_TEST_"));
    let sources: String = modules_and_support();
    for name in variables {
        assert!(sources.contains(name), "no test reads the variable {name}");
    }
}

/// All sources of the tests in one text.
fn modules_and_support() -> String {
    let support = std::fs::read_dir(project().join("tests/it/support")).unwrap();
    let support = support.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    modules().into_values().chain(support).collect()
}
