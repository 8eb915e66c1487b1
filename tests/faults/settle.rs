//! The end of a run: everything comes to rest, is read, and accounted for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use claude_peers::endpoint::socket::holder;
use rusqlite::{Connection, OpenFlags};

use crate::history::{Span, Stored};
use crate::world::{World, locked};

/// How long everything may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many messages are neither read nor ended. To a session that only listens they must have been
/// shown: of a push there is no evidence.
fn unread(world: &World) -> Option<usize> {
    let connection = open(world).ok()?;
    let unread = "SELECT id, recipient FROM messages WHERE state IN ('queued', 'offered')";
    let mut statement = connection.prepare(unread).ok()?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
    let rows: Vec<(String, String)> = rows.collect::<rusqlite::Result<_>>().ok()?;
    let shown = locked(&world.shown);
    let listens = |peer: &String| {
        world.sessions.iter().any(|one| one.only_listens && one.peer.get() == Some(peer))
    };
    Some(rows.iter().filter(|(id, to)| !(listens(to) && shown.contains(id))).count())
}

fn open(world: &World) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = Connection::open_with_flags(world.sandbox.config().database, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// Waits until every message was read. The sessions read their mail meanwhile.
pub fn wait(world: &Arc<World>) {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        if unread(world) == Some(0) {
            return;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    world.problem(format!("{:?} messages were not read in the end", unread(world)));
}

/// Ends all processes. Returns what is stored.
pub fn stored(world: &Arc<World>) -> Vec<Stored> {
    world.end_all();
    let began = world.recorder.now();
    let since = Instant::now();
    while let Some(broker) = holder(&world.sandbox.config())
        && since.elapsed() < Duration::from_secs(10)
    {
        broker.ask_to_stop();
        std::thread::sleep(Duration::from_millis(20));
    }
    let span = world.recorder.until_now(began);
    read(world, span).unwrap_or_else(|error| {
        world.problem(format!("the database cannot be read: {error}"));
        Vec::new()
    })
}

fn read(world: &World, span: Span) -> rusqlite::Result<Vec<Stored>> {
    let connection = open(world)?;
    let sound: String = connection.query_row("PRAGMA quick_check", [], |row| row.get(0))?;
    if sound != "ok" {
        world.problem(format!("the database is damaged: {sound}"));
    }
    let mut statement = connection.prepare(
        "SELECT id, sender, recipient, text, state,
                CASE WHEN state = 'read' THEN read_via
                     WHEN state IN ('offered', 'unconfirmed') THEN offered_via END
         FROM messages ORDER BY seq",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Stored {
            span,
            id: row.get(0)?,
            from: row.get(1)?,
            to: row.get(2)?,
            text: row.get(3)?,
            state: row.get(4)?,
            via: row.get(5)?,
        })
    })?;
    rows.collect()
}

/// Returns the id of the command line's peer.
pub fn command_line(world: &World) -> rusqlite::Result<String> {
    open(world)?.query_row("SELECT id FROM peers WHERE kind = 'cli'", [], |row| row.get(0))
}
