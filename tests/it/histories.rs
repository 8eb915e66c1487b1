//! Promises 1 and 2: a whole history is checked: sessions, hooks and the command line, with kills of all.

use std::time::Duration;

use serde_json::{Value, json};

use crate::history::{Answer, Event, Recorder, Send, Span, Way, assert_holds, read};
use crate::support::hooks::hook;
use crate::support::{Chance, Sandbox, Session, SessionOptions, log_lines, rounds, until};

/// The most lines of the log that are read. No test sends as many.
const ALL: &str = "1000";

/// The place of the command line among the peers.
const CLI: usize = 3;

/// A session, as its client drives it.
struct Driven {
    options: SessionOptions,
    session: Session,
    id: String,
    /// The present life of its server.
    instance: String,
}

struct Run {
    sandbox: Sandbox,
    recorder: Recorder,
    driven: Vec<Driven>,
    /// The peer ids of the sessions, and of the command line.
    peers: Vec<String>,
    texts: usize,
    lives: usize,
    turn: usize,
}

impl Run {
    fn new() -> Self {
        let sandbox = Sandbox::unlimited();
        let mut run = Self {
            sandbox,
            recorder: Recorder::new(),
            driven: Vec::new(),
            peers: Vec::new(),
            texts: 0,
            lives: 0,
            turn: 0,
        };
        for name in ["ann", "bob", "cyd"] {
            let options = SessionOptions::new(name);
            let options = if name == "cyd" { options.without_channel() } else { options };
            let mut session = options.start(&run.sandbox);
            let id = session.id();
            // Nothing was sent yet, so no push can have come before this.
            run.lives += 1;
            let instance = format!("instance {}", run.lives);
            run.recorder.began(&id, &instance);
            run.driven.push(Driven { options, session, id: id.clone(), instance });
            run.peers.push(id);
        }
        // The command line is a peer since its first call.
        let (began, text) = (run.recorder.now(), run.text());
        let sent = run.sandbox.json(["send", &run.peers[0], &text]);
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        run.peers.push(word(&sent["from"]["id"]));
        let answer = Answer::Accepted { id: word(&sent["id"]), state: None };
        run.recorder.note(Event::Send(Send {
            began,
            from: run.peers[CLI].clone(),
            to: run.peers[0].clone(),
            text,
            key: None,
            reply_to: None,
            waits: false,
            place: None,
            answer: Some((run.recorder.now(), answer)),
        }));
        run
    }

    fn text(&mut self) -> String {
        self.texts += 1;
        format!("text number {} of this run", self.texts)
    }

    /// Notes the pushes that this client has read so far.
    fn note_pushes(&mut self, who: usize) {
        let one = &mut self.driven[who];
        while let Some((at, push)) = one.session.push_within(Duration::ZERO) {
            let ended = self.recorder.at(at);
            let span = Span { began: 0, ended };
            let seen = vec![read::push(&push)];
            self.recorder.shown(span, &one.id, &one.instance, Way::Push, seen);
        }
    }

    /// Sends texts to another peer at once. If `kill` is set, the broker is killed meanwhile.
    fn send(&mut self, from: usize, to: usize, count: usize, kill: bool) {
        let to = self.peers[to].clone();
        let mut under_way = Vec::new();
        for place in 0..count {
            let text = self.text();
            let one = &mut self.driven[from];
            let sending = self.recorder.begin(Send {
                began: 0,
                from: one.id.clone(),
                to: to.clone(),
                text: text.clone(),
                key: None,
                reply_to: None,
                waits: false,
                place: Some((format!("{} {}", one.instance, self.texts), place as u64)),
                answer: None,
            });
            under_way.push((one.session.start_send(&to, &text), sending));
        }
        if kill {
            self.sandbox.kill9_broker();
        }
        let requests: Vec<u64> = under_way.iter().map(|(request, _)| *request).collect();
        let answers = self.driven[from].session.answers_to(&requests);
        for ((_, sending), answer) in under_way.into_iter().zip(answers) {
            let result = &answer["result"];
            let sent = &result["structuredContent"];
            let words = result["content"][0]["text"].as_str().unwrap_or_default();
            let answer = match sent["id"].as_str() {
                Some(id) => Answer::Accepted {
                    id: id.to_owned(),
                    state: sent["state"].as_str().map(str::to_owned),
                },
                None if words.starts_with("Nothing was sent") => {
                    Answer::Refused { code: words.to_owned() }
                }
                None => Answer::Unknown,
            };
            self.recorder.answered(sending, answer);
        }
        self.note_pushes(from);
    }

    fn check_messages(&mut self, who: usize) {
        let began = self.recorder.now();
        let result = self.driven[who].session.try_call("check_messages", json!({}));
        // What was pushed before stands before the result on the same pipe.
        self.note_pushes(who);
        let span = self.recorder.until_now(began);
        let (one, said) = (&self.driven[who], &result["structuredContent"]);
        let seen = read::check_messages(said);
        self.recorder.looked(span, &one.id, &one.instance, Way::Tool, seen);
        self.recorder.told(span, read::own_unread(said));
    }

