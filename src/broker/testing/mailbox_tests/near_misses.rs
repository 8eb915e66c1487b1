//! What comes near a rule and must not pass for it: other people's evidence, a second push, an
//! order that a limit of room would turn round.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::broker::mailbox;
use crate::broker::testing::{Channel, ErrorCode, Hook, NOTHING, Reachability, World, event};
use crate::protocol::hook::HookEvent;
use crate::protocol::mailbox::{Confirm, Take, Taken};
use crate::protocol::messages::{ListMessages, MessageState};

#[test]
fn an_answer_to_what_was_never_pushed_proves_no_channel() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.live_over("bob", Channel::Absent));
    let id = world.send(&ann, &bob, "hello");
    world.reply(&bob, &ann, &id);
    assert_eq!(world.look(&bob).reach, Reachability::Tools);
    let id = world.send(&ann, &bob, "again");
    assert_eq!(world.take(&bob), ["again"]);
    world.reply(&bob, &ann, &id);
    assert_eq!(world.look(&bob).reach, Reachability::Tools, "a tool showed it");
}

#[test]
fn an_answer_to_what_a_push_and_a_tool_showed_proves_no_channel() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.live("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.written(&bob, std::slice::from_ref(&id));
    assert_eq!(world.take(&bob), ["hello (pushed)"]);
    world.reply(&bob, &ann, &id);
    assert_eq!(world.look(&bob).reach, Reachability::ChannelPresumed);
    let id = world.send(&ann, &bob, "again");
    world.written(&bob, std::slice::from_ref(&id));
    world.reply(&bob, &ann, &id);
    assert_eq!(world.look(&bob).reach, Reachability::ChannelProven, "only a push showed it");
}

#[test]
fn a_prompt_that_quotes_anothers_push_proves_nothing_to_anybody() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.peer("ann"), world.live("bob"), world.live("eve"));
    let id = world.send(&ann, &bob, "hello");
    let quoted =
        HookEvent { seen: vec![id.clone()], ..event(&eve, Hook::UserPromptSubmit, "a turn") };
    world.try_hook(quoted).unwrap();
    assert_eq!(world.state_of(&id), "offered by channel");
    world.send(&ann, &bob, "more");
    assert_eq!(world.look(&bob).unread, 2, "its channel is not proven, so nothing is leased");
}

#[test]
fn no_session_confirms_or_reports_what_another_was_sent() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.peer("ann"), world.live("bob"), world.live("eve"));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.confirm(&eve, std::slice::from_ref(&id)), 0);
    assert_eq!(world.confirm(&ann, std::slice::from_ref(&id)), 0, "nor does its sender");
    assert_eq!(world.written(&eve, std::slice::from_ref(&id)), 0);
    assert_eq!(world.state_of(&id), "offered by channel");
    world.close_stream(&bob);
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), ["hello"], "it has not written it");
}

#[test]
fn an_answer_that_was_pushed_before_it_was_waited_for_says_so() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.peer("bob"));
    let question = world.send(&ann, &bob, "a question");
    let answer = world.reply(&bob, &ann, &question);
    assert_eq!(world.pushed(&ann), ["a reply"]);
    world.written(&ann, &[answer]);
    let waiter = world.wait_for_reply(&ann, &question);
    assert_eq!(world.look_for(&waiter).unwrap(), ["a reply (pushed)"]);
}

#[test]
fn a_hook_shows_the_oldest_first_and_nothing_behind_what_it_has_no_room_for() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send_all(&ann, &bob, &["one", "two", "three"]);
    assert_eq!(world.hook(&bob, Hook::UserPromptSubmit, "a turn").lines(), ["one", "two", "three"]);
    let eve = world.peer("eve");
    world.send_all(&ann, &eve, &["short", &"long ".repeat(1_000), "late"]);
    let room = 1_000;
    let shown = world.try_hook(HookEvent { room, ..event(&eve, Hook::UserPromptSubmit, "a turn") });
    let shown = shown.unwrap();
    assert_eq!(shown.lines(), ["short"]);
    assert_eq!(shown.mail.remaining, 2);
}

#[test]
fn what_an_instance_wrote_as_a_repeat_is_not_pushed_to_it_again() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.close_stream(&bob);
    let next = world.start(bob.start());
    world.open_stream(&next);
    assert_eq!(world.pushed(&next), ["hello (repeat)"]);
    world.written(&next, &[id]);
    world.close_stream(&next);
    world.open_stream(&next);
    assert_eq!(world.pushed(&next), NOTHING);
}

#[test]
fn what_is_under_way_is_not_pushed_again_when_all_is_looked_through() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let question = world.send(&bob, &ann, "a question");
    world.send(&ann, &bob, "under way");
    assert_eq!(world.pushed(&bob), ["under way"]);
    let waiter = world.wait_for_reply(&bob, &question);
    world.time_out(&waiter);
    world.send(&ann, &bob, "next");
    assert_eq!(world.pushed(&bob), ["next"]);
}

