-- Schema 5: a kind for each sort of peer that is neither a session nor the command line.

-- The kinds are in a CHECK constraint. It is changed in the text of the schema, by the procedure
-- of https://sqlite.org/lang_altertable.html (section 7) for changes that leave the stored rows as
-- they are. A rebuilt table would have to delete all peers first, and each deletion searches the
-- messages for references.
PRAGMA writable_schema = ON;

UPDATE sqlite_schema
SET sql = replace(sql, '''history''', '''legacy'', ''probe'', ''system'', ''absorbed''')
WHERE type = 'table' AND name = 'peers';

-- Reads the schema again, so that the new constraint holds from here on.
PRAGMA writable_schema = RESET;

-- A changed index tells other connections that the schema has changed; an edit of its text does not.
DROP INDEX IF EXISTS peers_by_process;
CREATE INDEX peers_by_process ON peers (client_process) WHERE client_process IS NOT NULL;

-- 'history' had four meanings.
UPDATE peers SET kind = CASE
    -- The sender of notices.
    WHEN id = 'broker' THEN 'system'
    -- Only a probe registers, and without a client process. Probes are deleted, so this is strict.
    WHEN id IN (SELECT peer FROM receivers WHERE client_process IS NULL) THEN 'probe'
    -- A peer that another absorbed had registered, and so has the name of its client; an imported
    -- one has none. Its receivers, keys and unread mail are the other's. The row keeps its id from
    -- being used again, and the history of what it had read.
    WHEN client_name <> '' THEN 'absorbed'
    -- Imported from a legacy database.
    ELSE 'legacy'
END WHERE kind = 'history';
