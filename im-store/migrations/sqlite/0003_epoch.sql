-- What is known of the store as a whole. `epoch` is 0 until an operator says that the database lost acknowledged commits.
CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL
) STRICT;

INSERT INTO store (id, epoch) VALUES (1, 0);
