//! Runs a sequence on the model and on the broker, and compares them after each step.

mod acts;
mod compare;

use std::collections::BTreeMap;
use std::time::Duration;

use self::acts::hook_event;
use super::commands::Command;
use super::mailbox::{Instance, Mail, Mailboxes, Message, Peer};
use super::receivers::{Channel, Draft, Receiver, Waiter, WaitsFor};
use crate::broker::testing::waiting::TestWaiter;
use crate::broker::testing::{Hook, Outcome, Start, TestPeer, World, event, hooks, running};
use crate::protocol::MessageId;
use crate::protocol::hook::HookEvent as RealHookEvent;
use crate::protocol::stream::Event as StreamEvent;

/// The command line's peer.
const CLI: Peer = 2;

const TIME_TO_LIVE: u64 = 200;
const MAX_UNREAD: u32 = 5;

/// An instance or the command line, as it calls the broker.
#[derive(Clone)]
struct Actor {
    peer: Peer,
    receiver: Receiver,
    real: TestPeer,
}

/// A broker and its model.
pub struct Bench {
    world: World,
    model: Mailboxes,
    actors: Vec<Actor>,
    /// The newest server of each session that has hooks.
    newest: Vec<usize>,
    ids: Vec<MessageId>,
    /// What each actor took last, and each session's hooks showed last.
    taken: BTreeMap<usize, Vec<Mail>>,
    hooked: BTreeMap<Peer, (hooks::Shown, u8, Vec<Mail>)>,
    /// The pushes that each instance has not reported.
    unreported: BTreeMap<Instance, Vec<Mail>>,
    waiters: Vec<(TestWaiter, Waiter, Receiver)>,
    /// How many waiting calls got something.
    pub answered: usize,
    names: u32,
    texts: u32,
}

impl Bench {
    /// Ann and Bob, each with a server, and the command line.
    pub fn new(channels: [Channel; 2]) -> Self {
        let mut world = World::with(|limits| {
            limits.time_to_live = Duration::from_secs(TIME_TO_LIVE);
            (limits.max_unread, limits.messages_per_minute) = (MAX_UNREAD, 0);
        });
        let cli = world.cli();
        let model = Mailboxes {
            time_to_live: 1_000 * i64::try_from(TIME_TO_LIVE).unwrap(),
            max_unread: MAX_UNREAD as usize,
            peers: vec![String::new(), String::new(), cli.id.to_string()],
            ..Mailboxes::default()
        };
        let actor = Actor { peer: CLI, receiver: Receiver::Cli, real: cli };
        let mut bench = Self {
            world,
            model,
            actors: vec![actor],
            newest: Vec::new(),
            ids: Vec::new(),
            taken: BTreeMap::new(),
            hooked: BTreeMap::new(),
            unreported: BTreeMap::new(),
            waiters: Vec::new(),
            answered: 0,
            names: 0,
            texts: 0,
        };
        for (peer, channel) in channels.into_iter().enumerate() {
            let start = Start::at(&format!("/src/{peer}")).client(running([901, 902][peer]));
            let start = start.session(&format!("session-{peer}"));
            bench.start(start, peer, channel);
        }
        bench.pass(0);
        bench.compare();
        bench
    }

    /// Runs one step on both.
    pub fn run(&mut self, command: &Command) {
        self.pass(1);
        self.step(command);
        self.compare();
    }

