//! `claude-peers demo`: two real MCP sessions and a real broker in a temporary directory.
//!
//! They are processes of this program, driven as Claude Code would drive them. The demo succeeds
//! only if every step was observed.

mod error;
mod session;

use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::config::{Config, Environment};
use crate::protocol::messages::{ListMessages, Message, MessageState, Via};
use session::{Sandbox, Session};

pub use error::DemoError;

/// How long a single step may take.
const STEP: Duration = Duration::from_secs(20);

/// Runs the demo and writes its report to `out`.
///
/// The directory with database and log is removed at the end unless `keep` is set.
///
/// # Errors
///
/// Returns the first step that did not happen, or why the report could not be written.
pub async fn run(
    keep: bool,
    environment: &Environment,
    out: &mut dyn Write,
) -> Result<(), DemoError> {
    // The umask decides by default, and a broker refuses a directory that others can enter.
    let directory = tempfile::Builder::new()
        .prefix("claude-peers-demo-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()?;
    let sandbox = Sandbox::new(directory.path(), environment)?;
    let result = tokio::select! {
        result = story(&sandbox, out) => result,
        _ = tokio::signal::ctrl_c() => Err(DemoError::step("interrupted")),
    };
    if keep {
        writeln!(out, "\nKept: {}", directory.keep().display())?;
    } else {
        directory.close()?;
    }
    result
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1_000.0)
}

async fn story(sandbox: &Sandbox, out: &mut dyn Write) -> Result<(), DemoError> {
    writeln!(out, "A broker and two sessions in {}", sandbox.root().display())?;
    out.flush()?;
    let config = Config::from_environment(&sandbox.variables())?;
    let client = Client::new(config)?.without_start();

    let since = Instant::now();
    let mut broker = start_broker(sandbox)?;
    wait_for_broker(&client, &mut broker, &broker_log(sandbox)).await?;
    writeln!(out, "\n1. The broker was ready after {}.", millis(since.elapsed()))?;

    let mut backend = Session::start(sandbox, "backend").await?;
    let mut frontend = Session::start(sandbox, "frontend").await?;
    writeln!(
        out,
        "2. Two sessions are running; they answered `initialize` after {} and {}.",
        millis(backend.started_after),
        millis(frontend.started_after)
    )?;
    backend.call("set_summary", json!({ "summary": "Works on the orders API." })).await?;
    frontend.call("set_summary", json!({ "summary": "Builds the checkout page." })).await?;
    // A client accepts pushes some time after the handshake; the server waits that long.
    tokio::time::sleep(Duration::from_millis(1_200)).await;

    let list = backend.call("list_peers", json!({})).await?;
    let to = find_peer(&list, "frontend")?;
    writeln!(out, "3. backend calls list_peers:")?;
    quote(out, text_of(&list))?;
    out.flush()?;

    let question =
        "GET /orders now returns a cursor instead of a page number. Does checkout depend on pages?";
    let sent_at = Instant::now();
    let sent = backend.call("send_message", json!({ "to_id": to, "message": question })).await?;
    let push = frontend.next_push(STEP).await?;
    let latency = push.at.duration_since(sent_at);
    let id = string_at(&sent, "/structuredContent/id")?;
    expect(push.params["content"] == question, "frontend received another text")?;
    expect(push.params["meta"]["message_id"] == id.as_str(), "frontend received another message")?;
    writeln!(out, "4. backend sends {id} to frontend:")?;
    quote(out, text_of(&sent))?;
    writeln!(out, "   frontend received it, {} after the call:", millis(latency))?;
    quote(out, &push.as_tag())?;
    state(&client, &id, |m| m.state == MessageState::Offered, out).await?;

    let answer = "It does: cart.ts line 40. I will switch it to the cursor today.";
    let from = push.params["meta"]["from_id"].clone();
    let sent_at = Instant::now();
    let reply = frontend
        .call("send_message", json!({ "to_id": from, "message": answer, "reply_to": id }))
        .await?;
    let push = backend.next_push(STEP).await?;
    let latency = push.at.duration_since(sent_at);
    let reply_id = string_at(&reply, "/structuredContent/id")?;
    expect(push.params["content"] == answer, "backend received another text")?;
    expect(
        push.params["meta"]["reply_to"] == id.as_str(),
        "the reply does not name what it answers",
    )?;
    writeln!(
        out,
        "5. frontend replies with {reply_id}; backend received it, {} after the call:",
        millis(latency)
    )?;
    quote(out, &push.as_tag())?;
    writeln!(out, "   The reply shows that the question was read:")?;
    state(&client, &id, |m| m.state == MessageState::Read && m.read_via == Some(Via::Reply), out)
        .await?;

    let checked = backend.call("check_messages", json!({})).await?;
    expect(text_of(&checked).contains(answer), "check_messages does not show the answer")?;
    writeln!(out, "6. backend calls check_messages:")?;
    quote(out, text_of(&checked))?;
    state(
        &client,
        &reply_id,
        |m| m.state == MessageState::Read && m.read_via == Some(Via::Tool),
        out,
    )
    .await?;

    backend.end().await?;
    frontend.end().await?;
    client.shutdown().await?;
    let status = tokio::time::timeout(STEP, broker.wait())
        .await
        .map_err(|_| DemoError::step("the broker does not end"))??;
    expect(status.success(), "the broker ended with an error")?;
    writeln!(out, "7. Sessions and broker have ended.\n\nDemo finished: every step succeeded.")?;
    Ok(())
}

