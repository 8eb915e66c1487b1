//! The round trip: a message goes through socket, broker and database, as a session's would, and
//! is read. By a throw-away peer, so that nobody else sees any of it.

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

/// How long it may take, a start of the broker included.
const LIMIT: Duration = Duration::from_secs(16);

/// A disk that takes longer to store a message is a slow one.
const SLOW: Duration = Duration::from_secs(1);

/// How far a trip came.
enum RoundTrip {
    /// So long from the call to send to the text in hand.
    Arrived(Duration),
    /// What came back is not what was sent.
    Lost(String),
}

pub async fn check(client: &Client, snapshot: &Snapshot) -> Vec<Finding> {
    // A broker is started where none runs. One that runs is left alone, whatever is wrong with it.
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
        // Should it be too late for that, the next probe's registration removes what is left.
        let _ = tokio::time::timeout(Duration::from_secs(1), client.unregister()).await;
    }
    match outcome {
        Ok(RoundTrip::Arrived(time)) => vec![arrived(time)],
        Ok(RoundTrip::Lost(problem)) => vec![
            Finding::failure(CHECK, format!("a message did not come back: {problem}"))
                .fix(snapshot.restart()),
        ],
        Err(error) => vec![failed(snapshot, &error)],
    }
}

fn arrived(time: Duration) -> Finding {
    let text = format!("a message was stored, taken and read in {:.1} ms", millis(time));
    if time > SLOW {
        return Finding::warning(CHECK, text)
            .detail("the disk takes long to store what must survive a loss of power, or the machine is busy");
    }
    Finding::ok(CHECK, text)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// What other checks find, they say with their advice.
fn failed(snapshot: &Snapshot, error: &ClientError) -> Finding {
    match error.code() {
        Some(ErrorCode::SettingsDiffer | ErrorCode::BrokerTooOld) => {
            return Finding::failure(CHECK, format!("not possible: {error}"));
        }
        Some(ErrorCode::BadRequest) => {
            return Finding::warning(CHECK, "this broker is too old to be checked")
                .detail(error.to_string())
                .fix(snapshot.restart_of_before());
        }
        _ => {}
    }
    if snapshot.socket_was_removed() {
        return Finding::failure(CHECK, "no message can be sent: the broker cannot be reached");
    }
    if is_service_down(snapshot, error) {
        return Finding::failure(CHECK, "no message can be sent: the service does not start")
            .detail(format!(
                "`journalctl --user -n 20 -u {SERVICE}` tells why, and so may other findings"
            ));
    }
    let finding = Finding::failure(CHECK, format!("no message can be sent: {error}"));
    let finding = match error.hint() {
        Some(hint) => finding.detail(hint),
        None => finding,
    };
    match error {
        ClientError::Silent | ClientError::Broken(_) => finding.fix(snapshot.restart_of_before()),
        _ => finding,
    }
}

/// The service manager listens, starts a broker for each call, and each of them ends.
fn is_service_down(snapshot: &Snapshot, error: &ClientError) -> bool {
    matches!(error, ClientError::Silent | ClientError::Broken(_))
        && snapshot.unit(SERVICE).is_some()
        && snapshot.broker_before.is_none()
        && snapshot.socket_state == SocketState::Listener
}

/// A peer that nobody sees.
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
    // The broker's start, if it takes one, is no part of the time.
    client.health().await?;
    let Some(me) = client.introduce().await? else {
        return Ok(RoundTrip::Lost("the peer was not registered".to_owned()));
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
        (true, _) => RoundTrip::Lost("that it was read could not be noted".to_owned()),
        (false, _) => RoundTrip::Lost("what was sent was not there to be taken".to_owned()),
    })
}
