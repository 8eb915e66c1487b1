//! Documentation: what it teaches, as far as a program can check it.

use std::path::{Path, PathBuf};

use claude_peers::config::{Config, Fallback, SETTINGS, Setting, Source};

/// What people read before or after the installation.
const DOCUMENTS: [&str; 6] = [
    "README.md",
    "debian/README.Debian",
    "packaging/claude-plugin/README.md",
    "packaging/claude-plugin/skills/peers/SKILL.md",
    "packaging/homebrew/claude-peers.rb",
    "packaging/man/claude-peers.sections",
];

fn path(document: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(document)
}

fn text(document: &str) -> String {
    std::fs::read_to_string(path(document)).unwrap()
}

/// The first lines of the README's table of settings.
const TABLE: &str = "| variable | file | default | |\n|---|---|---|---|\n";

/// A row of the README's table of settings.
fn row(setting: &Setting) -> String {
    let key = setting.key.map(|key| format!(" `{key}`")).unwrap_or_default();
    let default = match setting.default {
        Fallback::Value(value) => format!("`{value}`"),
        Fallback::Words(words) => words.to_owned(),
    };
    assert!(!setting.help.contains('|') && !default.contains('|'), "{}", setting.variable);
    format!("| `{}` |{key} | {default} | {} |\n", setting.variable, setting.help)
}

/// The README's table is that of the program. After a change of it:
///
/// ```sh
/// UPDATE_README=1 cargo test --test it documents
/// ```
#[test]
fn the_readme_has_every_setting_as_the_program_has_it() {
    let readme = text("README.md");
    let (before, rest) = readme.split_once(TABLE).unwrap();
    let end = rest.find("\n\n").unwrap() + 1;
    let rows: String = SETTINGS.iter().map(row).collect();
    if std::env::var_os("UPDATE_README").is_some() {
        let new = format!("{before}{TABLE}{rows}{}", &rest[end..]);
        return std::fs::write(path("README.md"), new).unwrap();
    }
    let written: Vec<&str> = rest[..end].lines().collect();
    let expected: Vec<&str> = rows.lines().collect();
    assert_eq!(written, expected, "UPDATE_README=1 cargo test --test it documents");
}

/// And the example of a file is one that loads.
#[test]
fn the_readmes_configuration_file_is_read_as_it_stands_there() {
    let readme = text("README.md");
    let (_, example) =
        readme.split_once("```toml\n# ~/.config/claude-peers/config.toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".config/claude-peers/config.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, example).unwrap();
    let environment = [("HOME", home.path())].into_iter().collect();
    let config = Config::from_environment(&environment).unwrap();
    let set = config.effective().iter().filter(|found| found.source == Source::File).count();
    assert_eq!(set, example.lines().filter(|line| line.contains('=')).count());
}

#[test]
fn no_document_greps_for_a_peers_id_where_its_name_would_do() {
    for document in DOCUMENTS {
        let text = text(document);
        assert!(!text.contains("claude-peers peers |"), "{document}");
    }
}

/// Only a newer Claude Code has the one command. Two commands work in every version.
#[test]
fn the_one_command_that_installs_the_plugin_is_named_with_the_version_that_has_it() {
    let mut taught = 0;
    for document in DOCUMENTS {
        let text = text(document).split_whitespace().collect::<Vec<_>>().join(" ");
        for (at, _) in text.match_indices("install peers --marketplace") {
            assert!(
                text[..at].ends_with(
                    "From Claude Code 2.1.292 on one command does both: `claude plugin "
                ),
                "{document}"
            );
        }
        let add = text.matches("claude plugin marketplace add ").count();
        assert_eq!(
            add,
            text.matches("claude plugin install peers@claude-peers").count(),
            "{document}"
        );
        taught += add;
    }
    assert_eq!(taught, 4, "README, Debian, the plugin itself and Homebrew");
}

/// Settings that were never written, or a database in another place, are no failure.
#[test]
fn what_removes_a_users_files_succeeds_where_some_are_missing() {
    let text = text("debian/README.Debian");
    let line = text.lines().map(str::trim).find(|line| line.starts_with("rm ")).unwrap();
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".claude-peers.db"), "").unwrap();
    let status =
        std::process::Command::new("sh").args(["-c", line]).env("HOME", home.path()).status();
    assert!(status.unwrap().success(), "{line}");
    assert!(!Path::new(&home.path().join(".claude-peers.db")).exists());
}

#[test]
fn an_example_that_takes_the_mail_says_so() {
    for line in text("README.md").lines().filter(|line| line.starts_with("claude-peers inbox")) {
        assert!(line.contains("# takes them") && line.contains("--peek"), "{line}");
    }
}

/// Packages are optimised as a whole. A newcomer's first build is quick.
#[test]
fn packages_have_a_profile_of_their_own_and_the_first_command_a_quick_one() {
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let profile = |name: &str| manifest["profile"][name].as_table().unwrap().clone();
    assert_eq!(profile("dist")["lto"].as_str(), Some("fat"));
    assert_ne!(profile("release").get("lto").and_then(toml::Value::as_str), Some("fat"));
    assert!(!profile("release").contains_key("codegen-units"));
    assert!(text("README.md").contains("\ncargo run --release -- demo\n"));
    assert!(text("debian/rules").contains("build --profile dist "));
    assert!(text("packaging/homebrew/claude-peers.rb").contains("\"--profile\", \"dist\""));
}

/// A table of files that is out of date sends its reader astray.
#[test]
fn every_file_that_the_documentation_names_exists() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let documents = [
        "README.md",
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/delivery.md",
        "docs/glossary.md",
    ];
    for document in documents {
        let text = text(document);
        let code = text.split('`').skip(1).step_by(2);
        let links =
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to);
        let is_link = |to: &&str| !to.contains("://") && !to.starts_with('#');
        let directory = root.join(document).parent().unwrap().to_owned();
        for link in links.filter(is_link) {
            let file = link.split('#').next().unwrap();
            assert!(directory.join(file).exists(), "{document} links to {link}");
        }
        for word in code.filter(|word| is_path(word)) {
            // Files of the source tree are named from the root, or from `src/`.
            let found =
                [root.join(word), root.join("src").join(word)].iter().any(|path| path.exists());
            assert!(found, "{document} names {word}");
        }
    }
}

/// Whether a word in code font names a file or directory of ours.
fn is_path(word: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    word.chars().all(is_plain)
        && word.contains('/')
        && (word.ends_with(".rs")
            || word.ends_with(".md")
            || word.starts_with("src/")
            || word.starts_with("tests/"))
        && !word.contains("NAME")
        && !word.contains("NOUN")
        && !word.contains("-N.")
}
