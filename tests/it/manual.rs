//! Documentation: the man pages, `packaging/man/*.1`, match the definition of the command line.
//!
//! They are kept in the repository, so that no package has to build a generator, and a change of
//! the command line shows its effect on them. After such a change:
//!
//! ```sh
//! UPDATE_MAN_PAGES=1 cargo test --test it manual
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use claude_peers::config::{Fallback, SETTINGS, Setting};

/// What follows the generated sections of claude-peers(1): files, environment, exit status.
const SECTIONS: &str = include_str!("../../packaging/man/claude-peers.sections");

/// The line of [`SECTIONS`] in whose place the settings come.
const PLACE_OF_SETTINGS: &str = ".\\\" The table of settings stands here.\n";

fn sections() -> String {
    let (before, after) = SECTIONS.split_once(PLACE_OF_SETTINGS).unwrap();
    let settings: String = SETTINGS.iter().map(entry).collect();
    format!("{before}{settings}{after}")
}

/// A setting as the man page has it.
fn entry(setting: &Setting) -> String {
    let key = setting.key.map(|key| format!(" [{key}]")).unwrap_or_default();
    let mut help = setting.help.to_owned();
    // A sentence begins, unless a literal word does.
    help[..1].make_ascii_uppercase();
    let default = match setting.default {
        Fallback::Value(value) => format!("`{value}`"),
        Fallback::Words(words) => words.to_owned(),
    };
    format!(
        ".TP\n\\fB{}\\fR{key}\n{}.\nDefault: {}.\n",
        setting.variable,
        roff(&help),
        roff(&default)
    )
}

/// Turns a line of Markdown into roff: what stands in backticks is bold.
fn roff(markdown: &str) -> String {
    assert!(!markdown.starts_with(['.', '\'']) && !markdown.contains('\\'), "{markdown}");
    let mut text = String::new();
    for (at, part) in markdown.split('`').enumerate() {
        match at % 2 {
            0 => text.push_str(part),
            _ => text.extend(["\\fB", &part.replace('-', "\\-"), "\\fR"]),
        }
    }
    text
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/man")
}

/// The page of each command that is shown in the help, by file name.
fn pages() -> BTreeMap<String, String> {
    // The page does not depend on the width of the terminal.
    let mut root = claude_peers::cli::Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = BTreeMap::new();
    collect(&root, &mut pages);
    pages
}

fn collect(command: &Command, pages: &mut BTreeMap<String, String>) {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let page = Man::new(command.clone()).title(name.clone()).source("claude-peers").manual("");
    let mut roff = Vec::new();
    page.render_title(&mut roff).unwrap();
    page.render_name_section(&mut roff).unwrap();
    page.render_synopsis_section(&mut roff).unwrap();
    page.render_description_section(&mut roff).unwrap();
    page.render_options_section(&mut roff).unwrap();
    let below: Vec<_> = command.get_subcommands().filter(|below| !below.is_hide_set()).collect();
    if !below.is_empty() {
        page.render_subcommands_section(&mut roff).unwrap();
    }
    let mut text = String::from_utf8(roff).unwrap();
    if name == "claude-peers" {
        text.push_str(&sections());
    } else {
        if command.get_after_help().is_some() || command.get_after_long_help().is_some() {
            let mut roff = Vec::new();
            page.render_extra_section(&mut roff).unwrap();
            text.push_str(&String::from_utf8(roff).unwrap());
        }
        text.push_str(".SH SEE ALSO\n\\fBclaude\\-peers\\fR(1)\n");
    }
    pages.insert(format!("{name}.1"), text);
    for command in below {
        collect(command, pages);
    }
}

fn written() -> BTreeMap<String, String> {
    fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "1"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn the_man_pages_are_those_of_this_command_line() {
    let pages = pages();
    assert!(pages.contains_key("claude-peers.1") && pages.contains_key("claude-peers-send.1"));
    if std::env::var_os("UPDATE_MAN_PAGES").is_some() {
        for stale in written().keys().filter(|name| !pages.contains_key(*name)) {
            fs::remove_file(directory().join(stale)).unwrap();
        }
        for (name, page) in &pages {
            fs::write(directory().join(name), page).unwrap();
        }
    }
    let written = written();
    let names = |pages: &BTreeMap<String, String>| pages.keys().cloned().collect::<Vec<_>>();
    let advice = "UPDATE_MAN_PAGES=1 cargo test --test it manual";
    assert_eq!(names(&written), names(&pages), "{advice}");
    for (name, page) in &pages {
        assert!(written[name] == *page, "packaging/man/{name} is stale: {advice}");
    }
}

/// groff finds no fault in the pages.
#[test]
fn the_man_pages_are_sound() {
    let groff = Process::new("groff").arg("--version").stdout(Stdio::null()).status();
    if !groff.is_ok_and(|status| status.success()) {
        return; // The system test of the Debian package has lintian look at them as well.
    }
    for name in pages().keys() {
        let output = Process::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-z", "-rLL=80n"])
            .arg(directory().join(name))
            .output()
            .unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{name}: {complaints}");
    }
}
