-- What is needed to move buckets of owners between databases while both serve.

-- The bucket of each owner; NULL for one that came before there were buckets, until the first move.
ALTER TABLE owners ADD COLUMN bucket BIGINT;
CREATE INDEX owners_bucket ON owners (bucket);

-- Cursors are moved with their timeline.
CREATE INDEX cursors_timeline ON cursors (timeline, uid, device);

-- One row for each bucket, whose lock says who may write. `state`: 0 owned, 1 leaving, 2 fenced until `until_ms`, 3 gone since `until_ms`, 4 arriving; by the move `id`, to
-- the database `dest`.
CREATE TABLE buckets (
    bucket BIGINT PRIMARY KEY,
    state BIGINT NOT NULL,
    id BIGINT NOT NULL,
    dest BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);
CREATE INDEX buckets_id ON buckets (id);
CREATE INDEX buckets_state ON buckets (state);

INSERT INTO buckets (bucket, state, id, dest, until_ms) SELECT n, 0, 0, 0, 0 FROM generate_series(0, 4095) AS n;

-- One row. Which database keeps which bucket, in the first of several databases: 0 as `version` says that none was stored. `moves` is the number of the last move.
CREATE TABLE bucket_map (
    id BIGINT PRIMARY KEY,
    version BIGINT NOT NULL,
    map BYTEA NOT NULL,
    moves BIGINT NOT NULL
);

INSERT INTO bucket_map (id, version, map, moves) VALUES (1, 0, '', 0);

-- Cursors of leaving buckets that changed since their move departed.
CREATE TABLE bucket_changes (
    timeline BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    device BYTEA NOT NULL,
    PRIMARY KEY (timeline, uid, device)
);
