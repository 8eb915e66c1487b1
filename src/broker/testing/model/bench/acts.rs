//! What peers do: they send, take, confirm, run hooks and wait, in the model as in the broker.

use std::collections::BTreeSet;

use super::compare::{code, plain, state_of, without_notice};
use super::{Bench, CLI, place, session};
use crate::broker::core::idempotency::IdempotencyKey;
use crate::broker::testing::model::commands::Command;
use crate::broker::testing::model::mailbox::{Mail, Peer};
use crate::broker::testing::model::receivers::{
    Channel, Draft, HookEvent, Receiver, Refusal, Sent, Waiter, WaitsFor,
};
use crate::broker::testing::waiting::TestWaiter;
use crate::broker::testing::{ErrorCode, Hook, Outcome, Scope, event, mail};
use crate::protocol::hook::HookEvent as RealHookEvent;
use crate::protocol::messages::SendMessage;
use crate::protocol::{ApiError, MessageId};

impl Bench {
    /// Sends a draft, whose `to` is a number that means a peer, or its name.
    pub(super) fn send(&mut self, place: usize, draft: &Draft, by_name: bool, outcome: Outcome) {
        let actor = self.actors[place].clone();
        let Draft { to, ref text, reply_to, key, waits, .. } = *draft;
        let id = self.model.peers[to].clone();
        let name = self.actors.iter().find(|actor| actor.peer == to).unwrap().real.clone();
        let name = self.world.name_of(&name);
        // The name of one that has ended means nobody.
        let word = if by_name && self.is_live(to) && !name.is_empty() { name } else { id };
        let message = SendMessage {
            reply_to: reply_to.map(|mail| self.ids[mail].clone()),
            wait: waits,
            ..mail::draft(&word, text)
        };
        let idempotency = key.map(|key| {
            IdempotencyKey::new(&format!("key{key}"), &[word.as_bytes(), text.as_bytes()])
        });
        self.world.next = outcome;
        let real = self.world.send_message(&actor.real, message, idempotency);
        self.both(outcome, |bench| {
            let sent = bench.model.send(draft);
            bench.compare_sent(real, sent);
        });
    }

    pub(super) fn compare_sent(
        &mut self,
        real: Result<crate::protocol::messages::Sent, ApiError>,
        model: Result<Sent, Refusal>,
    ) {
        match (real, model) {
            (Ok(real), Ok(model)) => {
                self.load();
                let told = (state_of(real.state), real.awaited, real.to.id.to_string());
                let to = self.model.peers[self.model.messages[model.mail].to].clone();
                assert_eq!(self.ids[model.mail], real.id, "the message that was sent");
                assert_eq!(told, (model.state, model.awaited, to), "what the sender is told");
            }
            (Err(real), Err(model)) => assert_eq!(real.code, code(model)),
            (real, model) => panic!("sent {real:?}, in the model {model:?}"),
        }
    }

    pub(super) fn batch(&mut self, from: u8, items: &[(u8, u8)], again: bool, outcome: Outcome) {
        let actor = self.actors[self.actor(from)].clone();
        let item = |(to, key): &(u8, u8)| {
            let to = self.peer(*to);
            (format!("key{key}"), self.model.peers[to].clone(), format!("text of {key}"), to, *key)
        };
        let items: Vec<_> = items.iter().map(item).collect();
        let words: Vec<_> =
            items.iter().map(|(key, id, text, ..)| (&**key, &**id, &**text)).collect();
        self.world.next = outcome;
        let real = self.world.send_batch(&actor.real, &words, again);
        let draft = |(_, _, text, to, key): &(String, String, String, Peer, u8)| Draft {
            from: actor.peer,
            by: actor.receiver,
            to: *to,
            text: text.clone(),
            reply_to: None,
            key: Some(*key),
            waits: false,
        };
        let drafts: Vec<Draft> = items.iter().map(draft).collect();
        self.both(outcome, |bench| {
            let sent = bench.model.send_batch(&drafts, again);
            let real = real.unwrap();
            assert_eq!(real.len(), sent.len());
            // The state in an answer is that of its moment: later ones of the batch change nothing of it.
            for (real, model) in real.into_iter().zip(sent) {
                bench.compare_sent(real, model);
            }
        });
    }

    pub(super) fn scope(&mut self, from: u8) {
        let actor = self.actors[self.actor(from)].clone();
        self.texts += 1;
        let text = format!("text {}", self.texts);
        let Ok(sent) = self.world.broadcast(&actor.real, Scope::Machine, &text) else { return };
        let recipients: Vec<Peer> = sent
            .outcomes
            .iter()
            .map(|outcome| {
                self.model.peers.iter().position(|id| *id == outcome.to.id.as_str()).unwrap()
            })
            .collect();
        let live: BTreeSet<Peer> = self
            .model
            .streams
            .iter()
            .map(|stream| self.model.channels[stream.instance].0)
            .collect();
        for peer in live {
            assert!(peer == actor.peer || recipients.contains(&peer), "a live session is left out");
        }
        assert!(!recipients.contains(&actor.peer) && !recipients.contains(&CLI));
        for (to, outcome) in recipients.into_iter().zip(sent.outcomes) {
            if self.model.is_full(to) {
                assert_eq!(outcome.refusal.unwrap().code, ErrorCode::MailboxFull);
                continue;
            }
            let (mail, awaited) = self.model.accept(Some(actor.peer), to, text.clone(), None);
            let told = (outcome.state.map(state_of), outcome.awaited);
            assert_eq!(told, (Some(self.model.messages[mail].state), awaited));
        }
    }

    // Receiving.

