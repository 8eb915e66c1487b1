-- Schema 2: hooks, notices.

-- What the hooks of a client process said last.
CREATE TABLE clients (
    -- "pid:start:boot"
    process      TEXT PRIMARY KEY,
    -- the session that the client shows now
    session      TEXT NOT NULL,
    said_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The turn in which it was told that more waits than a hook can show.
ALTER TABLE peers ADD COLUMN noticed_turn TEXT;

-- The last message that it was woken for.
ALTER TABLE peers ADD COLUMN woken_seq INTEGER;

-- When it was woken, until it stirs.
ALTER TABLE peers ADD COLUMN woken_at INTEGER;

-- Whether it can wake its session.
ALTER TABLE receivers ADD COLUMN wakes INTEGER NOT NULL DEFAULT 0;

-- For a hook: the turn in which it showed the message.
ALTER TABLE offers ADD COLUMN turn TEXT;

-- And the event of that turn, where it has a name.
ALTER TABLE offers ADD COLUMN occasion TEXT NOT NULL DEFAULT '';

-- Notices: what the broker itself tells a sender. Its id is no session's, and no name any more.
UPDATE peers SET name = NULL, name_source = NULL WHERE name = 'broker';
INSERT INTO peers (id, kind, created_at, seen_at) VALUES ('broker', 'history', 0, 0);

-- They are no backlog: peers.unread counts what peers wrote.
DROP TRIGGER messages_inserted;
DROP TRIGGER messages_left;
DROP TRIGGER messages_joined;

CREATE TRIGGER messages_inserted AFTER INSERT ON messages
WHEN new.state IN ('queued', 'offered') AND new.sender <> 'broker' BEGIN
    UPDATE peers SET unread = unread + 1 WHERE id = new.recipient;
END;

CREATE TRIGGER messages_left AFTER UPDATE OF state, recipient ON messages
WHEN old.state IN ('queued', 'offered') AND old.sender <> 'broker'
    AND (new.state NOT IN ('queued', 'offered') OR new.recipient <> old.recipient) BEGIN
    UPDATE peers SET unread = unread - 1 WHERE id = old.recipient;
END;

CREATE TRIGGER messages_joined AFTER UPDATE OF state, recipient ON messages
WHEN new.state IN ('queued', 'offered') AND new.sender <> 'broker'
    AND (old.state NOT IN ('queued', 'offered') OR new.recipient <> old.recipient) BEGIN
    UPDATE peers SET unread = unread + 1 WHERE id = new.recipient;
END;

-- Ordinary messages are not in it, so it costs them nothing.
CREATE INDEX messages_notices ON messages (recipient)
WHERE sender = 'broker' AND state IN ('queued', 'offered');