    fn step(&mut self, command: &Command) {
        match *command {
            Command::Send { from, to, by_name, reply_to, waits, outcome } => {
                let sender = self.actors[self.actor(from)].peer;
                let reply_to = reply_to.and_then(|mail| self.likely(mail, |m| m.to == sender));
                self.texts += 1;
                let text = format!("text {}", self.texts);
                let draft = Draft { reply_to, waits, ..self.draft(from, to, text) };
                self.send(self.actor(from), &draft, by_name, outcome);
            }
            Command::SendOnce { from, to, key, other_text, outcome } => {
                let text = format!("text of {key}{}", if other_text { "!" } else { "" });
                let draft = Draft { key: Some(key), ..self.draft(from, to, text) };
                self.send(self.actor(from), &draft, false, outcome);
            }
            Command::Batch { from, ref items, again, outcome } => {
                self.batch(from, items, again, outcome);
            }
            Command::Scope { from } => self.scope(from),
            Command::Take { by, outcome } => self.take(by, outcome),
            Command::Confirm { by } => {
                let place = self.actor(by);
                for mail in self.taken.remove(&place).unwrap_or_default() {
                    self.confirm(place, mail, Outcome::Committed);
                }
            }
            Command::ConfirmAny { by, mail, outcome } => {
                if let Some(mail) = self.mail(mail) {
                    self.confirm(self.actor(by), mail, outcome);
                }
            }
            Command::Written { instance, count, outcome } => self.written(instance, count, outcome),
            Command::Hook { .. } => self.hook(command),
            Command::HookWritten { peer } => {
                if let Some((shown, turn, mails)) = self.hooked.remove(&session(peer)) {
                    self.world.hook_written(&shown);
                    self.model.hook_written(session(peer), turn, &mails);
                }
            }
            Command::Prompt { peer, mail } => {
                let Some(mail) = self.mail(mail) else { return };
                let peer = session(peer);
                let real = self.newest_of(peer).clone();
                let seen = vec![self.ids[mail].clone()];
                let prompt =
                    RealHookEvent { seen, room: 0, ..event(&real, Hook::UserPromptSubmit, "p") };
                self.world.try_hook(prompt).unwrap();
                self.model.prompt(peer, mail);
                self.model.hook(peer, &hook_event(Hook::UserPromptSubmit, 100, 0, 0, false));
            }
            _ => self.change(command),
        }
    }

    /// Carries out what changes the receivers, the broker, or the time.
    fn change(&mut self, command: &Command) {
        match *command {
            Command::Start { peer, channel } => {
                let peer = session(peer);
                let start = self.newest_of(peer).start();
                self.start(start, peer, channel);
            }
            Command::Resume { peer, channel } => self.resume(peer, channel),
            Command::Open { instance } => {
                let Some((place, instance)) = self.instance(instance) else { return };
                let real = self.actors[place].real.clone();
                if self.model.stream(instance).is_some() {
                    let before = self.world.reopen_stream(&real);
                    assert!(
                        before.iter().all(|event| !matches!(event, StreamEvent::Message { .. }))
                    );
                } else {
                    self.world.open_stream(&real);
                }
                self.model.open(instance);
            }
            Command::Close { instance } => {
                let Some((place, instance)) = self.instance(instance) else { return };
                if self.model.stream(instance).is_some() {
                    let real = self.actors[place].real.clone();
                    self.world.close_stream(&real);
                    self.model.close(instance);
                }
            }
            Command::Rename { peer } => {
                self.names += 1;
                let real = self.newest_of(session(peer)).clone();
                self.world.rename(&real, &format!("name-{}", self.names)).unwrap();
            }
            Command::Wake { peer } => self.wake(peer),
            Command::Crash => {
                self.world.crash();
                self.forget();
            }
            Command::Restart => {
                self.world.restart();
                self.forget();
            }
            Command::Pass(seconds) => self.pass(i64::from(seconds) * 1_000),
            Command::SetClock(seconds) => {
                self.world.set_wall_clock(i64::from(seconds) * 1_000);
                // A jump is looked at once, and what is due ends.
                self.sweep();
                self.model.sweep();
            }
            ref command => self.wait(command),
        }
    }

    /// Carries out what waiting calls do.
    fn wait(&mut self, command: &Command) {
        match *command {
            Command::Wait { by } => {
                let place = self.actor(by);
                let real = self.actors[place].real.clone();
                let waiter = self.world.wait(&real);
                self.waiter(place, waiter, WaitsFor::Mail);
            }
            Command::WaitForReply { by, mail } => {
                let place = self.actor(by);
                let me = Some(self.actors[place].peer);
                let Some(mail) = self.likely(mail, |m| m.from == me) else { return };
                let (real, peer) = (self.actors[place].real.clone(), self.actors[place].peer);
                let waiter = self.world.try_wait_for_reply(&real, &self.ids[mail]);
                assert_eq!(waiter.is_ok(), self.model.messages[mail].from == Some(peer));
                if let Ok(waiter) = waiter {
                    let waits_for = WaitsFor::Reply { question: mail, unnamed_after: mail };
                    self.waiter(place, waiter, waits_for);
                }
            }
            Command::StopExpecting { mail } => {
                let Some(mail) = self.mail(mail) else { return };
                self.world.stop_expecting(&self.ids[mail]);
                self.model.stop_expecting(mail);
            }
            Command::Look { waiter } => self.look(waiter, false),
            Command::TimeOut { waiter } => self.look(waiter, true),
            Command::HangUp { waiter } => {
                if let Some(place) = place(waiter, self.waiters.len()) {
                    let (real, waiter, _) = self.waiters.remove(place);
                    self.world.hang_up(real);
                    self.model.end_waiter(waiter.number, waiter.owner);
                }
            }
            ref command => unreachable!("{command:?} is carried out elsewhere"),
        }
    }

