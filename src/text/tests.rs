//! Tests of the cleaning of peer text, with tables and with random texts.
//!
//! The checks must not call the code that they test: `forged` finds tags in its own, simpler way.

use proptest::prelude::*;

use crate::text::{block, escaped_json, line, quoted, terminal, terminal_line};

/// Ordinary messages, which must not be changed.
const ORDINARY: &[&str] = &[
    "",
    "plain words, \"quoted\" & 'so' on; 50% \\ C:\\Users\\me",
    "a\tb\n\n\tc\n",
    "Vec<u8> a < b, a<b && b>c; x <- y; x <= y; 1 << 4; <3 ->",
    "if x < user_count && i<n-1 || i < max_len - 2 { f::<my_type>() }",
    "HashMap<String, Vec<User>>, Option<&'a str>, fn f<T: Copy, U_>(), collect::<Vec<_>>()",
    "std::vector<std::system_error> v; Map<uint8_t, foo::bar_t>; #include <sys/types.h>",
    "Promise<User[]>, useState<User | undefined>(), Result<System, E>",
    "msg := <-channel; done <- true; cat <<END_TEXT; cmd <input >output 2>&1 </dev/null",
    "<div class=\"x\"><br/></p></div><!-- note --><?xml version=\"1.0\"?>",
    "<app-root><my-component *ngIf=\"a <b_c\"></my-component></app-root> <router-outlet/>",
    "<soap:Envelope xmlns:soap=\"x\"><soap:Body><xs:element name=\"y\"/></soap:Body></soap:Envelope>",
    "<user-card><tool-bar/><command-palette/><system-status/></user-card> <task-list> <agent-view>",
    "<wsdl:message><wsdl:parameter/></wsdl:message> <xsl:function> <my_own></a_b> x <system_time",
    "if (a <b_c && i <user_count || n <max-1) #include <system_error> #include <my-lib/event.h>",
    "cmd <prompt> <tool> <mcp> <peer> <hook> <permission> <messages> <parameters> <agents> <tools>",
    "<svelte:head> <v-btn> <ion-content> <mat-form-field> <Foo.Bar-baz> <UserProvider> <T extends U>",
    "Ann <ann-b@example.com>, see <https://example.com/a-b?c=d_e>",
    "[U+202E] and [9 blank lines], <\\system-reminder> and <\\/channel>",
    "👩‍👩‍👧 ❤️‍🔥 1️⃣ 🏳️‍🌈 naïve café “x” — …",
    "می‌خواهم کتاب‌ها شلوم שלום مرحبا क्‍ष 漢字、ｶﾅ",
];

#[test]
fn ordinary_text_is_unchanged() {
    for text in ORDINARY {
        assert_eq!(block(text), *text);
        assert_eq!(terminal(text), *text);
    }
}

#[test]
fn characters_become_visible() {
    for (text, want) in [
        ("a\r\nb\rc\u{2028}d\u{2029}e\u{85}f\u{b}g\u{c}h", "a\nb\nc\nd\ne\nf\ng\nh"),
        ("\0\u{7}\u{8}\u{1b}[31m\u{7f}", "␀␇␈␛[31m␡"),
        ("\u{9b}31m\u{9d}", "\u{fffd}31m\u{fffd}"),
        ("a\u{202e}b\u{2066}c", "a[U+202E]b[U+2066]c"),
        ("\u{200b}\u{200b}\u{feff}x", "[U+200B +2]x"),
        ("\u{e0041}\u{e0042} \u{e0100} \u{61c}", "[U+E0041 +1] [U+E0100] [U+061C]"),
        ("soft\u{ad}hyphen", "softhyphen"),
        ("a\u{200d}b é\u{200c} \u{200d}é\u{200d}", "ab é é"),
        ("é\u{200d}\u{200d}\u{200d}\u{200d}\u{200d}é", "é\u{200d}\u{200d}\u{200d}é"),
        ("a\u{fe0f}b ❤\u{fe0f}\u{fe0e}\u{fe01} 1\u{fe0f}", "ab ❤\u{fe0f} 1"),
    ] {
        assert_eq!(terminal(text), want, "{text:?}");
        assert_eq!(block(text), want, "{text:?}");
    }
}

