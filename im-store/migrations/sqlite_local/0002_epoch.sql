-- The epoch of the server's store that the cursor and the versions in `entries` belong to. What was kept before there were epochs is of epoch 0, which every
-- server had then.
ALTER TABLE state ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;

-- Entries of earlier epochs that the present one has not given again, in the order in which they became that. The columns are those of `entries`;
-- a version is the one that the entry had.
CREATE TABLE earlier (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    version INTEGER NOT NULL,
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

-- How an entry is recognised: by its sender's name for it, or by the server's if the sender gave none.
CREATE INDEX earlier_by_name ON earlier (client_msg_id, sender) WHERE client_msg_id IS NOT NULL;
CREATE INDEX earlier_by_msgid ON earlier (msgid) WHERE client_msg_id IS NULL;
