//! Hooks and wakes of a test.

use std::time::Duration;

use super::{Hook, Outcome, TestPeer, World, lines};
use crate::broker::mailbox::{self, WakeTime};
use crate::broker::registry;
use crate::endpoint::hook_spool::SpooledEvent;
use crate::protocol::hook::{HookEvent, HookMail, HookWritten};
use crate::protocol::wake::{IdleCheckResult, WakeGiven};
use crate::protocol::{ApiError, MessageId, PeerId, ProcessId, Timestamp};

/// What a hook was given to show.
#[derive(Debug, Clone)]
pub struct Shown {
    pub mail: HookMail,
    session: String,
    turn: String,
}

impl Shown {
    /// The messages, as they look.
    pub fn lines(&self) -> Vec<String> {
        lines(&self.mail.messages)
    }
}

/// An event of a session's hook, with room for all that waits.
pub fn event(peer: &TestPeer, event: Hook, turn: &str) -> HookEvent {
    HookEvent {
        event,
        session: peer.session(),
        client: peer.client(),
        turn: turn.to_owned(),
        occasion: String::new(),
        lasted: 0,
        seen: Vec::new(),
        room: 100_000,
        source: String::new(),
        cwd: String::new(),
    }
}

impl World {
    /// Runs a hook of a session in a turn, and returns what it shows.
    pub fn hook(&mut self, peer: &TestPeer, hook: Hook, turn: &str) -> Shown {
        self.try_hook(event(peer, hook, turn)).unwrap()
    }

    /// Runs a hook, unless that is refused.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn try_hook(&mut self, event: HookEvent) -> Result<Shown, ApiError> {
        let (session, turn) = (event.session.clone(), event.turn.clone());
        // What is to be rolled back is written.
        let quiet = match self.next {
            Outcome::Committed => self.store.update(|tx| mailbox::quiet_hook(tx, &event, None))?,
            Outcome::Refused | Outcome::Lost => None,
        };
        let mail = match quiet {
            Some(mail) => mail,
            None => self.write(move |tx| mailbox::hook(tx, &event))?,
        };
        Ok(Shown { mail, session, turn })
    }

    /// Stops the broker in order and starts another.
    pub fn restart(&mut self) {
        self.write(registry::write_hook_reports).unwrap();
        self.crash();
    }

    /// Drains a hook spool with the event that began a session, so long ago.
    pub fn drain(&mut self, client: &ProcessId, session: &str, ago: Duration) {
        let ago = i64::try_from(ago.as_millis()).unwrap();
        let said_at = Timestamp::from_millis(self.now().millis() - ago);
        let (session, source) = (session.to_owned(), "startup".to_owned());
        let spooled = [SpooledEvent { client: client.clone(), session, source, said_at }];
        self.write(move |tx| mailbox::apply_spooled(tx, &spooled)).unwrap();
    }

    /// Runs a hook of a session that has room for nothing.
    pub fn quiet_hook(&mut self, peer: &TestPeer, hook: Hook, turn: &str) {
        self.try_hook(HookEvent { room: 0, ..event(peer, hook, turn) }).unwrap();
    }

    /// Reports a tool's result, which a hook is to follow.
    pub fn tool_answered(&mut self, peer: &TestPeer) {
        self.live.client_processes.tool_answered(&peer.id);
    }

    /// Reports what a hook showed as written.
    pub fn hook_written(&mut self, shown: &Shown) -> u64 {
        let ids = shown.mail.messages.iter().map(|message| message.id.clone()).collect();
        let Shown { session, turn, .. } = shown.clone();
        let request = HookWritten { session, turn, ids };
        self.write(move |tx| mailbox::hook_written(tx, &request)).unwrap().noted
    }

    /// Runs a hook, reports what it shows as written, and returns it.
    pub fn show(&mut self, peer: &TestPeer, hook: Hook, turn: &str) -> Vec<String> {
        let shown = self.hook(peer, hook, turn);
        self.hook_written(&shown);
        shown.lines()
    }

    /// Runs the hook of a prompt in which these pushes stand.
    pub fn prompt_with(&mut self, peer: &TestPeer, ids: &[MessageId]) {
        let seen = ids.to_vec();
        let prompt = HookEvent { seen, room: 0, ..event(peer, Hook::UserPromptSubmit, "prompt") };
        self.try_hook(prompt).unwrap();
    }

    /// Returns when a peer is to be woken: "now, for 2", "at work", "in 1s", "once signalled". A wake
    /// that is due is handed out.
    pub fn wake(&mut self, peer: &TestPeer) -> String {
        match self.store.read(|tx| mailbox::next_wake(tx, &peer.id)).unwrap() {
            WakeTime::Now(_) => {
                let id = peer.id.clone();
                let claimed = self.write(move |tx| mailbox::claim_wake(tx, &id)).unwrap();
                let Some(reason) = claimed else { return "handed out already".to_owned() };
                let text = format!("now, for {}", reason.waiting);
                self.reasons.insert(peer.id.clone(), reason);
                text
            }
            WakeTime::AfterTurn { .. } => "at work".to_owned(),
            WakeTime::In(time) => format!("in {time:?}"),
            WakeTime::OnSignal => "once signalled".to_owned(),
        }
    }

    /// Reports the last wake as given.
    pub fn wake_given(&mut self, peer: &TestPeer) {
        let reason = self.reasons.remove(&peer.id).unwrap();
        let given = WakeGiven { peer: reason.peer, upto: reason.upto };
        self.write(move |tx| mailbox::wake_given(tx, &given)).unwrap();
    }

    /// Reports an idle check of the turn that seems to be under way.
    pub fn looked(&mut self, peer: &TestPeer, idle: bool) {
        let time = self.store.read(|tx| mailbox::next_wake(tx, &peer.id)).unwrap();
        let WakeTime::AfterTurn { look, .. } = time else { panic!("no turn runs: {time:?}") };
        let looked = IdleCheckResult { peer: look.peer, turn: look.turn, idle };
        let checked = self.write(move |tx| {
            mailbox::record_idle_check(tx, &looked);
            Ok(())
        });
        checked.unwrap();
    }

    /// Returns the peer that a waiting hook would wake.
    pub fn peer_to_wake(&mut self, peer: &TestPeer) -> Option<PeerId> {
        let (session, client) = (peer.session(), peer.client());
        self.write(move |tx| mailbox::peer_to_wake(tx, &session, client.as_ref())).unwrap()
    }
}
