//! Promise 4: at the most talkative level, no log has a message's text, a summary, a token or a key.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::hooks::hook;
use crate::support::http::{RawPeer, Request};
use crate::support::{Behaviour, Endpoint, PROGRAM, Sandbox, Session, SessionOptions, until};

/// Starts a session whose standard error is a file.
fn logged(options: &SessionOptions, sandbox: &Sandbox) -> (Session, PathBuf) {
    let log = sandbox.path().join(format!("{}.log", options.name));
    let plain = options.command(sandbox);
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" mcp 2>>\"$1\"", PROGRAM]).arg(&log).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(plain.get_current_dir().unwrap());
    let mut session = Session::spawn(command);
    session.handshake("claude-code");
    (session, log)
}

#[test]
fn no_log_at_any_level_has_text_tokens_or_keys() {
    let sandbox = Sandbox::unlimited()
        .with("RUST_LOG", "trace,rmcp=trace,hyper=trace,reqwest=trace,rustls=trace,h2=trace");
    let broker_log = sandbox.path().join("broker.log");
    let mut broker = sandbox
        .command(["broker"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&broker_log).unwrap())
        .spawn()
        .unwrap();
    until("the broker serves", || sandbox.status_is("running"));
    let endpoint = Endpoint::new([Behaviour::Says("Works on AUTOMATIC-SUMMARY.".to_owned())]);
    let (mut writer, writer_log) = logged(&endpoint.options("writer"), &sandbox);
    let (mut reader, reader_log) = logged(&SessionOptions::new("reader"), &sandbox);
    until("the summary is there", || sandbox.ok(["peers"]).contains("AUTOMATIC-SUMMARY"));
    reader.call("set_summary", json!({ "summary": "Works on OWN-SUMMARY." }));
    writer.send("reader", "TEXT-OF-A-TOOL");
    assert_eq!(reader.push()["content"], "TEXT-OF-A-TOOL");
    reader.call("check_messages", json!({}));
    let raw = RawPeer::register(&sandbox, "raw");
    raw.send(&sandbox, "reader", "TEXT-OF-A-PEER");
    let token = sandbox.token();
    let listed = Request::get("/v1/peers").token(&token).tcp(&sandbox);
    assert_eq!(listed.status, 200);
    let mut errors = Vec::new();
    for arguments in [
        &["send", "reader", "TEXT-OF-A-COMMAND"][..],
        &["send", "nobody", "TEXT-REFUSED"],
        &["log"],
    ] {
        errors.extend(sandbox.run(arguments).stderr);
    }
    let input = json!({ "session_id": "session-reader", "hook_event_name": "UserPromptSubmit",
        "prompt_id": "turn", "cwd": "/", "prompt": "TEXT-OF-A-PROMPT" });
    errors.extend(hook(&sandbox, "UserPromptSubmit", &input).stderr);
    // Broken lines, and a call that fails.
    writer.write_line("{\"jsonrpc\":\"2.0\",\"id\":77,\"method\":\"tools/call\",\"params\":{\"name\":\"send_message\",\"arguments\":[\"TEXT-BROKEN\"]}}");
    writer.write_line("{\"TEXT-BROKEN");
    writer.try_call("send_message", json!({ "to_id": "nobody", "message": "TEXT-REFUSED" }));
    drop((writer, reader));
    sandbox.ok(["kill-broker"]);
    broker.wait().unwrap();

    let mut logs = String::from_utf8_lossy(&errors).into_owned();
    for log in [&broker_log, &writer_log, &reader_log] {
        let text = std::fs::read_to_string(log).unwrap();
        assert!(!text.is_empty(), "{} has nothing", log.display());
        logs.push_str(&text);
    }
    assert!(logs.contains("DEBUG"), "our own events are there: {logs}");
    for secret in ["TEXT-", "-SUMMARY", "sk-very-secret-key", &raw.secret, &token] {
        let at = logs.find(secret);
        assert!(
            at.is_none(),
            "{secret}: {}",
            at.map_or("", |at| logs[at.saturating_sub(300)..].lines().next().unwrap())
        );
    }
    // A session's token has this form.
    let is_token =
        |word: &str| word.len() >= 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut words = logs.split(|c: char| !c.is_ascii_alphanumeric());
    assert!(!words.any(is_token), "a token is in a log");
}
