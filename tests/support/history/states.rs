//! States only go forward, and what is told of them was true when it was told.

use super::index::Index;
use super::{Event, Rule, Span, Told, Violation, Way};

pub fn check(index: &Index<'_>, found: &mut Vec<Violation>) {
    for (id, told) in &index.told {
        backwards(told, found);
        for (one, event) in told {
            if let Some((rule, more)) = untrue(index, id, one) {
                let events = more.into_iter().chain([(*event).clone()]).collect();
                found.push(Violation { rule, events });
            }
        }
    }
    for notices in index.notices.values() {
        if notices.len() > 1 {
            let events = notices.iter().map(|id| index.notice_events[id].clone()).collect();
            found.push(Violation { rule: Rule::ReportedTwice, events });
        }
    }
}

/// Whether a message in a state may be in another one later, or still.
pub fn may_become(state: &str, later: &str) -> bool {
    match state {
        "queued" => true,
        "offered" => ["offered", "unconfirmed", "read"].contains(&later),
        "expired" => ["expired", "read"].contains(&later),
        "unconfirmed" => ["unconfirmed", "read"].contains(&later),
        "read" => later == "read",
        // A word of another version.
        _ => true,
    }
}

fn backwards(told: &[(Told, &Event)], found: &mut Vec<Violation>) {
    for (earlier, event) in told {
        for (later, after) in told {
            let is_read_by_another_way = earlier.state == "read"
                && later.state == "read"
                && earlier.via.is_some()
                && later.via.is_some()
                && earlier.via != later.via;
            if earlier.span.is_before(later.span)
                && (!may_become(&earlier.state, &later.state) || is_read_by_another_way)
            {
                let events = vec![(*event).clone(), (*after).clone()];
                found.push(Violation { rule: Rule::Backwards, events });
            }
        }
    }
}

/// Returns what is untrue about a state that was told, and the events that it contradicts.
fn untrue(index: &Index<'_>, id: &str, told: &Told) -> Option<(Rule, Vec<Event>)> {
    let showings = index.showings(id);
    match told.state.as_str() {
        "queued" | "expired" => {
            let before = showings.iter().find(|shown| shown.span.ended < told.span.began)?;
            Some((Rule::Understated, vec![(*before).into()]))
        }
        "offered" | "unconfirmed" => {
            let recipient = recipient(index, id)?;
            let is_possible = ways(told.via.as_deref()).iter().any(|way| {
                is_reachable(index, recipient, *way, told.span)
                    || showings.iter().any(|shown| {
                        shown.way == *way && index.span(shown).began <= told.span.ended
                    })
            });
            (!is_possible).then_some((Rule::UnfoundedOffer, Vec::new()))
        }
        "read" => {
            let recipient = recipient(index, id)?;
            let via = told.via.as_deref();
            let is_answered = [None, Some("reply")].contains(&via)
                && index
                    .replies
                    .get(id)
                    .is_some_and(|all| all.iter().any(|reply| reply.began <= told.span.ended));
            let ways = ways(via);
            let is_shown = showings.iter().any(|shown| {
                ways.contains(&shown.way) && index.span(shown).began <= told.span.ended
            });
            let is_unseen = index.looks_of(recipient).iter().any(|look| {
                !look.is_seen && ways.contains(&look.way) && look.began <= told.span.ended
            });
            let is_founded = is_answered || is_shown || is_unseen;
            (!is_founded)
                .then(|| (Rule::Overstated, showings.iter().map(|shown| (*shown).into()).collect()))
        }
        _ => None,
    }
}

/// Returns the ways that a word of a state stands for; all of them where none is told.
fn ways(via: Option<&str>) -> Vec<Way> {
    const ALL: [Way; 5] = [Way::Push, Way::Hook, Way::Tool, Way::Inbox, Way::Answer];
    let is_meant = |way: &Way| match via {
        None => true,
        // The call that waits for a reply is a tool's or the command line's.
        Some("tool" | "cli") if *way == Way::Answer => true,
        Some(via) => via == way.word(),
    };
    ALL.into_iter().filter(is_meant).collect()
}

/// Returns the peer to which a message was sent, if it is known.
fn recipient<'a>(index: &'a Index<'_>, id: &str) -> Option<&'a str> {
    let sent = index.accepted.get(id).map(|sends| sends[0].to.as_str());
    sent.or_else(|| index.stored.get(id).map(|stored| stored.to.as_str()))
}

/// Whether a peer could be offered anything by this way until a state was told.
fn is_reachable(index: &Index<'_>, peer: &str, way: Way, told: Span) -> bool {
    let looks = index.looks_of(peer);
    let looked = looks.iter().any(|look| look.way == way && look.began <= told.ended);
    looked
        || (way == Way::Push
            && index.began.values().any(|(at, owner)| *owner == peer && *at <= told.ended))
}
