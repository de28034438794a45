-- Whom users have blocked: `owner` hears nothing from `other`. Both are uids, not numbers of `owners`: who was never written to may be blocked too.
CREATE TABLE blocklist (
    owner BYTEA NOT NULL,
    other BYTEA NOT NULL,
    PRIMARY KEY (owner, other)
);
