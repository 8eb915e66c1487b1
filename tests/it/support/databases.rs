//! Databases as earlier versions left them.

use rusqlite::Connection;

use super::Sandbox;

/// Makes a database of the first schema: a session of this name, and the message "precious" to it.
pub fn of_first_schema(sandbox: &Sandbox, name: &str) {
    let connection = Connection::open(sandbox.database()).unwrap();
    connection.execute_batch(include_str!("../../../src/broker/store/migration-1.sql")).unwrap();
    connection
        .execute_batch(&format!(
            "INSERT INTO peers (id, kind, name, name_source, created_at, seen_at)
                 VALUES ('cli00001', 'cli', 'cli', 'reserved', 1, 1),
                        ('peer0001', 'session', '{name}', 'tool', 1, 1);
             INSERT INTO keys (key, peer, bound_at) VALUES ('session:session-{name}', 'peer0001', 1);
             INSERT INTO messages (seq, id, sender, recipient, text, sent_at, expires_at, state)
                 VALUES (1, 'm1', 'cli00001', 'peer0001', 'precious', 1, 9999999999999, 'queued');
             PRAGMA user_version = 1;",
        ))
        .unwrap();
    connection.close().unwrap();
}
