//! The receivers of the model: streams, waiting calls with what they reserve, and sends.

use std::collections::BTreeSet;

use super::mailbox::{Instance, Mail, Mailboxes, Peer, Shown, State, TAKE_LEASE, Way};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Absent,
    Presumed,
    Proven,
}

/// One way into one session, or to the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    Instance(Instance),
    /// The hooks of this peer's session.
    Hook(Peer),
    /// A waiting call of the command line.
    Waiter(usize),
    Cli,
}

impl Receiver {
    /// By which way this receiver takes mail on request.
    pub fn takes_by(self) -> Way {
        if matches!(self, Self::Instance(_)) { Way::Tool } else { Way::Cli }
    }
}

/// What a hook reports.
#[derive(Debug, Clone, Copy)]
pub struct HookEvent {
    pub turn: u8,
    pub occasion: u8,
    /// How long the tool ran that it is about.
    pub lasted: i64,
    pub has_room: bool,
    pub continues_turn: bool,
    pub failed: bool,
}

/// An open stream.
#[derive(Debug, Clone)]
pub struct Stream {
    pub instance: Instance,
    /// The pushes without a receipt.
    pub in_flight: BTreeSet<Mail>,
    /// Older messages may wait to be pushed.
    pub looks_back: bool,
}

/// A call that waits.
#[derive(Debug, Clone)]
pub struct Waiter {
    pub number: usize,
    pub owner: Peer,
    pub waits_for: WaitsFor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    Mail,
    /// The reply to this message, which may leave its `reply_to` out if it comes after `unnamed_after`.
    Reply {
        question: Mail,
        unnamed_after: Mail,
    },
    /// The same, by a call that is about to come.
    Expected {
        question: Mail,
        unnamed_after: Mail,
    },
}

impl Waiter {
    fn question(&self) -> Option<(Mail, Mail)> {
        match self.waits_for {
            WaitsFor::Mail => None,
            WaitsFor::Reply { question, unnamed_after }
            | WaitsFor::Expected { question, unnamed_after } => Some((question, unnamed_after)),
        }
    }
}

/// Why a send is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    BadRequest,
    KeyReused,
    MailboxFull,
    NotFound,
    OutOfOrder,
}

/// A message that is to be sent.
#[derive(Debug, Clone)]
pub struct Draft {
    pub from: Peer,
    pub by: Receiver,
    pub to: Peer,
    pub text: String,
    pub reply_to: Option<Mail>,
    pub key: Option<u8>,
    pub waits: bool,
}

/// What the sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub mail: Mail,
    pub state: State,
    pub awaited: bool,
}

impl Mailboxes {
    // Sending.

    pub fn send(&mut self, draft: &Draft) -> Result<Sent, Refusal> {
        if let Some(key) = draft.key {
            let known = self.keys.iter().find(|(caller, ..)| *caller == (draft.by, key));
            if let Some((_, asked, mail)) = known {
                if *asked != (draft.to, draft.text.clone()) {
                    return Err(Refusal::KeyReused);
                }
                let (mail, state) = (*mail, self.messages[*mail].state);
                let awaited = state == State::Queued && self.is_reserved(mail);
                return Ok(Sent { mail, state, awaited });
            }
        }
        if draft.to == draft.from {
            return Err(Refusal::BadRequest);
        }
        if draft.reply_to.is_some_and(|mail| self.messages[mail].to != draft.from) {
            return Err(Refusal::NotFound);
        }
        if self.is_full(draft.to) {
            return Err(Refusal::MailboxFull);
        }
        if let Some(original) = draft.reply_to {
            self.reply(original, draft.by);
        }
        let (mail, awaited) =
            self.accept(Some(draft.from), draft.to, draft.text.clone(), draft.reply_to);
        if let Some(key) = draft.key {
            self.keys.push(((draft.by, key), (draft.to, draft.text.clone()), mail));
        }
        if draft.waits {
            let waits_for = WaitsFor::Expected { question: mail, unnamed_after: mail };
            self.waiters.push(Waiter { number: usize::MAX, owner: draft.from, waits_for });
        }
        Ok(Sent { mail, state: self.messages[mail].state, awaited })
    }

