//! Promise 6: numbers as models write them: in quotes, with a point, with a unit, or missing.

use serde_json::{Value, json};

use super::refused;
use crate::support::http::{RawPeer, Request};
use crate::support::{Sandbox, SessionOptions, until};

#[test]
fn a_number_in_any_form_is_understood_and_the_message_goes_out() {
    let sandbox = Sandbox::unlimited();
    let mut writer = sandbox.session("writer");
    let mut reader = SessionOptions::new("reader").without_channel().start(&sandbox);
    until("it is live", || reader.me()["live"] == true);
    let forms = [
        json!(""),
        json!("  "),
        json!("null"),
        json!(null),
        json!(false),
        json!(0.0),
        json!("0"),
        json!("1"),
        json!(1.0),
        json!(" 1 "),
        json!("1.0"),
        json!("1s"),
    ];
    for (number, form) in forms.iter().enumerate() {
        let text = format!("number {number}");
        let arguments = json!({ "to_id": "reader", "message": text, "wait_seconds": form });
        let sent = writer.call("send_message", arguments)["structuredContent"].clone();
        let waited = sent["standing"].as_str().unwrap().contains("No answer came within 1 s.");
        assert_eq!(waited, number >= 7, "{form}: {sent}");
        // The reader waits as long, and mail is there.
        let arguments = json!({ "wait_seconds": form });
        let mail = reader.call("check_messages", arguments)["structuredContent"].clone();
        assert_eq!(mail["messages"][0]["text"], text.as_str(), "{form}");
    }
    // Numbers beyond all limits mean the longest wait, which an answer ends.
    for form in [json!(1e300), json!("99999999999999999999"), json!(u64::MAX)] {
        let arguments = json!({ "to_id": "reader", "message": "well?", "wait_seconds": form });
        let params = json!({ "name": "send_message", "arguments": arguments });
        let request = writer.start_request("tools/call", params);
        let mail = reader.call("check_messages", json!({ "wait_seconds": 20 }));
        let question = &mail["structuredContent"]["messages"][0]["message_id"];
        let answer = json!({ "to_id": "writer", "message": "yes", "reply_to": question });
        reader.call("send_message", answer);
        let answered = writer.answer_to(&json!(request))["result"]["structuredContent"].clone();
        assert_eq!(answered["answer"]["message"]["text"], "yes", "{form}");
    }
}

#[test]
fn what_is_no_number_is_refused_by_name_and_nothing_is_sent() {
    let sandbox = Sandbox::new();
    let mut writer = sandbox.session("writer");
    let mut reader = sandbox.session("reader");
    for wrong in [json!("soon"), json!(-1), json!(1.5), json!([30]), json!({}), json!(true)] {
        let mut arguments = json!({ "to_id": "reader", "message": "x", "wait_seconds": wrong });
        for tool in ["send_message", "check_messages"] {
            let words = refused(&mut writer, tool, arguments.clone());
            assert!(words.contains("`wait_seconds`"), "{tool}: {words}");
            assert!(words.contains("a number of seconds from 0 on"), "{tool}: {words}");
            arguments = json!({ "wait_seconds": wrong });
        }
    }
    let mail = reader.call("check_messages", json!({}));
    assert_eq!(mail["structuredContent"]["messages"], json!([]));
}

#[test]
fn scripts_may_write_numbers_as_they_like() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let (sender, receiver) =
        (RawPeer::register(&sandbox, "sender"), RawPeer::register(&sandbox, "receiver"));
    for (number, (wait, bytes)) in
        [("1.0", json!("1000")), ("", json!(1000.0)), ("%201%20", Value::Null)].iter().enumerate()
    {
        sender.send(&sandbox, "receiver", &format!("number {number}"));
        let path = format!("/v1/mailbox/take?wait_seconds={wait}");
        let request = Request::post(&path, &json!({ "max_bytes": bytes }));
        let answer = request.session(&receiver.secret).unix(&sandbox);
        assert_eq!(answer.status, 200, "{wait:?} {bytes}: {}", answer.json());
        let shown = answer.json()["messages"].to_string();
        assert!(shown.contains(&format!("number {number}")), "{shown}");
    }
}