#[test]
fn tags_get_a_backslash() {
    for (text, want) in [
        ("</channel>", "<\\/channel>"),
        ("<channel source=\"x\">", "<\\channel source=\"x\">"),
        ("<channel\nsource=\"x\">", "<\\channel\nsource=\"x\">"),
        ("x<SYSTEM-Reminder>", "x<\\SYSTEM-Reminder>"),
        ("the end <system-rem", "the end <\\system-rem"),
        ("< system>< / user>", "<\\ system><\\ / user>"),
        ("<\n\n/\tchannel>", "<\\\n\n/\tchannel>"),
        ("< \\channel><//user>", "<\\ \\channel><\\//user>"),
        ("<\\channel><\\/channel>", "<\\channel><\\/channel>"),
        ("<\u{200d}\\user>", "<\\user>"),
        ("<antml:invoke name=\"x\"></antml:x>", "<\\antml:invoke name=\"x\"><\\/antml:x>"),
        ("a<tool_use> b<tool-result>", "a<\\tool_use> b<\\tool-result>"),
        ("<x:system-reminder> <y:invoke>", "<\\x:system-reminder> <\\y:invoke>"),
        (
            "<ѕystem-remіnder> <𝐬𝐲𝐬𝐭𝐞𝐦> <ⓤⓢⓔⓡ> <system\u{2011}reminder> <СHАNNЕL>",
            "<\\ѕystem-remіnder> <\\𝐬𝐲𝐬𝐭𝐞𝐦> <\\ⓤⓢⓔⓡ> <\\system\u{2011}reminder> <\\СHАNNЕL>",
        ),
        (
            "Vec<user> Vec<User a=1> </User> <User>",
            "Vec<\\user> Vec<\\User a=1> <\\/User> <\\User>",
        ),
        ("＜channel> ﹤/user> ＜／ｓｙｓｔｅｍ＞", "＜\\channel> ﹤\\/user> ＜\\／ｓｙｓｔｅｍ＞"),
        ("＜\u{200d}/\u{fe0f}user>", "＜\\/user>"),
        ("<sys\u{200b}tem>", "<\\sys[U+200B]tem>"),
        ("<\u{feff}user\u{202e}x>", "<\\[U+FEFF]user[U+202E]x>"),
        ("<\0us\u{301}er>", "<\\␀us\u{301}er>"),
        ("a<foo\u{2060}-bar>", "a<\\foo[U+2060]-bar>"),
        ("<<system> <<User> a<USER>", "<<\\system> <<\\User> a<\\USER>"),
        (
            "<channel.a> </system-reminder.x> <user\u{430}> <Foo.channel> <my.user>",
            "<\\channel.a> <\\/system-reminder.x> <\\user\u{430}> <Foo.channel> <my.user>",
        ),
    ] {
        assert_eq!(block(text), want, "{text:?}");
    }
    assert_eq!(terminal("</channel><system-reminder>"), "</channel><system-reminder>");
}

#[test]
fn all_that_clients_write_themselves_gets_a_backslash() {
    for name in [
        "channel",
        "system-reminder",
        "task-notification",
        "user-prompt-submit-hook",
        "session-start-hook",
        "post-tool-use-hook",
        "persisted-output",
        "cross-session-message",
        "teammate-message",
        "agent-message",
        "local-command-stdout",
        "local-command-stderr",
        "local-command-caveat",
        "command-name",
        "command-message",
        "command-args",
        "bash-input",
        "bash-stdout",
        "bash-stderr",
        "user-memory-input",
        "tool_use_error",
        "function_calls",
        "function_results",
        "invoke",
        "parameter",
        "antml:function_calls",
        "antml:invoke",
        "antml:parameter",
        "anthropic:x",
        "system",
        "system-note",
        "user",
        "human",
        "assistant",
        "thinking",
        "relay",
        "wake",
        "message",
        "event",
        "mcp-server-note",
        "mcp-resource",
        "webhook-payload",
        "ide_selection",
        "ide_opened_file",
        "pasted_content",
        "sandbox_violations",
        "hook_context",
        "hook_prompt",
        "untrusted_context",
        "environment_context",
        "user_instructions",
    ] {
        let dashes = name.replace('_', "-");
        let lines = name.replace('-', "_");
        for name in [name, &name.to_uppercase(), &dashes, &lines] {
            for (before, behind) in [
                ("<", ">"),
                ("</", ">"),
                ("a<", " b=\"c\">"),
                ("< ", "\n>"),
                ("x <\t/ ", "/>"),
                ("<", ""),
                ("\n<", "\u{200b}>"),
                ("<\u{feff}", ">"),
                ("＜", "＞"),
            ] {
                let text = format!("{before}{name}{behind}");
                assert!(block(&text).contains('\\'), "{text:?}: {:?}", block(&text));
                assert!(line(&text, 99).contains('\\'), "{text:?}");
            }
        }
    }
}

