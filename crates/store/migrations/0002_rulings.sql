-- What was decided about servers' definitions (D2), in leaf order; pins are a fold over it.
CREATE TABLE rulings (leaf INTEGER PRIMARY KEY, at TEXT NOT NULL, server TEXT NOT NULL, listing TEXT NOT NULL, ruling TEXT NOT NULL, definitions TEXT NOT NULL, detail TEXT);
