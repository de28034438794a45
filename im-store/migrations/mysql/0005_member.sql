-- Which of several databases this one is; no row if it is none, or if that was never noted. `place` is its place in the list of all.
CREATE TABLE IF NOT EXISTS member (
    id BIGINT NOT NULL,
    set_id BIGINT NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
