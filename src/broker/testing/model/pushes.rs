//! The pushes of the model: which stream is pushed to, what may be pushed, and what its receipt does.

use super::mailbox::{Instance, LONG_LEASE, Mail, Mailboxes, Message, Peer, State, Way};
use super::receivers::{Channel, Receiver, Stream};

impl Mailboxes {
    /// The receipts of pushes: no evidence, but room for more.
    pub fn pushes_written(&mut self, instance: Instance, mails: &[Mail]) {
        let (me, now) = (Receiver::Instance(instance), self.now);
        let peer = self.channels[instance].0;
        for mail in mails {
            if self.messages[*mail].to != peer {
                continue;
            }
            let offers = self.messages[*mail].offers.iter_mut();
            let mut pushes = offers.filter(|offer| offer.to == me && offer.via == Way::Channel);
            if let Some(offer) = pushes.next() {
                offer.written = offer.written.or(Some(now));
            }
            for stream in self.streams.iter_mut().filter(|stream| stream.instance == instance) {
                stream.in_flight.remove(mail);
            }
        }
        self.push_waiting(peer);
    }

    /// The stream that a peer is pushed to: the proven one, else the newest with a channel.
    fn target(&self, peer: Peer) -> Option<usize> {
        let channel = |stream: &Stream| self.channels[stream.instance].1;
        let all = self.streams.iter().enumerate();
        // The streams stand in the order in which they were opened.
        all.filter(|(_, stream)| {
            self.channels[stream.instance].0 == peer && channel(stream) != Channel::Absent
        })
        .max_by_key(|(place, stream)| (channel(stream) == Channel::Proven, *place))
        .map(|(place, _)| place)
    }

    /// Looks through all unread messages of a peer for what can be pushed now.
    pub fn rescan(&mut self, peer: Peer) {
        if let Some(place) = self.target(peer) {
            self.streams[place].looks_back = true;
        }
        self.push_waiting(peer);
    }

    pub fn push_waiting(&mut self, peer: Peer) {
        let Some(place) = self.target(peer) else { return };
        if !std::mem::take(&mut self.streams[place].looks_back) {
            return;
        }
        let instance = self.streams[place].instance;
        for mail in self.unread(peer) {
            if self.may_push(mail, place, instance) {
                self.push(mail, place);
            }
        }
    }

    /// The row "push" of the table "May this receiver have this message now?".
    fn may_push(&self, mail: Mail, place: usize, instance: Instance) -> bool {
        let message = &self.messages[mail];
        let is_kept = match self.lease(mail) {
            Some(Receiver::Instance(by)) if by == instance => {
                message.offered_via == Some(Way::Tool)
            }
            Some(by) => self.binds(by),
            None => false,
        };
        let is_proven = self.channels[instance].1 == Channel::Proven;
        let was_pushed_beside = message.channel_offers().any(|offer| match offer.to {
            Receiver::Instance(other) if other != instance && self.stream(other).is_some() => {
                match self.channels[other].1 {
                    Channel::Proven => true,
                    Channel::Presumed => !is_proven,
                    Channel::Absent => false,
                }
            }
            _ => false,
        });
        !self.streams[place].in_flight.contains(&mail)
            && !message.was_written_by(instance)
            && !is_kept
            && !was_pushed_beside
            && !self.is_reserved(mail)
    }

    fn push(&mut self, mail: Mail, place: usize) {
        let instance = self.streams[place].instance;
        let is_proven = self.channels[instance].1 == Channel::Proven;
        let lease = is_proven.then_some(LONG_LEASE);
        let shown = self.offer(mail, Receiver::Instance(instance), Way::Channel, lease);
        self.streams[place].in_flight.insert(mail);
        self.pushes.push((instance, shown));
    }

    /// Stores a message, and pushes it if a stream has it. Returns its number, and whether it is awaited.
    pub fn accept(
        &mut self,
        from: Option<Peer>,
        to: Peer,
        text: String,
        reply_to: Option<Mail>,
    ) -> (Mail, bool) {
        let mail = self.messages.len();
        self.messages.push(Message {
            from,
            to,
            text,
            reply_to,
            state: State::Queued,
            offered_via: None,
            read_via: None,
            lease: None,
            offers: Vec::new(),
            ends: self.now + self.time_to_live,
            reports: Vec::new(),
        });
        let awaited = self.is_reserved(mail);
        let target = self.target(to).filter(|_| !awaited);
        match target {
            Some(place) if self.streams[place].looks_back => self.push_waiting(to),
            Some(place) => self.push(mail, place),
            None => {}
        }
        self.note_ambiguous(mail);
        (mail, awaited)
    }
}