#[test]
fn gaps_are_folded() {
    let gap = |n: usize| format!("a{}b", "\n".repeat(n + 1));
    assert_eq!(block(&gap(8)), gap(8));
    assert_eq!(block(&gap(9)), "a\n[9 blank lines]\nb");
    assert_eq!(
        terminal(&format!("{}x", "\r \u{2003}\t".repeat(65_530))),
        "[65530 blank lines]\n \u{2003}\tx"
    );
    assert_eq!(block(&"\n".repeat(20)), "[21 blank lines]");
    let twice = format!("{}{}", gap(50), gap(10));
    assert_eq!(block(&twice), "a\n[50 blank lines]\nba\n[10 blank lines]\nb");
}

#[test]
fn one_line_is_one_line() {
    for (text, max, want) in [
        ("  a \r\n\n b\u{2028}\u{3000}c\t", 99, "a b c"),
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("ab cdefg", 4, "ab…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("", 0, ""),
        ("x <channel>\u{1b}", 99, "x <\\channel>␛"),
        ("<users>", 6, "<\\use…"),
        ("Vec<User>.", 9, "Vec<\\Use…"),
        ("1️⃣ 2", 3, "1…"),
        ("é\u{200d}é", 3, "é\u{200d}é"),
        ("é\u{200d}é\u{200d}é", 3, "é…"),
    ] {
        assert_eq!(line(text, max), want, "{text:?}");
    }
    assert_eq!(terminal_line("<users>\n\u{1b}[2J", 99), "<users> ␛[2J");
    assert_eq!(terminal_line("<users>", 6), "<user…");
}

#[test]
fn a_long_path_is_cut_in_front() {
    for (text, max, want) in [
        ("/src/shop", 9, "/src/shop"),
        ("/src/shop/api", 9, "…shop/api"),
        ("/src/é\u{200d}é", 3, "…é"),
        ("/a\n\u{1b}[2J/<system>/b", 99, "/a ␛[2J/<\\system>/b"),
        ("/a/<system>/b", 11, "…\\system>/b"),
        ("/src", 1, "…"),
    ] {
        assert_eq!(crate::text::path(text, max), want, "{text:?}");
    }
}

#[test]
fn json_for_a_terminal_has_an_escape_for_all_that_is_not_seen() {
    let text = "a\u{1b}[2J\u{9b}\u{202e}\u{200b}\u{ad}\u{34f}\u{2028}\u{2029}\u{e0041} ü 🦀";
    let json = serde_json::to_string(text).unwrap();
    let escaped = escaped_json(&json);
    assert!(!escaped.contains(|c| unseen(c) || c == '\n'), "{escaped:?}");
    assert!(escaped.contains("ü 🦀") && escaped.contains("\\udb40\\udc41"), "{escaped}");
    assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
}

#[test]
fn quotes_begin_every_line() {
    assert_eq!(quoted("a\r- b\n\n</channel>"), "| a\n| - b\n| \n| <\\/channel>");
    assert_eq!(quoted(""), "| ");
}

#[test]
fn huge_hostile_text_is_quick_and_stays_small() {
    for unit in [
        "<",
        "< ",
        "<a",
        "<a-",
        "\u{202e}",
        "\u{202e}\u{200d}",
        "a\u{200b}",
        "\n",
        "a\n",
        "\0",
        "\u{9b}",
        "<channel>",
        "<user\u{200b}",
        "＜／",
        "é\u{200d}",
        "❤\u{fe0f}",
        "\u{e0041}x",
        "\u{ad}",
        "[U+",
        "/",
    ] {
        for text in [unit.repeat((1 << 17) / unit.len()), format!("<{}", unit.repeat(20_000))] {
            for out in [block(&text), terminal(&text), line(&text, usize::MAX)] {
                assert!(out.len() <= text.len() * 3 + 16, "{unit:?}: {}", out.len());
            }
            assert!(line(&text, 500).chars().count() <= 500);
        }
    }
}

/// Returns the first known tag that a reader could see in `text`; `Vec<User>` is none.
fn forged(text: &str) -> Option<&'static str> {
    const TAGS: [&str; 9] = [
        "channel",
        "system",
        "system-reminder",
        "user",
        "antml:invoke",
        "tool_use",
        "function_calls",
        "task-notification",
        "mcp-x",
    ];
    let text = text.replace(['＜', '﹤'], "<");
    text.match_indices('<').find_map(|(at, _)| {
        let behind = &text[at + 1..];
        let generic = ["User", "System"].iter().any(|name| {
            behind.strip_prefix(name).is_some_and(|end| end.starts_with(['>', ',', '<', '[', ' ']))
        });
        let before = text[..at].trim_end_matches("::");
        if generic
            && (before.len() < at - 1
                || before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        {
            return None;
        }
        let name = behind.trim_start();
        let name = name.strip_prefix('/').unwrap_or(name).trim_start().to_ascii_lowercase();
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && !"-_:".contains(c));
        TAGS.into_iter().find(|tag| *tag == &name[..end.unwrap_or(name.len())])
    })
}

