-- Schema 6: a message is sent with few pages, and found without a scan.
--
-- Each page that a send changes is written before its answer. So an ordinary message that is pushed
-- at once changes three: the end of the table, of its recipient's unread messages, and of the keys.

-- Whether the id is made from seq, so that it is found without an index; NULL for messages of before.
ALTER TABLE messages ADD COLUMN numbered INTEGER;

-- The push with which it was offered first: the instance, and when. Later offers and those by other
-- ways are in `offers`.
ALTER TABLE messages ADD COLUMN pushed_to TEXT;
ALTER TABLE messages ADD COLUMN pushed_at INTEGER;

-- Whether the instance said that it had written that push to its client. It is no time, so that a
-- receipt does not make the row longer, which may have no room in its page.
ALTER TABLE messages ADD COLUMN push_written INTEGER NOT NULL DEFAULT 0;

-- The idempotency key of the request that sent it, who used the key, and the fingerprint of the
-- request; NULL once the key is forgotten. The answers to all other writes are in `answers`.
ALTER TABLE messages ADD COLUMN key TEXT;
ALTER TABLE messages ADD COLUMN key_caller TEXT;
ALTER TABLE messages ADD COLUMN fingerprint INTEGER;

-- Keys of our own clients grow with time, so the index grows at its end.
CREATE INDEX messages_by_key ON messages (key) WHERE key IS NOT NULL;

-- No message of before has a key.
INSERT OR REPLACE INTO meta (key, value)
SELECT 'keys_forgotten_to', max(coalesce(max(seq), 0), 0) FROM messages;

-- Ids of before are found by an index, into which no new message comes. That is the one of the
-- column's UNIQUE constraint, which goes: its entries are those of the new one. The schema's text is
-- changed as in migration 5. A rebuilt table would have to copy all messages.
--
-- The references to peers go as well. A send reads both peers in its transaction; and of the peers
-- only a probe is ever deleted, after its messages, for which the references searched all messages.
PRAGMA writable_schema = ON;

UPDATE sqlite_schema
SET sql = replace(replace(sql, 'NOT NULL UNIQUE,', 'NOT NULL,'), ' REFERENCES peers (id)', '')
WHERE type = 'table' AND name = 'messages';

UPDATE sqlite_schema
SET name = 'messages_by_earlier_id',
    sql = 'CREATE UNIQUE INDEX messages_by_earlier_id ON messages (id) WHERE numbered IS NULL'
WHERE type = 'index' AND name = 'sqlite_autoindex_messages_1';

PRAGMA writable_schema = RESET;

-- All that is asked of unread messages by recipient is in the index itself. It also tells other
-- connections that the schema has changed.
DROP INDEX messages_unread;
CREATE INDEX messages_unread ON messages (recipient, seq, sender, state)
WHERE state IN ('queued', 'offered');

DROP INDEX messages_leased;
CREATE INDEX messages_leased ON messages (recipient, lease_until, sender)
WHERE lease_until IS NOT NULL;

-- Messages that are not unread any more, for the history. A send does not touch them.
CREATE INDEX messages_done_by_sender ON messages (sender, seq)
WHERE state NOT IN ('queued', 'offered');
CREATE INDEX messages_done_by_recipient ON messages (recipient, seq)
WHERE state NOT IN ('queued', 'offered');

-- peers.unread counts the unread messages up to this one; those after it are counted where they are
-- asked for, and there are never many. So a send writes the recipient's row only now and then.
ALTER TABLE peers ADD COLUMN counted_to INTEGER NOT NULL DEFAULT 0;
UPDATE peers SET counted_to = (SELECT max(coalesce(max(seq), 0), 0) FROM messages);

DROP TRIGGER messages_inserted;
DROP TRIGGER messages_left;
DROP TRIGGER messages_joined;

-- A probe's message: all others are behind what is counted.
CREATE TRIGGER messages_inserted AFTER INSERT ON messages
WHEN new.seq < 0 AND new.state IN ('queued', 'offered') AND new.sender <> 'broker' BEGIN
    UPDATE peers SET unread = unread + 1 WHERE id = new.recipient AND counted_to >= new.seq;
END;

CREATE TRIGGER messages_left AFTER UPDATE OF state, recipient ON messages
WHEN old.state IN ('queued', 'offered') AND old.sender <> 'broker'
    AND (new.state NOT IN ('queued', 'offered') OR new.recipient <> old.recipient) BEGIN
    UPDATE peers SET unread = unread - 1 WHERE id = old.recipient AND counted_to >= old.seq;
END;

CREATE TRIGGER messages_joined AFTER UPDATE OF state, recipient ON messages
WHEN new.state IN ('queued', 'offered') AND new.sender <> 'broker'
    AND (old.state NOT IN ('queued', 'offered') OR new.recipient <> old.recipient) BEGIN
    UPDATE peers SET unread = unread + 1 WHERE id = new.recipient AND counted_to >= new.seq;
END;

-- All offers of all messages, whichever way they are kept.
CREATE VIEW all_offers (message, receiver, via, offered_at, is_written) AS
SELECT message, receiver, via, offered_at, written_at IS NOT NULL FROM offers
UNION ALL
SELECT seq, pushed_to, 'channel', pushed_at, push_written FROM messages WHERE pushed_to IS NOT NULL;
