-- What is needed to be one database of several. Halves of messages between two databases are rows of `messages`:
--
-- - The sender's half has 0 as `copy` until the other half is stored, then the version that this one got in the other database.
-- - A key alone, of a message to a group in another database, has no entry; its sender and its msgid below 0 stand as `home_owner` and
--   `home`. `copy` is 0, then the version in the group. From then on its content is empty.
-- - The receiver's half has a `send_key` that nobody looks up: 'x', the timeline's owner and the version (8 bytes each), then the key.
ALTER TABLE messages MODIFY send_key VARBINARY(96) NOT NULL;

-- Halves to deliver. The numbers of one sender ascend in the order of storing, and none is used again.
CREATE TABLE IF NOT EXISTS outbox (
    id BIGINT NOT NULL AUTO_INCREMENT,
    home_owner BIGINT NOT NULL,
    home BIGINT NOT NULL,
    sender BIGINT NOT NULL,
    into_owner BIGINT NOT NULL,
    PRIMARY KEY (id),
    KEY outbox_sender (sender)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
