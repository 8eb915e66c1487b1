//! A million stored messages, beside an empty database.
//!
//! The database is filled by copies of rows that the broker wrote: whatever the schema, they are
//! what it would store. Only what must be unique is made anew, as the program makes it.

use std::time::{Duration, Instant};

use claude_peers::protocol::Timestamp;
use claude_peers::sys::{clock, random};
use rusqlite::types::Value as Stored;
use rusqlite::{Connection, params_from_iter};
use serde_json::{Value, json};

use crate::Size;
use crate::figures::Figures;
use crate::measures::latency::exchange;
use crate::measures::start::timed;
use crate::peer::{Peer, live};
use crate::sandbox::until;
use crate::world::World;

const TEXT: &str = "Which of the two endpoints should the frontend call?";

/// The pause between two messages.
const APART: Duration = Duration::from_millis(2);

/// One message of so many is the command line's; the others are a session's.
const OF_COMMAND_LINE: usize = 50;

/// The places of the measure: one database is empty, the other is full.
struct Place {
    world: World,
    /// A message that was stored early.
    message: String,
    a: Peer,
    /// Pushed to.
    b: Peer,
    /// Without a channel.
    c: Peer,
}

pub fn million(_: &World, size: &Size, figures: &mut Figures) {
    let Size { stored, messages, starts, cold_starts, .. } = size;
    let heading = format!("{stored} stored messages");
    figures.measure_beside("million", &heading, "empty");
    let worlds = [Prepared::new(0), Prepared::new(*stored)];
    let mut compare = |name: &str, what: &str, times: [Vec<Duration>; 2]| {
        figures.durations(name, what, &times[1], &times[0]);
    };
    let cold = in_turns(*cold_starts, |number| cold_start(&worlds[number].world));
    compare("cold", "`claude-peers peers` with no broker, start to end", cold);
    let mut places = worlds.map(Place::new);
    let mut pushed = [Vec::new(), Vec::new()];
    let answered = in_turns(*messages, |number| {
        std::thread::sleep(APART);
        let place = &mut places[number];
        let ([called, push, answer], _) = exchange(&mut place.a, &mut place.b, TEXT);
        pushed[number].push(push - called);
        answer - called
    });
    compare("pushed", "send_message called -> pushed", pushed);
    compare("answered", "send_message called -> answered", answered);
    let checked = in_turns(*messages / 4, |number| places[number].check());
    compare("check", "check_messages with one message -> answered", checked);
    for (name, what, command) in [
        ("log", "`claude-peers log`, start to end", &["log"][..]),
        ("log.sent", "`claude-peers log --sent`, start to end", &["log", "--sent"]),
        ("log.id", "`claude-peers log ID`, start to end", &["log", "ID"]),
        ("doctor", "`claude-peers doctor --no-claude`, start to end", &["doctor", "--no-claude"]),
    ] {
        let count = if name == "doctor" { starts.div_ceil(5) } else { *starts };
        let took = in_turns(count, |number| places[number].command(command));
        compare(name, what, took);
    }
}

/// Does something in both places in turns, after one time that is not counted.
fn in_turns(count: usize, mut act: impl FnMut(usize) -> Duration) -> [Vec<Duration>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=count {
        for (place, times) in times.iter_mut().enumerate() {
            let took = act(place);
            if round > 0 {
                times.push(took);
            }
        }
    }
    times
}

fn cold_start(world: &World) -> Duration {
    let took = timed(world, &["peers"]);
    world.stop_broker();
    took
}

impl Place {
    fn new(prepared: Prepared) -> Self {
        let Prepared { world, message } = prepared;
        let mut peers = live(&world.sandbox, ["a".to_owned(), "b".to_owned()]);
        let (b, a) = (peers.pop().unwrap(), peers.pop().unwrap());
        let c = without_channel(&world);
        Self { world, message, a, b, c }
    }

    fn check(&mut self) -> Duration {
        self.a.call("send_message", json!({ "to_id": "c", "message": TEXT }));
        self.a.next();
        let called = self.c.call("check_messages", json!({}));
        let (answered, answer) = self.c.next();
        assert!(answer.to_string().contains(TEXT), "{answer}");
        answered - called
    }

    /// Runs a command, with the message in the place of the word ID.
    fn command(&self, command: &[&str]) -> Duration {
        let id = |word: &str| if word == "ID" { self.message.clone() } else { word.to_owned() };
        let command: Vec<String> = command.iter().map(|word| id(word)).collect();
        let since = Instant::now();
        let output = self.world.sandbox.run(&command);
        let took = since.elapsed();
        // Doctor finds something in a sandbox, and then says so by its exit code.
        assert!(output.status.success() || command[0] == "doctor", "{output:?}");
        took
    }
}

