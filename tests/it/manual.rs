//! Documentation: the man pages, `packaging/man/*.1`, match the definition of the command line.
//!
//! They are kept in the repository, so that no package has to build a generator, and a change of
//! the command line shows its effect on them. After such a change:
//!
//! ```sh
//! UPDATE_MAN_PAGES=1 cargo test --test it manual
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use claude_peers::cli::help::{EXAMPLES, GROUPS};
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
    let is_root = name == "claude-peers";
    let help = Help::of(command);
    let version = concat!("claude-peers ", env!("CARGO_PKG_VERSION"));
    // Positional arguments have a section of their own.
    let options = command.clone().mut_args(|argument| {
        let hide = argument.is_positional() || argument.is_hide_set();
        argument.hide(hide)
    });
    let page = Man::new(options).title(&name).date(date()).source(version).manual("claude-peers");
    let mut roff = Vec::new();
    page.render_title(&mut roff).unwrap();
    page.render_name_section(&mut roff).unwrap();
    let mut text = String::from_utf8(roff).unwrap();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = writeln!(text, ".SH SYNOPSIS\n\\fB{}\\fR", escaped(usage));
    let _ = writeln!(text, ".SH DESCRIPTION\n{}", help.description);
    if is_root {
        text.push_str(&commands(command));
    }
    text.push_str(&arguments(command));
    let mut roff = Vec::new();
    page.render_options_section(&mut roff).unwrap();
    text.push_str(&String::from_utf8(roff).unwrap());
    let below: Vec<_> = command.get_subcommands().filter(|below| !below.is_hide_set()).collect();
    if !is_root && !below.is_empty() {
        let rows: String = below.iter().map(|below| entry_of(below)).collect();
        let _ = write!(text, ".SH COMMANDS\n{rows}");
    }
    if is_root {
        text.push_str(&examples());
        text.push_str(&sections());
    } else {
        text.push_str(&help.examples);
        text.push_str(&help.exit_status);
        text.push_str(".SH SEE ALSO\n\\fBclaude\\-peers\\fR(1)\n");
    }
    pages.insert(format!("{name}.1"), text);
    for command in below {
        collect(command, pages);
    }
}

/// The date of the last entry in the changelog of the package: the same whenever a page is made.
fn date() -> String {
    let changelog = include_str!("../../debian/changelog");
    let signed = changelog.lines().find(|line| line.starts_with(" -- ")).unwrap();
    let date = signed.rsplit_once(", ").unwrap().1;
    let [day, month, year]: [&str; 3] =
        date.split_whitespace().take(3).collect::<Vec<_>>().try_into().unwrap();
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month).unwrap() + 1;
    format!("{year}-{month:02}-{day:0>2}")
}

/// The parts of a command's help, which stand in sections of their own in its page.
struct Help {
    description: String,
    examples: String,
    exit_status: String,
}

impl Help {
    fn of(command: &Command) -> Self {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let long = command.get_long_about().map(ToString::to_string);
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (mut prose, mut examples, mut exit_status) = (Vec::new(), String::new(), String::new());
        for part in after.split("\n\n").filter(|part| !part.trim().is_empty()) {
            if let Some(lines) = part.strip_prefix("Examples:") {
                examples = format!(".SH EXAMPLES\n{}", verbatim(lines.trim_start_matches('\n')));
            } else if let Some(codes) = part.strip_prefix("Exit status: ") {
                exit_status = format!(".SH EXIT STATUS\n{}\n", sentence(codes));
            } else {
                prose.push(paragraph(part));
            }
        }
        let first = match &long {
            Some(long) => long.split("\n\n").map(paragraph).collect::<Vec<_>>().join("\n.PP\n"),
            // The name has the same words without the period, if nothing else is to be said.
            None => sentence(&format!("{about}.")),
        };
        let description = std::iter::once(first).chain(prose).collect::<Vec<_>>().join("\n.PP\n");
        Self { description, examples, exit_status }
    }
}

/// A paragraph of help: prose, or lines that stand as they are.
fn paragraph(text: &str) -> String {
    match text.split_once('\n') {
        Some((title, lines)) if lines.starts_with("  ") => {
            format!("{}\n{}", sentence(title), verbatim(lines)).trim_end().to_owned()
        }
        _ if text.starts_with("  ") => verbatim(text).trim_end().to_owned(),
        _ => sentence(&text.split_whitespace().collect::<Vec<_>>().join(" ")),
    }
}

fn verbatim(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| escaped(line) + "\n").collect();
    format!(".nf\n{lines}.fi\n")
}

fn sentence(text: &str) -> String {
    escaped(text.trim())
}

/// Text as roff reads it.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

/// The commands in their groups.
fn commands(command: &Command) -> String {
    let mut text = ".SH COMMANDS\n".to_owned();
    for (title, names) in GROUPS {
        let rows = names.iter().map(|name| entry_of(command.find_subcommand(name).unwrap()));
        let _ = write!(text, ".SS {title}\n{}", rows.collect::<String>());
    }
    text
}

fn entry_of(command: &Command) -> String {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    let aliases = match aliases.as_slice() {
        [] => String::new(),
        names => format!(" Also: {}.", names.join(", ")),
    };
    format!(".TP\n\\fB{}\\fR(1)\n{}\n", escaped(name), sentence(&format!("{about}.{aliases}")))
}

/// The positional arguments.
fn arguments(command: &Command) -> String {
    let shown = command.get_positionals().filter(|argument| !argument.is_hide_set());
    let rows: String = shown
        .map(|argument| {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let values = argument.get_possible_values();
            let values: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
            let values = match values.as_slice() {
                [] => String::new(),
                names => format!(" One of: {}.", names.join(", ")),
            };
            let name = escaped(&argument.to_string());
            format!(".TP\n\\fI{name}\\fR\n{}\n", sentence(&format!("{help}.{values}")))
        })
        .collect();
    if rows.is_empty() { rows } else { format!(".SH ARGUMENTS\n{rows}") }
}

/// The examples of the program's help.
fn examples() -> String {
    let rows = EXAMPLES
        .map(|(line, what)| format!(".TP\n\\fB{}\\fR\n{}.\n", escaped(line), escaped(what)));
    format!(".SH EXAMPLES\n{}", rows.concat())
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
