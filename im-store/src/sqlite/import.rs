use std::path::PathBuf;
use std::sync::LazyLock;

use async_trait::async_trait;
use im_core::id::Version;
use im_core::message::TimelineId;
use im_core::storage::{CursorAck, Head, HeldNode, Import, Misfit, Row, RowKind, StoreError, StoredPost};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use super::fault::came_twice;
use super::rows::Rows;
use super::{Fault, FileLock, OpenError, SqliteOptions, append, buckets, cursors, lookup, open};
use crate::file::sync_directory;
use crate::name;
use crate::sql::plan;

/// There as long as the import is not finished. It says how far each timeline has to come.
const MARK: &str = "CREATE TABLE unfinished_import (owner INTEGER PRIMARY KEY, head INTEGER NOT NULL) STRICT";

/// What is kept of the database in memory: 256 MiB (negative: KiB), because keys come in no order.
const CACHE: &str = "-262144";

/// Pages that the write-ahead log gathers before they are copied into the database: 256 MiB.
const CHECKPOINT_PAGES: &str = "65536";

/// Rows that are committed together. Every batch changes most pages of a timeline index that has more owners than it has rows, and each commit
/// writes them all.
const COMMIT_ROWS: usize = 1 << 19;

/// An [`Import`] into an SQLite database; see [`SqliteOptions::import`]. It holds the database's lock until it is finished or dropped.
///
/// Nothing is fsynced before [`finish`](Import::finish) but the mark that the database is unfinished. No call has a deadline.
#[derive(Debug)]
pub struct SqliteImport {
    connection: SqliteConnection,
    path: PathBuf,
    turn: RowKind,
    /// Rows since the last commit. There is a transaction exactly if it is above 0.
    uncommitted: usize,
    _lock: FileLock,
}

/// Locks the database, marks it, and empties it if it was marked before.
pub(super) async fn begin(options: SqliteOptions) -> Result<SqliteImport, OpenError> {
    let path = options.path.clone();
    let lock = open::lock(&path)?;
    let refused = |error| open::refused(&path, error);
    let mut connection = open::connect(&path, &bulk(open::writing(&options))).await?;
    if let Some(place) = buckets::place(&mut connection).await.map_err(refused)? {
        return Err(OpenError::OneOfSeveral { path, place });
    }
    if is_unfinished(&mut connection).await.map_err(refused)? {
        clear(&mut connection).await.map_err(refused)?;
    } else if is_empty(&mut connection).await.map_err(refused)? {
        sqlx::query(MARK).execute(&mut connection).await.map_err(refused)?;
    } else {
        return Err(OpenError::NotEmpty { path });
    }
    // The mark is on the disk. What follows has time until the import is finished.
    sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut connection).await.map_err(refused)?;
    Ok(SqliteImport { connection, path, turn: RowKind::default(), uncommitted: 0, _lock: lock })
}

/// For many big transactions.
fn bulk(writing: SqliteConnectOptions) -> SqliteConnectOptions {
    let bulk = writing.pragma("cache_size", CACHE).pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
    // A commit of half a million rows is slow, and no reason to warn.
    bulk.disable_statement_logging()
}

/// Whether an import into the database was begun and not finished.
pub(super) async fn is_unfinished(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let marked = "SELECT EXISTS (SELECT * FROM sqlite_schema WHERE name = 'unfinished_import')";
    sqlx::query_scalar(marked).fetch_one(connection).await
}

async fn is_empty(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let empty = "SELECT NOT EXISTS (SELECT * FROM owners) AND NOT EXISTS (SELECT * FROM nodes)";
    sqlx::query_scalar(empty).fetch_one(connection).await
}

/// Empties an unfinished database; the mark stays. (Its files could not be removed: a connection of this process that is still being closed would take
/// the new ones' log away.)
async fn clear(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let all = "DELETE FROM entries; DELETE FROM messages; DELETE FROM odd_places; DELETE FROM outbox; DELETE FROM conversations; \
               DELETE FROM cursors; DELETE FROM nodes; DELETE FROM owners; DELETE FROM unfinished_import";
    sqlx::raw_sql(all).execute(&mut *transaction).await?;
    transaction.commit().await
}