    pub(super) fn take(&mut self, by: u8, outcome: Outcome) {
        let place = self.actor(by);
        let actor = self.actors[place].clone();
        self.world.next = outcome;
        let real = self.world.try_take(&actor.real, 0);
        self.both(outcome, |bench| {
            let taken = bench.model.take(actor.peer, actor.receiver);
            let real = real.unwrap();
            assert_eq!(real.messages.iter().map(plain).collect::<Vec<_>>(), bench.lines(&taken));
            let own = bench.model.messages.iter();
            let own = own.filter(|one| one.from == Some(actor.peer) && one.is_unread()).count();
            assert_eq!(real.own_unread_total, own as u64, "the caller's own unread messages");
            bench.taken.insert(place, taken.iter().map(|shown| shown.mail).collect());
        });
    }

    pub(super) fn confirm(&mut self, place: usize, mail: Mail, outcome: Outcome) {
        let actor = self.actors[place].clone();
        self.world.next = outcome;
        let real = self.world.try_confirm(&actor.real, &[self.ids[mail].clone()]);
        self.both(outcome, |bench| {
            let is_own = bench.model.messages[mail].to == actor.peer;
            let noted = is_own && bench.model.read(mail, actor.receiver.takes_by());
            assert_eq!(real.unwrap(), u64::from(noted), "what was confirmed");
        });
    }

    pub(super) fn written(&mut self, instance: u8, count: u8, outcome: Outcome) {
        let Some((place, instance)) = self.instance(instance) else { return };
        let all = self.unreported.get(&instance).cloned().unwrap_or_default();
        let mails = &all[..all.len().min(usize::from(count))];
        let ids: Vec<MessageId> = mails.iter().map(|mail| self.ids[*mail].clone()).collect();
        let real = self.actors[place].real.clone();
        self.world.next = outcome;
        let answer = self.world.try_written(&real, &ids);
        self.both(outcome, |bench| {
            answer.unwrap();
            bench.model.pushes_written(instance, mails);
            bench.unreported.insert(instance, all[mails.len()..].to_vec());
        });
    }

    pub(super) fn hook(&mut self, command: &Command) {
        let Command::Hook { peer, event: name, turn, occasion, lasted, room, outcome } = *command
        else {
            return;
        };
        let peer = session(peer);
        let real = self.newest_of(peer).clone();
        let lasted = i64::from(lasted) * 100;
        let request = RealHookEvent {
            occasion: if occasion == 0 { String::new() } else { format!("o{occasion}") },
            lasted: lasted.unsigned_abs(),
            room: if room { 100_000 } else { 0 },
            ..event(&real, name, &format!("t{turn}"))
        };
        self.world.next = outcome;
        let answer = self.world.try_hook(request);
        self.both(outcome, |bench| {
            let model = hook_event(name, turn, occasion, lasted, room);
            let shown = bench.model.hook(peer, &model);
            let answer = answer.unwrap();
            assert_eq!(
                answer.mail.messages.iter().map(plain).collect::<Vec<_>>(),
                bench.lines(&shown)
            );
            let mails = shown.iter().map(|shown| shown.mail).collect();
            bench.hooked.insert(peer, (answer, turn, mails));
        });
    }

    pub(super) fn waiter(&mut self, place: usize, real: TestWaiter, waits_for: WaitsFor) {
        let actor = self.actors[place].clone();
        self.texts += 1;
        let number = self.texts as usize;
        let by = match actor.receiver {
            Receiver::Cli => Receiver::Waiter(number),
            instance => instance,
        };
        let waiter = Waiter { number, owner: actor.peer, waits_for };
        match waits_for {
            WaitsFor::Reply { question, .. } => {
                self.model.wait_for_reply(number, actor.peer, question);
            }
            _ => self.model.waiters.push(waiter.clone()),
        }
        self.waiters.push((real, waiter, by));
    }

    pub(super) fn look(&mut self, waiter: u8, is_over: bool) {
        let Some(place) = place(waiter, self.waiters.len()) else { return };
        let (real, waiter, by) = self.waiters[place].clone();
        let answer =
            if is_over { Some(self.world.time_out(&real)) } else { self.world.look_for(&real) };
        let shown = self.model.look(&waiter, by, is_over);
        let shown = shown.map(|shown| self.lines(&shown));
        let answer = answer.map(|lines| lines.iter().map(|line| without_notice(line)).collect());
        assert_eq!(answer, shown, "what a waiting call gets");
        if let Some(shown) = shown {
            self.answered += usize::from(!shown.is_empty());
            self.waiters.remove(place);
        }
    }

    /// A wake changes no message. It is given only where it is needed.
    pub(super) fn wake(&mut self, peer: u8) {
        let peer = session(peer);
        let real = self.newest_of(peer).clone();
        if self.world.wake(&real).starts_with("now") {
            let streams =
                self.model.streams.iter().map(|stream| self.model.channels[stream.instance]);
            let mut of_peer = streams.filter(|(owner, _)| *owner == peer);
            assert!(!of_peer.any(|(_, channel)| channel == Channel::Proven), "a push wakes it");
            assert!(self.model.waiters.iter().all(|waiter| waiter.owner != peer), "its call waits");
            let free = self.model.free(peer);
            assert!(free.iter().any(|mail| !self.model.is_reserved(*mail)), "nothing waits");
        }
    }
}

pub(super) fn hook_event(
    name: Hook,
    turn: u8,
    occasion: u8,
    lasted: i64,
    has_room: bool,
) -> HookEvent {
    HookEvent {
        turn,
        occasion,
        lasted,
        has_room,
        continues_turn: matches!(name, Hook::PostToolUse | Hook::Stop),
        failed: name == Hook::StopFailure,
    }
}
