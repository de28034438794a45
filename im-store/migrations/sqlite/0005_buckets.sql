-- What is needed to move buckets of owners between databases while both serve.

-- The bucket of each owner; NULL until a move asks for it.
ALTER TABLE owners ADD COLUMN bucket INTEGER;

CREATE INDEX owners_by_bucket ON owners (bucket);

-- Cursors are moved with their timeline.
CREATE INDEX cursors_by_timeline ON cursors (timeline, uid, device);

-- Buckets that have, or had, part in a move. `state`: 0 owned, 1 leaving, 2 fenced until `until_ms`, 3 gone, 4 arriving; by the move `id`, to the database `dest`.
CREATE TABLE buckets (
    bucket INTEGER PRIMARY KEY,
    state INTEGER NOT NULL,
    id INTEGER NOT NULL,
    dest INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT;

-- One row. Which database keeps which bucket, in the first of several databases: 0 as `version` says that none was stored. `moves` is the number of the last move.
-- `last_message` is the greatest number that a message had when rows were removed: none is used again.
CREATE TABLE bucket_map (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    map BLOB NOT NULL,
    moves INTEGER NOT NULL,
    last_message INTEGER NOT NULL
) STRICT;

INSERT INTO bucket_map (id, version, map, moves, last_message) VALUES (1, 0, x'', 0, 0);

-- Cursors of leaving buckets that changed since their move departed.
CREATE TABLE bucket_changes (
    timeline INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    device BLOB NOT NULL,
    PRIMARY KEY (timeline, uid, device)
) STRICT, WITHOUT ROWID;