#[async_trait]
impl Import for SqliteImport {
    async fn import(&mut self, rows: Vec<Row>) -> Result<(), StoreError> {
        self.take(rows).await.map_err(|fault| fault.into_error("import"))
    }

    async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.complete().await.map_err(|fault| fault.into_error("finish"))
    }
}

impl SqliteImport {
    /// Stores rows, kind by kind.
    async fn take(&mut self, rows: Vec<Row>) -> Result<(), Fault> {
        if self.uncommitted == 0 {
            sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await?;
        }
        self.uncommitted += rows.len().max(1);
        let mut rows = rows.into_iter().peekable();
        while let Some(row) = rows.peek() {
            let kind = row.kind();
            if kind < self.turn {
                return Err(Misfit::OutOfTurn { came: kind, after: self.turn }.into());
            }
            self.turn = kind;
            let mut same = Kinds::default();
            while let Some(row) = rows.next_if(|row| row.kind() == kind) {
                same.take(row);
            }
            same.store(&mut self.connection).await.map_err(misfit_if_twice)?;
        }
        if self.uncommitted >= COMMIT_ROWS {
            self.commit().await?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        if std::mem::take(&mut self.uncommitted) > 0 {
            sqlx::query("COMMIT").execute(&mut self.connection).await?;
        }
        Ok(())
    }

    async fn complete(mut self: Box<Self>) -> Result<(), Fault> {
        self.commit().await?;
        let Self { mut connection, path, _lock, .. } = *self;
        check_heads(&mut connection).await?;
        // From here on what is committed lasts, and with it what was written before.
        sqlx::query("PRAGMA synchronous = FULL").execute(&mut connection).await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
        sqlx::query("DROP TABLE unfinished_import").execute(&mut connection).await?;
        connection.close().await?;
        sync_directory(&path).map_err(sqlx::Error::Io)?;
        Ok(())
    }
}

fn misfit_if_twice(fault: Fault) -> Fault {
    match &fault {
        Fault::Driver(error) => came_twice(error).map_or(fault, |what| Misfit::Twice(what).into()),
        _ => fault,
    }
}

async fn check_heads(connection: &mut SqliteConnection) -> Result<(), Fault> {
    let wrong = "SELECT o.name, o.head, u.head FROM unfinished_import u JOIN owners o ON o.id = u.owner \
                 WHERE o.head <> u.head ORDER BY u.owner LIMIT 1";
    let Some(row) = sqlx::query(wrong).fetch_optional(connection).await? else { return Ok(()) };
    let timeline = name::parse(row.try_get(0)?).ok_or(Fault::BadRow("owners.name"))?;
    let timeline = name::timeline_of(&timeline);
    let (head, announced) = (Version(row.try_get(1)?), Version(row.try_get(2)?));
    Err(Misfit::Incomplete { timeline, head, announced }.into())
}

/// Rows of one kind.
#[derive(Default)]
struct Kinds {
    timelines: Vec<(TimelineId, Head)>,
    posts: Vec<StoredPost>,
    cursors: Vec<CursorAck>,
    nodes: Vec<HeldNode>,
    unknown: Option<RowKind>,
}

impl Kinds {
    fn take(&mut self, row: Row) {
        match row {
            Row::Timeline(timeline, head) => self.timelines.push((timeline, head)),
            Row::Post(post) => self.posts.push(*post),
            Row::Cursor(ack) => self.cursors.push(ack),
            Row::Node(held) => self.nodes.push(held),
            other => self.unknown = Some(other.kind()),
        }
    }

    async fn store(self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        if let Some(came) = self.unknown {
            return Err(Misfit::OutOfTurn { came, after: came }.into());
        }
        announce(connection, &self.timelines).await?;
        place(connection, self.posts).await?;
        store_cursors(connection, self.cursors).await?;
        for held in self.nodes {
            store_node(connection, held).await?;
        }
        Ok(())
    }
}

/// A timeline begins at its floor.
static TIMELINES: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(3, "INSERT INTO owners (name, floor, head) SELECT * FROM (", ") WHERE column1 IS NOT NULL")
});

