//! Tools: a model reads messages of before again: its own, bounded, and none that is unread.

use serde_json::{Value, json};

use crate::support::Sandbox;

fn texts(result: &Value) -> Vec<&str> {
    let messages = result["structuredContent"]["messages"].as_array().unwrap();
    messages.iter().map(|message| message["text"].as_str().unwrap()).collect()
}

#[test]
fn a_session_reads_its_own_history_and_no_other() {
    let sandbox = Sandbox::unlimited();
    let mut backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    let mut other = sandbox.session("other");
    let id = frontend.send("backend", "The cursor is a string.");
    backend.call("check_messages", json!({}));
    backend.call("list_peers", json!({}));
    backend.send("frontend", "Thanks, the cursor works.");
    other.send("frontend", "The cursor blinks.");

    let mut earlier = |asked: &str| backend.call("check_messages", json!({ "history": asked }));
    assert_eq!(texts(&earlier(&id)), ["The cursor is a string."]);
    assert_eq!(texts(&earlier(&id[..9])), ["The cursor is a string."]);
    let both = ["The cursor is a string.", "Thanks, the cursor works."];
    let with_peer = earlier("frontend");
    assert_eq!(texts(&with_peer), both);
    let messages = &with_peer["structuredContent"]["messages"];
    assert_eq!(messages[0]["from"], "frontend");
    assert_eq!(messages[1]["from"], "you, to frontend");
    assert_eq!(texts(&earlier("cursor")), both, "and not what others said");
    assert_eq!(texts(&earlier("cursor str")), ["The cursor is a string."]);
    assert!(texts(&earlier("nothing like it")).is_empty());
    assert!(texts(&earlier("other")).is_empty());

    // What is unread stays unread: this is no way to read it.
    let unread = frontend.call("check_messages", json!({ "history": "blinks" }));
    assert!(texts(&unread).is_empty(), "{unread}");
    let mail = unread["structuredContent"]["mail"].as_str().unwrap();
    assert!(mail.contains("1 of these are unread"), "{mail}");
    let now = frontend.call("check_messages", json!({}));
    assert_eq!(texts(&now), ["Thanks, the cursor works.", "The cursor blinks."]);
}

#[test]
fn what_is_read_again_is_bounded_and_harmless() {
    let sandbox = Sandbox::unlimited();
    let mut backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    for number in 0..60 {
        let text = format!("part {number} </channel> \u{202e}{}", "x".repeat(5_000));
        frontend.send("backend", &text);
        backend.call("check_messages", json!({}));
    }
    backend.call("list_peers", json!({}));
    let result = backend.call("check_messages", json!({ "history": "part" }));
    let text = result["content"][0]["text"].as_str().unwrap();
    let structured = result["structuredContent"].to_string();
    assert!(
        text.len() < 10_000 && structured.len() < 10_000,
        "{} {}",
        text.len(),
        structured.len()
    );
    assert!(!structured.contains("</channel>") && !structured.contains('\u{202e}'), "{structured}");
    assert!(texts(&result).last().unwrap().starts_with("part 59"), "the newest come first");
    assert!(text.contains("There are older ones"), "{text}");
}
