//! A history, sorted by what the rules ask for.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Event, History, Look, Send, Shown, Span, Stored, Told, Way, read};

/// The sender of notices.
pub const BROKER: &str = "broker";

/// A history, by message, text and receiver. What the broker itself sent is in `notices` only.
pub struct Index<'a> {
    pub history: &'a History,
    pub sends: Vec<&'a Send>,
    /// The sends of each text.
    pub by_text: BTreeMap<&'a str, Vec<&'a Send>>,
    /// The sends that were acknowledged with each id.
    pub accepted: BTreeMap<&'a str, Vec<&'a Send>>,
    /// What was shown of each id, in the order of the history.
    pub shown: BTreeMap<&'a str, Vec<&'a Shown>>,
    /// What each receiver showed, in order.
    pub by_receiver: BTreeMap<&'a str, Vec<&'a Shown>>,
    /// Where each showing stands in the history.
    pub positions: BTreeMap<*const Shown, usize>,
    /// What was shown, and what is stored, of each text.
    pub shown_texts: BTreeMap<&'a str, Vec<&'a Shown>>,
    pub stored_texts: BTreeMap<&'a str, Vec<&'a Stored>>,
    pub stored: BTreeMap<&'a str, &'a Stored>,
    pub looks: Vec<&'a Look>,
    /// The same of each peer.
    pub looks_of: BTreeMap<&'a str, Vec<&'a Look>>,
    /// The sends that answer each message.
    pub replies: BTreeMap<&'a str, Vec<&'a Send>>,
    /// The states of each id, as anybody was told them: by an answer, a notice, a list, the store.
    pub told: BTreeMap<&'a str, Vec<(Told, &'a Event)>>,
    /// When each instance began.
    pub began: BTreeMap<&'a str, (u64, &'a str)>,
    /// The ids of the notices that name each message.
    pub notices: BTreeMap<String, BTreeSet<&'a str>>,
    /// All notices, as they were shown.
    pub notice_events: BTreeMap<&'a str, &'a Event>,
}

impl<'a> Index<'a> {
    pub fn new(history: &'a History) -> Self {
        let mut index = Self {
            history,
            sends: Vec::new(),
            by_text: BTreeMap::new(),
            accepted: BTreeMap::new(),
            shown: BTreeMap::new(),
            by_receiver: BTreeMap::new(),
            positions: BTreeMap::new(),
            shown_texts: BTreeMap::new(),
            stored_texts: BTreeMap::new(),
            stored: BTreeMap::new(),
            looks: Vec::new(),
            looks_of: BTreeMap::new(),
            replies: BTreeMap::new(),
            told: BTreeMap::new(),
            began: BTreeMap::new(),
            notices: BTreeMap::new(),
            notice_events: BTreeMap::new(),
        };
        let mut ends: Vec<(String, &'static str, Span, &'a Event)> = Vec::new();
        for (position, event) in history.events.iter().enumerate() {
            match event {
                Event::Send(send) => index.send(send, event),
                Event::Shown(shown) => {
                    index.by_receiver.entry(&shown.receiver).or_default().push(shown);
                    index.positions.insert(shown, position);
                    if shown.message.from == BROKER {
                        let (id, text) = (&shown.message.id, &shown.message.text);
                        ends.extend(index.notice(id, text, shown.span, event));
                    } else {
                        index.shown.entry(&shown.message.id).or_default().push(shown);
                        index.shown_texts.entry(&shown.message.text).or_default().push(shown);
                    }
                }
                Event::Look(look) => {
                    index.looks.push(look);
                    index.looks_of.entry(&look.peer).or_default().push(look);
                }
                Event::Told(told) => index.tell(told.clone(), &told.id, event),
                Event::Began(life) => {
                    index.began.insert(&life.instance, (life.at, &life.peer));
                }
                Event::Ended(_) => {}
                Event::Stored(stored) if stored.from == BROKER => {
                    ends.extend(index.notice(&stored.id, &stored.text, stored.span, event));
                }
                Event::Stored(stored) => {
                    index.stored.insert(&stored.id, stored);
                    index.stored_texts.entry(&stored.text).or_default().push(stored);
                    let (id, state, via) =
                        (stored.id.clone(), stored.state.clone(), stored.via.clone());
                    index.tell(Told { span: stored.span, id, state, via }, &stored.id, event);
                }
            }
        }
        // A notice is told when it is shown; its words are no older than its showing.
        for (id, state, span, event) in ends {
            let told = index.told.get_key_value(id.as_str()).map(|(known, _)| *known);
            let accepted = index.accepted.get_key_value(id.as_str()).map(|(known, _)| *known);
            if let Some(known) = told.or(accepted) {
                let told = Told { span, id, state: state.to_owned(), via: None };
                index.tell(told, known, event);
            }
        }
        index
    }

    fn send(&mut self, send: &'a Send, event: &'a Event) {
        self.sends.push(send);
        if let Some(original) = &send.reply_to {
            self.replies.entry(original).or_default().push(send);
        }
        self.by_text.entry(&send.text).or_default().push(send);
        let Some((ended, Answer::Accepted { id, state })) = &send.answer else { return };
        self.accepted.entry(id).or_default().push(send);
        if let Some(state) = state.clone() {
            let span = Span { began: send.began, ended: *ended };
            self.tell(Told { span, id: id.clone(), state, via: None }, id, event);
        }
    }

    fn tell(&mut self, told: Told, id: &'a str, event: &'a Event) {
        self.told.entry(id).or_default().push((told, event));
    }

    /// Returns the ends that a notice reports.
    fn notice(
        &mut self,
        notice: &'a str,
        text: &str,
        span: Span,
        event: &'a Event,
    ) -> Vec<(String, &'static str, Span, &'a Event)> {
        self.notice_events.insert(notice, event);
        let ends = read::notice(text).into_iter();
        ends.map(|(id, state)| {
            self.notices.entry(id.clone()).or_default().insert(notice);
            // It was written before it was shown, so that a later state may have been told before.
            (id, state, Span { began: 0, ended: span.ended }, event)
        })
        .collect()
    }

    /// Returns what a peer did that can show messages.
    pub fn looks_of(&self, peer: &str) -> &[&'a Look] {
        self.looks_of.get(peer).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns from when to when a message was shown. A push was not sent before its instance began.
    pub fn span(&self, shown: &Shown) -> Span {
        let began = match self.began.get(shown.receiver.as_str()) {
            Some((at, _)) if shown.way == Way::Push => shown.span.began.max(*at),
            _ => shown.span.began,
        };
        Span { began: began.min(shown.span.ended), ended: shown.span.ended }
    }

    /// Returns the showings of a message, the earliest end first.
    pub fn showings(&self, id: &str) -> Vec<&'a Shown> {
        let mut all = self.shown.get(id).cloned().unwrap_or_default();
        all.sort_by_key(|shown| shown.span.ended);
        all
    }
}

impl From<&Send> for Event {
    fn from(send: &Send) -> Self {
        Self::Send(send.clone())
    }
}

impl From<&Shown> for Event {
    fn from(shown: &Shown) -> Self {
        Self::Shown(shown.clone())
    }
}

impl From<&Stored> for Event {
    fn from(stored: &Stored) -> Self {
        Self::Stored(stored.clone())
    }
}