fn broker_log(sandbox: &Sandbox) -> PathBuf {
    sandbox.root().join("broker.log")
}

fn start_broker(sandbox: &Sandbox) -> Result<Child, DemoError> {
    let log = std::fs::File::create(broker_log(sandbox))?;
    let mut command = Command::new(std::env::current_exe()?);
    sandbox.apply(&mut command);
    Ok(command
        .arg("broker")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?)
}

async fn wait_for_broker(client: &Client, broker: &mut Child, log: &Path) -> Result<(), DemoError> {
    let since = Instant::now();
    while client.health().await.is_err() {
        if let Some(status) = broker.try_wait()? {
            // The log is removed with the directory, and contains the reason.
            let log = std::fs::read_to_string(log).unwrap_or_default();
            return Err(DemoError::step(format!("the broker ended: {status}\n{}", log.trim_end())));
        }
        if since.elapsed() > STEP {
            return Err(DemoError::step("the broker was not ready in time"));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn expect(holds: bool, otherwise: &str) -> Result<(), DemoError> {
    if holds { Ok(()) } else { Err(DemoError::step(otherwise)) }
}

fn text_of(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

fn string_at(value: &Value, pointer: &str) -> Result<String, DemoError> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| DemoError::step(format!("the result has no {pointer}: {value}")))
}

/// Returns the id of a peer, which has the name of its directory.
fn find_peer(list: &Value, directory: &str) -> Result<String, DemoError> {
    let peers = list["structuredContent"]["peers"].as_array();
    peers
        .into_iter()
        .flatten()
        .find(|peer| peer["name"] == directory)
        .and_then(|peer| peer["id"].as_str())
        .map(str::to_owned)
        .ok_or_else(|| DemoError::step(format!("list_peers does not show {directory}: {list}")))
}

fn quote(out: &mut dyn Write, text: &str) -> Result<(), DemoError> {
    for line in text.lines() {
        writeln!(out, "     {line}")?;
    }
    Ok(())
}

/// Waits until the message has the expected state, and prints the state.
async fn state(
    client: &Client,
    id: &str,
    holds: impl Fn(&Message) -> bool,
    out: &mut dyn Write,
) -> Result<(), DemoError> {
    let request = ListMessages {
        id: Some(crate::protocol::MessageId::from_text(id)),
        ..ListMessages::default()
    };
    let since = Instant::now();
    loop {
        let list = client.messages(&request).await?;
        let Some(message) = list.messages.first() else {
            return Err(DemoError::step(format!("message {id} is missing")));
        };
        let via = message
            .read_via
            .or(message.offered_via)
            .map(|via| format!(" by {via}"))
            .unwrap_or_default();
        if holds(message) {
            writeln!(out, "   State of {id}: {}{via}.", message.state)?;
            return Ok(out.flush()?);
        }
        if since.elapsed() > STEP {
            return Err(DemoError::step(format!(
                "message {id} is {}{via} and stays so",
                message.state
            )));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
