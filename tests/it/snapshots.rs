//! Command line: what people see at 80 and 200 columns, with and without colour, beside few and many peers.
//!
//! After a change of what the commands print:
//!
//! ```sh
//! UPDATE_SNAPSHOTS=1 cargo test --test it snapshots
//! ```

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::json;
use unicode_width::UnicodeWidthStr as _;

use crate::support::{Sandbox, Session, SessionOptions, in_a_terminal_of};

/// The widths of the terminals.
const WIDTHS: [u16; 2] = [80, 200];

/// The lines of the terminals.
const HEIGHT: u16 = 24;

/// Names and directories as people have them, and worse: long, wide, from right to left, of joined
/// characters.
const PEERS: [(&str, &str, &str); 3] = [
    ("backend", "srv/backend", "Works on the orders API."),
    (
        "日本語の名前",
        "src/プロジェクト/注文-サービス/バックエンド",
        "注文の一覧にページ送りを追加しています。次は顧客サービスの認証を新しくします。",
    ),
    (
        "a-name-of-forty-characters-which-is-most",
        "src/monorepo/packages/team-0/services/a/very/deep/directory/of-a-service",
        "مشروع الويب: إصلاح صفحة الدفع \u{202e}and \u{1b}[31mred\u{1b}[0m, \u{1F469}\u{200D}\u{1F4BB} e\u{301}",
    ),
];

/// Starts so many sessions, one after the other.
fn sessions(sandbox: &Sandbox, count: usize) -> Vec<Session> {
    (0..count)
        .map(|number| {
            let (name, directory, summary) = match PEERS.get(number) {
                Some((name, directory, summary)) => {
                    ((*name).to_owned(), (*directory).to_owned(), (*summary).to_owned())
                }
                None => (
                    format!("service-{number:02}"),
                    format!("src/monorepo/packages/team-{}/service-{number:02}", number % 7),
                    format!("Worker {number}: refactors module number {number}."),
                ),
            };
            let options = SessionOptions::new(&format!("s{number}"))
                .without_channel()
                .directory(sandbox.home().join(directory));
            let mut session = options.at_once().start(sandbox);
            session.until_live();
            session.call("set_summary", json!({ "summary": summary, "name": name }));
            session
        })
        .collect()
}

/// Runs a command on a terminal of this width. Returns what it wrote.
fn shown(mut command: Command, columns: u16) -> String {
    command.env("TZ", "UTC").env("PAGER", "");
    shown_by(command, columns)
}

