//! Documentation: what it teaches, as far as a program can check it.

use std::path::{Path, PathBuf};

use claude_peers::config::{Config, Source};

/// What people read before or after the installation.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "docs/setup.md",
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

/// The example of a file is one that loads.
#[test]
fn the_configuration_file_of_the_settings_is_read_as_it_stands_there() {
    let page = text("docs/settings.md");
    let (_, example) = page.split_once("```toml\n# ~/.config/claude-peers/config.toml\n").unwrap();
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
    assert_eq!(taught, 4, "the set-up, Debian, the plugin itself and Homebrew");
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
    let pages = std::fs::read_dir(root.join("docs")).unwrap();
    let pages = pages.map(|page| page.unwrap().file_name().into_string().unwrap());
    let pages = pages.filter(|page| page.ends_with(".md")).map(|page| format!("docs/{page}"));
    let above = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned);
    for document in above.into_iter().chain(pages) {
        let (text, document) = (text(&document), document.as_str());
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
