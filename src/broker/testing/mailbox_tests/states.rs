//! From queued over offered to read, and by which evidence.

use crate::broker::testing::{Channel, ErrorCode, Hook, NOTHING, World};

#[test]
fn a_message_to_a_peer_that_is_away_is_queued() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.state_of(&id), "queued");
    assert_eq!(world.lease(&id), None);
    assert_eq!(world.look(&bob).unread, 1);
}

#[test]
fn a_push_over_a_presumed_channel_is_an_offer_without_a_lease() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.state_of(&id), "offered by channel");
    assert_eq!(world.lease(&id), None);
    assert_eq!(world.pushed(&bob), ["hello"]);
}

#[test]
fn a_push_over_a_proven_channel_is_an_offer_with_a_lease() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.state_of(&id), "offered by channel");
    assert!(world.lease(&id).is_some());
    assert_eq!(world.look(&bob).unread, 0, "what is on its way is no backlog");
}

#[test]
fn an_absent_channel_is_never_pushed_to() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.state_of(&id), "queued");
    assert_eq!(world.pushed(&bob), NOTHING);
}

#[test]
fn the_receipt_of_a_push_is_no_evidence() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.written(&bob, std::slice::from_ref(&id)), 1);
    assert_eq!(world.state_of(&id), "offered by channel");
    assert_eq!(world.written(&bob, std::slice::from_ref(&id)), 0, "it is known already");
}

#[test]
fn taking_is_an_offer_and_the_tools_result_is_the_evidence() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.take(&bob), ["hello"]);
    assert_eq!(world.state_of(&id), "offered by tool");
    assert!(world.lease(&id).is_some());
    assert_eq!(world.confirm(&bob, std::slice::from_ref(&id)), 1);
    assert_eq!(world.state_of(&id), "read by tool");
    assert_eq!((world.lease(&id), world.look(&bob).unread), (None, 0));
}

#[test]
fn the_command_line_takes_and_reads_by_a_way_of_its_own() {
    let mut world = World::new();
    let (ann, cli) = (world.peer("ann"), world.cli());
    let id = world.send(&ann, &cli, "hello");
    assert_eq!(world.state_of(&id), "queued");
    assert_eq!(world.take(&cli), ["hello"]);
    assert_eq!(world.state_of(&id), "offered by cli");
    world.confirm(&cli, std::slice::from_ref(&id));
    assert_eq!(world.state_of(&id), "read by cli");
}

#[test]
fn what_a_hook_showed_is_read_once_the_turn_goes_on() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.show(&bob, Hook::UserPromptSubmit, "turn"), ["hello"]);
    assert_eq!(world.state_of(&id), "offered by hook");
    world.hook(&bob, Hook::PostToolUse, "turn");
    assert_eq!(world.state_of(&id), "read by hook");
}

#[test]
fn what_a_hook_showed_is_read_at_the_turns_end() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.show(&bob, Hook::PostToolUse, "turn");
    world.hook(&bob, Hook::Stop, "turn");
    assert_eq!(world.state_of(&id), "read by hook");
}

#[test]
fn a_hook_whose_output_did_not_get_out_proves_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.hook(&bob, Hook::UserPromptSubmit, "turn");
    world.hook(&bob, Hook::PostToolUse, "turn");
    assert_eq!(world.state_of(&id), "offered by hook");
}

#[test]
fn an_event_of_another_turn_is_no_evidence() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.show(&bob, Hook::UserPromptSubmit, "one");
    world.hook(&bob, Hook::PostToolUse, "two");
    assert_eq!(world.state_of(&id), "offered by hook");
}

#[test]
fn a_reply_is_evidence_for_the_message_that_it_names_whatever_showed_that() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let queued = world.send(&ann, &bob, "one");
    world.reply(&bob, &ann, &queued);
    assert_eq!(world.state_of(&queued), "read by reply");
    let taken = world.send(&ann, &bob, "two");
    world.take(&bob);
    world.reply(&bob, &ann, &taken);
    assert_eq!(world.state_of(&taken), "read by reply");
}

#[test]
fn only_the_recipient_of_a_message_can_reply_to_it() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.peer("ann"), world.peer("bob"), world.peer("eve"));
    let id = world.send(&ann, &bob, "hello");
    for other in [&eve, &ann] {
        let refused = world.try_reply(other, if other.id == ann.id { &bob } else { &ann }, &id);
        assert_eq!(refused.unwrap_err().code, ErrorCode::NotFound);
    }
    assert_eq!(world.state_of(&id), "queued");
}

#[test]
fn only_the_recipient_of_a_message_can_confirm_it() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.peer("ann"), world.peer("bob"), world.peer("eve"));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.confirm(&eve, std::slice::from_ref(&id)), 0);
    assert_eq!(world.confirm(&ann, std::slice::from_ref(&id)), 0);
    assert_eq!(world.state_of(&id), "queued");
}

#[test]
fn the_first_evidence_stands() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.take(&bob);
    world.confirm(&bob, std::slice::from_ref(&id));
    let read_at = world.message(&id).read_at;
    world.reply(&bob, &ann, &id);
    assert_eq!(world.confirm(&bob, std::slice::from_ref(&id)), 0);
    assert_eq!(world.state_of(&id), "read by tool");
    assert_eq!(world.message(&id).read_at, read_at);
}

#[test]
fn what_is_read_is_offered_no_more() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.confirm(&bob, &[id]);
    assert_eq!(world.take(&bob), NOTHING);
    assert_eq!(world.show(&bob, Hook::UserPromptSubmit, "turn"), NOTHING);
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), NOTHING);
}

#[test]
fn a_push_that_stands_in_a_prompt_is_read_and_proves_the_channel() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.prompt_with(&bob, std::slice::from_ref(&id));
    assert_eq!(world.state_of(&id), "read by channel");
    let next = world.send(&ann, &bob, "more");
    assert!(world.lease(&next).is_some(), "the channel is proven");
}

#[test]
fn a_prompt_proves_nothing_of_what_was_never_pushed() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.prompt_with(&bob, std::slice::from_ref(&id));
    assert_eq!(world.state_of(&id), "queued");
    world.open_stream(&bob);
    let next = world.send(&ann, &bob, "more");
    assert_eq!(world.lease(&next), None, "the channel is presumed");
}

#[test]
fn a_reply_to_what_a_push_alone_showed_proves_the_channel() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.reply(&bob, &ann, &id);
    let next = world.send(&ann, &bob, "more");
    assert!(world.lease(&next).is_some());
}

#[test]
fn a_reply_to_what_a_tool_showed_as_well_proves_no_channel() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.take(&bob);
    world.reply(&bob, &ann, &id);
    let next = world.send(&ann, &bob, "more");
    assert_eq!(world.lease(&next), None);
}
