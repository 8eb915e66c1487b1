//! The round trip: a test message goes through socket, broker and database, as a session's would,
//! and is read. The sender is a probe, a temporary peer that appears in no list.

use std::time::{Duration, Instant};

use crate::client::{Client, ClientError};
use crate::doctor::finding::Finding;
use crate::doctor::snapshot::{Snapshot, SocketState};
use crate::protocol::mailbox::{Confirm, Take};
use crate::protocol::messages::SendMessage;
use crate::protocol::peers::{Channel, Register};
use crate::protocol::{ErrorCode, PROTOCOL};
use crate::service::systemd::SERVICE;
use crate::sys::random;

const CHECK: &str = "round trip";

/// How long the round trip may take, including the start of the broker.
const LIMIT: Duration = Duration::from_secs(16);

/// A round trip that takes longer is reported as slow.
const SLOW: Duration = Duration::from_secs(1);

/// The outcome of a round trip.
enum RoundTrip {
    /// The message came back. The time is from the call of send to the text.
    Arrived(Duration),
    /// The message did not come back as it was sent.
    Lost(String),
}

pub async fn check(client: &Client, snapshot: &Snapshot) -> Vec<Finding> {
    // A broker is started if none runs. A running broker is left alone, whatever is wrong with it.
    let client = match &snapshot.broker_before {
        Some(_) => client.clone().without_start(),
        None => client.clone(),
    };
    let client = client.with_session(probe());
    let outcome = match tokio::time::timeout(LIMIT, send_and_read(&client)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ClientError::Silent),
    };
    if outcome.is_err() {
        // If this fails, the registration of the next probe removes the rest.
        let _ = tokio::time::timeout(Duration::from_secs(1), client.unregister()).await;
    }
    match outcome {
        Ok(RoundTrip::Arrived(time)) => vec![arrived(time)],
        Ok(RoundTrip::Lost(problem)) => vec![
            Finding::failure(CHECK, format!("the test message did not come back: {problem}"))
                .fix(snapshot.restart()),
        ],
        Err(error) => vec![failed(snapshot, &error)],
    }
}

fn arrived(time: Duration) -> Finding {
    let text = format!("a test message was stored, delivered and read in {:.1} ms", millis(time));
    if time > SLOW {
        return Finding::warning(CHECK, text)
            .detail("syncing to disk is slow, or the machine is busy");
    }
    Finding::ok(CHECK, text)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Reports a failed call, unless another check reports the cause.
fn failed(snapshot: &Snapshot, error: &ClientError) -> Finding {
    match error.code() {
        Some(ErrorCode::SettingsDiffer | ErrorCode::BrokerTooOld) => {
            return Finding::failure(CHECK, format!("no test message can be sent: {error}"));
        }
        Some(ErrorCode::BadRequest) => {
            return Finding::warning(CHECK, "the running broker is too old for this check")
                .detail(error.to_string())
                .fix(snapshot.restart_of_before());
        }
        _ => {}
    }
    if snapshot.socket_was_removed() {
        return Finding::failure(CHECK, "no messages can be sent: the broker cannot be reached");
    }
    if is_service_down(snapshot, error) {
        return Finding::failure(CHECK, "no messages can be sent: the service does not start")
            .detail(format!(
                "`journalctl --user -n 20 -u {SERVICE}` shows why; see also the other findings"
            ));
    }
    let finding = Finding::failure(CHECK, format!("no messages can be sent: {error}"));
    let finding = match error.hint() {
        Some(hint) => finding.detail(hint),
        None => finding,
    };
    match error.last() {
        ClientError::Silent | ClientError::Broken { .. } => {
            finding.fix(snapshot.restart_of_before())
        }
        _ => finding,
    }
}

/// Whether the service manager listens and starts a broker for each call, but each of them ends.
fn is_service_down(snapshot: &Snapshot, error: &ClientError) -> bool {
    matches!(error.last(), ClientError::Silent | ClientError::Broken { .. })
        && snapshot.unit(SERVICE).is_some()
        && snapshot.broker_before.is_none()
        && snapshot.socket_state == SocketState::Listener
}

/// Returns the registration of a probe.
fn probe() -> Register {
    Register {
        instance: random::instance_id(),
        secret: random::new_secret(),
        session: None,
        client: None,
        client_name: String::new(),
        client_version: String::new(),
        cwd: "/".to_owned(),
        directory: None,
        repo: None,
        name: None,
        channel: Channel::Absent,
        one_shot: false,
        version: crate::VERSION.to_owned(),
        wakes: false,
        probe: true,
    }
}

async fn send_and_read(client: &Client) -> Result<RoundTrip, ClientError> {
    // The start of a broker is not a part of the time.
    client.health().await?;
    let Some(me) = client.introduce().await? else {
        return Ok(RoundTrip::Lost("the probe was not registered".to_owned()));
    };
    let text =
        format!("claude-peers {}, protocol {PROTOCOL}: {}", crate::VERSION, random::new_secret());
    let since = Instant::now();
    let request = SendMessage {
        to: me.peer.id.to_string(),
        text: text.clone(),
        reply_to: None,
        from_session: None,
        wait: false,
    };
    let sent = client.send(&request).await?;
    let taken = client.take(&Take::default()).await?;
    let time = since.elapsed();
    let came = taken.messages.iter().any(|m| m.id == sent.id && m.text == text);
    let noted = client.confirm(&Confirm { ids: vec![sent.id] }).await?.noted;
    client.unregister().await?;
    Ok(match (came, noted) {
        (true, 1) => RoundTrip::Arrived(time),
        (true, _) => RoundTrip::Lost("it was delivered but could not be marked as read".to_owned()),
        (false, _) => RoundTrip::Lost("it was stored but could not be fetched".to_owned()),
    })
}
