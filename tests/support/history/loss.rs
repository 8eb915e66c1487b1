//! What was acknowledged is there, once and as it was sent; what was refused is nowhere.

use std::collections::BTreeSet;

use super::index::Index;
use super::{Answer, Event, Rule, Send, Violation};

pub fn check(index: &Index<'_>, found: &mut Vec<Violation>) {
    for (id, sends) in &index.accepted {
        acknowledged(index, id, sends, found);
    }
    for sends in index.by_text.values() {
        stored_once(index, sends, found);
    }
    // What an answer did not acknowledge was stored all the same if it could be shown.
    for (id, shown) in &index.shown {
        let is_known = index.stored.contains_key(id) || index.accepted.contains_key(id);
        let was_sent = index.by_text.contains_key(shown[0].message.text.as_str());
        if index.history.is_store_known && !is_known && was_sent {
            let events = shown.iter().map(|shown| Event::from(*shown)).collect();
            found.push(Violation { rule: Rule::Gone, events });
        }
    }
    let shown = index.shown.values().flatten().map(|shown| {
        let message = &shown.message;
        (
            &*message.id,
            &*message.from,
            &*shown.peer,
            &*message.text,
            message.part,
            Event::from(*shown),
        )
    });
    let stored = index.stored.values().map(|stored| {
        (&*stored.id, &*stored.from, &*stored.to, &*stored.text, false, Event::from(*stored))
    });
    for (id, from, to, text, is_part, event) in shown.chain(stored) {
        if let Some((rule, send)) = wrong(index, id, (from, to), text, is_part) {
            let events = send.map(Event::from).into_iter().chain([event]).collect();
            found.push(Violation { rule, events });
        }
    }
}

/// Checks a message that was acknowledged with this id.
fn acknowledged(index: &Index<'_>, id: &str, sends: &[&Send], found: &mut Vec<Violation>) {
    let events = || sends.iter().map(|send| Event::from(*send)).collect::<Vec<_>>();
    if sends.iter().any(|send| !is_same(send, sends[0])) {
        found.push(Violation { rule: Rule::SharedId, events: events() });
    }
    let recipient = &sends[0].to;
    let is_shown = index.shown.get(id).is_some_and(|all| all.iter().any(|s| s.peer == *recipient));
    let stored = index.stored.get(id);
    if stored.is_none() && index.history.is_store_known && is_shown {
        found.push(Violation { rule: Rule::Gone, events: events() });
    }
    let is_ended = index.notices.contains_key(id)
        || index
            .told
            .get(id)
            .into_iter()
            .flatten()
            .any(|(told, _)| ["expired", "unconfirmed"].contains(&told.state.as_str()));
    let is_unread = stored.is_some_and(|one| ["queued", "offered"].contains(&one.state.as_str()));
    // What is stored as read was seen by somebody: in an output that was lost, or by its answer.
    let is_read = stored.is_some_and(|one| one.state == "read")
        && (index.looks_of(recipient).iter().any(|look| !look.is_seen)
            || index.replies.contains_key(id));
    if !(is_shown || is_ended || is_unread || is_read) {
        let stored = stored.map(|stored| Event::from(*stored));
        let events = events().into_iter().chain(stored).collect();
        found.push(Violation { rule: Rule::Lost, events });
    }
}

/// Whether two sends are the same message: one, or an attempt and its retry.
fn is_same(one: &Send, other: &Send) -> bool {
    std::ptr::eq(one, other)
        || (one.key.is_some() && one.key == other.key && one.from == other.from)
}

/// Checks that the sends of one text have no more ids than messages.
fn stored_once(index: &Index<'_>, sends: &[&Send], found: &mut Vec<Violation>) {
    for (at, first) in sends.iter().enumerate() {
        let is_alike = |send: &Send| send.from == first.from && send.to == first.to;
        if sends[..at].iter().any(|send| is_alike(send)) {
            continue;
        }
        let alike: Vec<&Send> = sends.iter().copied().filter(|send| is_alike(send)).collect();
        let mut messages: Vec<&Send> = Vec::new();
        for send in &alike {
            if !messages.iter().any(|message| is_same(send, message)) {
                messages.push(send);
            }
        }
        let accepted = alike.iter().filter_map(|send| match &send.answer {
            Some((_, Answer::Accepted { id, .. })) => Some(id.as_str()),
            _ => None,
        });
        let mut ids: BTreeSet<&str> = accepted.collect();
        let mut events: Vec<Event> = alike.iter().map(|send| Event::from(*send)).collect();
        for shown in index.shown_texts.get(&*first.text).into_iter().flatten().copied() {
            let (id, from) = (&shown.message.id, &shown.message.from);
            if *from == first.from && shown.peer == first.to && ids.insert(id) {
                events.push(shown.into());
            }
        }
        for stored in index.stored_texts.get(&*first.text).into_iter().flatten().copied() {
            if stored.from == first.from && stored.to == first.to && ids.insert(&stored.id) {
                events.push(stored.into());
            }
        }
        if ids.len() > messages.len() {
            found.push(Violation { rule: Rule::Twice, events });
        }
    }
}

/// Returns what is wrong with a message that was shown or stored, and the send that it is.
fn wrong<'a>(
    index: &Index<'a>,
    id: &str,
    (from, to): (&str, &str),
    text: &str,
    is_part: bool,
) -> Option<(Rule, Option<&'a Send>)> {
    let is_text = |send: &Send| send.text == text || (is_part && send.text.contains(text.trim()));
    let known = index.accepted.get(id).map(Vec::as_slice);
    let candidates: Vec<&'a Send> = match known {
        Some(sends) => sends.to_vec(),
        None if is_part => index.sends.iter().copied().filter(|send| is_text(send)).collect(),
        None => index.by_text.get(text).cloned().unwrap_or_default(),
    };
    let Some(first) = candidates.first().copied() else { return Some((Rule::Invented, None)) };
    let broken = |rule| Some((rule, Some(first)));
    if !candidates.iter().any(|send| is_text(send)) {
        return broken(Rule::Altered);
    }
    if !candidates.iter().any(|send| send.from == from) {
        return broken(Rule::WrongSender);
    }
    let mut meant = candidates.iter().copied().filter(|send| send.to == to).peekable();
    if meant.peek().is_none() {
        return broken(Rule::Foreign);
    }
    if known.is_none() && meant.all(|send| matches!(send.answer, Some((_, Answer::Refused { .. }))))
    {
        return broken(Rule::RefusedIsStored);
    }
    None
}
