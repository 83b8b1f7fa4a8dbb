-- A projection of the ledger: everything here can be made anew from it.
CREATE TABLE applied (id INTEGER PRIMARY KEY CHECK (id = 0), leaves INTEGER NOT NULL);
INSERT INTO applied VALUES (0, 0);

CREATE TABLE sessions (
    id TEXT PRIMARY KEY, principal TEXT, role TEXT, task TEXT, assurance TEXT, source TEXT, allowlist TEXT,
    started TEXT NOT NULL, last TEXT NOT NULL, ended TEXT, why TEXT,
    messages INTEGER NOT NULL DEFAULT 0, calls INTEGER NOT NULL DEFAULT 0, denied INTEGER NOT NULL DEFAULT 0, findings INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE leaves (session TEXT NOT NULL, leaf INTEGER NOT NULL, PRIMARY KEY (session, leaf)) WITHOUT ROWID;
CREATE TABLE calls (
    leaf INTEGER PRIMARY KEY, session TEXT, server TEXT NOT NULL, tool TEXT, outcome TEXT NOT NULL, reason TEXT,
    at TEXT NOT NULL, answered INTEGER
);
CREATE INDEX calls_of_session ON calls (session, leaf);
CREATE TABLE findings (
    id TEXT PRIMARY KEY, leaf INTEGER NOT NULL, session TEXT, at TEXT NOT NULL, rule TEXT NOT NULL, priority TEXT NOT NULL,
    requirement TEXT NOT NULL, finding TEXT, triage TEXT, disposition TEXT, case_id TEXT
);
CREATE INDEX findings_of_session ON findings (session, leaf);
CREATE TABLE cases (id TEXT PRIMARY KEY, leaf INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE actions (
    id TEXT PRIMARY KEY, leaf INTEGER NOT NULL, at TEXT NOT NULL, verb TEXT NOT NULL, case_id TEXT, session TEXT, step TEXT, receipt TEXT
);
CREATE TABLE freezes (action TEXT PRIMARY KEY, leaf INTEGER NOT NULL, scopes TEXT NOT NULL);
CREATE TABLE alerts (leaf INTEGER PRIMARY KEY, case_id TEXT NOT NULL, record TEXT);
CREATE TABLE evidence (leaf INTEGER PRIMARY KEY, case_id TEXT NOT NULL, at TEXT NOT NULL, digest TEXT NOT NULL, detail TEXT);
CREATE TABLE manifests (server TEXT NOT NULL, listing TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (server, listing, name)) WITHOUT ROWID;
CREATE TABLE manifest_changes (leaf INTEGER PRIMARY KEY, server TEXT NOT NULL, listing TEXT NOT NULL, at TEXT NOT NULL, changed TEXT NOT NULL);
CREATE TABLE principals (name TEXT PRIMARY KEY, first_seen TEXT NOT NULL);
