//! What takes days outside: the registry with a clock in the test's hands.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{Notify, mpsc};

use crate::broker::core::{Caller, MemoryState, Tx};
use crate::broker::live::LiveState;
use crate::broker::live::presence::{ServerOrigin, StreamOptions};
use crate::broker::registry::*;
use crate::broker::store::{Fault, reference_schema};
use crate::config::Limits;
use crate::protocol::peers::{Channel, ListPeers, PeerList, Register, Registered};
use crate::protocol::stream::Event;
use crate::protocol::{ApiError, Around, ErrorCode, InstanceId, PeerId, ProcessId, Timestamp};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A broker without sockets, and a clock that goes when it is told to.
struct House {
    db: Connection,
    state: MemoryState,
    now: Timestamp,
    readers: Vec<mpsc::UnboundedReceiver<Event>>,
}

impl House {
    fn new() -> Self {
        let db = reference_schema().unwrap();
        db.execute_batch(
            "INSERT INTO peers (id, kind, name, name_source, created_at, seen_at)
             VALUES ('cli00000', 'cli', 'cli', 'reserved', 0, 0)",
        )
        .unwrap();
        let (limits, changes) = (Limits::default(), Arc::new(Notify::new()));
        let state = MemoryState::new(LiveState::default(), limits, changes, |_, _| Ok(()));
        Self { db, now: state.started_at, state, readers: Vec::new() }
    }

    fn tx(&mut self) -> Tx<'_> {
        Tx { db: &self.db, state: &mut self.state, now: self.now }
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    /// A session of that id in a directory begins; nobody's process runs any more.
    fn begin(&mut self, session: &str, directory: &str) -> Registered {
        self.begin_with(session, directory, &Around::default())
    }

    fn begin_with(&mut self, session: &str, directory: &str, around: &Around) -> Registered {
        let instance = format!("{session} at {}", self.now.millis());
        let client = ProcessId {
            pid: 1,
            start: session.to_owned(),
            boot: "of another machine".to_owned(),
            namespace: String::new(),
        };
        let request = serde_json::json!({
            "instance": instance, "secret": format!("{instance} {}", "x".repeat(32)),
            "session": session, "cwd": directory, "directory": directory, "channel": "absent",
            "client": client,
        });
        let request: Register = serde_json::from_value(request).unwrap();
        let registered = register(&mut self.tx(), &request, around).unwrap();
        let (id, instance) = (registered.peer.id.clone(), request.instance);
        let presence = self.state.live.presence.clone();
        // A stream whose other end is gone is not opened.
        let (events, reader) = mpsc::unbounded_channel();
        self.readers.push(reader);
        let origin = ServerOrigin { is_claude: true, ..ServerOrigin::default() };
        let opening = StreamOptions { peer: id, channel: Channel::Absent, origin };
        presence.open(&instance, 1, opening, events);
        registered
    }

    fn end(&mut self, registered: &Registered) {
        let id = registered.peer.id.clone();
        let instance: String = self
            .db
            .query_row(
                "SELECT instance FROM receivers WHERE peer = ?1 ORDER BY registered_at DESC",
                [id.as_str()],
                |row| row.get(0),
            )
            .unwrap();
        self.state.live.presence.close(&InstanceId::from_text(instance), 1);
        set_seen_now(&self.tx(), &id).unwrap();
    }

    fn list_all(&mut self) -> PeerList {
        let caller = Caller {
            peer: PeerId::from_text("cli00000"),
            instance: None,
            probe: false,
            by_command_line: false,
        };
        let request = ListPeers { all: true, ..ListPeers::default() };
        list(&self.tx(), &caller, &request).unwrap()
    }

    fn refusal(&mut self, word: &str) -> ApiError {
        match resolve(&self.tx(), word) {
            Err(Fault::Refused(error)) => error,
            Err(error) => panic!("{error}"),
            Ok(found) => panic!("{word} is {}", found.id()),
        }
    }
}

fn called(registered: &Registered) -> &str {
    registered.peer.name.as_deref().unwrap()
}

#[test]
fn a_name_that_fits_an_ended_session_says_so_and_how_it_comes_back() {
    let mut house = House::new();
    let shop = house.begin("uuid-1", "/src/shop");
    house.end(&shop);
    house.wait(Duration::from_secs(30));
    assert_eq!(resolve(&house.tx(), "shop").unwrap().id(), &shop.peer.id, "it may reconnect");
    house.wait(Duration::from_secs(2 * 60 * 60));
    for word in ["shop", "SHOP", "@shop", "sho"] {
        let error = house.refusal(word);
        assert_eq!(error.code, ErrorCode::NotFound);
        let id = shop.peer.id.as_str();
        assert!(
            error.message.contains(&format!("was {id}, which ended 2h ago in /src/shop")),
            "{}",
            error.message
        );
        let hint = error.hint.unwrap();
        assert!(hint.contains(id) && hint.contains("claude --resume uuid-1"), "{hint}");
        assert_eq!(error.candidates[0].id, shop.peer.id);
    }
    assert!(house.refusal("shopping").message.contains("there is no peer"));
    // Whoever means it does not mean another that is called alike; by its id mail waits for it.
    let search = house.begin("uuid-2", "/src/shop-search");
    let error = house.refusal("shop");
    assert!(error.hint.unwrap().contains("Here now: shop-search."));
    assert_eq!(resolve(&house.tx(), "sho").unwrap().id(), &search.peer.id, "a beginning");
    assert_eq!(resolve(&house.tx(), shop.peer.id.as_str()).unwrap().id(), &shop.peer.id);
    // It comes back, and is found again.
    let again = house.begin("uuid-1", "/src/shop");
    assert_eq!(again.peer.id, shop.peer.id);
    assert_eq!(resolve(&house.tx(), "shop").unwrap().id(), &shop.peer.id);
}

