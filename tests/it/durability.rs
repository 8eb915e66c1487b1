//! Promises 1 and 2: what was accepted is not lost, doubled or reordered, whatever is killed when.

use std::collections::{HashMap, HashSet};
#[cfg(target_os = "linux")]
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::{Chance, PATIENCE, Sandbox, Session, SessionOptions, messages, rounds, until};

const CHANNEL: &str = "notifications/claude/channel";

/// Sets a flag when dropped, so that a failed assertion ends the disturbance, too.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The largest number of disturbances without progress. A call has a time limit, which a broker
/// that is always ended at its start would use up on a slow machine.
const IN_A_ROW: usize = 3;

/// Does `work`, which counts its progress, while `disturb` is called at random instants, at least
/// once.
fn while_disturbed<T>(
    disturb: impl Fn() -> bool + Sync,
    work: impl FnOnce(&AtomicUsize) -> T,
) -> T {
    let (over, progress) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let disturber = scope.spawn(|| {
            let mut chance = Chance::new();
            let mut times = 0;
            let (mut seen, mut in_a_row) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                match progress.load(Ordering::Relaxed) {
                    now if now != seen => (seen, in_a_row) = (now, 0),
                    _ if in_a_row >= IN_A_ROW => {
                        std::thread::sleep(Duration::from_millis(1));
                        continue;
                    }
                    _ => {}
                }
                std::thread::sleep(
                    chance.between(Duration::from_millis(1), Duration::from_millis(250)),
                );
                let disturbed = usize::from(disturb());
                (times, in_a_row) = (times + disturbed, in_a_row + disturbed);
            }
            times
        });
        let raise = Raise(&over);
        let result = work(&progress);
        drop(raise);
        let times = disturber.join().unwrap();
        assert!(times > 0, "nothing was disturbed");
        println!("disturbed {times} times");
        result
    })
}

fn texts(round: usize, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("round {round}, message {n}")).collect()
}

/// Checks that all messages arrive by push: once, in order, not marked as repeats.
#[track_caller]
fn arrives_once_in_order(receiver: &mut Session, ids: &[String], texts: &[String]) {
    for (id, text) in ids.iter().zip(texts) {
        let push = receiver.push();
        assert_eq!(push["meta"]["message_id"], id.as_str(), "expected {text}: {push}");
        assert_eq!(push["content"], text.as_str());
        assert!(push["meta"].get("repeat").is_none(), "one instance sees no repeats: {push}");
    }
}

/// The number of messages in a part of a burst. An accepted part is progress.
const PART: usize = 30;

/// Sends bursts from one session to another while the broker is ended again and again.
fn a_burst_survives(pipelined: bool, end_broker: impl Fn(&Sandbox) -> bool + Sync) {
    let sandbox = Sandbox::unlimited();
    let mut sender = sandbox.session("sender");
    let mut receiver = sandbox.session("receiver");
    let (me, other) = (sender.id(), receiver.id());
    for round in 0..rounds(1) {
        let texts = texts(round, messages(150));
        let ids = while_disturbed(
            || end_broker(&sandbox),
            |progress| {
                let mut ids = Vec::new();
                for part in texts.chunks(PART) {
                    ids.extend(sender.send_all("receiver", part, pipelined));
                    progress.fetch_add(1, Ordering::Relaxed);
                }
                ids
            },
        );
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), texts.len(), "ids are unique");
        arrives_once_in_order(&mut receiver, &ids, &texts);
    }
    assert!(receiver.push_within(Duration::from_millis(500)).is_none(), "one too many");
    assert_eq!((sender.id(), receiver.id()), (me, other));
}

#[test]
fn a_burst_arrives_once_and_in_order_though_the_broker_is_killed_in_its_middle() {
    a_burst_survives(false, |sandbox| sandbox.kill9_broker().is_some());
}

#[test]
fn a_pipelined_burst_arrives_once_and_in_order_though_the_broker_is_killed_in_its_middle() {
    a_burst_survives(true, |sandbox| sandbox.kill9_broker().is_some());
}

#[test]
fn a_burst_arrives_once_and_in_order_though_the_broker_is_asked_to_stop_in_its_middle() {
    a_burst_survives(true, |sandbox| match sandbox.broker() {
        Some(running) => {
            running.ask_to_stop();
            true
        }
        None => false,
    });
}

#[test]
fn a_burst_arrives_once_and_in_order_though_kill_broker_is_run_in_its_middle() {
    a_burst_survives(false, |sandbox| {
        sandbox.json(["kill-broker"])["was_running"].as_bool().unwrap()
    });
}

