-- The tables of the TypeScript claude-peers.
CREATE TABLE peers (
    id TEXT PRIMARY KEY, pid INTEGER NOT NULL, cwd TEXT NOT NULL, git_root TEXT,
    tty TEXT, summary TEXT NOT NULL DEFAULT '', registered_at TEXT NOT NULL,
    last_seen TEXT NOT NULL);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, from_id TEXT NOT NULL, to_id TEXT NOT NULL,
    text TEXT, sent_at TEXT, delivered INTEGER DEFAULT 0);