#[test]
fn what_can_be_resumed_is_listed_for_as_long_as_its_client_keeps_it() {
    let mut house = House::new();
    let old = house.begin("old", "/src/old");
    house.end(&old);
    house.wait(DAY * 20);
    let new: Vec<_> = (0..60)
        .map(|number| {
            house.wait(Duration::from_secs(1));
            let session = house.begin(&format!("s{number}"), &format!("/src/d{number}"));
            house.end(&session);
            session
        })
        .collect();
    let listed = house.list_all();
    assert_eq!((listed.ended.len(), listed.more_ended), (50, true));
    assert_eq!(listed.ended[0].id, new[59].peer.id, "the last first");
    assert_eq!(listed.ended[0].session.as_deref(), Some("s59"));
    assert!(listed.peers.is_empty());
    house.wait(DAY * 15);
    house.db.execute("DELETE FROM keys WHERE key = 'session:s59'", []).unwrap();
    let listed = house.list_all();
    assert_eq!(
        (listed.ended[0].id.clone(), listed.ended[0].session.clone()),
        (new[59].peer.id.clone(), None)
    );
    assert!(listed.ended.iter().all(|one| one.id != old.peer.id), "its client has none of it");
    house.wait(DAY * 16);
    assert!(house.list_all().ended.is_empty());
    assert!(house.refusal("d5").message.contains("there is no peer"));
}

#[test]
fn a_directory_keeps_its_name_from_others_for_two_weeks() {
    let mut house = House::new();
    let (one, two) = (house.begin("1", "/a/shop"), house.begin("2", "/b/shop"));
    assert_eq!((called(&one), called(&two)), ("shop", "shop-2"));
    for days in 1..5u32 {
        house.end(&one);
        house.end(&two);
        house.wait(DAY);
        // By turns the one or the other is first.
        let order = if days % 2 == 0 { ["/a/shop", "/b/shop"] } else { ["/b/shop", "/a/shop"] };
        for directory in order {
            let session = house.begin(&format!("{directory} {days}"), directory);
            let name = if directory == "/a/shop" { "shop" } else { "shop-2" };
            assert_eq!(called(&session), name, "day {days}");
            house.end(&session);
        }
    }
    house.wait(DAY * 13);
    let three = house.begin("3", "/c/shop");
    assert_eq!(called(&three), "shop-3");
    house.end(&three);
    house.wait(DAY * 2);
    let four = house.begin("4", "/d/shop");
    assert_eq!(called(&four), "shop", "nobody has worked there for long");
    // Its first holder comes back: it is another's now.
    let back = house.begin("/a/shop 4", "/a/shop");
    assert_eq!(called(&back), "shop-2");
}

#[test]
fn mail_keeps_an_automatic_name_and_a_persons_choice_is_never_taken_for_a_place() {
    let mut house = House::new();
    let first = house.begin("1", "/src/shop");
    house.end(&first);
    house
        .db
        .execute("UPDATE peers SET unread = 1 WHERE id = ?1", [first.peer.id.as_str()])
        .unwrap();
    house.wait(DAY);
    assert_eq!(called(&house.begin("2", "/src/shop")), "shop-2");
    assert_eq!(resolve(&house.tx(), "shop").unwrap().id(), &first.peer.id);
    let titled = Around { title: Some("Checkout".to_owned()), ..Around::default() };
    let person = house.begin_with("3", "/src/x", &titled);
    assert_eq!(called(&person), "checkout");
    house.end(&person);
    house.wait(DAY);
    assert_eq!(called(&house.begin("4", "/src/checkout")), "checkout-2");
    assert_eq!(resolve(&house.tx(), "checkout").unwrap().id(), &person.peer.id, "resumable by it");
    assert_eq!(house.list_all().peers.iter().filter(|peer| !peer.live).count(), 2);
    let other = house.begin("6", "/src/z");
    let taken = names::assign_chosen(&house.tx(), &other.peer.id, "checkout", &mut Vec::new());
    assert!(matches!(taken, Err(Fault::Refused(error)) if error.code == ErrorCode::NameTaken));
    // Another session that its person calls so takes it over.
    assert_eq!(called(&house.begin_with("5", "/src/y", &titled)), "checkout");
    // And whoever had it is still found by it.
    let back = house.begin("3", "/src/x");
    assert_eq!((back.peer.id.clone(), called(&back)), (person.peer.id, "x"));
}

#[test]
fn a_name_that_ended_sessions_gave_themselves_is_nobodys_and_mail_does_not_go_to_the_dead() {
    let mut house = House::new();
    let first = house.begin("1", "/src/a");
    let mut notes = Vec::new();
    names::assign_chosen(&house.tx(), &first.peer.id, "reviewer", &mut notes).unwrap();
    house.end(&first);
    house.wait(DAY);
    let error = house.refusal("reviewer");
    assert!(error.message.contains("which ended 1d ago"), "{}", error.message);
    let second = house.begin("2", "/src/reviewer");
    assert_eq!(called(&second), "reviewer", "a place takes it, too");
    assert_eq!(resolve(&house.tx(), "reviewer").unwrap().id(), &second.peer.id);
    house.end(&second);
    house.wait(DAY);
    let error = house.refusal("reviewer");
    assert!(error.message.starts_with("2 sessions that \"reviewer\" fits"), "{}", error.message);
    assert_eq!(error.candidates.len(), 2);
    assert_eq!(error.candidates[0].id, second.peer.id, "the last first");
}