/// Starts a session that is not pushed to.
fn without_channel(world: &World) -> Peer {
    let mut c = Peer::spawn_with(&world.sandbox, "c", "off");
    c.initialize();
    c.initialized();
    c.call("list_peers", json!({}));
    c.next();
    c
}

/// A world with a database, and a message in it. No broker runs.
struct Prepared {
    world: World,
    message: String,
}

impl Prepared {
    fn new(stored: usize) -> Self {
        let world = World::new();
        let mut a = live(&world.sandbox, ["a".to_owned()]).pop().unwrap();
        let mut c = without_channel(&world);
        world.sandbox.ok(["send", "c", TEXT]);
        a.call("send_message", json!({ "to_id": "c", "message": TEXT }));
        a.next();
        c.call("check_messages", json!({}));
        c.next();
        // One message a line.
        let log = || -> Vec<Value> {
            let output = world.sandbox.ok(["log", "--json"]);
            output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        until("both are read", || log().iter().filter(|m| m["state"] == "read").count() == 2);
        let message = log()[1]["id"].as_str().unwrap().to_owned();
        drop((a, c));
        world.stop_broker();
        let message = if stored == 0 { message } else { fill(&world, stored) };
        Self { world, message }
    }
}

/// Copies the two messages many times, one for each second until now. Returns the id of one in the middle.
fn fill(world: &World, count: usize) -> String {
    let mut database = Connection::open(world.database()).unwrap();
    let transaction = database.transaction().unwrap();
    let messages = Rows::of(&transaction, "messages", "seq");
    let offers = Rows::of(&transaction, "offers", "message");
    let [session, command_line] = [1, 0].map(|row| messages.rows[row].clone());
    let (mut insert_message, mut insert_offer) =
        (messages.insert(&transaction), offers.insert(&transaction));
    let seq = messages.column("seq").unwrap();
    let of_offer = offers.column("message").unwrap();
    let [first, now] = [integer(&session[seq]) + 1, clock::now().millis()];
    let mut middle = String::new();
    for number in 0..i64::try_from(count).unwrap() {
        let is_command_line = (number as usize).is_multiple_of(OF_COMMAND_LINE);
        let mut message = if is_command_line { command_line.clone() } else { session.clone() };
        let template = message[seq].clone();
        let sent_at = Timestamp::from_millis(now - (count as i64 - number) * 1_000);
        message[seq] = Stored::Integer(first + number);
        let id = random::message_id(first + number).to_string();
        if number as usize == count / 2 {
            middle.clone_from(&id);
        }
        messages.set(&mut message, "id", Stored::Text(id));
        messages.set(&mut message, "key", Stored::Text(random::idempotency_key(sent_at)));
        messages.set(&mut message, "sent_at", Stored::Integer(sent_at.millis()));
        insert_message.execute(params_from_iter(message)).unwrap();
        for offer in offers.rows.iter().filter(|offer| offer[of_offer] == template) {
            let mut offer = offer.clone();
            offer[of_offer] = Stored::Integer(first + number);
            insert_offer.execute(params_from_iter(offer)).unwrap();
        }
    }
    drop((insert_message, insert_offer));
    transaction.commit().unwrap();
    middle
}

fn integer(value: &Stored) -> i64 {
    let Stored::Integer(number) = value else { panic!("no number: {value:?}") };
    *number
}

/// The rows of a table as they are.
struct Rows {
    table: &'static str,
    columns: Vec<String>,
    rows: Vec<Vec<Stored>>,
}

impl Rows {
    fn of(database: &Connection, table: &'static str, order: &str) -> Self {
        let mut select =
            database.prepare(&format!("SELECT * FROM {table} ORDER BY {order}")).unwrap();
        let columns: Vec<String> = select.column_names().map(str::to_owned).collect();
        let width = columns.len();
        let rows = select
            .query_map([], |row| (0..width).map(|column| row.get(column)).collect())
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        Self { table, columns, rows }
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// Sets a column, if the table has it and the row has a value in it.
    fn set(&self, row: &mut [Stored], name: &str, value: Stored) {
        if let Some(column) = self.column(name)
            && row[column] != Stored::Null
        {
            row[column] = value;
        }
    }

    fn insert<'a>(&self, database: &'a Connection) -> rusqlite::Statement<'a> {
        let (columns, values) = (self.columns.join(", "), vec!["?"; self.columns.len()].join(", "));
        let insert = format!("INSERT INTO {} ({columns}) VALUES ({values})", self.table);
        database.prepare(&insert).unwrap()
    }
}
