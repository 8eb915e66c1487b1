//! Tools: how they are described, what they answer, and what they refuse.

use std::time::Duration;

use serde_json::{Value, json};

use super::{TOOLS, initialize, is_pinged, peer, refused, spawn};
use crate::support::{Frozen, Sandbox, Session, SessionOptions, until};

#[test]
fn the_tools_are_listed_in_a_form_that_every_client_takes() {
    let sandbox = Sandbox::new();
    let mut session = spawn(&sandbox, "lister");
    initialize(&mut session, "2025-11-25");
    let answer = session.request("tools/list", json!({}));
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, TOOLS);
    assert!(answer["result"].get("nextCursor").is_none_or(Value::is_null));
    for tool in tools {
        let name = &tool["name"];
        let length = tool["description"].as_str().unwrap().chars().count();
        assert!((1..=2_048).contains(&length), "{name}: {length}");
        for schema in [&tool["inputSchema"], &tool["outputSchema"]] {
            assert_eq!(schema["type"], "object", "{name}");
            assert!(schema["properties"].is_object(), "{name}");
            assert!(schema.get("enum").is_none(), "{name}: a choice at the root");
            plain(schema, name.as_str().unwrap());
        }
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{name}");
        let hints = &tool["annotations"];
        // None changes what the session works on; a client in plan mode calls no others.
        assert_eq!(hints["readOnlyHint"], true, "{name}");
        assert_eq!(hints["destructiveHint"], false, "{name}");
        assert_eq!(hints["openWorldHint"], false, "{name}");
        // The largest message fits into what the client shows without cutting.
        assert!(tool["_meta"]["anthropic/maxResultSizeChars"].as_u64().unwrap() > 64 * 1_024);
    }
    let properties = |index: usize| {
        let properties = tools[index]["inputSchema"]["properties"].as_object().unwrap();
        properties.keys().map(String::as_str).collect::<Vec<_>>()
    };
    assert_eq!(properties(0), ["scope", "name"]);
    assert_eq!(properties(1), ["to_id", "message", "reply_to", "wait_seconds"]);
    assert_eq!(tools[1]["inputSchema"]["required"], json!(["to_id", "message"]));
    assert_eq!(properties(2), ["summary", "name"]);
    assert_eq!(tools[2]["inputSchema"]["required"], json!(["summary"]));
    assert_eq!(properties(3), ["wait_seconds", "history"]);
}

/// Checks that a schema has only keywords that the simplest client knows, at any depth.
fn plain(schema: &Value, at: &str) {
    let known =
        ["description", "enum", "minimum", "properties", "required", "additionalProperties"];
    let kind = schema["type"].as_str().unwrap_or_else(|| panic!("{at}: one type: {schema}"));
    for (word, value) in schema.as_object().unwrap() {
        match word.as_str() {
            "type" => {}
            "items" => plain(value, &format!("{at}[]")),
            "properties" => {
                for (name, schema) in value.as_object().unwrap() {
                    plain(schema, &format!("{at}.{name}"));
                }
            }
            word => assert!(known.contains(&word), "{at}: {word}"),
        }
    }
    assert!(kind != "null" && (kind != "array" || schema["items"].is_object()), "{at}: {schema}");
}

/// Validates a value by a schema, for the keywords that ours use. Returns the first fault.
fn violation(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let wrong = |what: &str| Some(format!("{at}: {value} is no {what}"));
    if let Some(options) = schema["enum"].as_array()
        && !options.contains(value)
    {
        return wrong("value of the enum");
    }
    let kind = schema["type"].as_str().unwrap();
    let fits = match kind {
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    if !fits {
        return wrong(kind);
    }
    if let Some(object) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(name.as_str().unwrap()) {
                return Some(format!("{at}: {name} is missing"));
            }
        }
        for (name, value) in object {
            let Some(schema) = schema["properties"].get(name) else {
                return Some(format!("{at}: {name} is not in the schema"));
            };
            if let Some(found) = violation(schema, value, &format!("{at}.{name}")) {
                return Some(found);
            }
        }
    }
    let mut items = value.as_array().into_iter().flatten();
    items.find_map(|item| violation(&schema["items"], item, &format!("{at}[]")))
}

