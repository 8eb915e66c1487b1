//! The mailbox as a pure state machine, to be read beside `docs/delivery.md`.
//!
//! Peers, instances, messages and waiters are numbered from zero, in the order in which they came about.
//! Time is in milliseconds, and no clock ever sets it back: that is the promise.

use std::collections::BTreeMap;

use super::receivers::{Channel, HookEvent, Receiver, Stream, Waiter};

pub type Peer = usize;
pub type Instance = usize;
/// A message by its place in the order of acceptance.
pub type Mail = usize;

pub const SECOND: i64 = 1_000;
/// The leases of a push over a proven channel, and of a hook's output.
pub const LONG_LEASE: i64 = 60 * SECOND;
/// The lease of a tool's result, of `inbox`, and of a waiting call.
pub const TAKE_LEASE: i64 = 30 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Queued,
    Offered,
    Read,
    Expired,
    Unconfirmed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Channel,
    Hook,
    Tool,
    Reply,
    Cli,
}

/// That a receiver was handed a message in some way; the last time counts.
#[derive(Debug, Clone)]
pub struct Offer {
    pub to: Receiver,
    pub via: Way,
    pub at: i64,
    /// When its receipt came.
    pub written: Option<i64>,
    /// The turn and the event of a hook.
    pub turn: u8,
    pub occasion: u8,
}

#[derive(Debug, Clone)]
pub struct Message {
    /// `None` for a notice.
    pub from: Option<Peer>,
    pub to: Peer,
    pub text: String,
    pub reply_to: Option<Mail>,
    pub state: State,
    pub offered_via: Option<Way>,
    pub read_via: Option<Way>,
    pub lease: Option<(Receiver, i64)>,
    pub offers: Vec<Offer>,
    pub ends: i64,
    /// The messages whose end a notice reports, and the state in which each ended.
    pub reports: Vec<(Mail, State)>,
}

impl Message {
    pub fn is_unread(&self) -> bool {
        matches!(self.state, State::Queued | State::Offered)
    }

    /// Whether this instance has reported its push as written.
    pub fn was_written_by(&self, instance: Instance) -> bool {
        let receiver = Receiver::Instance(instance);
        self.channel_offers().any(|offer| offer.to == receiver && offer.written.is_some())
    }

    pub fn channel_offers(&self) -> impl Iterator<Item = &Offer> {
        self.offers.iter().filter(|offer| offer.via == Way::Channel)
    }

    /// Whether it was offered in any way but a push to this receiver.
    fn was_offered_elsewhere(&self, to: Receiver) -> bool {
        self.offers.iter().any(|offer| offer.to != to || offer.via != Way::Channel)
    }
}

/// A message as a receiver sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub mail: Mail,
    pub repeat: bool,
    pub already_pushed: bool,
}

/// An idempotency key: its caller, what was asked, and the message.
pub type Key = ((Receiver, u8), (Peer, String), Mail);

/// The mailboxes of all peers, and what is known of their receivers.
#[derive(Debug, Clone, Default)]
pub struct Mailboxes {
    pub now: i64,
    /// When it was last looked what has expired.
    pub swept: i64,
    pub time_to_live: i64,
    pub max_unread: usize,
    /// The ids of the peers.
    pub peers: Vec<String>,
    pub channels: Vec<(Peer, Channel)>,
    pub streams: Vec<Stream>,
    pub waiters: Vec<Waiter>,
    pub messages: Vec<Message>,
    /// Idempotency keys, by their caller: what was asked, and the message.
    pub keys: Vec<Key>,
    /// What is sent down the streams.
    pub pushes: Vec<(Instance, Shown)>,
}

impl Mailboxes {
    pub fn unread(&self, peer: Peer) -> Vec<Mail> {
        let all = self.messages.iter().enumerate();
        let unread = all.filter(|(_, message)| message.to == peer && message.is_unread());
        unread.map(|(mail, _)| mail).collect()
    }

    /// Who has the running lease of a message.
    pub fn lease(&self, mail: Mail) -> Option<Receiver> {
        self.messages[mail].lease.filter(|(_, until)| *until > self.now).map(|(by, _)| by)
    }

    /// Whether a lease of this receiver is respected by others.
    pub fn binds(&self, receiver: Receiver) -> bool {
        match receiver {
            Receiver::Instance(instance) => self.stream(instance).is_some(),
            Receiver::Hook(_) | Receiver::Waiter(_) => true,
            Receiver::Cli => false,
        }
    }

    /// The unread messages of a peer without a binding lease.
    pub fn free(&self, peer: Peer) -> Vec<Mail> {
        let is_free = |mail: &Mail| !self.lease(*mail).is_some_and(|by| self.binds(by));
        self.unread(peer).into_iter().filter(is_free).collect()
    }

    // Offers.

    pub fn offer(&mut self, mail: Mail, to: Receiver, via: Way, lease: Option<i64>) -> Shown {
        let now = self.now;
        let message = &mut self.messages[mail];
        let written = |offer: &Offer| offer.via == Way::Channel && offer.written.is_some();
        let shown = Shown {
            mail,
            repeat: match via {
                // The receipt of a push may come later, or never.
                Way::Hook => message.offers.iter().any(|offer| !written(offer)),
                _ => message.was_offered_elsewhere(to),
            },
            already_pushed: match via {
                Way::Channel => false,
                Way::Hook => message.offers.iter().any(written),
                _ => message.offers.iter().any(|offer| offer.to == to && written(offer)),
            },
        };
        let earlier = message.offers.iter_mut().find(|offer| offer.to == to && offer.via == via);
        if let Some(offer) = earlier {
            offer.at = now;
        } else {
            let (turn, occasion) = (0, 0);
            message.offers.push(Offer { to, via, at: now, written: None, turn, occasion });
        }
        // A final state stays.
        if message.is_unread() {
            message.state = State::Offered;
            message.offered_via = Some(via);
            message.lease = lease.map(|time| (to, now + time));
        }
        shown
    }