#[test]
fn what_one_call_waits_for_is_not_pushed_when_another_ends() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.peer("ann"), world.live("bob"), world.peer("eve"));
    let (first, second) = (world.send(&bob, &ann, "to ann"), world.send(&bob, &eve, "to eve"));
    let waiter = world.wait_for_reply(&bob, &first);
    let other = world.wait_for_reply(&bob, &second);
    world.reply(&ann, &bob, &first);
    world.time_out(&other);
    assert_eq!(world.pushed(&bob), NOTHING);
    assert_eq!(world.look_for(&waiter).unwrap(), ["a reply"]);
}

#[test]
fn an_allowance_that_was_spent_grows_to_a_burst_and_no_further() {
    let mut world = World::with(|limits| limits.burst = 3);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "thanks");
    world.advance(Duration::from_secs(60 * 60));
    for _ in 0..3 {
        world.send(&ann, &bob, "thanks");
    }
    assert_eq!(world.try_send(&ann, "bob", "x").unwrap_err().code, ErrorCode::RateLimited);
}

#[test]
fn what_ended_in_a_commit_that_failed_ends_in_the_next() {
    let mut world = World::with(|limits| limits.time_to_live = Duration::from_secs(60));
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.advance(Duration::from_secs(61));
    world.lose_next();
    assert_eq!(world.try_send(&ann, bob.id.as_str(), "lost").unwrap_err().code, ErrorCode::Storage);
    let next = world.send(&bob, &ann, "next");
    assert_eq!(world.state_of(&id), "expired");
    assert_eq!(world.state_of(&next), "queued");
    assert_eq!(world.take(&ann).len(), 2, "the notice and the next");
}

#[test]
fn what_a_call_took_is_given_again_to_its_key_and_to_nobody_elses() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.peer("ann"), world.peer("bob"), world.peer("eve"));
    world.send(&ann, &bob, "for bob");
    let key = "k".repeat(32);
    let texts = |taken: Taken| -> Vec<String> {
        taken.messages.into_iter().map(|message| message.text).collect()
    };
    assert_eq!(texts(world.take_once(&bob, &key).unwrap()), ["for bob"]);
    world.send(&ann, &bob, "later");
    assert_eq!(texts(world.take_once(&bob, &key).unwrap()), ["for bob"]);
    assert_eq!(texts(world.take_once(&eve, &key).unwrap()), NOTHING);
}

#[test]
fn a_stream_that_moved_in_a_request_that_is_refused_stays_where_it_was() {
    let mut world = World::new();
    let (ann, old) = (world.peer("ann"), world.live("old"));
    world.close_stream(&old);
    let newer = world.live("new");
    world.hook(&newer, Hook::SessionStart, "");
    let resumed = || HookEvent {
        session: old.session(),
        source: "resume".to_owned(),
        room: 0,
        ..event(&newer, Hook::SessionStart, "")
    };
    world.refuse_next();
    world.try_hook(resumed()).unwrap_err();
    world.send(&ann, &old, "for the old one");
    world.send(&ann, &newer, "for the new one");
    assert_eq!(world.pushed(&newer), ["for the new one"]);
    world.try_hook(resumed()).unwrap();
    assert_eq!(world.pushed(&newer), ["for the old one"]);
}

#[test]
fn who_waits_hears_of_a_message_and_of_the_end_of_a_turn() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let mut signal = world.live.signals.subscribe(&bob.id);
    let mut heard = || {
        let mut context = Context::from_waker(Waker::noop());
        pin!(signal.notified()).as_mut().poll(&mut context).is_ready()
    };
    assert!(!heard());
    world.send(&ann, &bob, "hello");
    assert!(heard() && !heard());
    world.quiet_hook(&bob, Hook::UserPromptSubmit, "turn");
    heard();
    world.quiet_hook(&bob, Hook::Stop, "turn");
    assert!(heard());
}

#[test]
fn what_a_call_waited_for_and_did_not_take_is_pushed() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let question = world.send(&bob, &ann, "a question");
    let waiter = world.wait_for_reply(&bob, &question);
    world.reply(&ann, &bob, &question);
    assert_eq!(world.pushed(&bob), NOTHING);
    assert_eq!(world.time_out(&waiter), NOTHING);
    assert_eq!(world.pushed(&bob), ["a reply"]);
}

#[test]
fn the_history_comes_in_pieces_of_a_bounded_size() {
    const MEBIBYTE: usize = 1024 * 1024;
    let mut world = World::with(|limits| limits.max_message_bytes = 4 * 1024 * 1024);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    for _ in 0..3 {
        world.send(&ann, &bob, &"x".repeat(3 * MEBIBYTE));
    }
    let request = ListMessages { limit: 100, ..ListMessages::default() };
    assert_eq!(world.list_messages(&request).unwrap().len(), 1);
}