#[test]
fn structured_content_is_what_the_output_schema_says() {
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let mut frontend = SessionOptions::new("frontend").without_channel().start(&sandbox);
    let listed = frontend.request("tools/list", json!({}));
    let schema_of = |tool: &str| {
        let mut tools = listed["result"]["tools"].as_array().unwrap().iter();
        tools.find(|listed| listed["name"] == tool).unwrap()["outputSchema"].clone()
    };
    let check = |session: &mut Session, tool: &str, arguments: Value| {
        let result = session.call(tool, arguments);
        let content = result["structuredContent"].clone();
        assert_eq!(violation(&schema_of(tool), &content, tool), None, "{content}");
        assert_eq!(result["content"][0]["type"], "text");
        assert!(!result["content"][0]["text"].as_str().unwrap().is_empty());
        content
    };
    let set = check(&mut backend, "set_summary", json!({ "summary": "the API", "name": "api" }));
    assert_eq!((&set["name"], &set["summary"]), (&json!("api"), &json!("the API")));
    check(&mut frontend, "check_messages", json!({}));
    let first =
        check(&mut backend, "send_message", json!({ "to_id": "frontend", "message": "one" }));
    assert_eq!(first["state"], "queued");
    check(&mut frontend, "set_summary", json!({ "summary": "the page" }));
    let list = check(&mut frontend, "list_peers", json!({ "scope": "machine" }));
    assert!(list["mail"].as_str().unwrap().starts_with("1 message waits for you"));
    assert_eq!(list["me"]["name"], "frontend");
    assert_eq!(list["peers"][0]["summary"], "the API");
    assert_eq!(list["peers"][0]["reach"], "channel_presumed");
    let here = check(&mut frontend, "list_peers", json!({ "scope": "directory" }));
    assert_eq!(here["peers"], json!([]));
    let own = check(&mut backend, "check_messages", json!({}));
    assert_eq!(own["own_unread"][0]["message_id"], first["id"]);
    let mail = check(&mut frontend, "check_messages", json!({}));
    assert_eq!(mail["messages"][0]["text"], "one");
    let reply = json!({ "to_id": "api", "message": "two", "reply_to": first["id"] });
    check(&mut frontend, "send_message", reply);
    until("the first is read", || {
        sandbox.message(first["id"].as_str().unwrap())["state"] == "read"
    });
    check(&mut frontend, "check_messages", json!({ "wait_seconds": 1 }));
    let asked = json!({ "to_id": "frontend", "message": "a question", "wait_seconds": 20 });
    let request =
        backend.start_request("tools/call", json!({ "name": "send_message", "arguments": asked }));
    let mail = frontend.call("check_messages", json!({ "wait_seconds": 20 }));
    let question = mail["structuredContent"]["messages"][0]["message_id"].clone();
    let reply = json!({ "to_id": "api", "message": "an answer", "reply_to": question });
    frontend.call("send_message", reply);
    let answered = backend.answer_to(&json!(request))["result"]["structuredContent"].clone();
    assert_eq!(violation(&schema_of("send_message"), &answered, "send_message"), None);
    assert_eq!(answered["answer"]["message"]["text"], "an answer");
    let all = check(
        &mut backend,
        "send_message",
        json!({ "to_id": "scope:machine", "message": "to all" }),
    );
    assert_eq!(all["recipients"][0]["name"], "frontend");
    drop(frontend);
    until("frontend is away", || peer(&sandbox, "frontend")["live"] != true);
    let away = check(&mut backend, "send_message", json!({ "to_id": "frontend", "message": "3" }));
    assert_eq!(away["reach"], "away");
    assert_eq!(check(&mut backend, "list_peers", json!({}))["away"], 1);
}

