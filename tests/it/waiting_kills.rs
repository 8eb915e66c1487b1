//! Promises 1 and 2: a process is killed at any instant of a wait; the answer is not lost.
//!
//! Promise 3: an answer that was not shown is not read.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{self, RawPeer, Request};
use crate::support::questions::{ask, assert_read, cli_ask, reply};
use crate::support::{Chance, Sandbox, SessionOptions, rounds, until};

/// Replies as a client does that retries until it is answered. Returns the message's id.
fn reply_at_last(sandbox: &Sandbox, from: &RawPeer, question: &str, text: &str) -> String {
    let request =
        Request::post("/v1/messages", &json!({ "to": "cli", "text": text, "reply_to": question }))
            .session(&from.secret)
            .with("idempotency-key", text);
    let mut id = String::new();
    until("the reply is stored", || {
        // A broker that is being killed may not even listen.
        let answer = std::os::unix::net::UnixStream::connect(sandbox.socket())
            .ok()
            .and_then(|mut stream| http::exchange(&mut stream, &request.bytes()));
        let stored = answer.filter(|answer| answer.status == 200);
        id = stored.map_or(String::new(), |sent| sent.json()["id"].as_str().unwrap().to_owned());
        !id.is_empty()
    });
    id
}

#[test]
fn a_broker_killed_at_any_instant_costs_the_command_line_no_answer_and_shows_none_twice() {
    let sandbox = Sandbox::unlimited();
    sandbox.ok(["peers"]);
    let peer = RawPeer::register(&sandbox, "peer");
    let mut chance = Chance::new();
    for round in 0..rounds(10) {
        let (child, question) = cli_ask(&sandbox, "peer", &format!("question {round}"), &[]);
        let text = format!("answer {round}");
        let pause = chance.between(Duration::ZERO, Duration::from_millis(12));
        let id = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(pause);
                sandbox.kill9_broker();
            });
            reply_at_last(&sandbox, &peer, &question, &text)
        });
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "round {round}: {error}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{text}\n"));
        assert_eq!(sandbox.message(&id)["state"], "read", "round {round}");
        assert_eq!(sandbox.ok(["inbox"]), "No messages.\n", "round {round}");
    }
}

#[test]
fn an_answer_whose_result_did_not_come_out_is_not_read_and_comes_to_the_next_server() {
    let sandbox = Sandbox::unlimited();
    sandbox.ok(["peers"]);
    let peer = RawPeer::register(&sandbox, "peer");
    let mut chance = Chance::new();
    let (mut came_out, mut cut_off) = (0, 0);
    for round in 0..rounds(8) {
        let mut session = SessionOptions::new("asker").without_channel().at_once().start(&sandbox);
        let me = session.id();
        let (request, question) =
            ask(&sandbox, &mut session, "peer", &format!("question {round}"), 60);
        let id = reply(&sandbox, &peer, &me, &format!("answer {round}"), Some(&question));
        std::thread::sleep(chance.between(Duration::ZERO, Duration::from_millis(6)));
        let messages = session.kill9_and_drain();
        let shown = messages.iter().any(|message| {
            let answer = &message["result"]["structuredContent"]["answer"]["message"];
            message["id"] == request && answer["message_id"] == id.as_str()
        });
        if shown {
            came_out += 1;
        } else {
            cut_off += 1;
            assert_ne!(sandbox.message(&id)["state"], "read", "round {round}: it was not shown");
        }
        let mut next = SessionOptions::new("asker").without_channel().at_once().start(&sandbox);
        let checked = next.call("check_messages", json!({}))["structuredContent"].clone();
        let given: Vec<&Value> = checked["messages"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|message| message["message_id"] == id.as_str())
            .collect();
        match given.as_slice() {
            [again] if shown => assert_eq!(again["repeat"], true, "{again}"),
            [_] => {}
            _ => assert!(shown, "round {round}: the answer is lost: {checked}"),
        }
        assert_read(&sandbox, &id, "tool");
        next.kill9();
    }
    println!("came out {came_out}, cut off {cut_off}");
}

/// The caller announced a wait and died before it waited: the reservation is short.
#[test]
fn a_wait_that_never_comes_reserves_the_answer_for_a_short_time_only() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let peer = RawPeer::register(&sandbox, "peer");
    let secret = "a secret of the asker, which is long enough";
    let register = json!({
        "instance": "asker-1", "secret": secret, "session": "asker", "cwd": "/srv/asker",
        "channel": "presumed",
    });
    let me = Request::post("/v1/register", &register).unix(&sandbox).json()["peer"]["id"].clone();
    let mut stream = http::unix(&sandbox);
    let open = Request::get("/v1/stream").session(secret);
    stream.write_all(&open.bytes()).unwrap();
    let mut said = String::new();
    let mut hear = |what: &str| {
        while !said.contains(what) {
            let mut bytes = [0; 4_096];
            let length = std::io::Read::read(&mut stream, &mut bytes).unwrap();
            assert!(length > 0, "the stream ended: {said}");
            said.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    };
    hear("\"ready\"");
    let ask = json!({ "to": "peer", "text": "a question", "wait": true });
    let asked = Request::post("/v1/messages", &ask).session(secret).unix(&sandbox).json();
    let question = asked["id"].as_str().unwrap();
    let id = reply(&sandbox, &peer, me.as_str().unwrap(), "an answer", Some(question));
    assert_eq!(sandbox.message(&id)["state"], "queued", "it is kept for the one who asked");
    hear("an answer");
    assert_eq!(sandbox.message(&id)["state"], "offered");
}

/// A caller that announced a wait, and died before its message was acknowledged, reserves nothing.
#[test]
fn an_answer_for_an_asker_that_died_while_it_asked_goes_to_the_inbox() {
    let sandbox = Sandbox::unlimited();
    sandbox.ok(["peers"]);
    let peer = RawPeer::register(&sandbox, "peer");
    for round in 0..8 {
        let askers: Vec<_> = (0..12)
            .map(|n| {
                let body = json!({ "to": "peer", "text": format!("{round}-{n}"), "wait": true });
                let mut stream = http::unix(&sandbox);
                stream.write_all(&Request::post("/v1/messages", &body).bytes()).unwrap();
                stream
            })
            .collect();
        std::thread::sleep(Duration::from_millis(round));
        drop(askers);
    }
    let mut questions = Vec::new();
    until("all that was accepted is stored", || {
        let log = sandbox.json(["log", "-n", "500"]);
        let ids = log["messages"].as_array().unwrap().iter().map(|m| m["id"].clone()).collect();
        std::mem::replace(&mut questions, ids) == questions && !questions.is_empty()
    });
    for question in &questions {
        reply(&sandbox, &peer, "cli", "here", question.as_str());
    }
    let mut shown = 0;
    until("every answer is in the inbox", || {
        let inbox = sandbox.json(["inbox"]);
        shown += inbox["messages"].as_array().unwrap().len();
        shown == questions.len()
    });
}
