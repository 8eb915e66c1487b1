-- Schema 2: hooks.

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
