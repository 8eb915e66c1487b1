//! Tests: what a sender is told of its message, in each state.

use crate::mcp::tools::results::hostile::sent;
use crate::mcp::tools::results::{answered, send_message};
use crate::protocol::mailbox::Answered;
use crate::protocol::messages::{MessageState, Sent, Via};
use crate::protocol::peers::{Peer, Reachability};
use crate::sys::clock;

/// What is said of a message in this state to a peer that is reached so.
fn said(state: MessageState, reach: Reachability) -> String {
    let to = Peer { name: Some("bob".to_owned()), unread: 0, reach, ..sent().to };
    send_message(&Sent { state, to, ..sent() }).structured["standing"].as_str().unwrap().to_owned()
}

#[test]
fn nobody_is_told_that_a_message_was_read_of_which_that_is_not_known() {
    use MessageState::{Expired, Offered, Queued, Read, Unconfirmed};
    use Reachability::{Away, ChannelPresumed, ChannelProven, Ended, Hooks, Tools};

    for (state, reach, words) in [
        (Queued, Away, "the message waits for it"),
        (Queued, Tools, "gets it when it next calls"),
        (Queued, Hooks, "its hooks show the message at its next step"),
        (Queued, Ended, "has ended"),
        (Queued, ChannelProven, "waits behind earlier messages"),
        (Offered, ChannelProven, "where pushes have arrived before"),
        (Offered, ChannelPresumed, "whether its client shows pushes is not known"),
        (Expired, Away, "It expired before"),
        (Unconfirmed, Away, "has read it is not known"),
        (Read, Away, "has read it"),
    ] {
        let said = said(state, reach);
        assert!(said.contains(words), "{state} {reach:?}: {said}");
        let is_read = said.contains("has read it") && !said.contains("not known");
        assert_eq!(is_read, state == Read, "{said}");
    }
}

#[test]
fn who_waited_in_vain_is_told_how_the_message_stands_now() {
    let told = |state, via| {
        let to = Peer { name: Some("bob".to_owned()), unread: 0, ..sent().to };
        let answer = Answered { answer: None, state, since: clock::now(), via, to, waiting: 0 };
        let limit = std::time::Duration::from_secs(5);
        answered(&sent(), &answer, limit, super::ROOM).output.structured["state"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(told(MessageState::Read, Some(Via::Hook)), "read");
    assert_eq!(told(MessageState::Offered, Some(Via::Channel)), "offered");
}
