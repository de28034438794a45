-- Timelines, conversations, cursors and node leases of one server.
--
-- Names and contents are BLOBs: they are compared byte by byte and may hold any byte, NUL included.
-- Everything that has a name (a user, a group) is one row of `owners` and a number everywhere else.

-- A user (name: 'u' and the uid) or a group (name: 'g' and the number, 8 bytes, big-endian), and its timeline's bounds.
CREATE TABLE owners (
    id INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE,
    floor INTEGER NOT NULL DEFAULT 0,
    head INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A message, stored once however many timelines it stands in, with the send key that it came under and the versions
-- that it got: `home`, and `copy` if it has one.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    msgid INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    target INTEGER NOT NULL,
    send_key BLOB NOT NULL,
    digest BLOB NOT NULL,
    content_type INTEGER NOT NULL,
    content BLOB NOT NULL,
    sent_at INTEGER NOT NULL,
    withdrawn_at INTEGER,
    home INTEGER NOT NULL,
    copy INTEGER,
    UNIQUE (sender, send_key)
) STRICT;

-- Where messages stand. Versions of an owner are contiguous from its floor + 1 to its head.
CREATE TABLE entries (
    owner INTEGER NOT NULL,
    version INTEGER NOT NULL,
    msgid INTEGER NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (owner, version),
    UNIQUE (owner, msgid)
) STRICT, WITHOUT ROWID;

-- A user's conversation list. `unread` counts the entries of others above `read_version`.
CREATE TABLE conversations (
    owner INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    last_version INTEGER NOT NULL,
    last_msgid INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    read_version INTEGER NOT NULL,
    unread INTEGER NOT NULL,
    PRIMARY KEY (owner, peer)
) STRICT, WITHOUT ROWID;

CREATE INDEX conversations_by_version ON conversations (owner, last_version);

-- What each device of `uid` acknowledged of `timeline`.
CREATE TABLE cursors (
    uid INTEGER NOT NULL,
    timeline INTEGER NOT NULL,
    device BLOB NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (uid, timeline, device)
) STRICT, WITHOUT ROWID;

-- Who holds which node number, and until when ids with it may be dated.
CREATE TABLE nodes (
    node INTEGER PRIMARY KEY,
    holder BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT;
