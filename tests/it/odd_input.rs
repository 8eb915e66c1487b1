//! Input that nobody means to write, and that comes all the same.

use serde_json::{Value, json};

use crate::support::{Sandbox, SessionOptions};

#[test]
fn a_call_with_half_a_character_is_answered_and_all_else_of_it_arrives() {
    let sandbox = Sandbox::new();
    let mut sender = SessionOptions::new("halves").start(&sandbox);
    let mut receiver = SessionOptions::new("wholes").without_channel().start(&sandbox);
    // As `JSON.stringify` writes a string that was cut in the middle of a character.
    sender.write_line(
        r#"{"jsonrpc":"2.0","id":"cut","method":"tools/call","params":{"name":"send_message","arguments":{"to_id":"wholes","message":"\ud83d\ude00 and \ud83d"}}}"#,
    );
    let answer = sender.answer_to(&json!("cut"));
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    let shown = receiver.text("check_messages", json!({}));
    assert!(shown.contains("| \u{1f600} and \u{fffd}"), "{shown}");
}

#[test]
fn arguments_that_are_no_object_are_told_so() {
    let sandbox = Sandbox::new();
    let mut session = SessionOptions::new("caller").at_once().start(&sandbox);
    for arguments in [json!([]), json!("{}"), json!(5)] {
        let params = json!({ "name": "send_message", "arguments": arguments });
        let answer = session.request("tools/call", params);
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        let words = answer["result"]["content"][0]["text"].as_str().unwrap_or_default();
        assert!(words.contains("send_message") && words.contains("object"), "{answer}");
    }
    for params in [Value::Null, json!({ "arguments": {} }), json!({ "name": "x", "arguments": [] })]
    {
        let answer = session.request("tools/call", params);
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    assert_eq!(session.request("nobody/knows", json!({}))["error"]["code"], -32601);
}
