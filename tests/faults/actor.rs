//! A session that works all the time: it sends, asks, answers, reads its mail, and comes back when its
//! server was killed.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::history::{Answer, Seen, Send, Span, Way, read};
use crate::support::Chance;
use crate::world::{Kind, Process, World, locked};

/// A question that asks for an answer begins with this.
const QUESTION: &str = "question ";

/// How long a call may take until its client gives up on the server. It is longer than any call.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long a server may take to register, whatever happens meanwhile.
const COMES_UP: Duration = Duration::from_secs(30);

/// A request that waits for its answer.
enum Pending {
    Send(crate::history::Sending, bool),
    Check(u64),
    Other,
}

/// What the reading thread and the session share.
struct Shared {
    world: Arc<World>,
    at: usize,
    instance: String,
    pending: Mutex<BTreeMap<u64, Pending>>,
}

/// One life of the session's server.
struct Life {
    shared: Arc<Shared>,
    process: Arc<Process>,
    input: ChildStdin,
    answers: Receiver<(u64, Value)>,
    questions: Receiver<Seen>,
    reader: std::thread::JoinHandle<()>,
    next: u64,
    ended: bool,
}

/// Works as the session at this place until the run is over.
pub fn work(world: &Arc<World>, at: usize, mut chance: Chance) {
    let mut lives = 0;
    while !world.is_over() {
        lives += 1;
        let Some(mut life) = Life::begin(world, at, lives) else { continue };
        if life.identify() {
            if lives == 1 {
                world.ready.fetch_add(1, Ordering::SeqCst);
            }
            life.act(&mut chance);
        }
        life.end();
    }
}

