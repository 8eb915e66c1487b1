-- Schema 1. Times are Unix milliseconds. A released migration is never changed.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Everybody who can send or receive. A row is never deleted and its id never reused.
CREATE TABLE peers (
    id             TEXT PRIMARY KEY,
    kind           TEXT NOT NULL CHECK (kind IN ('session', 'client', 'cli', 'history')),
    name           TEXT UNIQUE,
    name_source    TEXT CHECK (name_source IN ('environment', 'tool', 'automatic', 'reserved')),
    summary        TEXT NOT NULL DEFAULT '',
    -- who wrote the summary: the program's never replaces the session's
    summary_source TEXT NOT NULL DEFAULT 'none' CHECK (summary_source IN ('none', 'automatic', 'session')),
    cwd            TEXT NOT NULL DEFAULT '',
    directory      TEXT,
    repo           TEXT,
    client_name    TEXT NOT NULL DEFAULT '',
    client_version TEXT NOT NULL DEFAULT '',
    -- the client process that held this peer last, as "pid:start:boot"
    client_process TEXT,
    one_shot       INTEGER NOT NULL DEFAULT 0,
    created_at     INTEGER NOT NULL,
    -- when its presence last began or ended
    seen_at        INTEGER NOT NULL,
    -- messages in state queued or offered; kept by the triggers below
    unread         INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX peers_by_process ON peers (client_process) WHERE client_process IS NOT NULL;

-- What identifies a peer again: "session:…", "process:…". A peer may gather several.
CREATE TABLE keys (
    key      TEXT PRIMARY KEY,
    peer     TEXT NOT NULL REFERENCES peers (id),
    bound_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX keys_by_peer ON keys (peer);

-- The lives of receiver processes. The secret authenticates their calls, also to the next broker.
CREATE TABLE receivers (
    instance       TEXT PRIMARY KEY,
    peer           TEXT NOT NULL REFERENCES peers (id),
    secret         TEXT NOT NULL UNIQUE,
    channel        TEXT NOT NULL CHECK (channel IN ('absent', 'presumed', 'proven')),
    client_process TEXT,
    registered_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
    -- the order in which messages were accepted, and so the order in which they are offered;
    -- rows are never deleted, so no number comes twice
    seq            INTEGER PRIMARY KEY,
    id             TEXT NOT NULL UNIQUE,
    sender         TEXT NOT NULL REFERENCES peers (id),
    recipient      TEXT NOT NULL REFERENCES peers (id),
    -- the sender as it was when it sent
    sender_name    TEXT,
    sender_summary TEXT NOT NULL DEFAULT '',
    sender_cwd     TEXT NOT NULL DEFAULT '',
    -- the name by which it was sent while that name's owner was away: who takes the name over
    -- by CLAUDE_PEERS_NAME inherits such mail
    addressed_name TEXT,
    text           TEXT NOT NULL,
    reply_to       TEXT,
    sent_at        INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('queued', 'offered', 'read', 'expired', 'unconfirmed')),
    offered_at     INTEGER,
    offered_via    TEXT,
    read_at        INTEGER,
    read_via       TEXT,
    -- until when, and by which receiver, it is held back from all others
    lease_until    INTEGER,
    lease_by       TEXT
) STRICT;

-- Few indexes on purpose: each is a page more to write before a message is acknowledged.
CREATE INDEX messages_unread ON messages (recipient, seq) WHERE state IN ('queued', 'offered');
CREATE INDEX messages_leased ON messages (recipient, lease_until) WHERE lease_until IS NOT NULL;

CREATE TRIGGER messages_inserted AFTER INSERT ON messages WHEN new.state IN ('queued', 'offered') BEGIN
    UPDATE peers SET unread = unread + 1 WHERE id = new.recipient;
END;

CREATE TRIGGER messages_left AFTER UPDATE OF state, recipient ON messages
WHEN old.state IN ('queued', 'offered')
    AND (new.state NOT IN ('queued', 'offered') OR new.recipient <> old.recipient) BEGIN
    UPDATE peers SET unread = unread - 1 WHERE id = old.recipient;
END;

CREATE TRIGGER messages_joined AFTER UPDATE OF state, recipient ON messages
WHEN new.state IN ('queued', 'offered')
    AND (old.state NOT IN ('queued', 'offered') OR new.recipient <> old.recipient) BEGIN
    UPDATE peers SET unread = unread + 1 WHERE id = new.recipient;
END;

-- Which receiver was handed which message by which way: for "repeat", for "no id twice to one
-- instance", and for the evidence that a channel works. For a channel the receiver is an instance.
CREATE TABLE offers (
    message    INTEGER NOT NULL REFERENCES messages (seq),
    receiver   TEXT NOT NULL,
    via        TEXT NOT NULL,
    offered_at INTEGER NOT NULL,
    -- when the receiver said that it had written it to its client
    written_at INTEGER,
    PRIMARY KEY (message, receiver, via)
) STRICT, WITHOUT ROWID;

-- Answers to writes, so that a retry with the same idempotency key gets the same answer.
-- They are numbered in the order of time, so the oldest are the first.
CREATE TABLE answers (
    number      INTEGER PRIMARY KEY,
    caller      TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint INTEGER NOT NULL,
    answered_at INTEGER NOT NULL,
    body        TEXT NOT NULL,
    UNIQUE (key, caller)
) STRICT;
