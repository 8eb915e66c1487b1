//! Texts of peers, and names.

use crate::protocol::names;
use crate::text;

/// Whatever a peer writes, it is harmless where it is shown, and cleaning it again changes nothing.
pub fn texts(data: &[u8]) {
    let (max, data) = data.split_first().map_or((0, data), |(max, data)| (usize::from(*max), data));
    let written = String::from_utf8_lossy(data);
    let (block, terminal) = (text::block(&written), text::terminal(&written));
    assert_eq!(text::block(&block), block, "cleaning twice");
    assert_eq!(text::terminal(&terminal), terminal, "cleaning twice");
    let (line, terminal_line) = (text::line(&written, max), text::terminal_line(&written, max));
    assert_eq!(text::line(&line, max), line, "cleaning twice");
    // The `…` of a cut path takes its place even where there is none.
    let (path, stripped) = (text::path(&written, max.max(1)), text::stripped_line(&written));
    let quoted = text::quoted(&written);
    assert!(quoted.split('\n').all(|line| line.starts_with("| ")), "{quoted:?}");
    assert!(max > 0 || line.is_empty() && terminal_line.is_empty());
    for out in [&line, &terminal_line, &path] {
        assert!(out.chars().count() <= max.max(1), "{out:?} is longer than {max}");
    }
    for out in [&line, &terminal_line, &path, &stripped] {
        assert!(!out.contains(['\n', '\r', '\t']), "{out:?} has several lines");
    }
    for out in [&block, &terminal, &line, &terminal_line, &path, &quoted] {
        assert!(!out.contains(unseen), "something invisible in {out:?}");
        assert!(out.len() <= written.len() * 4 + 16, "{} bytes of {}", out.len(), written.len());
    }
    for out in [&block, &line, &path, &quoted] {
        assert_eq!(forged(out), None, "in {out:?}");
    }
    if !written.is_empty() {
        let end = text::part_end(&written, max);
        assert!(end > 0 && written.is_char_boundary(end));
    }
    let json = serde_json::to_string(&*written).unwrap();
    let escaped = text::escaped_json(&json);
    assert!(!escaped.contains(|c: char| c.is_control() || unseen(c)), "{escaped:?}");
    assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), written, "another text");
}

/// Any text has a canonical form, and gives a valid name that stays itself.
pub fn names(data: &[u8]) {
    let written = String::from_utf8_lossy(data);
    let (whole, part) = written.split_once('\n').unwrap_or((&written, ""));
    let form = names::canonical(whole);
    assert_eq!(names::canonical(&form), form, "the canonical form of {whole:?}");
    for name in [names::from_text(whole), names::within(whole, part)] {
        assert!(names::is_valid(&name), "{name:?} of {whole:?} and {part:?}");
        assert_eq!(names::canonical(&name), name);
        assert!(name.chars().count() <= names::MAX);
        assert!(!name.contains(|c: char| c.is_control() || c.is_whitespace() || unseen(c)));
        assert_eq!(text::line(&name, usize::MAX), name, "a name is shown as it is");
    }
    if names::is_valid(whole) {
        assert_eq!(form, whole, "a valid name is canonical");
        assert!(!names::look_alike(whole, whole));
    }
}

/// Whether a character has no glyph, but for line breaks, tabs and joiners.
fn unseen(c: char) -> bool {
    let n = u32::from(c);
    c.is_control() && c != '\n' && c != '\t'
        || matches!(n, 0xad | 0x34f | 0x61c | 0x180e | 0x200b | 0x200e..=0x200f
            | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfeff | 0xffa0 | 0xfff9..=0xfffb
            | 0xe0000..=0xe0fff)
}

/// Returns the first tag of a client that stands in the text, found in the simplest way. A type
/// argument as in `Sender<Channel>` is code, and none.
fn forged(text: &str) -> Option<&'static str> {
    const TAGS: [&str; 6] = [
        "channel",
        "system-reminder",
        "antml:invoke",
        "tool_use",
        "function_calls",
        "task-notification",
    ];
    text.match_indices(['<', '＜', '﹤']).find_map(|(at, sign)| {
        let is_glued =
            text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "_:".contains(c));
        let behind = &text[at + sign.len()..];
        if is_glued && behind.starts_with(|c: char| c.is_ascii_uppercase()) {
            return None;
        }
        let name = behind.trim_start();
        let name = name.strip_prefix('/').unwrap_or(name).trim_start();
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && !"-_:".contains(c));
        let name = name[..end.unwrap_or(name.len())].to_ascii_lowercase();
        TAGS.into_iter().find(|tag| **tag == name)
    })
}
