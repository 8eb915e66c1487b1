use proptest::prelude::*;

use crate::protocol::names::*;

#[test]
fn names_follow_their_rule() {
    for good in [
        "backend",
        "a",
        "my.repo_2-x",
        "backend-2",
        "プロジェクト",
        "支払い",
        "проект",
        "émile",
        "über",
        "ünder",
        "결제",
        "支払いapi",
        "react프로젝트",
        "проект-api",
        "हिन्दी",
        "مشروع",
        "פרויקט",
        "โครงการ",
        "dự-án",
        "οδος",
        "ምርት",
        "πλη2",
    ] {
        assert!(is_valid(good), "{good}");
    }
    for bad in [
        "",
        "cli",
        "Backend",
        "2nd",
        "-a",
        "a b",
        "abcdefg1",
        "repo",
        "<b>",
        "Проект",
        "ａｂｃ",
        "e\u{301}mile",
        "back\u{200b}end",
        "back\u{202e}end",
        "back\u{200d}end",
        "a\u{ad}b",
        "\u{301}a",
        "a-\u{301}",
        "ab\u{fe0f}",
        "a🦀",
        "🦀",
        "२०",
        "ⓐ",
        "\u{115f}a",
        "a\u{3164}",
        "aǃ",
        &"a".repeat(41),
        &"あ".repeat(41),
        &format!("a{}", "\u{316}".repeat(9)),
    ] {
        assert!(!is_valid(bad), "{bad:?}");
    }
    assert!(is_valid(&"あ".repeat(40)), "characters are counted, not bytes");
}

#[test]
fn letters_that_pass_for_others_are_kept_out() {
    for (bad, why) in [
        ("b\u{430}ckend", "a Cyrillic а within a Latin word"),
        ("p\u{430}ypal", "the same"),
        ("\u{455}hop", "a Cyrillic ѕ"),
        ("a\u{3bf}a", "a Greek omicron"),
        ("с\u{6c}i", "a Cyrillic с before Latin letters"),
        ("с\u{4cf}\u{456}", "cli in Cyrillic letters alone"),
        ("c1i", "it reads cli"),
        ("ЬгоКег", "not canonical"),
        ("\u{251}ll", "a phonetic letter"),
    ] {
        assert!(!is_valid(bad), "{bad}: {why}");
    }
    assert!(look_alike("соре", "cope"), "Cyrillic and Latin");
    assert!(!look_alike("web-1", "web-l"), "ASCII is everybody's");
    assert!(!look_alike("cafe", "café") && !look_alike("cope", "cope"));
}

#[test]
fn a_word_has_one_spelling_whatever_the_keyboard_gives() {
    for (typed, name) in [
        ("ÉMILE", "émile"),
        ("e\u{301}mile", "émile"),
        (" Проект ", "проект"),
        ("ﾌﾟﾛｼﾞｪｸﾄ", "プロジェクト"),
        ("フ\u{309a}ロジェクト", "プロジェクト"),
        ("ＡＰＩ", "api"),
        ("İstanbul", "istanbul"),
        ("ΟΔΟΣ", "οδος"),
        ("οδοσ", "οδος"),
        ("ΟΔΟΣ-ΑΣ2", "οδος-ας2"),
        ("خانه\u{200c}ها", "خانهها"),
    ] {
        assert_eq!(canonical(typed), name, "{typed}");
    }
    assert_eq!(key("STRASSE"), key("straße"));
    assert!(key("οδοσομή").starts_with(&key("οδοσ")));
}

#[test]
fn any_directory_gives_a_valid_name() {
    for (directory, name) in [
        ("backend", "backend"),
        ("My Project", "my-project"),
        ("2048-game", "game"),
        ("..", "session"),
        ("", "session"),
        ("2048", "session"),
        ("🦀🦀", "session"),
        ("日本", "日本"),
        ("プロジェクト", "プロジェクト"),
        ("支払い サービス", "支払い-サービス"),
        ("Проект", "проект"),
        ("Émile", "émile"),
        ("E\u{301}mile", "émile"),
        ("b\u{430}ckend", "b-\u{430}-ckend"),
        ("back\u{202e}\u{200b}end", "backend"),
        ("cli", "cli-x"),
        ("c\u{4cf}i", "c-\u{4cf}-i"),
        ("abcdefg1", "abcdefg1-x"),
    ] {
        assert_eq!(from_text(directory), name, "{directory}");
        assert!(is_valid(&from_text(directory)), "{directory}");
    }
    for long in ["x", "あ", "ж"] {
        assert!(is_valid(&from_text(&long.repeat(300))));
    }
}

#[test]
fn a_part_is_called_by_its_whole_unless_it_says_it_already() {
    for (whole, part, name) in [
        ("shop", "login", "shop-login"),
        ("shop", "shop", "shop"),
        ("shop", "shop-login", "shop-login"),
        ("shop", "shop.login", "shop.login"),
        ("shop", "shopfront", "shop-shopfront"),
        ("Shop", "API", "shop-api"),
        ("shop", "2024", "shop-2024"),
        ("shop", "_3d view", "shop-3d-view"),
        ("shop", "..", "shop"),
        ("магазин", "login", "магазин-login"),
        ("店", "支払い", "店-支払い"),
        ("2024", "api", "api"),
        ("🦀", "🦀", "session"),
    ] {
        assert_eq!(within(whole, part), name, "{whole}, {part}");
        assert!(is_valid(&within(whole, part)));
    }
    let name = within(&"w".repeat(60), "login");
    // A final sigma before a mark that no name has.
    assert_eq!(canonical(&from_text("\u{5c7}𝞻0")), from_text("\u{5c7}𝞻0"));
    assert!(name.ends_with("w-login") && name.chars().count() == MAX - TAIL, "{name}");
}

#[test]
fn marks_that_change_places_where_another_is_left_out_give_a_valid_name() {
    // The selector between the marks keeps them in their order, until it is left out.
    let text = "\u{2183}\u{a6f0}\u{180b}\u{10a0d}";
    for other in ["", "a", "2", "-", "Ж", "\u{301}", "\u{10a0d}", text] {
        let (before, behind) = (format!("{other}{text}"), format!("{text}{other}"));
        for text in [text, &before, &behind] {
            for name in [from_text(text), within(text, other), within(other, text)] {
                assert!(is_valid(&name), "{name:?} of {text:?} and {other:?}");
                assert_eq!(from_text(&name), name, "{text:?} and {other:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn every_text_has_a_canonical_form_and_gives_a_valid_name(text in "\\PC{0,60}", more in any::<String>()) {
        for text in [text.clone(), more.clone(), format!("{text}{more}")] {
            let form = canonical(&text);
            prop_assert_eq!(canonical(&form), form.clone(), "{}", text);
            prop_assert!(is_valid(&from_text(&text)), "{:?} of {:?}", from_text(&text), text);
            prop_assert!(is_valid(&within(&text, &more)), "{:?}", within(&text, &more));
        }
    }

    #[test]
    fn a_valid_name_is_its_own_and_stays_whole(text in "[\\p{L}\\p{M}\\p{Nd}._-]{1,40}") {
        let name = from_text(&text);
        prop_assert_eq!(canonical(&name), name.clone());
        prop_assert_eq!(from_text(&name).len() <= name.len() + 2, true);
        prop_assert!(!name.chars().any(|c| c.is_control() || c.is_whitespace()));
    }
}