#[test]
fn what_was_accepted_outlives_broker_and_receiver_killed_at_random() {
    let sandbox = Sandbox::unlimited();
    let mut sender = sandbox.session("sender");
    let mut receiver = Some(sandbox.session("receiver"));
    let receiver_id = receiver.as_mut().unwrap().id();
    let texts = texts(0, messages(120));
    let over = AtomicBool::new(false);
    // What each server process of the receiver showed, in order, with its mark.
    let mut lives: Vec<Vec<(String, bool)>> = Vec::new();
    let ids = while_disturbed(
        || sandbox.kill9_broker().is_some(),
        |progress| {
            std::thread::scope(|scope| {
                let work = scope.spawn(|| {
                    let _raise = Raise(&over);
                    let mut ids = Vec::new();
                    for part in texts.chunks(texts.len().div_ceil(2 * rounds(2))) {
                        ids.extend(sender.send_all(&receiver_id, part, false));
                        progress.fetch_add(1, Ordering::Relaxed);
                        // Long enough for a server process to show pushes before it is killed.
                        std::thread::sleep(Duration::from_millis(600));
                    }
                    ids
                });
                let mut chance = Chance::new();
                while !over.load(Ordering::Relaxed) {
                    let life = chance.between(Duration::ZERO, Duration::from_millis(1_800));
                    std::thread::sleep(life);
                    lives.push(shown(&receiver.take().unwrap().kill9_and_drain()));
                    let mut next = SessionOptions::new("receiver").at_once().start(&sandbox);
                    assert_eq!(next.id(), receiver_id, "the same session is the same peer");
                    receiver = Some(next);
                }
                work.join().unwrap()
            })
        },
    );
    let mut receiver = receiver.unwrap();
    let mut last = Vec::new();
    for _ in &ids {
        let push = receiver.push();
        last.push(shown_one(&push));
    }
    let order: Vec<&String> = last.iter().map(|(id, _)| id).collect();
    assert_eq!(order, ids.iter().collect::<Vec<_>>(), "nothing was read, so all is offered again");
    assert!(receiver.push_within(Duration::from_millis(500)).is_none(), "one too many");
    lives.push(last);
    let place: HashMap<&String, usize> = ids.iter().enumerate().map(|(n, id)| (id, n)).collect();
    let mut before: HashSet<&String> = HashSet::new();
    for life in &lives {
        let places: Vec<usize> = life.iter().map(|(id, _)| place[id]).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "in order and once per life: {places:?}");
        for (id, repeat) in life {
            assert!(*repeat || !before.contains(id), "{id} was shown before and is not marked");
        }
        before.extend(life.iter().map(|(id, _)| id));
    }
}

/// The ids and marks of the pushes among these messages.
fn shown(messages: &[Value]) -> Vec<(String, bool)> {
    let pushes = messages.iter().filter(|message| message["method"] == CHANNEL);
    pushes.map(|message| shown_one(&message["params"])).collect()
}

fn shown_one(push: &Value) -> (String, bool) {
    let meta = &push["meta"];
    (meta["message_id"].as_str().unwrap().to_owned(), meta["repeat"] == "true")
}

#[test]
fn what_was_accepted_outlives_its_sender() {
    let sandbox = Sandbox::unlimited();
    let mut receiver = sandbox.session("receiver");
    let mut chance = Chance::new();
    for round in 0..rounds(4) {
        let mut sender = SessionOptions::new(&format!("sender-{round}")).at_once().start(&sandbox);
        sender.me();
        // So many that the server is killed before it has sent them all.
        let texts = texts(round, 4_000);
        let requests: Vec<u64> =
            texts.iter().map(|text| sender.start_send("receiver", text)).collect();
        let some = chance.below(40) as usize;
        let mut answers = sender.answers_to(&requests[..some]);
        std::thread::sleep(chance.between(Duration::ZERO, Duration::from_millis(3)));
        answers.extend(sender.kill9_and_drain());
        let accepted: HashMap<usize, &str> = answers
            .iter()
            .filter_map(|answer| {
                let n = requests.iter().position(|id| answer["id"] == *id)?;
                Some((n, answer["result"]["structuredContent"]["id"].as_str()?))
            })
            .collect();
        assert!(accepted.len() >= some && accepted.len() < texts.len(), "{}", accepted.len());
        // Messages after the last accepted one may arrive as well: their answers were lost. So there
        // is no count to wait for, only a pause.
        let mut arrived = 0;
        let mut wait = PATIENCE;
        while arrived < accepted.len() || {
            wait = Duration::from_millis(300);
            true
        } {
            let Some((_, push)) = receiver.push_within(wait) else { break };
            assert_eq!(push["content"], texts[arrived].as_str(), "in order, once, no gap");
            if let Some(id) = accepted.get(&arrived) {
                assert_eq!(push["meta"]["message_id"], *id);
            }
            arrived += 1;
        }
        let last = accepted.keys().max().map_or(0, |last| last + 1);
        assert!(arrived >= last, "{arrived} arrived, {last} were accepted");
    }
}

