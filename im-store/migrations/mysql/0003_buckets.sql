-- What is needed to move buckets of owners between databases while both serve. Statements may be repeated.

-- The bucket of each owner; NULL for one that came before there were buckets, until the first move.
SET @alter = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'owners' AND column_name = 'bucket') = 0,
    'ALTER TABLE owners ADD COLUMN bucket BIGINT, ADD KEY owners_bucket (bucket)',
    'DO 0');
PREPARE alter_owners FROM @alter;
EXECUTE alter_owners;
DEALLOCATE PREPARE alter_owners;

-- Cursors are moved with their timeline.
SET @alter = IF(
    (SELECT COUNT(*) FROM information_schema.statistics
     WHERE table_schema = DATABASE() AND table_name = 'cursors' AND index_name = 'cursors_timeline') = 0,
    'ALTER TABLE cursors ADD KEY cursors_timeline (timeline, uid, device)',
    'DO 0');
PREPARE alter_cursors FROM @alter;
EXECUTE alter_cursors;
DEALLOCATE PREPARE alter_cursors;

-- One row for each bucket, whose lock says who may write. `state`: 0 owned, 1 leaving, 2 fenced until `until_ms`, 3 gone since `until_ms`, 4 arriving; by the move `id`, to
-- the database `dest`.
CREATE TABLE IF NOT EXISTS buckets (
    bucket BIGINT NOT NULL,
    state BIGINT NOT NULL,
    id BIGINT NOT NULL,
    dest BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (bucket),
    KEY buckets_id (id),
    KEY buckets_state (state)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

INSERT IGNORE INTO buckets (bucket, state, id, dest, until_ms)
SELECT a.n + 16 * b.n + 256 * c.n, 0, 0, 0, 0
FROM (SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5
      UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9 UNION ALL SELECT 10
      UNION ALL SELECT 11 UNION ALL SELECT 12 UNION ALL SELECT 13 UNION ALL SELECT 14 UNION ALL SELECT 15) a,
     (SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5
      UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9 UNION ALL SELECT 10
      UNION ALL SELECT 11 UNION ALL SELECT 12 UNION ALL SELECT 13 UNION ALL SELECT 14 UNION ALL SELECT 15) b,
     (SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5
      UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9 UNION ALL SELECT 10
      UNION ALL SELECT 11 UNION ALL SELECT 12 UNION ALL SELECT 13 UNION ALL SELECT 14 UNION ALL SELECT 15) c;

-- One row. Which database keeps which bucket, in the first of several databases: 0 as `version` says that none was stored. `moves` is the number of the last move.
CREATE TABLE IF NOT EXISTS bucket_map (
    id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    map LONGBLOB NOT NULL,
    moves BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

INSERT IGNORE INTO bucket_map (id, version, map, moves) VALUES (1, 0, '', 0);

-- Cursors of leaving buckets that changed since their move departed.
CREATE TABLE IF NOT EXISTS bucket_changes (
    timeline BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    device VARBINARY(255) NOT NULL,
    PRIMARY KEY (timeline, uid, device)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
