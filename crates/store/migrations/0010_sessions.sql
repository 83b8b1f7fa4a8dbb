-- What ties sessions together, and how persons corrected them (R9). `session` is where an entry is shown; `recorded` is the
-- session that the ledger names, where it is another one.
ALTER TABLE leaves ADD COLUMN recorded TEXT;
ALTER TABLE leaves ADD COLUMN asked INTEGER;
ALTER TABLE leaves ADD COLUMN at TEXT;
ALTER TABLE leaves ADD COLUMN message INTEGER NOT NULL DEFAULT 0;
ALTER TABLE leaves ADD COLUMN denied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE leaves ADD COLUMN ended TEXT;
ALTER TABLE calls ADD COLUMN recorded TEXT;
ALTER TABLE findings ADD COLUMN recorded TEXT;
ALTER TABLE actions ADD COLUMN recorded TEXT;
ALTER TABLE sessions ADD COLUMN shown_as TEXT;
CREATE TABLE links (leaf INTEGER PRIMARY KEY, session TEXT NOT NULL, recorded TEXT, at TEXT NOT NULL, kind TEXT NOT NULL, strength TEXT NOT NULL, link TEXT);
CREATE INDEX links_of_session ON links (session, leaf);
CREATE TABLE corrections (
    leaf INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, session TEXT NOT NULL, other TEXT NOT NULL, from_leaf INTEGER,
    detail TEXT, undone INTEGER
);