#[test]
fn a_retry_with_the_same_key_gets_the_stored_answer_even_from_the_next_broker() {
    let sandbox = Sandbox::new();
    let mut receiver = sandbox.session("receiver");
    let body = json!({ "to": "receiver", "text": "once" });
    let send = |key: &str, body: &Value| {
        Request::post("/v1/messages", body).with("idempotency-key", key).unix(&sandbox)
    };
    let first = send("key-1", &body);
    assert_eq!(first.status, 200, "{first:?}");
    let second = send("key-1", &body);
    assert_eq!((second.status, &second.body), (200, &first.body));

    sandbox.kill9_broker().unwrap();
    sandbox.ok(["peers"]);
    let third = send("key-1", &body);
    assert_eq!(third.status, 200, "{third:?}");
    // Whether the recipient has connected again is told as it is now.
    let but_since = |mut answer: Value| {
        for field in ["since", "live", "reach"] {
            answer["to"][field].take();
        }
        answer
    };
    assert_eq!(but_since(third.json()), but_since(first.json()));

    let other = send("key-1", &json!({ "to": "receiver", "text": "another" }));
    assert_eq!((other.status, &other.json()["code"]), (422, &json!("key_reused")));

    assert_eq!(receiver.push()["content"], "once");
    assert!(receiver.push_within(Duration::from_millis(300)).is_none());
    assert_eq!(sandbox.json(["log"])["messages"].as_array().unwrap().len(), 1);

    // Another key is another message.
    assert_ne!(send("key-2", &body).json()["id"], first.json()["id"]);
}

#[test]
fn a_registration_and_a_profile_survive_the_broker() {
    let sandbox = Sandbox::new();
    let mut session = sandbox.session("worker");
    session.call("set_summary", json!({ "summary": "mends the roof", "name": "roofer" }));
    let before = session.me();
    sandbox.kill9_broker().unwrap();
    until("the session is live again", || session.me()["live"] == true);
    let after = session.me();
    for field in ["id", "name", "summary", "cwd"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    assert_eq!(after["summary"], "mends the roof");
}

/// A power loss takes what was not synced, so no answer may come before the sync.
#[test]
#[cfg(target_os = "linux")]
fn a_send_is_accepted_only_after_its_message_was_synced_to_the_disk() {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use crate::support::http::{self, RawPeer};
    use crate::support::seccomp::{Asked, Verdict};

    let sandbox = Sandbox::new();
    let mut command = sandbox.command(["broker"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (asked, mut broker) = match Asked::spawn(&mut command, &SYNCS) {
        Ok(spawned) => spawned,
        Err(error) => return println!("skipped: system calls cannot be intercepted here: {error}"),
    };
    let intercepts = Arc::new(AtomicBool::new(false));
    let (ask, syncs) = channel();
    let (decide, verdicts) = channel();
    let intercepted = Arc::clone(&intercepts);
    std::thread::spawn(move || {
        let judge = || {
            if !intercepted.load(Ordering::SeqCst) || ask.send(()).is_err() {
                return Verdict::Continue;
            }
            verdicts.recv().unwrap_or(Verdict::Continue)
        };
        while asked.next(judge) {}
    });
    until("the broker serves", || sandbox.status_is("running"));
    let (a, b) = (RawPeer::register(&sandbox, "a"), RawPeer::register(&sandbox, "b"));
    let _live = sandbox.session("live");
    let seen = a.send(&sandbox, &b.id, "seen by b");
    let message = json!({ "to": b.id, "text": "hello" });
    let batch = json!({ "messages": [{ "key": "k".repeat(32), "message": message }] });
    let scope = json!({ "scope": "machine", "text": "hello" });
    let (go_on, fail) = (Verdict::Continue, Verdict::Fail(libc::EIO));
    for (path, body, secret, verdict, status) in [
        ("/v1/messages", &message, &a.secret, go_on, 200),
        ("/v1/messages/batch", &batch, &a.secret, go_on, 200),
        ("/v1/messages/scope", &scope, &a.secret, go_on, 200),
        // What was read is not offered once more because of a power loss.
        ("/v1/mailbox/confirm", &json!({ "ids": [seen] }), &b.secret, go_on, 200),
        ("/v1/messages", &message, &a.secret, fail, 503),
    ] {
        let request = Request::post(path, body).session(secret).bytes();
        let mut stream = http::unix(&sandbox);
        intercepts.store(true, Ordering::SeqCst);
        let send = std::thread::spawn(move || http::exchange(&mut stream, &request).unwrap());
        syncs.recv_timeout(PATIENCE).expect("it is synced");
        std::thread::sleep(Duration::from_millis(300));
        assert!(!send.is_finished(), "{path} was answered before it was synced");
        intercepts.store(false, Ordering::SeqCst);
        decide.send(verdict).unwrap();
        assert_eq!(send.join().unwrap().status, status, "{path}: {verdict:?}");
    }
    broker.kill().unwrap();
    broker.wait().unwrap();
}

/// The system calls that sync a file.
#[cfg(target_os = "linux")]
const SYNCS: [libc::c_long; 2] = [libc::SYS_fsync, libc::SYS_fdatasync];
