-- Timelines, conversations, cursors and node leases, for any number of servers.
--
-- Names and contents are binary: they are compared byte by byte and may hold any byte, NUL included.
-- Everything that has a name (a user, a group) is one row of `owners` and a number everywhere else.
-- Statements may be repeated: DDL commits by itself here, so a migration that was cut off is run again.

-- A user (name: 'u' and the uid) or a group (name: 'g' and the number, 8 bytes, big-endian), and its timeline's bounds. An append
-- locks the rows of the timelines that it writes, in the order of their names: versions are given under this lock.
CREATE TABLE IF NOT EXISTS owners (
    id BIGINT NOT NULL AUTO_INCREMENT,
    name VARBINARY(255) NOT NULL,
    floor BIGINT NOT NULL DEFAULT 0,
    head BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (id),
    UNIQUE KEY owners_name (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- A message, stored once however many timelines it stands in, at its place in the timeline that remembers its send key (`home_owner`,
-- `home`); `copy_owner`, `copy` is its other place, if it has one. `seq` ascends in every timeline: the order of an export.
CREATE TABLE IF NOT EXISTS messages (
    home_owner BIGINT NOT NULL,
    home BIGINT NOT NULL,
    copy_owner BIGINT,
    copy BIGINT,
    msgid BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    sender BIGINT NOT NULL,
    target BIGINT NOT NULL,
    send_key VARBINARY(80) NOT NULL,
    digest BINARY(16) NOT NULL,
    content_type BIGINT NOT NULL,
    content LONGBLOB NOT NULL,
    sent_at BIGINT NOT NULL,
    withdrawn_at BIGINT,
    seq BIGINT NOT NULL AUTO_INCREMENT,
    PRIMARY KEY (home_owner, home),
    UNIQUE KEY messages_send_key (sender, send_key),
    UNIQUE KEY messages_seq (seq)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Where messages stand. Versions of an owner are contiguous from its floor + 1 to its head.
CREATE TABLE IF NOT EXISTS entries (
    owner BIGINT NOT NULL,
    version BIGINT NOT NULL,
    msgid BIGINT NOT NULL,
    home_owner BIGINT NOT NULL,
    home BIGINT NOT NULL,
    PRIMARY KEY (owner, version),
    UNIQUE KEY entries_msgid (owner, msgid)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- A user's conversation list. `unread` counts the entries of others above `read_version`.
CREATE TABLE IF NOT EXISTS conversations (
    owner BIGINT NOT NULL,
    peer BIGINT NOT NULL,
    last_version BIGINT NOT NULL,
    last_msgid BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    read_version BIGINT NOT NULL,
    unread BIGINT NOT NULL,
    PRIMARY KEY (owner, peer),
    KEY conversations_by_version (owner, last_version)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- What each device of `uid` acknowledged of `timeline`.
CREATE TABLE IF NOT EXISTS cursors (
    uid BIGINT NOT NULL,
    timeline BIGINT NOT NULL,
    device VARBINARY(255) NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT cursors_key PRIMARY KEY (uid, timeline, device)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Who holds which node number, and until when ids with it may be dated.
CREATE TABLE IF NOT EXISTS nodes (
    node BIGINT NOT NULL,
    holder VARBINARY(1024) NOT NULL,
    epoch BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (node)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- One row. Who leases a node number locks it. `epoch` is 0 until an operator says that the database lost acknowledged commits. `unfinished` is
-- 1 from the beginning of an import to its end.
CREATE TABLE IF NOT EXISTS store_state (
    id BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    unfinished BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

INSERT IGNORE INTO store_state (id, epoch, unfinished) VALUES (1, 0, 0);

-- How far each timeline of an unfinished import has to come.
CREATE TABLE IF NOT EXISTS announced (
    owner BIGINT NOT NULL,
    head BIGINT NOT NULL,
    PRIMARY KEY (owner)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