    // Who and what is meant.

    fn actor(&self, number: u8) -> usize {
        usize::from(number) % self.actors.len()
    }

    fn draft(&self, from: u8, to: u8, text: String) -> Draft {
        let actor = &self.actors[self.actor(from)];
        let (from, by, to) = (actor.peer, actor.receiver, self.peer(to));
        Draft { from, by, to, text, reply_to: None, key: None, waits: false }
    }

    fn peer(&self, number: u8) -> Peer {
        usize::from(number) % self.model.peers.len()
    }

    fn is_live(&self, peer: Peer) -> bool {
        self.model.streams.iter().any(|stream| self.model.channels[stream.instance].0 == peer)
    }

    fn newest_of(&self, peer: Peer) -> &TestPeer {
        &self.actors[self.newest[peer]].real
    }

    fn mail(&self, number: u8) -> Option<Mail> {
        place(number, self.ids.len())
    }

    /// Returns mostly a message that is `fit`, and at times any.
    fn likely(&self, number: u8, fit: impl Fn(&Message) -> bool) -> Option<Mail> {
        if number.is_multiple_of(4) {
            return self.mail(number);
        }
        let fitting: Vec<Mail> =
            (0..self.ids.len()).filter(|mail| fit(&self.model.messages[*mail])).collect();
        place(number, fitting.len()).map(|place| fitting[place])
    }

    fn instance(&self, number: u8) -> Option<(usize, Instance)> {
        let place = place(number, self.actors.len() - 1)? + 1;
        Some((place, place - 1))
    }

    // Receivers.

    /// Registers a server, and opens its stream.
    fn start(&mut self, start: Start, peer: Peer, channel: Channel) {
        let real = match channel {
            Channel::Absent => super::super::Channel::Absent,
            Channel::Presumed => super::super::Channel::Presumed,
            Channel::Proven => super::super::Channel::Proven,
        };
        let real = self.world.start(start.channel(real));
        let (instance, id) = (self.model.channels.len(), real.id.to_string());
        match self.model.peers.get_mut(peer) {
            Some(known) if known.is_empty() => *known = id,
            Some(known) => assert_eq!(*known, id, "the same session is the same peer"),
            None => self.model.peers.push(id),
        }
        self.model.channels.push((peer, channel));
        self.actors.push(Actor {
            peer,
            receiver: Receiver::Instance(instance),
            real: real.clone(),
        });
        if peer < CLI {
            self.newest.resize(self.newest.len().max(peer + 1), 0);
            self.newest[peer] = self.actors.len() - 1;
        }
        self.world.open_stream(&real);
        self.model.open(instance);
    }

    fn resume(&mut self, peer: u8, channel: Channel) {
        let peer = session(peer);
        let start =
            self.newest_of(peer).start().client(running(u32::try_from(self.actors.len()).unwrap()));
        // The same session in two clients at once is two peers.
        let peer = if self.is_live(peer) { self.model.peers.len() } else { peer };
        if peer < 5 {
            self.start(start, peer, channel);
        }
    }

    fn forget(&mut self) {
        self.model.crash();
        self.waiters.clear();
        self.sweep();
    }

    fn pass(&mut self, millis: i64) {
        self.world.advance(Duration::from_millis(millis.unsigned_abs()));
        self.model.pass(millis);
        self.sweep();
    }

    /// Has the broker end what is due.
    fn sweep(&mut self) {
        self.world.write(|_| Ok(())).unwrap();
    }

    /// Does the same to the model as was done to the broker. What was not committed changes nothing.
    fn both(&mut self, outcome: Outcome, act: impl FnOnce(&mut Self)) {
        if outcome == Outcome::Committed {
            act(self);
        }
        self.world.next = Outcome::Committed;
    }
}

/// The peer of one of the sessions that have hooks.
fn session(number: u8) -> Peer {
    usize::from(number) % 2
}

fn place(number: u8, count: usize) -> Option<usize> {
    (count > 0).then(|| usize::from(number) % count)
}
