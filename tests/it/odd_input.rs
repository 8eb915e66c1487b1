//! Promise 6: input that is broken, and arrives nevertheless, is answered with a clear message.

use serde_json::{Value, json};

use crate::support::{Sandbox, SessionOptions};

#[test]
fn a_call_with_a_lone_surrogate_is_answered_and_the_rest_of_it_arrives() {
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
fn arguments_that_are_no_object_are_refused_in_words() {
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

#[test]
fn what_cannot_be_printed_is_sent_all_the_same_and_says_so() {
    let sandbox = Sandbox::new();
    let mut session = SessionOptions::new("full").without_channel().start(&sandbox);
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let told = |arguments: &[&str]| {
        let output = sandbox.command(arguments).stdout(full.try_clone().unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let error = told(&["send", "full", "once"]);
    let id = sandbox.json(["log", "-n", "1"])["messages"][0]["id"].as_str().unwrap().to_owned();
    assert!(error.contains(&format!("message {id} was sent nevertheless")), "{error}");
    assert!(error.contains("standard output cannot be written"), "{error}");
    let error = told(&["send", "--scope", "machine", "to all"]);
    assert!(error.contains("1 of 1 messages were sent nevertheless"), "{error}");
    let shown = session.text("check_messages", json!({}));
    assert!(shown.contains("| once") && shown.contains("| to all"), "{shown}");
}

#[test]
fn a_working_directory_that_is_gone_is_reported() {
    let sandbox = Sandbox::new();
    for arguments in ["peers --scope directory", "peers --scope repo", "send --scope repo hello"] {
        let line = format!("mkdir gone && cd gone && rmdir ../gone && claude-peers {arguments}");
        let output = sandbox.shell(&line);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains("current directory cannot be found") && error.contains("hint: "),
            "{error}"
        );
    }
}

#[test]
fn too_much_standard_input_is_reported_as_too_much() {
    let sandbox = Sandbox::new();
    // Cut at the limit, this ends in the middle of a character.
    let input = sandbox.path().join("much");
    for text in ["x", ""] {
        std::fs::write(&input, format!("{text}{}", "\u{e9}".repeat(600_000))).unwrap();
        let output = sandbox
            .command(["send", "nobody", "-"])
            .stdin(std::fs::File::open(&input).unwrap())
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("longer than 1048576 bytes"), "{error}");
    }
}
