//! Compares the model with the broker: what is stored, and what was pushed.

use std::collections::BTreeMap;

use super::Bench;
use crate::broker::testing::model::mailbox::{Instance, Mail, Peer, Shown, State, Way};
use crate::broker::testing::model::receivers::{Receiver, Refusal};
use crate::broker::testing::{ErrorCode, line};
use crate::protocol::MessageId;
use crate::protocol::mailbox::Delivery;
use crate::protocol::messages::MessageState;
use crate::protocol::stream::Event as StreamEvent;

impl Bench {
    pub(super) fn lines(&self, shown: &[Shown]) -> Vec<String> {
        let line = |shown: &Shown| {
            let text = self.text(shown.mail);
            let repeat = if shown.repeat { " (repeat)" } else { "" };
            let pushed = if shown.already_pushed { " (pushed)" } else { "" };
            format!("{text}{repeat}{pushed}")
        };
        shown.iter().map(line).collect()
    }

    /// Returns the text of a message; of a notice, what it reports.
    fn text(&self, mail: Mail) -> String {
        let message = &self.model.messages[mail];
        if message.from.is_some() {
            return message.text.clone();
        }
        let of = |wanted: State| {
            let of_state = message.reports.iter().filter(|(_, state)| *state == wanted);
            of_state.map(|(mail, _)| self.ids[*mail].as_str()).collect::<Vec<_>>().join(", ")
        };
        let (expired, unconfirmed) = (of(State::Expired), of(State::Unconfirmed));
        format!("expired [{expired}], unconfirmed [{unconfirmed}]")
    }

    /// Loads the ids of new messages.
    pub(super) fn load(&mut self) {
        let database = self.world.store.database();
        let mut statement = database.prepare("SELECT id FROM messages ORDER BY seq").unwrap();
        let ids = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        self.ids = ids.map(|id| MessageId::from_text(id.unwrap())).collect();
    }

    /// Compares what is stored of each message, and what was pushed since the last time.
    pub(super) fn compare(&mut self) {
        self.load();
        let stored = self.stored();
        let expected: Vec<String> =
            (0..self.model.messages.len()).map(|mail| self.expected(mail)).collect();
        assert_eq!(stored, expected, "what is stored");
        let mut pushes: BTreeMap<Instance, Vec<Shown>> = BTreeMap::new();
        for (instance, shown) in std::mem::take(&mut self.model.pushes) {
            self.unreported.entry(instance).or_default().push(shown.mail);
            pushes.entry(instance).or_default().push(shown);
        }
        for place in 1..self.actors.len() {
            let events = self.world.events(&self.actors[place].real.clone());
            let came = events.iter().filter_map(|event| match event {
                StreamEvent::Message { delivery } => Some(plain(delivery)),
                _ => None,
            });
            let expected = pushes.remove(&(place - 1)).unwrap_or_default();
            assert_eq!(came.collect::<Vec<_>>(), self.lines(&expected), "what is pushed");
        }
        assert!(self.world.counts_are_right());
    }

    /// Returns all that the database has of each message.
    pub(super) fn stored(&self) -> Vec<String> {
        let now = self.world.now().millis();
        let query = "SELECT sender, recipient, text, reply_to, state, offered_via, read_via,
                            lease_by, lease_until - ?1, expires_at - ?1 FROM messages ORDER BY seq";
        let mut statement = self.world.store.database().prepare(query).unwrap();
        let all = statement.query_map([now], |row| {
            let words: [Option<String>; 8] = std::array::from_fn(|column| row.get(column).unwrap());
            let [sender, recipient, text, reply_to, state, offered, read, lease] = words;
            let left: Option<i64> = row.get(8)?;
            // The end of a message that has ended does not follow the clock.
            let ends: Option<i64> = row.get(9)?;
            let is_unread = matches!(state.as_deref(), Some("queued" | "offered"));
            let text = without_notice(&text.unwrap());
            let lease = lease.map(|by| by.split_once("wait:").map_or(by.clone(), |_| "wait".to_owned()));
            Ok(format!(
                "{sender:?} > {recipient:?}: {text}, answers {reply_to:?}, {state:?} by {offered:?}, \
                 {read:?}, {lease:?} for {left:?}, {:?}",
                ends.filter(|_| is_unread)
            ))
        });
        all.unwrap().map(Result::unwrap).collect()
    }

    /// Returns the same of the model.
    pub(super) fn expected(&self, mail: Mail) -> String {
        let message = &self.model.messages[mail];
        let id = |peer: Peer| self.model.peers[peer].clone();
        let sender = Some(message.from.map_or("broker".to_owned(), id));
        let recipient = Some(id(message.to));
        let reply_to = message.reply_to.map(|mail| self.ids[mail].to_string());
        let state = Some(format!("{:?}", message.state).to_lowercase());
        let word = |way: Way| format!("{way:?}").to_lowercase();
        let (offered, read) = (message.offered_via.map(word), message.read_via.map(word));
        let lease = message.lease.map(|(by, _)| match by {
            Receiver::Instance(instance) => self.actors[instance + 1].real.instance().to_string(),
            Receiver::Hook(peer) => format!("hook:session-{peer}"),
            Receiver::Waiter(_) => "wait".to_owned(),
            Receiver::Cli => "cli".to_owned(),
        });
        let left = message.lease.map(|(_, until)| until - self.model.now);
        let ends = message.is_unread().then_some(message.ends - self.model.now);
        let text = self.text(mail);
        format!(
            "{sender:?} > {recipient:?}: {text}, answers {reply_to:?}, {state:?} by {offered:?}, \
             {read:?}, {lease:?} for {left:?}, {ends:?}"
        )
    }
}

/// A message as its receiver sees it, where the text of each notice is "notice".
pub(super) fn plain(delivery: &Delivery) -> String {
    without_notice(&line(delivery))
}

/// Returns a line in which the text of a notice is cut down to what it reports.
pub(super) fn without_notice(line: &str) -> String {
    if !line.starts_with("The time to live of ") {
        return line.to_owned();
    }
    let (words, marks) = line.split_once("Send again what still matters.").unwrap();
    let of = |word: &str| {
        let line = words.lines().find_map(|line| line.split_once(word));
        line.map_or("", |(_, ids)| ids.trim_end_matches('.')).to_owned()
    };
    format!("expired [{}], unconfirmed [{}]{marks}", of("(expired): "), of("(unconfirmed): "))
}

pub(super) fn state_of(state: MessageState) -> State {
    match state {
        MessageState::Queued => State::Queued,
        MessageState::Offered => State::Offered,
        MessageState::Read => State::Read,
        MessageState::Expired => State::Expired,
        MessageState::Unconfirmed => State::Unconfirmed,
        MessageState::Unknown => panic!("no such state is stored"),
    }
}

pub(super) fn code(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::BadRequest => ErrorCode::BadRequest,
        Refusal::KeyReused => ErrorCode::KeyReused,
        Refusal::MailboxFull => ErrorCode::MailboxFull,
        Refusal::NotFound => ErrorCode::NotFound,
        Refusal::OutOfOrder => ErrorCode::OutOfOrder,
    }
}
