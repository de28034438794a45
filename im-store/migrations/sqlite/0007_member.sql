-- Which of several databases this one is; no row if it is none, or if that was never noted. `place` is its place in the list of all.
CREATE TABLE member (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    set_id INTEGER NOT NULL,
    place INTEGER NOT NULL
) STRICT;
