-- Schema 4: wakes that are repeated.

-- How often it was woken since it last had nothing left to read of what it was woken for.
ALTER TABLE peers ADD COLUMN wakes INTEGER NOT NULL DEFAULT 0;

-- When it was last woken, also after it stirred.
ALTER TABLE peers ADD COLUMN last_woken_at INTEGER;