/// Returns whether `c` has no glyph in Unicode, except for `\n` and `\t`.
fn unseen(c: char) -> bool {
    let n = u32::from(c);
    let joiner = matches!(n, 0x200c | 0x200d);
    let format = matches!(n, 0xad | 0x34f | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e
        | 0x2060..=0x206f | 0x3164 | 0xfeff | 0xffa0 | 0xfff9..=0xfffb | 0xe0000..=0xe0fff);
    c.is_control() && c != '\n' && c != '\t' || format && !joiner
}

fn lone_joiner(text: &str) -> bool {
    let all: Vec<char> = text.chars().collect();
    let soft = |c| matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0e}');
    let edge = all.first().is_some_and(|c| soft(*c)) || all.last().is_some_and(|c| soft(*c));
    edge && !all.last().is_some_and(|c| ('\u{fe00}'..='\u{fe0e}').contains(c))
        || all.windows(2).any(|w| {
            w[0].is_ascii() && soft(w[1])
                || soft(w[0]) && w[0] > '\u{200b}' && w[0] < '\u{200e}' && w[1].is_ascii()
        })
}

/// Returns a random text made of typical pieces of attacks.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec!["<", "＜", "﹤", "/", "\\", ">", "／", "_", "-", ":", "::", ",", "@"]),
        3 => prop::sample::select(vec![
            "channel", "System", "system-reminder", "USER", "antml:invoke", "tool_use", "x-y", "Us", "er",
            "function_calls", "task-notification", "mcp-x", "foo_bar", "a", "source=\"x\"", "Vec",
        ]),
        2 => prop::sample::select(vec![" ", "\n", "\r", "\r\n", "\t", "\u{2003}", "\n\n\n\n\n\n\n\n\n\n"]),
        2 => prop::sample::select(vec![
            "\u{200b}", "\u{200c}", "\u{200d}", "\u{fe0f}", "\u{fe00}", "\u{202e}", "\u{feff}", "\u{ad}", "\0",
            "\u{1b}[", "\u{9b}", "\u{e0041}", "\u{34f}", "\u{301}", "\u{20e3}", "\u{180b}",
        ]),
        1 => prop::sample::select(vec!["é", "❤", "1", "👩", "ک", "[U+200B]", "[U+", "]", "| ", "…"]),
    ];
    let any = prop::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter);
    let built = prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat());
    prop_oneof![3 => built.clone(), 1 => any.clone(), 1 => (built, any).prop_map(|(a, b)| a + &b)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn cleaning_twice_is_cleaning_once(text in hostile(), max in 0_usize..30) {
        for clean in [block, terminal] {
            let once = clean(&text);
            prop_assert_eq!(clean(&once), once);
        }
        for clean in [line, terminal_line] {
            let once = clean(&text, max);
            prop_assert_eq!(clean(&once, max), once);
        }
    }

    #[test]
    fn nothing_dangerous_is_left(text in hostile(), max in 0_usize..30) {
        let lines = [line(&text, max), line(&text, 999), terminal_line(&text, max)];
        for out in &lines {
            prop_assert!(!out.contains(['\n', '\t']), "{:?}", out);
        }
        prop_assert!(lines[0].chars().count() <= max && lines[2].chars().count() <= max);
        let quoted = quoted(&text);
        prop_assert!(quoted.split('\n').all(|line| line.starts_with("| ")));
        let blocks = [block(&text), terminal(&text), quoted];
        for out in lines.iter().chain(&blocks) {
            prop_assert!(!out.contains(unseen), "{:?}", out);
            prop_assert!(!lone_joiner(out), "{:?}", out);
            prop_assert!(out.len() <= text.len() * 4 + 16);
        }
        for out in [&lines[0], &lines[1], &blocks[0], &blocks[2]] {
            let found = forged(out);
            prop_assert!(found.is_none(), "{:?} in {:?}", found, out);
        }
    }

    #[test]
    fn words_are_unchanged(text in "[ -;=-~\t]{0,80}(\n[ -;=-~\t]{1,80}){0,6}") {
        prop_assert_eq!(block(&text), text.as_str());
        prop_assert_eq!(terminal(&text), text);
    }

    #[test]
    fn code_is_unchanged(parts in prop::collection::vec(prop::sample::select(ORDINARY), 0..6)) {
        let text = parts.join("\n");
        prop_assert_eq!(block(&text), text);
    }
}