    /// Runs a hook of the session without a channel.
    fn hook(&mut self, event: &str) {
        if event == "UserPromptSubmit" {
            self.turn += 1;
        }
        let input = json!({
            "session_id": "session-cyd", "hook_event_name": event, "cwd": "/",
            "prompt_id": format!("turn {}", self.turn),
        });
        let began = self.recorder.now();
        let output = hook(&self.sandbox, event, &input);
        let span = self.recorder.until_now(began);
        let seen = read::hook_output(&String::from_utf8(output.stdout).unwrap());
        let receiver = format!("hook at {began}");
        self.recorder.looked(span, &self.driven[2].id, &receiver, Way::Hook, seen);
    }

    fn command(&mut self, choice: u64, to: usize) {
        let began = self.recorder.now();
        match choice {
            0 => {
                let inbox = self.sandbox.json(["inbox"]);
                let span = self.recorder.until_now(began);
                let receiver = format!("inbox at {began}");
                self.recorder.looked(
                    span,
                    &self.peers[CLI],
                    &receiver,
                    Way::Inbox,
                    read::inbox(&inbox),
                );
            }
            1 => {
                let log = self.sandbox.json(["log", "-n", ALL]);
                self.recorder.told(self.recorder.until_now(began), read::log(&log));
            }
            _ => {
                let (text, to) = (self.text(), self.peers[to].clone());
                let sending = self.recorder.send(&self.peers[CLI], &to, &text);
                let sent = self.sandbox.json(["send", &to, &text]);
                let state = sent["state"].as_str();
                self.recorder.accepted(sending, sent["id"].as_str().unwrap(), state);
            }
        }
    }

    /// Kills a session's server, and starts another.
    fn restart(&mut self, who: usize) {
        self.note_pushes(who);
        self.lives += 1;
        let instance = format!("instance {}", self.lives);
        let id = self.driven[who].id.clone();
        self.recorder.began(&id, &instance);
        let next = self.driven[who].options.spawn(&self.sandbox);
        let mut old = std::mem::replace(&mut self.driven[who].session, next);
        // The next one is greeted when the old one is gone.
        let before = std::mem::replace(&mut self.driven[who].instance, instance);
        old.start_request("tools/call", json!({ "name": "check_messages", "arguments": {} }));
        let began = self.recorder.now();
        for line in old.kill9_and_drain() {
            let span = self.recorder.until_now(0);
            if line["method"] == "notifications/claude/channel" {
                let seen = vec![read::push(&line["params"])];
                self.recorder.shown(span, &id, &before, Way::Push, seen);
            } else {
                let seen = read::check_messages(&line["result"]["structuredContent"]);
                let span = self.recorder.until_now(began);
                self.recorder.looked(span, &id, &before, Way::Tool, seen);
            }
        }
        self.recorder.look(began, &id, Way::Tool, true);
        self.recorder.ended(&id, &before);
        let session = &mut self.driven[who].session;
        session.handshake("claude-code");
        session.until_live();
    }

    /// Lets what is under way come, and checks all of it.
    fn finish(mut self) {
        for who in 0..self.driven.len() {
            self.driven[who].session.until_live();
            // A push that was decided is written before the next answer.
            std::thread::sleep(Duration::from_millis(300));
            self.driven[who].session.me();
            self.note_pushes(who);
        }
        let mut log = Value::Null;
        until("the log is read", || {
            let output = self.sandbox.run(["log", "-n", ALL, "--json"]);
            log = log_lines(&output.stdout).filter(|_| output.status.success()).unwrap_or_default();
            log["messages"].is_array()
        });
        let now = self.recorder.now();
        let stored = read::stored(&log, Span { began: now, ended: now });
        println!("{} messages", stored.len());
        assert_holds(&self.recorder.finish(stored));
    }
}

#[test]
fn nothing_is_lost_doubled_reordered_or_told_falsely_whatever_is_killed() {
    let mut run = Run::new();
    let mut chance = Chance::new();
    for _ in 0..rounds(40) {
        let who = chance.below(3) as usize;
        // To any other peer, the command line among them.
        let to = (who + 1 + chance.below(3) as usize) % 4;
        match chance.below(16) {
            0..=4 => run.send(who, to, 1 + chance.below(3) as usize, false),
            5 | 6 => run.send(who, to, 1 + chance.below(3) as usize, true),
            7 | 8 => run.check_messages(who),
            9 => run.hook("UserPromptSubmit"),
            10 => run.hook("PostToolUse"),
            11 => run.hook("Stop"),
            12 | 13 => run.command(chance.below(3), who),
            14 => run.restart(who),
            _ => {
                run.sandbox.kill9_broker();
            }
        }
    }
    run.finish();
}
