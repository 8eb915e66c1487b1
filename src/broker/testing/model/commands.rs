//! What a random sequence is made of. Numbers are taken modulo what there is, so that a sequence stays
//! valid while it is shrunk.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::{Hook, Outcome};
use super::receivers::Channel;

/// One step of a sequence. `by` and `from` are an instance or the command line.
#[derive(Debug, Clone)]
pub enum Command {
    Send {
        from: u8,
        to: u8,
        by_name: bool,
        reply_to: Option<u8>,
        waits: bool,
        outcome: Outcome,
    },
    /// With an idempotency key, and one of two texts.
    SendOnce {
        from: u8,
        to: u8,
        key: u8,
        other_text: bool,
        outcome: Outcome,
    },
    Batch {
        from: u8,
        items: Vec<(u8, u8)>,
        again: bool,
        outcome: Outcome,
    },
    Scope {
        from: u8,
    },
    Take {
        by: u8,
        outcome: Outcome,
    },
    /// Confirms what was taken last.
    Confirm {
        by: u8,
    },
    /// Confirms any message, of whomever.
    ConfirmAny {
        by: u8,
        mail: u8,
        outcome: Outcome,
    },
    /// Reports the first so many pushes that were not reported.
    Written {
        instance: u8,
        count: u8,
        outcome: Outcome,
    },
    Hook {
        peer: u8,
        event: Hook,
        turn: u8,
        occasion: u8,
        lasted: u8,
        room: bool,
        outcome: Outcome,
    },
    /// Reports the output of the last hook as written.
    HookWritten {
        peer: u8,
    },
    /// A prompt with any message in it.
    Prompt {
        peer: u8,
        mail: u8,
    },
    /// Another server of the session, in the same client.
    Start {
        peer: u8,
        channel: Channel,
    },
    /// A server in another client: the session is resumed there or, if it is live, forked.
    Resume {
        peer: u8,
        channel: Channel,
    },
    Open {
        instance: u8,
    },
    Close {
        instance: u8,
    },
    Rename {
        peer: u8,
    },
    Wait {
        by: u8,
    },
    WaitForReply {
        by: u8,
        mail: u8,
    },
    StopExpecting {
        mail: u8,
    },
    Look {
        waiter: u8,
    },
    TimeOut {
        waiter: u8,
    },
    HangUp {
        waiter: u8,
    },
    Wake {
        peer: u8,
    },
    Crash,
    Restart,
    /// Passes so many seconds.
    Pass(u32),
    /// Sets the wall clock by so many seconds.
    SetClock(i32),
}

/// Most transactions are committed.
fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        8 => Just(Outcome::Committed),
        1 => Just(Outcome::Refused),
        1 => Just(Outcome::Lost),
    ]
}

pub fn channel() -> impl Strategy<Value = Channel> {
    prop_oneof![2 => Just(Channel::Presumed), 1 => Just(Channel::Absent), 1 => Just(Channel::Proven)]
}

pub fn command() -> impl Strategy<Value = Command> {
    use Command as C;
    let small = any::<u8>;
    let few = 0..4u8;
    let hook = select(vec![
        Hook::SessionStart,
        Hook::UserPromptSubmit,
        Hook::PostToolUse,
        Hook::PostToolUse,
        Hook::Stop,
        Hook::StopFailure,
        Hook::Notification,
    ]);
    // In tenths of a second: longer ago than the last steps, or not.
    let lasted = prop_oneof![3 => Just(0u8), 1 => 1..3u8];
    // Leases last 30 and 60 seconds, and messages 200.
    let seconds = select(vec![1, 5, 29, 30, 31, 60, 61, 199, 201]);
    let steps = select(vec![-100_000, -90, -5, 5, 90, 100_000]);
    prop_oneof![
        10 => (small(), few.clone(), any::<bool>(), prop::option::weighted(0.3, small()),
               prop::bool::weighted(0.15), outcome())
            .prop_map(|(from, to, by_name, reply_to, waits, outcome)| C::Send {
                from, to, by_name, reply_to, waits, outcome
            }),
        3 => (small(), few.clone(), few.clone(), prop::bool::weighted(0.2), outcome())
            .prop_map(|(from, to, key, other_text, outcome)| C::SendOnce {
                from, to, key, other_text, outcome
            }),
        2 => (small(), prop::collection::vec((few.clone(), few.clone()), 1..5), any::<bool>(), outcome())
            .prop_map(|(from, items, again, outcome)| C::Batch { from, items, again, outcome }),
        1 => small().prop_map(|from| C::Scope { from }),
        5 => (small(), outcome()).prop_map(|(by, outcome)| C::Take { by, outcome }),
        3 => small().prop_map(|by| C::Confirm { by }),
        1 => (small(), small(), outcome())
            .prop_map(|(by, mail, outcome)| C::ConfirmAny { by, mail, outcome }),
        5 => (small(), 1..4u8, outcome())
            .prop_map(|(instance, count, outcome)| C::Written { instance, count, outcome }),
        10 => (few.clone(), hook, 1..3u8, 0..3u8, lasted, prop::bool::weighted(0.8), outcome())
            .prop_map(|(peer, event, turn, occasion, lasted, room, outcome)| C::Hook {
                peer, event, turn, occasion, lasted, room, outcome
            }),
        7 => few.clone().prop_map(|peer| C::HookWritten { peer }),
        2 => (few.clone(), small()).prop_map(|(peer, mail)| C::Prompt { peer, mail }),
        3 => (few.clone(), channel()).prop_map(|(peer, channel)| C::Start { peer, channel }),
        1 => (few.clone(), channel()).prop_map(|(peer, channel)| C::Resume { peer, channel }),
        4 => small().prop_map(|instance| C::Open { instance }),
        4 => small().prop_map(|instance| C::Close { instance }),
        1 => few.clone().prop_map(|peer| C::Rename { peer }),
        2 => small().prop_map(|by| C::Wait { by }),
        2 => (small(), small()).prop_map(|(by, mail)| C::WaitForReply { by, mail }),
        1 => small().prop_map(|mail| C::StopExpecting { mail }),
        4 => small().prop_map(|waiter| C::Look { waiter }),
        2 => small().prop_map(|waiter| C::TimeOut { waiter }),
        2 => small().prop_map(|waiter| C::HangUp { waiter }),
        1 => few.prop_map(|peer| C::Wake { peer }),
        2 => Just(C::Crash),
        1 => Just(C::Restart),
        5 => seconds.prop_map(C::Pass),
        2 => steps.prop_map(C::SetClock),
    ]
}
