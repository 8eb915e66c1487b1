//! The TCP port: whether our broker serves it, and which other process has it otherwise.

use std::path::Path;
use std::time::Duration;

use crate::doctor::finding::Finding;
use crate::doctor::snapshot::{Snapshot, runs_here};
use crate::doctor::units;
use crate::endpoint::localhost;
use crate::protocol::health::Detail;
use crate::protocol::route;
use crate::service::systemd::TCP_SOCKET;
use crate::service::systemd::units::forbidden_port;
use crate::sys::files::{MAX_RECORD, effective_uid, read_text};
use crate::sys::process;
use crate::sys::socket_owner;
use crate::sys::socket_owner::Owner;

const CHECK: &str = "port";

/// How long an answer over TCP may take.
const LIMIT: Duration = Duration::from_secs(3);

pub async fn check(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = of_broker(snapshot).await;
    findings.extend(other_localhost(snapshot));
    findings
}

/// Reports a listener where a script that calls `localhost` may send the token.
fn other_localhost(snapshot: &Snapshot) -> Option<Finding> {
    let detail = snapshot.detail().filter(|detail| runs_here(detail));
    let port = detail.map_or(snapshot.config.port, |detail| detail.tcp.port);
    let owner = localhost::other_listener(port, detail.map(|detail| detail.pid))?;
    Some(Finding::warning(CHECK, localhost::described(port, &owner)).detail(localhost::ADVICE))
}

async fn of_broker(snapshot: &Snapshot) -> Vec<Finding> {
    let Some(detail) = snapshot.detail() else { return Vec::new() };
    if !runs_here(detail) {
        // Its ports and process ids need not be those of this machine.
        return vec![Finding::ok(CHECK, "not checked: the broker runs in another container")];
    }
    let owner = socket_owner::tcp(detail.tcp.port);
    if forbidden_port(&snapshot.config).is_some_and(|why| detail.tcp.problem == Some(why)) {
        return vec![forbidden(detail)];
    }
    if !detail.tcp.listening {
        return vec![not_ours(snapshot, detail, owner.as_ref())];
    }
    // The token is sent to our broker only.
    if let Some(owner) = owner.as_ref().filter(|owner| !is_ours(owner, detail)) {
        return vec![not_ours(snapshot, detail, Some(owner))];
    }
    vec![answers(snapshot, detail).await]
}

/// Reports a port that the user has disabled. The check of the units reports how to enable it.
fn forbidden(detail: &Detail) -> Finding {
    let port = detail.tcp.port;
    Finding::ok(
        CHECK,
        format!("127.0.0.1:{port} is not open, as you chose: {TCP_SOCKET} is masked"),
    )
}

/// Whether the broker has the port open, or the service manager that handed it over.
///
/// If no process can be seen, the broker's word is enough, provided that the user is right.
fn is_ours(owner: &Owner, detail: &Detail) -> bool {
    if owner.processes.is_empty() {
        return owner.user.is_none_or(|user| user == effective_uid());
    }
    owner.has(detail.pid)
}

fn not_ours(snapshot: &Snapshot, detail: &Detail, owner: Option<&Owner>) -> Finding {
    let address = format!("127.0.0.1:{}", detail.tcp.port);
    let why = "sessions do not need this port, only scripts that use TCP do";
    let Some(owner) = owner else {
        let problem = detail.tcp.problem.clone().unwrap_or_default();
        return Finding::warning(CHECK, format!("{address} is not open ({problem})"))
            .detail(format!("{}; {why}", who_else(detail.tcp.port)))
            .fix(snapshot.restart());
    };
    let finding =
        Finding::warning(CHECK, format!("{address} is held by {owner}, not by the broker"));
    if is_manager(owner) {
        return finding
            .detail(format!(
                "the service manager holds this port for a different broker than the one that is running; {why}"
            ))
            .fix(units::listen_again(snapshot));
    }
    let own = owner.user.is_none_or(|user| user == effective_uid());
    if own && !owner.processes.is_empty() {
        let pids: Vec<String> = owner.processes.iter().map(u32::to_string).collect();
        return finding
            .detail(format!(
                "{why}. The command below kills {owner}. To keep it, set another CLAUDE_PEERS_PORT for all sessions and commands; that is another broker, with a database of its own"
            ))
            .fix(format!("kill {}; sleep 1; {}", pids.join(" "), snapshot.restart()));
    }
    finding.detail(format!(
        "{why}. Another user's process has the port. Wait until it is free, or set another CLAUDE_PEERS_PORT for all sessions and commands; that is another broker, with a database of its own"
    ))
}

/// Describes how to find the process that has the port, where the kernel does not tell us.
fn who_else(port: u16) -> String {
    if cfg!(target_os = "linux") {
        return "no other process has the port now".to_owned();
    }
    format!("to see which process has the port, run `lsof -nP -iTCP:{port} -sTCP:LISTEN`")
}

/// Whether a service manager has the port, or an ancestor of this process: neither must be killed.
fn is_manager(owner: &Owner) -> bool {
    let above = process::ancestors(std::process::id());
    owner.processes.iter().any(|pid| {
        let name = process::command_name(*pid).unwrap_or_default();
        *pid == 1 || above.contains(pid) || name == "systemd" || name == "launchd"
    })
}

/// Calls the broker over TCP with the token.
async fn answers(snapshot: &Snapshot, detail: &Detail) -> Finding {
    let address = format!("127.0.0.1:{}", detail.tcp.port);
    let token = detail.token_file(&snapshot.config.paths.token);
    let problem = match tokio::time::timeout(LIMIT, call(&token, &address)).await {
        Ok(Ok(200)) => {
            return Finding::ok(CHECK, format!("{address} answers and accepts the token"));
        }
        Ok(Ok(401)) => {
            return Finding::failure(CHECK, format!("{address} answers and refuses the token"))
                .detail(format!(
                    "the token in {} is not the one that this broker started with",
                    token.display()
                ))
                .fix(snapshot.restart());
        }
        Ok(Ok(status)) => format!("the answer is HTTP status {status}"),
        Ok(Err(problem)) => problem,
        Err(_) => format!("no answer within {} s", LIMIT.as_secs()),
    };
    Finding::failure(CHECK, format!("{address} does not work"))
        .detail(problem)
        .fix(snapshot.restart())
}

async fn call(token: &Path, address: &str) -> Result<u16, String> {
    let token = read_text(token, MAX_RECORD)
        .map_err(|error| format!("the token cannot be read: {error}"))?;
    let text = |error: reqwest::Error| error.without_url().to_string();
    // An error means that the provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().map_err(text)?;
    let answer = http
        .get(format!("http://{address}{}", route::PEERS))
        .bearer_auth(token.trim())
        .send()
        .await
        .map_err(text)?;
    Ok(answer.status().as_u16())
}