    pub fn is_full(&self, peer: Peer) -> bool {
        let counted = |mail: &Mail| self.messages[*mail].from.is_some();
        self.unread(peer).into_iter().filter(counted).count() >= self.max_unread
    }

    /// A reply is evidence, and proves the channel of its instance if nothing else showed the message.
    fn reply(&mut self, original: Mail, by: Receiver) {
        if !self.read(original, Way::Reply) {
            return;
        }
        let offers = &self.messages[original].offers;
        let is_own_push =
            |offer: &super::mailbox::Offer| offer.to == by && offer.via == Way::Channel;
        if let Receiver::Instance(instance) = by
            && !offers.is_empty()
            && offers.iter().all(is_own_push)
        {
            self.prove(instance);
        }
    }

    /// Sends several, each for itself. One that was refused at first is not accepted behind a later one.
    pub fn send_batch(&mut self, drafts: &[Draft], again: bool) -> Vec<Result<Sent, Refusal>> {
        let is_known = |draft: &Draft| {
            let key = draft.key.map(|key| (draft.by, key));
            let asked = (draft.to, draft.text.clone());
            self.keys.iter().any(|(caller, known, _)| Some(*caller) == key && *known == asked)
        };
        let known: Vec<bool> = drafts.iter().map(|draft| again && is_known(draft)).collect();
        let last = known.iter().rposition(|known| *known).unwrap_or(0);
        let send = |(place, draft): (usize, &Draft)| {
            let before = self.clone();
            let mut sent = self.send(draft);
            if sent.is_ok() && place < last && !known[place] {
                sent = Err(Refusal::OutOfOrder);
            }
            if sent.is_err() {
                *self = before;
            }
            sent
        };
        drafts.iter().enumerate().map(send).collect()
    }

    // Streams.