static ANNOUNCED: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        2,
        "WITH q(name, head) AS (",
        ") INSERT INTO unfinished_import (owner, head) SELECT o.id, q.head \
         FROM q CROSS JOIN owners o ON o.name = q.name",
    )
});

async fn announce(connection: &mut SqliteConnection, timelines: &[(TimelineId, Head)]) -> Result<(), Fault> {
    let mut queries = TIMELINES.queries(timelines, |query, (timeline, head)| {
        query.bind(name::of(timeline)).bind(head.floor.0).bind(head.floor.0)
    });
    queries.extend(
        ANNOUNCED
            .queries(timelines, |query, (timeline, head)| query.bind(name::of(timeline)).bind(head.head.0)),
    );
    for query in queries {
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

static OWNERS: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        2,
        "WITH q(n, name) AS (",
        ") SELECT q.n, o.id, o.floor, o.head, u.owner IS NOT NULL FROM q CROSS JOIN owners o ON o.name = q.name \
         LEFT JOIN unfinished_import u ON u.owner = o.id",
    )
});

/// Stores posts as an append does, at the versions that they name.
async fn place(connection: &mut SqliteConnection, posts: Vec<StoredPost>) -> Result<(), Fault> {
    if posts.is_empty() {
        return Ok(());
    }
    let timelines = plan::owners_of_stored(&posts);
    let queries = OWNERS.numbered(&timelines, |query, timeline| query.bind(name::of(timeline)));
    let known = lookup::answers(connection, queries, timelines.len(), |row| {
        Ok(lookup::owner(row)?.known(row.try_get(4)?))
    });
    let known = timelines.into_iter().zip(known.await?);
    let owners = known.filter_map(|(timeline, owner)| Some((timeline, owner?))).collect();
    let (last_owner, last_message) = append::last_numbers(connection).await?;
    let known = plan::Known { owners, last_owner, last_message, ..plan::Known::default() };
    append::store(connection, &plan::import(posts, known)?).await
}

static CURSORS: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        4,
        "WITH q(uid, timeline, device, version) AS (",
        ") INSERT INTO cursors (uid, timeline, device, version) SELECT u.id, t.id, q.device, q.version \
         FROM q CROSS JOIN owners u ON u.name = q.uid CROSS JOIN owners t ON t.name = q.timeline",
    )
});

async fn store_cursors(connection: &mut SqliteConnection, acks: Vec<CursorAck>) -> Result<(), Fault> {
    let timelines: Vec<_> = acks.iter().map(|ack| ack.timeline.clone()).collect();
    let owners = lookup::owners(connection, &timelines).await?;
    for (ack, owner) in acks.iter().zip(owners) {
        let head = owner.map(|owner| owner.head.head).unwrap_or_default();
        if ack.version > head {
            let timeline = ack.timeline.clone();
            return Err(Misfit::Ahead { timeline, head, cursor: ack.version }.into());
        }
    }
    let mut names: Vec<_> =
        acks.iter().flat_map(|ack| [name::of_user(&ack.uid), name::of(&ack.timeline)]).collect();
    names.sort_unstable();
    names.dedup();
    let mut queries = cursors::NEW_OWNERS.queries(&names, |query, name| query.bind(name.clone()));
    queries.extend(CURSORS.queries(&acks, |query, ack| {
        let device = ack.device.as_str().as_bytes().to_vec();
        query.bind(name::of_user(&ack.uid)).bind(name::of(&ack.timeline)).bind(device).bind(ack.version.0)
    }));
    for query in queries {
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn store_node(connection: &mut SqliteConnection, held: HeldNode) -> Result<(), Fault> {
    sqlx::query("INSERT INTO nodes (node, holder, epoch, until_ms) VALUES (?, ?, ?, ?)")
        .bind(i64::from(held.node.0))
        .bind(held.holder.into_bytes())
        .bind(held.epoch)
        .bind(held.until.0)
        .execute(connection)
        .await?;
    Ok(())
}
