//! The loop guard: two sessions that answer each other for ever, without a person or any work, are
//! slowed and then stopped.
//!
//! A loop of polite models has this form: short messages that strictly alternate, with little else
//! done between them. Sessions that work together use tools between their messages, write long ones, or
//! pause. Only these signs are looked at, never what a message says. All of it is in memory.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::protocol::PeerId;

/// Bytes of a text that is not short any more.
const LONG: usize = 500;

/// So many uses of tools between two messages of a session are work. Sending and reading mail are uses
/// of tools themselves.
const WORK: u32 = 3;

/// A pause after which an exchange begins anew.
const PAUSE: Duration = Duration::from_secs(600);

/// The time between two messages of an exchange that is slowed.
const SLOW: Duration = Duration::from_secs(20);

/// Where no hooks tell of work and of persons, the limit is so many times as high.
const WITHOUT_HOOKS: u32 = 5;

/// A prompt so soon after a wake is the wake's, and no person's.
const WAKE_PROMPT: Duration = Duration::from_secs(10);

/// Above so many exchanges or sessions those of before the last pause are forgotten.
const MAX: usize = 4_096;

/// What a message does to the exchange of its sender and recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// It is the last of so many.
    Last(u32),
    /// It comes too soon, by so many seconds.
    Slowed(u64),
    /// The exchange is stopped, after so many messages.
    Stopped(u32),
}

/// What the guard takes account of once it is committed.
#[derive(Debug)]
pub enum LoopEvent {
    /// A session sent another one a message of so many bytes.
    Sent { from: PeerId, to: PeerId, bytes: usize },
    /// A person wrote to a session.
    PersonTookPart(PeerId),
    /// A hook of a session reported: `tool` if it used a tool.
    HookReported { peer: PeerId, tool: bool },
    /// A session was given a prompt: a person takes part, unless a wake caused it.
    Prompted(PeerId),
    /// A session was woken, which may look like a prompt.
    Woken(PeerId),
}

/// The exchanges of all pairs of sessions.
#[derive(Debug, Default)]
pub struct LoopGuard {
    exchanges: HashMap<(PeerId, PeerId), Exchange>,
    /// The sessions whose hooks report, and what they did since their last message.
    hooks: HashMap<PeerId, Reported>,
    /// When each session was woken last.
    woken: HashMap<PeerId, Instant>,
}

#[derive(Debug)]
struct Exchange {
    last_from: PeerId,
    /// How many short messages alternated, without work between them.
    count: u32,
    at: Instant,
}

#[derive(Debug)]
struct Reported {
    tools: u32,
    at: Instant,
}

fn pair(one: &PeerId, other: &PeerId) -> (PeerId, PeerId) {
    let (first, second) = if one < other { (one, other) } else { (other, one) };
    (first.clone(), second.clone())
}

impl LoopGuard {
    /// Judges a message of `bytes` bytes before it is stored. `limit` is how many an exchange may
    /// have; 0 is no limit.
    #[must_use]
    pub fn judge(
        &self,
        from: &PeerId,
        to: &PeerId,
        bytes: usize,
        limit: u32,
        now: Instant,
    ) -> Verdict {
        let Some(exchange) = self.exchanges.get(&pair(from, to)).filter(|_| limit > 0) else {
            return Verdict::Accepted;
        };
        let pause = now.saturating_duration_since(exchange.at);
        if pause >= PAUSE {
            return Verdict::Accepted;
        }
        let both_report = self.hooks.contains_key(from) && self.hooks.contains_key(to);
        let limit = limit.saturating_mul(if both_report { 1 } else { WITHOUT_HOOKS });
        if exchange.count >= limit {
            return Verdict::Stopped(exchange.count);
        }
        if exchange.last_from == *from || bytes >= LONG || self.has_worked(from) {
            return Verdict::Accepted;
        }
        if exchange.count >= limit / 2 && pause < SLOW {
            return Verdict::Slowed(SLOW.saturating_sub(pause).as_secs().max(1));
        }
        match exchange.count + 1 {
            last if last >= limit => Verdict::Last(last),
            _ => Verdict::Accepted,
        }
    }

    /// Takes account of what happened.
    pub fn note(&mut self, event: &LoopEvent, now: Instant) {
        match event {
            LoopEvent::Sent { from, to, bytes } => self.sent(from, to, *bytes, now),
            LoopEvent::PersonTookPart(peer) => self.person_took_part(peer),
            LoopEvent::HookReported { peer, tool } => self.hook_reported(peer, *tool, now),
            LoopEvent::Prompted(peer) => self.prompted(peer, now),
            LoopEvent::Woken(peer) => self.woken(peer, now),
        }
    }

    fn sent(&mut self, from: &PeerId, to: &PeerId, bytes: usize, now: Instant) {
        let is_work = bytes >= LONG || self.has_worked(from);
        if let Some(reported) = self.hooks.get_mut(from) {
            reported.tools = 0;
        }
        if self.exchanges.len() > MAX {
            self.exchanges.retain(|_, one| now.saturating_duration_since(one.at) < PAUSE);
        }
        let new = || Exchange { last_from: from.clone(), count: 0, at: now };
        let exchange = self.exchanges.entry(pair(from, to)).or_insert_with(new);
        let is_new = is_work || now.saturating_duration_since(exchange.at) >= PAUSE;
        if is_new {
            exchange.count = 0;
        } else {
            exchange.count += u32::from(exchange.last_from != *from);
        }
        exchange.last_from = from.clone();
        exchange.at = now;
    }

    fn has_worked(&self, peer: &PeerId) -> bool {
        self.hooks.get(peer).is_some_and(|reported| reported.tools >= WORK)
    }

    fn hook_reported(&mut self, peer: &PeerId, tool: bool, now: Instant) {
        if self.hooks.len() > MAX {
            self.hooks.retain(|_, one| now.saturating_duration_since(one.at) < PAUSE);
        }
        let reported = self.hooks.entry(peer.clone()).or_insert(Reported { tools: 0, at: now });
        reported.tools = reported.tools.saturating_add(u32::from(tool));
        reported.at = now;
    }

    fn prompted(&mut self, peer: &PeerId, now: Instant) {
        let woken = self.woken.remove(peer);
        if woken.is_none_or(|at| now.saturating_duration_since(at) >= WAKE_PROMPT) {
            self.person_took_part(peer);
        }
    }

    /// Ends the count of all exchanges of a session.
    fn person_took_part(&mut self, peer: &PeerId) {
        self.exchanges.retain(|(one, other), _| one != peer && other != peer);
    }

    fn woken(&mut self, peer: &PeerId, now: Instant) {
        if self.woken.len() > MAX {
            let keep = |at: &Instant| now.saturating_duration_since(*at) < WAKE_PROMPT;
            self.woken.retain(|_, at| keep(at));
        }
        self.woken.insert(peer.clone(), now);
    }
}
