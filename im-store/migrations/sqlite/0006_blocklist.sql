-- Whom users have blocked: `owner` hears nothing from `other`. Both are uids, not numbers of `owners`: who was never written to may be blocked too.
CREATE TABLE blocklist (
    owner BLOB NOT NULL,
    other BLOB NOT NULL,
    PRIMARY KEY (owner, other)
) STRICT, WITHOUT ROWID;
