-- What is needed to forget a session whose key was destroyed (R8): which session's key sealed what a row holds, and the
-- neutral facts that stay of a case.
ALTER TABLE sessions ADD COLUMN erased TEXT;
ALTER TABLE calls ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cases ADD COLUMN recorded TEXT;
ALTER TABLE cases ADD COLUMN opened TEXT;
ALTER TABLE cases ADD COLUMN severity TEXT;
ALTER TABLE cases ADD COLUMN state TEXT;
ALTER TABLE assessments ADD COLUMN recorded TEXT;
ALTER TABLE evidence ADD COLUMN recorded TEXT;
ALTER TABLE rulings ADD COLUMN recorded TEXT;
