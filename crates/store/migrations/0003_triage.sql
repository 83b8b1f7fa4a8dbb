-- What persons said of findings and cases, which rules they silenced, and how often a finding repeated itself.
ALTER TABLE findings ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;
CREATE TABLE assessments (subject TEXT PRIMARY KEY, leaf INTEGER NOT NULL, verdict TEXT NOT NULL, assessment TEXT);
CREATE TABLE suppressions (
    id TEXT PRIMARY KEY, leaf INTEGER NOT NULL, rule TEXT NOT NULL, until TEXT NOT NULL, body TEXT, ended TEXT, hidden INTEGER NOT NULL DEFAULT 0
);
