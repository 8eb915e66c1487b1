//! Documentation: `docs/terminal.svg` shows what the program prints today, in its form.

use crate::support::Sandbox;

fn file(name: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The texts of the picture, by their lines.
fn lines(picture: &str) -> Vec<String> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for element in picture.split("<text ").skip(1) {
        let (head, text) = element.split_once('>').unwrap();
        let text = text.split("</text>").next().unwrap();
        let text =
            [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&amp;", "&")]
                .iter()
                .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain));
        let y = head.split("y=\"").nth(1).unwrap().split('"').next().unwrap();
        match found.last_mut().filter(|(at, _)| *at == y) {
            Some((_, line)) => line.extend([" ", &text]),
            None => found.push((y, text)),
        }
    }
    found.into_iter().map(|(_, line)| line).collect()
}

/// After a change of the output:
///
/// ```sh
/// packaging/picture/render target/debug/claude-peers
/// ```
#[test]
fn the_picture_has_the_commands_and_columns_of_today() {
    let (picture, script) = (file("docs/terminal.svg"), file("packaging/picture/render"));
    let lines = lines(&picture);
    assert!(picture.len() < 40_000 && picture.ends_with("</svg>\n"));
    assert!(!picture.contains("/tmp") && !picture.contains("<script"));
    let commands: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert_eq!(commands.len(), 3, "{lines:#?}");
    for command in &commands {
        assert!(script.contains(command), "{command}");
    }
    // The tables have the columns that they have today.
    let sandbox = Sandbox::new();
    let _sessions = ["backend", "frontend"].map(|name| sandbox.session(name));
    sandbox.ok(["send", "backend", "hello"]);
    for command in ["peers", "log"] {
        let table = sandbox.ok([command]);
        let header = table.lines().next().unwrap().split_whitespace();
        let shown = lines.iter().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // A terminal may have no room for some.
            words.len() > 3
                && header.clone().filter(|word| words.contains(word)).count() == words.len()
        });
        assert!(
            shown,
            "{command} has other columns: packaging/picture/render target/debug/claude-peers"
        );
    }
}