/// Codex cuts a result at 10,000 bytes.
#[test]
fn a_client_that_shows_little_reads_a_large_message_in_parts() {
    let sandbox = Sandbox::unlimited();
    let mut writer = sandbox.session("writer");
    let mut reader = SessionOptions::new("reader").client("codex-mcp-client").start(&sandbox);
    let text = "a line of \"words\" with \\ in it\n".repeat(1_800);
    let before = writer.send("reader", "before");
    let large = writer.send("reader", &text);
    let after = writer.send("reader", "after");
    let mut read = String::new();
    let mut order = Vec::new();
    for _ in 0..30 {
        let request = json!({ "name": "check_messages", "arguments": {} });
        let result = reader.request("tools/call", request)["result"].clone();
        assert!(result.to_string().len() <= 20_000, "{}", result.to_string().len());
        let said = result["structuredContent"].clone();
        assert!(said.to_string().len() < 10_000 && result["content"].to_string().len() < 10_000);
        for message in said["messages"].as_array().unwrap() {
            let id = message["message_id"].as_str().unwrap().to_owned();
            if id == large {
                read.push_str(message["text"].as_str().unwrap());
                assert!(message.get("repeat").is_none(), "{message}");
            }
            if order.last() != Some(&id) {
                order.push(id);
            }
        }
        if said.get("remaining").is_none() {
            break;
        }
        // It is not read before its last part was shown.
        if read.len() < text.len() {
            assert_eq!(sandbox.message(&large)["state"], "offered");
        }
    }
    assert!(read == text, "{} of {}", read.len(), text.len());
    assert_eq!(order, [before, large.clone(), after]);
    until("it is read", || sandbox.message(&large)["state"] == "read");
    // An answer is no different.
    let asked = json!({ "to_id": "writer", "message": "and?", "wait_seconds": 30 });
    let request =
        reader.start_request("tools/call", json!({ "name": "send_message", "arguments": asked }));
    let question = writer.push()["meta"]["message_id"].clone();
    let to = reader_id(&sandbox);
    let reply = json!({ "to_id": to, "message": text, "reply_to": question });
    let answer = writer.call("send_message", reply)["structuredContent"]["id"].clone();
    let result = reader.answer_to(&json!(request))["result"].clone();
    assert!(result.to_string().len() <= 20_000);
    let mut read = String::new();
    let mut message = result["structuredContent"]["answer"]["message"].clone();
    assert!(message["part"].as_str().unwrap().contains("call check_messages"), "{message}");
    while let Some(part) = message["text"].as_str() {
        assert_eq!(message["message_id"], answer);
        read.push_str(part);
        let next = reader.call("check_messages", json!({}))["structuredContent"].clone();
        message = next["messages"][0].clone();
    }
    assert!(read == text, "{} of {}", read.len(), text.len());
}

fn reader_id(sandbox: &Sandbox) -> String {
    peer(sandbox, "reader")["id"].as_str().unwrap().to_owned()
}

#[test]
fn an_unknown_method_or_tool_is_an_error_with_its_name() {
    let sandbox = Sandbox::new();
    let mut session = spawn(&sandbox, "asker");
    initialize(&mut session, "2025-11-25");
    for method in ["no/such/method", "claude/channel/permission", ""] {
        let answer = session.request(method, json!({ "x": 1 }));
        assert_eq!(answer["error"]["code"], -32601, "{answer}");
    }
    for name in ["list_everything", "", "LIST_PEERS"] {
        let answer = session.request("tools/call", json!({ "name": name, "arguments": {} }));
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(name), "{answer}");
    }
    // A request with an id is answered under that id, however wrong it is.
    for params in [json!({}), json!({ "name": 5 })] {
        let answer = session.request("tools/call", params);
        assert!(answer["error"]["code"].is_number(), "{answer}");
    }
    assert!(is_pinged(&mut session));
    assert!(sandbox.broker().is_none());
}

