-- Schema 3: names.

-- Whether the name is the one that the person gave the session in its client. Its name_source is
-- then 'tool', because the list of sources cannot grow.
ALTER TABLE peers ADD COLUMN client_named INTEGER NOT NULL DEFAULT 0;

-- That name, as it was heard last.
ALTER TABLE peers ADD COLUMN client_title TEXT;

-- The name that another took over while it was away.
ALTER TABLE peers ADD COLUMN former_name TEXT;

-- The root of the git worktree that it works in.
ALTER TABLE peers ADD COLUMN worktree TEXT;

-- Which directory had an automatic name last, so that it gets the same again, whoever starts first.
CREATE TABLE remembered_names (
    name      TEXT PRIMARY KEY,
    directory TEXT NOT NULL,
    used_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX remembered_names_by_directory ON remembered_names (directory);
