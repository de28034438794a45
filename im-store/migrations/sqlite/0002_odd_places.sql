-- The timelines of messages that do not stand where their sender and target say. (The others need no row: a message to a user has its home with the
-- sender and its copy, if it has one, with the user; a message to a group has its home with the group, and no copy.)
CREATE TABLE odd_places (
    message INTEGER PRIMARY KEY,
    home_owner INTEGER NOT NULL,
    copy_owner INTEGER
) STRICT;
