//! The same rows, or as many bytes, by a plain loop.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use im_core::message::TimelineId;
use im_core::storage::Post;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, QueryBuilder, Row as _, SqliteConnection};

/// A file to which so many bytes a message are appended.
pub(crate) struct PlainLog {
    file: File,
    bytes: usize,
    buffer: Vec<u8>,
}

impl PlainLog {
    pub(crate) fn create(path: &Path, bytes: usize) -> Self {
        Self { file: File::create(path).unwrap(), bytes, buffer: Vec::new() }
    }

    pub(crate) fn write(&mut self, messages: usize) {
        self.buffer.resize(messages * self.bytes, b'x');
        self.file.write_all(&self.buffer).unwrap();
        self.file.sync_data().unwrap();
    }
}

/// A connection to a database in which everybody is.
pub(crate) struct PlainSqlite {
    connection: SqliteConnection,
    ids: HashMap<String, i64>,
    heads: HashMap<i64, i64>,
    last_message: i64,
}

struct Message {
    id: i64,
    from: i64,
    to: i64,
    home: i64,
    copy: i64,
    msgid: i64,
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
    /// Owner, version, msgid, message.
    entries: Vec<(i64, i64, i64, i64)>,
    conversations: BTreeMap<(i64, i64), Conversation>,
    heads: BTreeMap<i64, (String, i64)>,
}

impl PlainSqlite {
    /// With the settings of the store, as far as they are not the file's.
    pub(crate) async fn open(path: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", "-65536")
            .pragma("wal_autocheckpoint", "8192")
            .pragma("temp_store", "MEMORY");
        let mut connection = options.connect().await.unwrap();
        let rows = sqlx::query("SELECT name, id, head FROM owners").fetch_all(&mut connection).await.unwrap();
        let (mut ids, mut heads) = (HashMap::new(), HashMap::new());
        for row in rows {
            ids.insert(String::from_utf8(row.get(0)).unwrap(), row.get(1));
            heads.insert(row.get(1), row.get(2));
        }
        let last = sqlx::query_scalar("SELECT max(id) FROM messages").fetch_one(&mut connection).await;
        Self { connection, ids, heads, last_message: last.unwrap() }
    }

    pub(crate) async fn write(&mut self, posts: Vec<Post>) {
        let mut rows = Rows::default();
        for post in posts {
            self.place(post, &mut rows);
        }
        self.store(rows).await;
    }

    fn place(&mut self, post: Post, rows: &mut Rows) {
        let [sender, receiver] = [&post.home, post.copy.as_ref().unwrap()].map(name);
        let [from, to] = [&sender, &receiver].map(|name| self.ids[name]);
        let [home, copy] = [(from, sender), (to, receiver)].map(|(id, name)| {
            let head = self.heads.get_mut(&id).unwrap();
            *head += 1;
            rows.heads.insert(id, (name, *head));
            *head
        });
        self.last_message += 1;
        let (id, msgid) = (self.last_message, post.message.msgid.0);
        rows.entries.extend([(from, home, msgid, id), (to, copy, msgid, id)]);
        rows.conversations.insert((from, to), Conversation { version: home, msgid, read: home, unread: 0 });
        let received = rows.conversations.entry((to, from));
        let received = received.or_insert(Conversation { version: 0, msgid: 0, read: 0, unread: 0 });
        (received.version, received.msgid, received.unread) = (copy, msgid, received.unread + 1);
        rows.messages.push(Message {
            id,
            from,
            to,
            home,
            copy,
            msgid,
            content: post.message.content.to_vec(),
        });
    }

    async fn store(&mut self, rows: Rows) {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let mut insert = QueryBuilder::new(
            "INSERT INTO messages (id, msgid, kind, sender, target, send_key, digest, content_type, content, sent_at, \
             home, copy) ",
        );
        insert.push_values(rows.messages, |mut row, of| {
            row.push_bind(of.id).push_bind(of.msgid).push_bind(1_006_i64).push_bind(of.from).push_bind(of.to);
            row.push_bind(format!("k{:020}", of.msgid).into_bytes())
                .push_bind(of.msgid.to_be_bytes().repeat(2));
            row.push_bind(0_i64)
                .push_bind(of.content)
                .push_bind(of.msgid)
                .push_bind(of.home)
                .push_bind(of.copy);
        });
        insert.build().execute(&mut *transaction).await.unwrap();
        let mut insert = QueryBuilder::new("INSERT INTO entries (owner, version, msgid, message) ");
        insert.push_values(rows.entries, |mut row, (owner, version, msgid, message)| {
            row.push_bind(owner).push_bind(version).push_bind(msgid).push_bind(message);
        });
        insert.build().execute(&mut *transaction).await.unwrap();
        let mut insert = QueryBuilder::new(
            "INSERT INTO conversations (owner, peer, last_version, last_msgid, last_at, read_version, unread) ",
        );
        insert.push_values(rows.conversations, |mut row, ((owner, peer), of)| {
            row.push_bind(owner)
                .push_bind(peer)
                .push_bind(of.version)
                .push_bind(of.msgid)
                .push_bind(of.msgid);
            row.push_bind(of.read).push_bind(of.unread);
        });
        insert.push(
            " ON CONFLICT DO UPDATE SET last_version = excluded.last_version, last_msgid = excluded.last_msgid, \
             last_at = excluded.last_at, unread = excluded.unread + unread, read_version = excluded.read_version",
        );
        insert.build().execute(&mut *transaction).await.unwrap();
        let mut insert = QueryBuilder::new("INSERT INTO owners (id, name, head) ");
        insert.push_values(rows.heads, |mut row, (id, (name, head))| {
            row.push_bind(id).push_bind(name.into_bytes()).push_bind(head);
        });
        insert.push(" ON CONFLICT DO UPDATE SET head = excluded.head");
        insert.build().execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

fn name(timeline: &TimelineId) -> String {
    match timeline {
        TimelineId::User(uid) => format!("u{uid}"),
        other => panic!("{other:?} is no user"),
    }
}
