//! `claude-peers demo`: two real MCP sessions and a real broker in a throw-away directory.
//!
//! Everything is the real thing, started as separate processes of this program and driven as
//! Claude Code would drive them. Success means that every step was seen to happen.

mod session;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::cli::error::Failure;
use crate::cli::output::Out;
use crate::client::Client;
use crate::config::Config;
use crate::protocol::messages::{ListMessages, Message, MessageState, Via};
use session::{Environment, Session};

/// How long any single step may take.
const STEP: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub struct Arguments {
    /// Keep the directory with database and log
    #[arg(long)]
    keep: bool,
}

pub async fn run(arguments: &Arguments, out: &mut Out) -> Result<ExitCode, Failure> {
    // A broker refuses a directory that lets others in, and by default the umask decides.
    let directory = tempfile::Builder::new()
        .prefix("claude-peers-demo-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()?;
    let environment = Environment::new(directory.path())?;
    let result = tokio::select! {
        result = story(&environment, out) => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
    };
    if arguments.keep {
        out.line(format!("\nKept: {}", directory.keep().display()))?;
    } else {
        directory.close()?;
    }
    result?;
    Ok(ExitCode::SUCCESS)
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1_000.0)
}

async fn story(environment: &Environment, out: &mut Out) -> Result<(), Failure> {
    out.line(format!("A broker and two sessions in {}", environment.root().display()))?;
    out.flush()?;
    let config = Config::from_environment(&|name| environment.get(name))?;
    let client = Client::new(config)?.without_start();

    let since = Instant::now();
    let mut broker = start_broker(environment)?;
    wait_for_broker(&client, &mut broker, &broker_log(environment)).await?;
    out.line(format!("\n1. The broker serves after {}.", millis(since.elapsed())))?;

    let mut backend = Session::start(environment, "backend").await?;
    let mut frontend = Session::start(environment, "frontend").await?;
    out.line(format!(
        "2. Two sessions are up; `initialize` was answered {} and {} after their start.",
        millis(backend.started_after),
        millis(frontend.started_after)
    ))?;
    backend.call("set_summary", json!({ "summary": "Works on the orders API." })).await?;
    frontend.call("set_summary", json!({ "summary": "Builds the checkout page." })).await?;
    // A client listens for pushes some time after the handshake; the server waits for that.
    tokio::time::sleep(Duration::from_millis(1_200)).await;

    let list = backend.call("list_peers", json!({})).await?;
    let to = find_peer(&list, "frontend")?;
    out.line("3. backend calls list_peers:")?;
    quote(out, text_of(&list))?;
    out.flush()?;

    let question =
        "GET /orders now returns a cursor instead of a page number. Does checkout depend on pages?";
    let sent_at = Instant::now();
    let sent = backend.call("send_message", json!({ "to_id": to, "message": question })).await?;
    let push = frontend.next_push(STEP).await?;
    let latency = push.at.duration_since(sent_at);
    let id = string_at(&sent, "/structuredContent/id")?;
    expect(push.params["content"] == question, "frontend was pushed another text")?;
    expect(
        push.params["meta"]["message_id"] == id.as_str(),
        "frontend was pushed another message",
    )?;
    out.line(format!("4. backend sends {id} to frontend:"))?;
    quote(out, text_of(&sent))?;
    out.line(format!("   frontend received, {} after the call:", millis(latency)))?;
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
    expect(push.params["content"] == answer, "backend was pushed another text")?;
    expect(
        push.params["meta"]["reply_to"] == id.as_str(),
        "the reply does not name what it answers",
    )?;
    out.line(format!(
        "5. frontend answers with {reply_id}; backend received, {} after the call:",
        millis(latency)
    ))?;
    quote(out, &push.as_tag())?;
    out.line("   The answer is evidence that the question was read:")?;
    state(&client, &id, |m| m.state == MessageState::Read && m.read_via == Some(Via::Reply), out)
        .await?;

    let checked = backend.call("check_messages", json!({})).await?;
    expect(text_of(&checked).contains(answer), "check_messages does not show the answer")?;
    out.line("6. backend calls check_messages:")?;
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
        .map_err(|_| Failure::new("the broker does not end"))??;
    expect(status.success(), "the broker did not end in order")?;
    out.line("7. Sessions and broker have ended.\n\nAll of it happened.")?;
    Ok(())
}

fn broker_log(environment: &Environment) -> PathBuf {
    environment.root().join("broker.log")
}

fn start_broker(environment: &Environment) -> Result<Child, Failure> {
    let log = std::fs::File::create(broker_log(environment))?;
    let mut command = Command::new(std::env::current_exe()?);
    environment.apply(&mut command);
    Ok(command
        .arg("broker")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?)
}

async fn wait_for_broker(client: &Client, broker: &mut Child, log: &Path) -> Result<(), Failure> {
    let since = Instant::now();
    while client.health().await.is_err() {
        if let Some(status) = broker.try_wait()? {
            // Its log goes with the directory; what it says is the reason.
            let log = std::fs::read_to_string(log).unwrap_or_default();
            return Err(Failure::new(format!("the broker ended: {status}\n{}", log.trim_end())));
        }
        if since.elapsed() > STEP {
            return Err(Failure::new("the broker does not serve"));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn expect(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::new(otherwise)) }
}

fn text_of(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

fn string_at(value: &Value, pointer: &str) -> Result<String, Failure> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("the result has no {pointer}: {value}")))
}

fn find_peer(list: &Value, directory: &str) -> Result<String, Failure> {
    let peers = list["structuredContent"]["peers"].as_array();
    peers
        .into_iter()
        .flatten()
        .find(|peer| peer["cwd"].as_str().is_some_and(|cwd| Path::new(cwd).ends_with(directory)))
        .and_then(|peer| peer["id"].as_str())
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("list_peers does not show {directory}: {list}")))
}

fn quote(out: &mut Out, text: &str) -> Result<(), Failure> {
    for line in text.lines() {
        out.line(format!("     {line}"))?;
    }
    Ok(())
}

/// Waits until the message stands as it should, and prints where it stands.
async fn state(
    client: &Client,
    id: &str,
    holds: impl Fn(&Message) -> bool,
    out: &mut Out,
) -> Result<(), Failure> {
    let request = ListMessages {
        id: Some(crate::protocol::MessageId::from_text(id)),
        ..ListMessages::default()
    };
    let since = Instant::now();
    loop {
        let list = client.messages(&request).await?;
        let Some(message) = list.messages.first() else {
            return Err(Failure::new(format!("message {id} is gone")));
        };
        let via = message
            .read_via
            .or(message.offered_via)
            .map(|via| format!(" by {via}"))
            .unwrap_or_default();
        if holds(message) {
            out.line(format!("   {id} is {}{via}.", message.state))?;
            return Ok(out.flush()?);
        }
        if since.elapsed() > STEP {
            return Err(Failure::new(format!(
                "message {id} is {}{via} and stays so",
                message.state
            )));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