#[test]
fn wrong_arguments_are_refused_by_name_and_nothing_is_done() {
    let sandbox = Sandbox::new();
    let mut session = sandbox.session("writer");
    let _one = SessionOptions::new("reader-one").at_once().start(&sandbox);
    let _two = SessionOptions::new("reader-two").at_once().start(&sandbox);
    for reader in ["reader-one", "reader-two"] {
        until("a reader is live", || peer(&sandbox, reader)["live"] == true);
    }
    let me = session.id();
    let large = "x".repeat(64 * 1_024 + 1);
    let long = "x".repeat(501);
    let cases = [
        // Wrong in form.
        ("list_peers", json!({ "scope": "galaxy" }), vec!["scope", "galaxy", "machine", "repo"]),
        ("list_peers", json!({ "scope": 7 }), vec!["scope"]),
        ("list_peers", json!({ "where": "here" }), vec!["where", "scope"]),
        ("send_message", json!({}), vec!["to_id"]),
        ("send_message", json!({ "to_id": "reader-one" }), vec!["message"]),
        ("send_message", json!({ "message": "hello" }), vec!["to_id"]),
        ("send_message", json!({ "to_id": null, "message": "hello" }), vec!["to_id"]),
        ("send_message", json!({ "to_id": 5, "message": "hello" }), vec!["to_id"]),
        ("send_message", json!({ "to_id": "reader-one", "message": ["hello"] }), vec!["message"]),
        ("send_message", json!({ "to_id": "reader-one", "message": null }), vec!["message"]),
        (
            "send_message",
            json!({ "to_id": "reader-one", "message": "hello", "reply_to": 3 }),
            vec!["reply_to"],
        ),
        ("send_message", json!({ "to": "reader-one", "message": "hello" }), vec!["`to`", "to_id"]),
        (
            "send_message",
            json!({ "to_id": "reader-one", "message": "hello", "priority": 1 }),
            vec!["priority"],
        ),
        ("set_summary", json!({}), vec!["summary"]),
        ("set_summary", json!({ "summary": 5 }), vec!["summary"]),
        ("set_summary", json!({ "summary": null }), vec!["summary"]),
        ("set_summary", json!({ "summary": "x", "name": {} }), vec!["name"]),
        ("set_summary", json!({ "text": "x" }), vec!["text", "summary"]),
        ("check_messages", json!({ "from": "reader-one" }), vec!["from"]),
        // Wrong in content.
        ("send_message", json!({ "to_id": "reader-one", "message": "" }), vec!["empty"]),
        ("send_message", json!({ "to_id": "reader-one", "message": " \n\t " }), vec!["empty"]),
        (
            "send_message",
            json!({ "to_id": "reader-one", "message": large }),
            vec!["65537", "65536", "max_message_bytes"],
        ),
        ("send_message", json!({ "to_id": "nobody", "message": "hello" }), vec!["nobody"]),
        ("send_message", json!({ "to_id": "", "message": "hello" }), vec!["peer"]),
        (
            "send_message",
            json!({ "to_id": "reader", "message": "hello" }),
            vec!["reader-one", "reader-two"],
        ),
        ("send_message", json!({ "to_id": me, "message": "hello" }), vec!["yourself"]),
        (
            "send_message",
            json!({ "to_id": "reader-one", "message": "hello", "reply_to": "mnone" }),
            vec!["mnone", "reply_to"],
        ),
        ("set_summary", json!({ "summary": long }), vec!["501", "500", "max_summary_chars"]),
        ("set_summary", json!({ "summary": "x", "name": "Not A Name" }), vec!["name", "letters"]),
        ("set_summary", json!({ "summary": "x", "name": "cli" }), vec!["name", "reserved"]),
        ("set_summary", json!({ "summary": "x", "name": "reader-one" }), vec!["reader-one"]),
    ];
    for (tool, arguments, words) in cases {
        let told = refused(&mut session, tool, arguments);
        for word in words {
            assert!(told.contains(word), "no {word:?} in: {told}");
        }
        assert!(told.len() < 2_000, "{told}");
    }
    let me = session.me();
    assert_eq!((&me["name"], &me["summary"]), (&json!("writer"), &json!("")));
    assert_eq!(sandbox.json(["log"])["messages"], json!([]));
}

#[test]
fn messages_sent_all_at_once_arrive_in_order() {
    const COUNT: usize = 200;
    let sandbox = Sandbox::unlimited();
    let mut reader = sandbox.session("reader");
    // One has its stream already; the other makes its first calls now, all at once.
    let warm = sandbox.session("warm");
    let cold = SessionOptions::new("cold").at_once().start(&sandbox);
    for mut sender in [warm, cold] {
        let requests: Vec<u64> = (0..COUNT)
            .map(|n| {
                let arguments = json!({ "to_id": "reader", "message": n.to_string() });
                let params = json!({ "name": "send_message", "arguments": arguments });
                sender.start_request("tools/call", params)
            })
            .collect();
        let mut answered = std::collections::HashMap::new();
        while answered.len() < COUNT {
            let (_, message) = sender.read(crate::support::PATIENCE).expect("all are answered");
            let id = message["id"].as_u64().unwrap();
            let sent = message["result"]["structuredContent"]["id"].as_str().unwrap().to_owned();
            assert!(answered.insert(id, sent).is_none(), "answered twice: {message}");
        }
        for (n, request) in requests.iter().enumerate() {
            let push = reader.push();
            assert_eq!(push["content"], n.to_string());
            assert_eq!(push["meta"]["message_id"], answered[request].as_str());
        }
    }
    assert!(reader.push_within(Duration::from_millis(200)).is_none(), "one came twice");
}

#[test]
fn a_request_can_be_cancelled_while_the_broker_does_not_answer() {
    let sandbox = Sandbox::new();
    let mut session = sandbox.session("patient");
    let frozen = Frozen::new(sandbox.broker().unwrap().pid);
    let params = json!({ "name": "list_peers", "arguments": {} });
    let id = session.start_request("tools/call", params);
    assert!(is_pinged(&mut session), "a broker that hangs must not hang the session");
    let cancel = json!({ "requestId": id, "reason": "AbortError: user-cancel" });
    session.write(&json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel
    }));
    // A server may or may not answer a cancelled request, but not with a result.
    let ping = session.start_request("ping", json!({}));
    loop {
        let (_, message) = session.read(crate::support::PATIENCE).expect("the ping is answered");
        if message["id"] == ping {
            break;
        }
        assert!(message["id"] != id || message["result"]["isError"] == true, "{message}");
    }
    drop(frozen);
    assert_eq!(session.me()["live"], true);
}