impl Life {
    fn begin(world: &Arc<World>, at: usize, number: u32) -> Option<Self> {
        let session = &world.sessions[at];
        let instance = format!("{}/{number}", session.name);
        let directory = world.sandbox.path().join("work").join(&session.name);
        std::fs::create_dir_all(&directory).ok()?;
        if let Some(peer) = session.peer.get() {
            world.recorder.began(peer, &instance);
        }
        let mut command = world.command(&["mcp"]);
        command
            .current_dir(&directory)
            .env("CLAUDE_PROJECT_DIR", &directory)
            .env("CLAUDE_CODE_SESSION_ID", format!("session-{}", session.name))
            .env("CLAUDE_CODE_ENTRYPOINT", "cli")
            .env("CLAUDE_PEERS_CHANNEL", if session.has_channel { "on" } else { "off" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let (process, pipes) = world.spawn(Kind::Server, &mut command)?;
        let shared =
            Arc::new(Shared { world: Arc::clone(world), at, instance, pending: Mutex::default() });
        let (answer, answers) = channel();
        let (question, questions) = channel();
        let (reading, output) = (Arc::clone(&shared), pipes.output?);
        let reader = std::thread::spawn(move || reading.read(output, &answer, &question));
        let input = pipes.input?;
        let mut life =
            Self { shared, process, input, answers, questions, reader, next: 0, ended: false };
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "claude-code", "version": "2.1.330" },
        });
        let id = life.request("initialize", hello, Pending::Other);
        life.answer(id);
        life.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        Some(life)
    }

    /// Learns the id of the session's peer, which must be that of its earlier lives.
    fn identify(&mut self) -> bool {
        let world = Arc::clone(&self.shared.world);
        let since = Instant::now();
        let mut is_late = false;
        while !self.ended && !world.is_over() {
            let listed = self.call("list_peers", json!({}), Pending::Other);
            if since.elapsed() > COMES_UP && !std::mem::replace(&mut is_late, true) {
                let instance = &self.shared.instance;
                world.problem(format!("{instance} does not come up: {listed:?}"));
            }
            let id = listed.as_ref().map(|result| &result["structuredContent"]["me"]["id"]);
            let Some(id) = id.and_then(Value::as_str) else {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            let session = &world.sessions[self.shared.at];
            let known = session.peer.get_or_init(|| {
                world.recorder.began(id, &self.shared.instance);
                id.to_owned()
            });
            if known != id {
                world.problem(format!("{} was {known} and is {id} now", session.name));
            }
            return true;
        }
        false
    }

    fn me(&self) -> String {
        let world = &self.shared.world;
        world.sessions[self.shared.at].peer.get().cloned().unwrap_or_default()
    }

    /// Does this and that until the server has ended or the run is over.
    fn act(&mut self, chance: &mut Chance) {
        let world = Arc::clone(&self.shared.world);
        while !self.ended && !world.is_over() {
            while let Ok(question) = self.questions.try_recv() {
                self.reply(&question);
            }
            if world.is_settling() {
                if !world.sessions[self.shared.at].only_listens {
                    self.check();
                }
                std::thread::sleep(Duration::from_millis(200));
                continue;
            }
            let to = chance.below(world.sessions.len() as u64 + 1) as usize;
            let to = match world.sessions.get(to) {
                Some(other) => other.peer.get().cloned(),
                None => world.cli.get().cloned(),
            };
            let to = to.filter(|to| *to != self.me());
            if chance.below(300) == 0 {
                return self.die_in_a_call(chance);
            }
            match (chance.below(20), to) {
                (0..=8, Some(to)) => self.send(&[to], None),
                (9..=11, Some(to)) => {
                    let count = 2 + chance.below(5) as usize;
                    self.send(&vec![to; count], None);
                }
                (12, Some(to)) if world.cli.get() != Some(&to) => self.ask(&to),
                (13..=16, _) if !world.sessions[self.shared.at].only_listens => self.check(),
                (17..=18, _) if !world.sessions[self.shared.at].has_channel => {
                    crate::commands::turn(&world, self.shared.at);
                }
                _ => {}
            }
            std::thread::sleep(
                chance.between(Duration::from_millis(20), Duration::from_millis(900)),
            );
        }
    }

    /// Sends a message to each of these peers, all at once.
    fn send(&mut self, to: &[String], reply_to: Option<&str>) {
        let (world, from) = (Arc::clone(&self.shared.world), self.me());
        let mut ids = Vec::new();
        for to in to {
            let text = world.text(&world.sessions[self.shared.at].name);
            let mut arguments = json!({ "to_id": to, "message": text });
            if let Some(id) = reply_to {
                arguments["reply_to"] = json!(id);
            }
            let place = Some((self.shared.instance.clone(), self.next));
            let sending = world.recorder.begin(Send {
                began: 0,
                from: from.clone(),
                to: to.clone(),
                text,
                key: None,
                reply_to: reply_to.map(str::to_owned),
                waits: false,
                place,
                answer: None,
            });
            let params = json!({ "name": "send_message", "arguments": arguments });
            ids.push(self.request("tools/call", params, Pending::Send(sending, false)));
        }
        for id in ids {
            self.answer(id);
        }
    }

    /// Asks a question, and waits for the reply for a while.
    fn ask(&mut self, to: &str) {
        let world = Arc::clone(&self.shared.world);
        let text = format!("{QUESTION}{}", world.text(&world.sessions[self.shared.at].name));
        let sending = world.recorder.begin(Send {
            began: 0,
            from: self.me(),
            to: to.to_owned(),
            text: text.clone(),
            key: None,
            reply_to: None,
            waits: true,
            place: Some((self.shared.instance.clone(), self.next)),
            answer: None,
        });
        let arguments = json!({ "to_id": to, "message": text, "wait_seconds": 2 });
        self.call("send_message", arguments, Pending::Send(sending, true));
    }

    fn reply(&mut self, question: &Seen) {
        self.send(std::slice::from_ref(&question.from), Some(&question.id));
    }

    fn check(&mut self) {
        let began = self.shared.world.recorder.now();
        self.call("check_messages", json!({}), Pending::Check(began));
    }

    /// Has the server killed while it answers.
    fn die_in_a_call(&mut self, chance: &mut Chance) {
        let world = Arc::clone(&self.shared.world);
        let began = world.recorder.now();
        let params = json!({ "name": "check_messages", "arguments": {} });
        self.request("tools/call", params, Pending::Check(began));
        std::thread::sleep(chance.between(Duration::ZERO, Duration::from_millis(25)));
        if self.process.signal(rustix::process::Signal::KILL) {
            world.count(crate::nemesis::IN_A_CALL);
        }
    }

    fn call(&mut self, tool: &str, arguments: Value, pending: Pending) -> Option<Value> {
        let params = json!({ "name": tool, "arguments": arguments });
        let id = self.request("tools/call", params, pending);
        self.answer(id)
    }

    fn request(&mut self, method: &str, params: Value, pending: Pending) -> u64 {
        let id = self.next;
        self.next += 1;
        locked(&self.shared.pending).insert(id, pending);
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    fn write(&mut self, message: &Value) {
        let written = writeln!(self.input, "{message}").and_then(|()| self.input.flush());
        self.ended |= written.is_err();
    }

    /// Waits for the answer to a request. `None` means that the server has ended, or hangs.
    fn answer(&mut self, id: u64) -> Option<Value> {
        let since = Instant::now();
        loop {
            match self.answers.recv_timeout(Duration::from_millis(500)) {
                Ok((answered, result)) if answered == id => return Some(result),
                // Answers of one burst come in any order.
                Ok(_) if !locked(&self.shared.pending).contains_key(&id) => return None,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    if !locked(&self.shared.pending).contains_key(&id) {
                        return None;
                    }
                    let world = &self.shared.world;
                    if since.elapsed() > PATIENCE {
                        world.problem(format!("{} hangs in a call", self.shared.instance));
                        self.ended = true;
                        return None;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.ended = true;
                    return None;
                }
            }
        }
    }

    /// Ends the server, and reads what it has still written.
    fn end(self) {
        let Self { shared, process, input, reader, .. } = self;
        drop(input);
        process.signal(rustix::process::Signal::KILL);
        process.wait();
        shared.world.sessions[shared.at].is_deaf.store(false, Ordering::SeqCst);
        let _ = reader.join();
        let peer = shared.world.sessions[shared.at].peer.get();
        let peer = peer.cloned().unwrap_or_default();
        for (_, pending) in std::mem::take(&mut *locked(&shared.pending)) {
            match pending {
                // All that it wrote was read, so what is not there was not shown.
                Pending::Check(began) => {
                    shared.world.recorder.look(began, &peer, Way::Tool, true);
                }
                Pending::Send(_, true) => {
                    shared.world.recorder.look(0, &peer, Way::Answer, true);
                }
                _ => {}
            }
        }
        shared.world.recorder.ended(&peer, &shared.instance);
    }
}

impl Shared {
    /// Reads the server's lines to their end, and notes what they show.
    fn read(
        &self,
        output: std::process::ChildStdout,
        answers: &Sender<(u64, Value)>,
        questions: &Sender<Seen>,
    ) {
        let mut early = VecDeque::new();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let session = &self.world.sessions[self.at];
            while session.is_deaf.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let Ok(message) = serde_json::from_str::<Value>(&line) else {
                // A server that was killed may leave a part of a line.
                continue;
            };
            if message["method"] == "notifications/claude/channel" {
                early.push_back((self.world.recorder.now(), read::push(&message["params"])));
            } else if let Some(id) = message["id"].as_u64() {
                self.note_answer(id, &message["result"], questions);
                let _ = answers.send((id, message["result"].clone()));
            }
            // What comes before the peer is known is noted once it is.
            while let (Some(peer), false) = (session.peer.get(), early.is_empty()) {
                let Some((ended, seen)) = early.pop_front() else { break };
                self.ask_back(&seen, questions);
                let span = Span { began: 0, ended };
                self.world.count("messages pushed");
                locked(&self.world.shown).insert(seen.id.clone());
                self.world.recorder.shown(span, peer, &self.instance, Way::Push, vec![seen]);
            }
        }
    }

    fn ask_back(&self, seen: &Seen, questions: &Sender<Seen>) {
        if seen.text.starts_with(QUESTION) && !seen.repeat && !seen.already_pushed {
            let _ = questions.send(seen.clone());
        }
    }

    fn note_answer(&self, id: u64, result: &Value, questions: &Sender<Seen>) {
        let Some(pending) = locked(&self.pending).remove(&id) else { return };
        let world = &self.world;
        let recorder = &world.recorder;
        let is_error = result["isError"] == true || result.is_null();
        if !is_error {
            world.succeeded();
        }
        let peer = world.sessions[self.at].peer.get().cloned().unwrap_or_default();
        let structured = &result["structuredContent"];
        match pending {
            Pending::Send(sending, waits) => {
                if is_error {
                    world.count("sends told as failed or unknown");
                    recorder.answered(sending, Answer::Unknown);
                } else if let Some(id) = structured["id"].as_str() {
                    world.count("sends acknowledged");
                    let state = structured["state"].as_str().filter(|_| !waits);
                    recorder.accepted(sending, id, state);
                }
                if let Some(seen) = read::answer(structured).filter(|_| waits) {
                    world.count("questions answered");
                    locked(&world.shown).insert(seen.id.clone());
                    let span = recorder.until_now(0);
                    let receiver = format!("{}#{id}", self.instance);
                    recorder.looked(span, &peer, &receiver, Way::Answer, vec![seen]);
                }
            }
            Pending::Check(began) if is_error => recorder.look(began, &peer, Way::Tool, true),
            Pending::Check(began) => {
                let messages = read::check_messages(structured);
                messages.iter().for_each(|seen| self.ask_back(seen, questions));
                for _ in &messages {
                    world.count("messages shown by tools");
                }
                let span = recorder.until_now(began);
                recorder.told(span, read::own_unread(structured));
                recorder.looked(span, &peer, &self.instance, Way::Tool, messages);
            }
            Pending::Other => {}
        }
    }
}
