-- What one device of one user keeps.
--
-- Names and contents are BLOBs: they are compared byte by byte and may hold any byte, NUL included.

-- One row: whose data it is, and up to which version the timeline is held.
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    owner BLOB NOT NULL,
    cursor INTEGER NOT NULL
) STRICT;

-- The user's timeline, as far as it is held. `target` is 'u' and the uid, or 'g' and the group's number (8 bytes, big-endian).
CREATE TABLE entries (
    version INTEGER PRIMARY KEY,
    msgid INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    sender BLOB NOT NULL,
    target BLOB NOT NULL,
    client_msg_id BLOB,
    content_type INTEGER NOT NULL,
    content BLOB NOT NULL,
    sent_at INTEGER NOT NULL,
    withdrawn_at INTEGER
) STRICT;

-- Messages that the server has not answered; `place` is the order of sending.
CREATE TABLE outgoing (
    place INTEGER PRIMARY KEY,
    client_msg_id BLOB NOT NULL UNIQUE,
    receiver BLOB NOT NULL,
    content_type INTEGER NOT NULL,
    content BLOB NOT NULL
) STRICT;