    /// `check_messages`, `inbox`, and what a waiting call takes.
    pub fn take(&mut self, peer: Peer, by: Receiver) -> Vec<Shown> {
        let is_others = |mail: &Mail| match self.lease(*mail) {
            Some(Receiver::Waiter(other)) => by != Receiver::Waiter(other),
            _ => false,
        };
        let all = self.unread(peer).into_iter();
        let taken: Vec<Mail> =
            all.filter(|mail| !is_others(mail) && !self.is_awaited(*mail)).collect();
        taken
            .into_iter()
            .map(|mail| self.offer(mail, by, by.takes_by(), Some(TAKE_LEASE)))
            .collect()
    }

    /// A hook event of a session: evidence, the end of other turns' leases, and what it shows.
    pub fn hook(&mut self, peer: Peer, event: &HookEvent) -> Vec<Shown> {
        let (me, now) = (Receiver::Hook(peer), self.now);
        let is_mine = |offer: &&Offer| offer.to == me && offer.via == Way::Hook;
        for mail in self.unread(peer) {
            let offer = self.messages[mail].offers.iter().find(is_mine).cloned();
            let of_turn = offer.filter(|offer| offer.turn == event.turn);
            if let Some(offer) = &of_turn
                && event.continues_turn
                && (offer.occasion != event.occasion || event.occasion == 0)
                && offer.written.is_some_and(|at| at <= now - event.lasted)
            {
                self.read(mail, Way::Hook);
            }
            // The model did not see what a failed turn was shown.
            let message = &mut self.messages[mail];
            if message.lease.is_some_and(|(by, _)| by == me) && (of_turn.is_none() || event.failed)
            {
                message.lease = None;
            }
        }
        if !event.has_room {
            return Vec::new();
        }
        let had = |mail: &Mail| {
            let offer = self.messages[*mail].offers.iter().find(is_mine);
            offer.is_some_and(|offer| offer.turn == event.turn && offer.written.is_some())
        };
        let free = self.free(peer).into_iter();
        let shown: Vec<Mail> = free.filter(|mail| !self.is_reserved(*mail) && !had(mail)).collect();
        let show = |mail| {
            let shown = self.offer(mail, me, Way::Hook, Some(LONG_LEASE));
            let offers = self.messages[mail].offers.iter_mut();
            for offer in offers.filter(|offer| offer.to == me && offer.via == Way::Hook) {
                (offer.turn, offer.occasion, offer.written) = (event.turn, event.occasion, None);
            }
            shown
        };
        shown.into_iter().map(show).collect()
    }

    // Evidence.

    /// Evidence that the model, or the person, had a message. The first counts.
    pub fn read(&mut self, mail: Mail, via: Way) -> bool {
        let message = &mut self.messages[mail];
        if message.state == State::Read {
            return false;
        }
        (message.state, message.read_via, message.lease) = (State::Read, Some(via), None);
        true
    }

    /// Pushes that stood in a prompt of this peer.
    pub fn prompt(&mut self, peer: Peer, mail: Mail) {
        if self.messages[mail].to != peer {
            return;
        }
        let pushes = self.messages[mail].channel_offers();
        let last = pushes.max_by_key(|offer| offer.at).map(|offer| offer.to);
        if let Some(Receiver::Instance(instance)) = last {
            self.read(mail, Way::Channel);
            self.prove(instance);
        }
    }

    /// The receipt of a hook's output.
    pub fn hook_written(&mut self, peer: Peer, turn: u8, mails: &[Mail]) {
        let (me, now) = (Receiver::Hook(peer), self.now);
        for mail in mails {
            let mut offers = self.messages[*mail].offers.iter_mut();
            let offer = offers.find(|o| o.to == me && o.via == Way::Hook && o.turn == turn);
            if let Some(offer) = offer {
                offer.written = Some(now);
            }
        }
    }

    // Time.

    /// Passes time. What is due ends, at most once a second.
    pub fn pass(&mut self, time: i64) {
        self.now += time;
        if self.now - self.swept >= SECOND {
            self.sweep();
        }
    }

    pub fn sweep(&mut self) {
        self.swept = self.now;
        let mut ended = Vec::new();
        for (mail, message) in self.messages.iter_mut().enumerate() {
            if message.is_unread() && message.ends <= self.now {
                let was_offered = message.state == State::Offered;
                message.state = if was_offered { State::Unconfirmed } else { State::Expired };
                message.lease = None;
                ended.push(mail);
            }
        }
        // One notice for each sender and recipient; none about a notice.
        let mut pairs: BTreeMap<(&str, &str), (Peer, Vec<Mail>)> = BTreeMap::new();
        for mail in ended {
            let Message { from, to, .. } = &self.messages[mail];
            if let Some(from) = *from {
                let pair = (self.peers[from].as_str(), self.peers[*to].as_str());
                pairs.entry(pair).or_insert((from, Vec::new())).1.push(mail);
            }
        }
        for (sender, mails) in pairs.into_values().collect::<Vec<_>>() {
            let (notice, _) = self.accept(None, sender, "notice".to_owned(), None);
            let end = |mail: Mail| (mail, self.messages[mail].state);
            self.messages[notice].reports = mails.into_iter().map(end).collect();
        }
    }

    /// Kills the broker and starts another: the memory is lost, what is stored stays.
    pub fn crash(&mut self) {
        self.streams.clear();
        self.waiters.clear();
        self.sweep();
    }
}