    pub fn stream(&self, instance: Instance) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.instance == instance)
    }

    pub fn open(&mut self, instance: Instance) {
        self.streams.retain(|stream| stream.instance != instance);
        let in_flight = BTreeSet::new();
        self.streams.push(Stream { instance, in_flight, looks_back: true });
        // Only the stream that is pushed to looks back at once.
        self.push_waiting(self.channels[instance].0);
    }

    pub fn close(&mut self, instance: Instance) {
        self.streams.retain(|stream| stream.instance != instance);
        self.rescan(self.channels[instance].0);
    }

    /// There was evidence of a push: what waits may be pushed with the next message.
    pub fn prove(&mut self, instance: Instance) {
        self.channels[instance].1 = Channel::Proven;
        for stream in self.streams.iter_mut().filter(|stream| stream.instance == instance) {
            stream.looks_back = true;
        }
    }

    // Waiting calls.

    fn waiters_of(&self, owner: Peer) -> impl Iterator<Item = &Waiter> {
        self.waiters.iter().filter(move |waiter| waiter.owner == owner)
    }

    /// The question of `owner` to `to`, if it is the only one, and after which message it may be answered
    /// by one that does not name it.
    fn only_question(&self, owner: Peer, to: Option<Peer>) -> Option<(Mail, Mail)> {
        let questions = self.waiters_of(owner).filter_map(Waiter::question);
        let mut questions = questions.filter(|(mail, _)| Some(self.messages[*mail].to) == to);
        let first = questions.next()?;
        questions.all(|other| other.0 == first.0).then_some(first)
    }

    /// Whether a call waits for this very message: the reply to its question.
    pub fn is_awaited(&self, mail: Mail) -> bool {
        let message = &self.messages[mail];
        match message.reply_to {
            Some(answered) => self
                .waiters_of(message.to)
                .filter_map(Waiter::question)
                .any(|(question, _)| question == answered),
            None => {
                self.only_question(message.to, message.from).is_some_and(|(_, after)| after < mail)
            }
        }
    }

    /// Whether a call is about to take this message.
    pub fn is_reserved(&self, mail: Mail) -> bool {
        let mut waiters = self.waiters_of(self.messages[mail].to);
        waiters.any(|waiter| waiter.waits_for == WaitsFor::Mail) || self.is_awaited(mail)
    }

    /// A message that may answer several questions answers none of them.
    pub fn note_ambiguous(&mut self, mail: Mail) {
        let (from, owner) = (self.messages[mail].from, self.messages[mail].to);
        let sent_to: Vec<Peer> = self.messages.iter().map(|message| message.to).collect();
        let asked = |waiter: &Waiter| {
            waiter.question().is_some_and(|(question, _)| Some(sent_to[question]) == from)
        };
        let is_ambiguous = self.messages[mail].reply_to.is_none()
            && self.waiters_of(owner).any(&asked)
            && self.only_question(owner, from).is_none();
        if !is_ambiguous {
            return;
        }
        for waiter in self.waiters.iter_mut().filter(|one| one.owner == owner && asked(one)) {
            if let WaitsFor::Reply { unnamed_after, .. }
            | WaitsFor::Expected { unnamed_after, .. } = &mut waiter.waits_for
            {
                *unnamed_after = mail;
            }
        }
    }

    pub fn wait_for_reply(&mut self, number: usize, owner: Peer, question: Mail) {
        let known = self.waiters_of(owner).filter_map(Waiter::question);
        let known = known.into_iter().find(|(mail, _)| *mail == question);
        let unnamed_after = known.map_or(question, |(_, after)| after);
        self.stop_expecting(question);
        let waits_for = WaitsFor::Reply { question, unnamed_after };
        self.waiters.push(Waiter { number, owner, waits_for });
    }

    pub fn stop_expecting(&mut self, wanted: Mail) {
        self.waiters.retain(|waiter| {
            !matches!(waiter.waits_for, WaitsFor::Expected { question, .. } if question == wanted)
        });
    }

    /// Ends a waiting call, in whatever way: what it had reserved is offered to the others.
    pub fn end_waiter(&mut self, number: usize, owner: Peer) {
        self.waiters.retain(|waiter| waiter.number != number);
        self.rescan(owner);
    }

    /// A waiting call looks whether there is something for it.
    pub fn look(&mut self, waiter: &Waiter, by: Receiver, is_over: bool) -> Option<Vec<Shown>> {
        let Waiter { number, owner, waits_for } = *waiter;
        let has_ended = !self.waiters.iter().any(|waiter| waiter.number == number);
        let taken = match waits_for {
            WaitsFor::Mail if has_ended && !is_over => return Some(Vec::new()),
            WaitsFor::Mail => {
                let has_new = self.free(owner).into_iter().any(|mail| !self.is_awaited(mail));
                if !has_new && !is_over {
                    return None;
                }
                self.take(owner, by)
            }
            WaitsFor::Reply { question, .. } | WaitsFor::Expected { question, .. } => {
                let answer = if has_ended || is_over { None } else { self.answer(owner, question) };
                if answer.is_none() && !is_over && !has_ended {
                    return None;
                }
                let show = |mail| self.offer(mail, by, by.takes_by(), Some(TAKE_LEASE));
                answer.map(show).into_iter().collect()
            }
        };
        self.end_waiter(number, owner);
        Some(taken)
    }

    /// The reply to a question: the first that names it, else the first that may be it.
    fn answer(&self, me: Peer, question: Mail) -> Option<Mail> {
        let all = self.messages.iter().enumerate().skip(question + 1);
        let mut named = all.filter(|(_, m)| m.to == me && m.reply_to == Some(question));
        if let Some((mail, _)) = named.next() {
            return Some(mail);
        }
        let to = self.messages[question].to;
        let (only, after) = self.only_question(me, Some(to))?;
        let may_be = |mail: &Mail| {
            let message = &self.messages[*mail];
            *mail > after && message.from == Some(to) && message.reply_to.is_none()
        };
        if only == question { self.free(me).into_iter().find(may_be) } else { None }
    }
}
