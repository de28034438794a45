//! The same rows by a plain loop.

use std::collections::{BTreeMap, HashMap};

use im_core::message::TimelineId;
use im_core::storage::Post;
use sqlx::{Connection as _, MySqlConnection, PgConnection, QueryBuilder, Row as _};

/// A writer on a connection of its own.
pub(crate) struct Plain {
    connection: Connection,
    ids: HashMap<String, i64>,
    heads: HashMap<i64, i64>,
}

enum Connection {
    MySql(MySqlConnection),
    Postgres(PgConnection),
}

struct Message {
    home: (i64, i64),
    copy: (i64, i64),
    msgid: i64,
    key: Vec<u8>,
    digest: Vec<u8>,
    content: Vec<u8>,
}

struct Conversation {
    version: i64,
    msgid: i64,
    read: i64,
    unread: i64,
}

/// What a batch leaves.
#[derive(Default)]
struct Rows {
    messages: Vec<Message>,
    /// Owner, version, msgid, and the message's home.
    entries: Vec<(i64, i64, i64, (i64, i64))>,
    conversations: BTreeMap<(i64, i64), Conversation>,
    heads: BTreeMap<i64, (String, i64)>,
}

impl Plain {
    /// Everybody's messages are in the database: that is where numbers and heads come from.
    pub(crate) async fn open(url: &str, everybody: &[Post]) -> Self {
        const OWNERS: &str = "SELECT name, id, head FROM owners";
        let mut connection = match url.starts_with("mysql") {
            true => Connection::MySql(MySqlConnection::connect(url).await.unwrap()),
            false => Connection::Postgres(PgConnection::connect(url).await.unwrap()),
        };
        let owners: Vec<(Vec<u8>, i64, i64)> = match &mut connection {
            Connection::MySql(connection) => {
                let rows = sqlx::query(OWNERS).fetch_all(connection).await.unwrap();
                rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
            }
            Connection::Postgres(connection) => {
                let rows = sqlx::query(OWNERS).fetch_all(connection).await.unwrap();
                rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
            }
        };
        let mine: Vec<String> = everybody.iter().map(|post| name(&post.home)).collect();
        let (mut ids, mut heads) = (HashMap::new(), HashMap::new());
        for (name, id, head) in owners {
            let name = String::from_utf8(name).unwrap();
            if mine.contains(&name) {
                ids.insert(name, id);
                heads.insert(id, head);
            }
        }
        Self { connection, ids, heads }
    }

    pub(crate) async fn write(&mut self, posts: Vec<Post>) {
        let mut rows = Rows::default();
        for post in posts {
            self.place(post, &mut rows);
        }
        match &mut self.connection {
            Connection::MySql(connection) => mysql(connection, rows).await,
            Connection::Postgres(connection) => postgres(connection, rows).await,
        }
    }

    fn place(&mut self, post: Post, rows: &mut Rows) {
        let [sender, receiver] = [&post.home, post.copy.as_ref().unwrap()].map(name);
        let [from, to] = [&sender, &receiver].map(|name| self.ids[name]);
        let [home, copy] = [(from, sender), (to, receiver)].map(|(id, name)| {
            let head = self.heads.get_mut(&id).unwrap();
            *head += 1;
            rows.heads.insert(id, (name, *head));
            (id, *head)
        });
        let msgid = post.message.msgid.0;
        rows.entries.extend([(home.0, home.1, msgid, home), (copy.0, copy.1, msgid, home)]);
        rows.conversations
            .insert((from, to), Conversation { version: home.1, msgid, read: home.1, unread: 0 });
        let received = rows.conversations.entry((to, from));
        let received = received.or_insert(Conversation { version: 0, msgid: 0, read: 0, unread: 0 });
        (received.version, received.msgid, received.unread) = (copy.1, msgid, received.unread + 1);
        rows.messages.push(Message {
            home,
            copy,
            msgid,
            key: format!("k{msgid:020}").into_bytes(),
            digest: msgid.to_be_bytes().repeat(2),
            content: post.message.content.to_vec(),
        });
    }
}

fn name(timeline: &TimelineId) -> String {
    match timeline {
        TimelineId::User(uid) => format!("u{uid}"),
        other => panic!("{other:?} is no user"),
    }
}

macro_rules! write {
    ($connection:expr, $rows:expr, $conversations:expr, $heads:expr) => {{
        let (rows, mut transaction) = ($rows, $connection.begin().await.unwrap());
        let mut insert = QueryBuilder::new(
            "INSERT INTO messages (home_owner, home, copy_owner, copy, msgid, kind, sender, target, send_key, digest, \
             content_type, content, sent_at) ",
        );
        insert.push_values(rows.messages, |mut row, of| {
            row.push_bind(of.home.0).push_bind(of.home.1).push_bind(of.copy.0).push_bind(of.copy.1);
            row.push_bind(of.msgid).push_bind(1_006_i64).push_bind(of.home.0).push_bind(of.copy.0);
            row.push_bind(of.key).push_bind(of.digest).push_bind(0_i64).push_bind(of.content).push_bind(of.msgid);
        });
        insert.build().execute(&mut *transaction).await.unwrap();
        let mut insert = QueryBuilder::new("INSERT INTO entries (owner, version, msgid, home_owner, home) ");
        insert.push_values(rows.entries, |mut row, (owner, version, msgid, home)| {
            row.push_bind(owner).push_bind(version).push_bind(msgid).push_bind(home.0).push_bind(home.1);
        });
        insert.build().execute(&mut *transaction).await.unwrap();
        let mut insert = QueryBuilder::new(
            "INSERT INTO conversations (owner, peer, last_version, last_msgid, last_at, read_version, unread) ",
        );
        insert.push_values(rows.conversations, |mut row, ((owner, peer), of)| {
            row.push_bind(owner).push_bind(peer).push_bind(of.version).push_bind(of.msgid).push_bind(of.msgid);
            row.push_bind(of.read).push_bind(of.unread);
        });
        insert.push($conversations);
        insert.build().execute(&mut *transaction).await.unwrap();
        let mut insert = QueryBuilder::new("INSERT INTO owners (id, name, head) ");
        insert.push_values(rows.heads, |mut row, (id, (name, head))| {
            row.push_bind(id).push_bind(name.into_bytes()).push_bind(head);
        });
        insert.push($heads);
        insert.build().execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }};
}

async fn mysql(connection: &mut MySqlConnection, rows: Rows) {
    write!(
        connection,
        rows,
        " ON DUPLICATE KEY UPDATE last_version = VALUES(last_version), last_msgid = VALUES(last_msgid), \
         last_at = VALUES(last_at), unread = VALUES(unread) + unread, read_version = VALUES(read_version)",
        " ON DUPLICATE KEY UPDATE head = VALUES(head)"
    );
}

async fn postgres(connection: &mut PgConnection, rows: Rows) {
    write!(
        connection,
        rows,
        " ON CONFLICT (owner, peer) DO UPDATE SET last_version = excluded.last_version, last_msgid = excluded.last_msgid, \
         last_at = excluded.last_at, unread = excluded.unread + conversations.unread, read_version = excluded.read_version",
        " ON CONFLICT (id) DO UPDATE SET head = excluded.head"
    );
}
