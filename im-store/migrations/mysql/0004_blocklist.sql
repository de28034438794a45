-- Whom users have blocked: `owner` hears nothing from `other`. Both are uids, not numbers of `owners`: who was never written to may be blocked too.
CREATE TABLE IF NOT EXISTS blocklist (
    owner VARBINARY(255) NOT NULL,
    other VARBINARY(255) NOT NULL,
    PRIMARY KEY (owner, other)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
