-- What is needed to be one database of several. Halves of messages between two databases are rows of `messages`:
--
-- - The sender's half has 0 as `copy` until the other half is stored, then the version that this one got in the other database.
-- - A key alone, of a message to a group in another database, has a `home` below 1 and no entry; `copy` is 0, then the version in the group.
--   From then on its content is empty.
-- - The receiver's half has a `send_key` that nobody looks up: 'x', the timeline's owner and the version (8 bytes each), then the key.

-- Halves to deliver, in the order of storing. A number is never used again.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    into_owner INTEGER NOT NULL
) STRICT;

CREATE INDEX outbox_by_sender ON outbox (sender);