/// The same with the pager and time zone that the command has.
fn shown_by(mut command: Command, columns: u16) -> String {
    command.env("TERM", "xterm-256color").env_remove("COLUMNS").env_remove("NO_COLOR");
    command.env_remove("CLICOLOR_FORCE");
    let size = Winsize { ws_row: HEIGHT, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let (terminal, mut child) = in_a_terminal_of(command, |terminal| {
        tcsetwinsize(terminal, size).unwrap();
    });
    let mut bytes = Vec::new();
    // The last close of the other end is an error here.
    let _ = std::fs::File::from(terminal).read_to_end(&mut bytes);
    child.wait().unwrap();
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

/// Returns a text without the escapes that we use: colours.
fn without_colour(text: &str) -> String {
    let mut plain = String::new();
    let mut parts = text.split("\u{1b}[");
    plain.push_str(parts.next().unwrap());
    for part in parts {
        let (code, rest) = part.split_once('m').unwrap_or_else(|| panic!("{part:?}"));
        assert!(code.chars().all(|c| c.is_ascii_digit() || c == ';'), "{code:?}");
        plain.push_str(rest);
    }
    plain
}

/// Replaces what differs from run to run by something as long: ids, times, ages, the version, paths.
fn settled(text: &str, sandbox: &Sandbox, ids: &[String]) -> String {
    let mut text = text.to_owned();
    for (number, id) in ids.iter().enumerate() {
        text = text.replace(id, &format!("peer{number:04}"));
    }
    text = text.replace(&sandbox.port().to_string(), "PORT");
    text = text.replace(&sandbox.path().display().to_string(), "/SANDBOX");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        // A colour.
        if let Some(code) = rest.strip_prefix("\u{1b}[") {
            let end = code.find('m').unwrap() + 3;
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        // A message's id: `m` and eleven of 0-9 and a-z.
        let word: &str =
            &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len())];
        if word.len() == 12 && word.starts_with('m') && word.contains(|c: char| c.is_ascii_digit())
        {
            out.push_str("mMESSAGEIDxx");
            rest = &rest[12..];
            continue;
        }
        // "2026-01-31 12:00:07"
        if rest.len() >= 19 && rest.is_char_boundary(19) && is_time(&rest[..19]) {
            out.push_str("YYYY-MM-DD hh:mm:ss");
            rest = &rest[19..];
            continue;
        }
        if !word.is_empty() {
            let is_age = word.len() > 1
                && word.ends_with('s')
                && word[..word.len() - 1].chars().all(|c| c.is_ascii_digit());
            out.push_str(if is_age { "Ns" } else { word });
            rest = &rest[word.len()..];
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

fn is_time(text: &str) -> bool {
    text.bytes().zip("0000-00-00 00:00:00".bytes()).all(|(have, wanted)| match wanted {
        b'0' => have.is_ascii_digit(),
        other => have == other,
    })
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots")
}

/// Compares with the snapshot, or writes it.
#[track_caller]
fn compare(name: &str, text: &str) {
    let path = directory().join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let snapshot = std::fs::read_to_string(&path).unwrap_or_default();
    if snapshot == text {
        return;
    }
    let differs = snapshot.lines().zip(text.lines()).find(|(old, new)| old != new);
    panic!(
        "{name} is stale (UPDATE_SNAPSHOTS=1 cargo test --test it snapshots): {differs:#?}\n{text}"
    );
}

/// Runs each command at each width, with and without colours, and checks what holds for all of them.
#[track_caller]
fn look(sandbox: &Sandbox, commands: &[&[&str]], ids: &[String]) -> String {
    let mut all = String::new();
    for words in commands {
        for width in WIDTHS {
            let run = |colour: &str| {
                let options = ["--absolute", "--color", colour];
                shown(sandbox.command(words.iter().copied().chain(options)), width)
            };
            let (plain, coloured) = (run("never"), run("auto"));
            assert!(!plain.contains('\u{1b}'), "{words:?}: {plain}");
            for line in plain.lines() {
                assert!(line.width() <= width.into(), "{words:?} at {width}: {line}");
            }
            let line = words.join(" ");
            let plain = settled(&plain, sandbox, ids);
            all.push_str(&format!("$ claude-peers {line}  [{width} columns]\n{plain}\n"));
            let coloured = settled(&coloured, sandbox, ids);
            assert_eq!(without_colour(&coloured), plain, "{words:?}");
            let coloured = coloured.replace('\u{1b}', "\\e");
            all.push_str(&format!(
                "$ claude-peers {line}  [{width} columns, colour]\n{coloured}\n"
            ));
        }
    }
    all
}

#[test]
fn without_peers_a_person_is_told_what_to_do() {
    let sandbox = Sandbox::new();
    // What is not running, and is not started by looking at it.
    let stopped = look(&sandbox, &[&[]], &[]);
    assert!(sandbox.broker().is_none(), "it starts nothing");
    sandbox.ok(["peers"]);
    let running: [&[&str]; 7] = [
        &[],
        &["peers"],
        &["inbox"],
        &["send", "nobody", "hello"],
        &["log", "m0"],
        &["log", "--no-pager"],
        &["prune", "--older-than", "90d"],
    ];
    compare("peers-0.txt", &(stopped + &look(&sandbox, &running, &[])));
}

#[test]
fn three_peers_are_shown_whole_or_cut_in_the_right_column() {
    let sandbox = Sandbox::new();
    let mut sessions = sessions(&sandbox, 3);
    let ids: Vec<String> = sessions.iter_mut().map(|session| session.id()).collect();
    sandbox.ok(["send", &ids[0], "GET /orders returns a cursor now; please change the client."]);
    sessions[0].send("cli", "注文の一覧\tis\u{1b}[2J ready.\nSecond line.");
    let overview = look(&sandbox, &[&[]], &ids);
    // What was shown once is marked as such from then on.
    sandbox.ok(["inbox", "--peek"]);
    let commands: [&[&str]; 10] = [
        &["peers"],
        &["inbox", "--peek"],
        &["log", "--no-pager"],
        &["log", "--no-pager", "--sent"],
        &["log", "--no-pager", "--search", "orders"],
        &["log", "--no-pager", "--state", "expired"],
        &["prune", "--older-than", "90d", "--dry-run"],
        &["send", "bakcend", "hello"],
        &["peers", "--scope", "nowhere"],
        &["peers", "--help"],
    ];
    compare("peers-3.txt", &(overview + &look(&sandbox, &commands, &ids)));
}

#[test]
fn sixty_peers_take_a_line_each_and_the_overview_a_screen() {
    let sandbox = Sandbox::new();
    let mut sessions = sessions(&sandbox, 60);
    let ids: Vec<String> = sessions.iter_mut().map(|session| session.id()).collect();
    for id in &ids[3..9] {
        sandbox.ok(["send", id, "hello"]);
    }
    let overview = shown(sandbox.command(["--color", "never"]), 80);
    assert!(overview.lines().count() < HEIGHT.into(), "{overview}");
    let commands: [&[&str]; 3] = [&[], &["peers"], &["send", "service", "hello"]];
    compare("peers-60.txt", &look(&sandbox, &commands, &ids));
}

/// Long output goes through the pager of the person, and only on a terminal.
#[test]
fn a_pager_shows_the_log_on_a_terminal_only() {
    let sandbox = Sandbox::new().with("PAGER", "sed s/^/page:/");
    let _peer = sessions(&sandbox, 1);
    let id = sandbox.json(["send", "backend", "hello"])["id"].as_str().unwrap().to_owned();
    let paged = |words: &[&str], pager: &str| {
        let mut command = sandbox.command(words);
        command.env("PAGER", pager);
        shown_by(command, 80)
    };
    let pager = "sed s/^/page:/";
    let log = paged(&["log"], pager);
    assert!(log.lines().count() > 1 && log.lines().all(|line| line.starts_with("page:")), "{log}");
    assert!(log.contains(&id), "{log}");
    for (words, pager) in [
        (&["log", "--no-pager"][..], pager),
        (&["log"], ""),
        (&["log"], "cat"),
        (&["log"], "no-such-pager"),
        (&["peers"], pager),
    ] {
        let plain = paged(words, pager);
        assert!(!plain.contains("page:") && plain.contains("TE"), "{words:?} {pager}: {plain}");
    }
    assert!(!sandbox.ok(["log"]).contains("page:"));
    // A reader who has seen enough is no error.
    let left = paged(&["log"], "head -1");
    assert!(left.lines().count() == 1 && !left.contains("error"), "{left}");
}

#[test]
fn absolute_times_are_those_of_the_time_zone() {
    let sandbox = Sandbox::new();
    let mut sessions = sessions(&sandbox, 1);
    sessions[0].send("cli", "hello");
    let hour = |zone: &str| -> u32 {
        let mut command = sandbox.command(["inbox", "--peek", "--absolute"]);
        command.env("TZ", zone);
        let text = shown_by(command, 80);
        let time = text.split(", ").nth(1).unwrap().to_owned();
        assert!(is_time(&time[..19]), "{text}");
        time[11..13].parse().unwrap()
    };
    let before = hour("UTC");
    let there = hour("TST-9");
    // The hour may have ended in between.
    let ahead = (24 + there - before) % 24;
    assert!(ahead == 9 || ahead == 10, "{before} {there}");
    if Path::new("/usr/share/zoneinfo/Asia/Tokyo").exists() {
        assert_eq!(hour("Asia/Tokyo"), hour("TST-9"));
    }
    // Without the option, and for programs, times are told otherwise.
    let aged = shown(sandbox.command(["inbox", "--peek"]), 80);
    assert!(aged.contains("s ago"), "{aged}");
    assert!(sandbox.ok(["inbox", "--peek", "--absolute"]).contains("Z, shown before"));
}

/// The reports whose words differ from machine to machine keep to the terminal as well.
#[test]
fn no_report_is_wider_than_its_terminal() {
    let sandbox = Sandbox::new();
    let _sessions = sessions(&sandbox, 1);
    for words in [
        &["status", "-v"][..],
        &["doctor", "--no-claude"],
        &["setup", "--dry-run"],
        &["service", "status"],
        &["kill-broker", "--help"],
        &["--help"],
        &["setup", "--help"],
        &["send", "--help"],
        &["service", "logs", "--help"],
    ] {
        for width in WIDTHS {
            let plain =
                shown(sandbox.command(words.iter().copied().chain(["--color", "never"])), width);
            assert!(!plain.contains('\u{1b}') && !plain.is_empty(), "{words:?}: {plain}");
            for line in plain.lines() {
                // What can be typed or looked up is never broken.
                let is_one_word =
                    line.trim().split(' ').count() == 1 || line.trim().starts_with("fix:");
                assert!(
                    line.width() <= width.into() || is_one_word,
                    "{words:?} at {width}: {line}"
                );
            }
        }
    }
}