#[test]
fn an_idempotency_key_has_1_to_128_characters() {
    use crate::broker::http::request::check_key;
    for (length, is_good) in [(0, false), (1, true), (128, true), (129, false)] {
        assert_eq!(check_key(&"k".repeat(length)).is_ok(), is_good, "{length}");
    }
}

#[test]
fn a_key_of_minutes_ago_is_known_though_the_clock_was_set_forward_by_a_day() {
    const HOUR: u64 = 60 * 60;
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "the day before");
    world.advance(Duration::from_secs(24 * HOUR - 60));
    let first = world.send_once(&ann, bob.id.as_str(), "hello", "key").unwrap();
    world.advance(Duration::from_secs(120));
    world.send(&ann, &bob, "a day has passed");
    world.set_wall_clock(25 * 60 * 60 * 1_000);
    for _ in 0..3 {
        world.advance(Duration::from_secs(2));
        let again = world.send_once(&ann, bob.id.as_str(), "hello", "key").unwrap();
        assert_eq!(again.id, first.id);
    }
}

#[test]
fn a_lease_that_an_odd_clock_left_without_an_end_ends_with_the_broker() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "hello");
    assert_eq!(world.hook(&bob, Hook::PostToolUse, "turn").lines(), ["hello"]);
    let far = "UPDATE messages SET lease_until = 200000000000000";
    world.store.database().execute(far, []).unwrap();
    world.crash();
    world.send(&ann, &bob, "next");
    assert_eq!(world.count("messages WHERE lease_until > 100000000000000"), 0);
    assert_eq!(world.take(&bob), ["hello (repeat)", "next"]);
}

#[test]
fn a_sender_is_told_only_of_what_is_unread_and_again_after_a_commit_that_failed() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    let own_unread = |world: &mut World| world.try_take(&ann, 0).unwrap().own_unread_total;
    assert_eq!(own_unread(&mut world), 1);
    // Its reading and the look at it are lost together.
    let (reader, sender, ids) = (bob.identity(), ann.identity(), vec![id.clone()]);
    world.lose_next();
    let lost = world.write(move |tx| {
        let caller = reader.authenticate(tx)?;
        mailbox::confirm(tx, &caller, &Confirm { ids })?;
        let caller = sender.authenticate(tx)?;
        mailbox::take(tx, &caller, &caller.receiver(), &Take { max_bytes: 0 })
    });
    assert_eq!(lost.unwrap_err().code, ErrorCode::Storage);
    assert_eq!(own_unread(&mut world), 1);
    world.confirm(&bob, &[id]);
    assert_eq!(own_unread(&mut world), 0);
}

#[test]
fn a_call_that_has_ended_takes_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let waiter = world.wait(&bob);
    world.hang_up(waiter.clone());
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.look_for(&waiter).unwrap(), NOTHING);
    assert_eq!(world.state_of(&id), "queued");
}

#[test]
fn a_session_that_waits_for_an_answer_is_not_woken_for_other_mail() {
    let mut world = World::new();
    let (ann, eve) = (world.peer("ann"), world.peer("eve"));
    let bob = world.live_over("bob", Channel::Absent);
    let question = world.send(&bob, &ann, "a question");
    let waiter = world.wait_for_reply(&bob, &question);
    world.send(&eve, &bob, "something else");
    world.advance(Duration::from_secs(2));
    assert_ne!(world.wake(&bob), "now, for 1");
    world.time_out(&waiter);
    assert_eq!(world.wake(&bob), "now, for 1");
}

#[test]
fn a_session_that_was_at_work_and_did_not_read_is_not_woken_for_the_next_at_once() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    world.send(&ann, &bob, "one");
    world.advance(Duration::from_secs(2));
    assert_eq!(world.wake(&bob), "now, for 1");
    world.wake_given(&bob);
    world.quiet_hook(&bob, Hook::UserPromptSubmit, "turn");
    world.quiet_hook(&bob, Hook::Stop, "turn");
    world.send(&ann, &bob, "two");
    world.advance(Duration::from_secs(2));
    assert_ne!(world.wake(&bob), "now, for 2");
    world.advance(Duration::from_secs(60));
    assert_eq!(world.wake(&bob), "now, for 2");
}

#[test]
fn who_waited_in_vain_is_told_how_the_question_stands_now() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let question = world.send(&ann, &bob, "a question");
    let waiter = world.wait_for_reply(&ann, &question);
    world.take(&bob);
    world.confirm(&bob, &[question]);
    assert_eq!(world.state_at_time_out(&waiter), MessageState::Read);
}
