use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use im_core::id::Version;
use im_core::message::TimelineId;
use im_core::storage::{CursorAck, Head, HeldNode, Import, Misfit, Row, RowKind, StoreError, StoredPost};

use super::driver::{Column, Pool, Session};
use super::lookup::{self, Owners};
use super::statement::{Both, Insert, Keyed, Text};
use super::{Fault, OpenError, SqlOptions, append, buckets, cursors, open};
use crate::name;
use crate::sql::plan::{self, Known};

/// Rows that are committed together.
const COMMIT_ROWS: usize = 1 << 15;

/// How long a statement may take: a commit of so many rows, or emptying the tables.
const DEADLINE: Duration = Duration::from_secs(600);

/// How long the end of an earlier import is waited for.
const LOCK: Duration = Duration::from_secs(5);

/// An [`Import`] into a database; see [`SqlOptions::import`]. It holds a lock of the database's until it is finished or dropped.
///
/// Rows are committed some ten thousand at a time. No call has a deadline, but a statement of ten minutes is given up.
#[derive(Debug)]
pub struct SqlImport {
    session: Session,
    pool: Pool,
    turn: RowKind,
    /// Rows since the last commit. There is a transaction exactly if it is above 0.
    uncommitted: usize,
}

static BEGUN: Text = Text::new("SELECT s.unfinished FROM store_state s WHERE s.id = 1");

static MARK: Text = Text::new("UPDATE store_state SET unfinished = 1 WHERE id = 1");

static UNMARK: Text = Text::new("UPDATE store_state SET unfinished = 0 WHERE id = 1");

/// Any row of a table that is never empty once something was stored.
static ANY_OWNER: Text = Text::new("SELECT o.id FROM owners o LIMIT 1");

static ANY_NODE: Text = Text::new("SELECT n.epoch FROM nodes n LIMIT 1");

/// Locks the database, marks it, and empties it if it was marked before.
pub(super) async fn begin(options: SqlOptions) -> Result<SqlImport, OpenError> {
    let pool = open::connect(&options.lock_timeout(LOCK).call_deadline(DEADLINE).connections(1)).await?;
    let mut session = pool.session().await.map_err(open::unavailable)?;
    if !session.lock_import().await.map_err(open::unavailable)? {
        return Err(OpenError::BeingFilled);
    }
    match state(&mut session).await.map_err(open::unavailable)? {
        State::Unfinished => session.empty().await.map_err(open::unavailable)?,
        State::Empty => session.execute(&MARK, Vec::new()).await.map_err(open::unavailable)?,
        State::Full => return Err(OpenError::NotEmpty),
        State::Member(place) => return Err(OpenError::OneOfSeveral(place)),
    }
    Ok(SqlImport { session, pool, turn: RowKind::default(), uncommitted: 0 })
}

enum State {
    Empty,
    Full,
    Unfinished,
    /// One of several databases, with this place among them: a whole store is not what belongs there.
    Member(u16),
}

async fn state(session: &mut Session) -> Result<State, Fault> {
    if let Some(place) = buckets::place(session).await? {
        return Ok(State::Member(place));
    }
    let begun = session.select(&BEGUN, Vec::new()).await?;
    if begun.first().map(|row| row.int(0)).transpose()? == Some(1) {
        return Ok(State::Unfinished);
    }
    for any in [&ANY_OWNER, &ANY_NODE] {
        if !session.select(any, Vec::new()).await?.is_empty() {
            return Ok(State::Full);
        }
    }
    Ok(State::Empty)
}

#[async_trait]
impl Import for SqlImport {
    async fn import(&mut self, rows: Vec<Row>) -> Result<(), StoreError> {
        self.take(rows).await.map_err(|fault| fault.into_error("import"))
    }

    async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.complete().await.map_err(|fault| fault.into_error("finish"))
    }
}

impl SqlImport {
    /// Stores rows, kind by kind.
    async fn take(&mut self, rows: Vec<Row>) -> Result<(), Fault> {
        if self.uncommitted == 0 {
            self.session.begin().await?;
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
            same.store(&mut self.session).await?;
        }
        if self.uncommitted >= COMMIT_ROWS {
            self.commit().await?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        if std::mem::take(&mut self.uncommitted) > 0 {
            self.session.run("COMMIT").await?;
        }
        Ok(())
    }

    async fn complete(mut self: Box<Self>) -> Result<(), Fault> {
        self.commit().await?;
        check_heads(&mut self.session).await?;
        self.session.begin().await?;
        self.session.run("DELETE FROM announced").await?;
        self.session.execute(&UNMARK, Vec::new()).await?;
        self.session.run("COMMIT").await?;
        let Self { session, pool, .. } = *self;
        // Its end frees the lock.
        drop(session);
        pool.close().await;
        Ok(())
    }
}

static WRONG: Text = Text::new(
    "SELECT o.name, o.head, a.head FROM announced a JOIN owners o ON o.id = a.owner WHERE o.head <> a.head \
     ORDER BY a.owner LIMIT 1",
);

async fn check_heads(session: &mut Session) -> Result<(), Fault> {
    let rows = session.select(&WRONG, Vec::new()).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let timeline = name::parse(row.bytes(0)?).ok_or(Fault::BadRow("owners.name"))?;
    let timeline = name::timeline_of(&timeline);
    let (head, announced) = (Version(row.int(1)?), Version(row.int(2)?));
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

    async fn store(self, session: &mut Session) -> Result<(), Fault> {
        if let Some(came) = self.unknown {
            return Err(Misfit::OutOfTurn { came, after: came }.into());
        }
        announce(session, &self.timelines).await?;
        place(session, self.posts).await?;
        store_cursors(session, self.cursors).await?;
        store_nodes(session, self.nodes).await
    }
}

/// A unique index that has a row already says that something came twice.
fn twice(what: &'static str) -> impl Fn(Fault) -> Fault {
    move |fault| if fault.is_twice() { Misfit::Twice(what).into() } else { fault }
}

/// A timeline begins at its floor.
static TIMELINES: Insert = Insert::new("owners", &["name", "floor", "head"], Both::same(""));

static ANNOUNCED: Insert = Insert::new("announced", &["owner", "head"], Both::same(""));

async fn announce(session: &mut Session, timelines: &[(TimelineId, Head)]) -> Result<(), Fault> {
    let names = || timelines.iter().map(|(timeline, _)| name::of(timeline));
    let floors = || timelines.iter().map(|(_, head)| head.floor.0);
    let columns = vec![Column::blobs(names()), Column::ints(floors()), Column::ints(floors())];
    session.insert(&TIMELINES, columns).await.map_err(twice("timeline"))?;
    let owners = lookup::owners(session, names().collect()).await?;
    let heads = timelines
        .iter()
        .filter_map(|(timeline, head)| Some((owners.get(&name::of(timeline))?.id, head.head.0)));
    let (owners, heads): (Vec<_>, Vec<_>) = heads.unzip();
    session.insert(&ANNOUNCED, vec![Column::Ints(owners), Column::Ints(heads)]).await
}

/// Which owners were announced.
static KNOWN: Keyed = Keyed::new(
    Both::same(
        "SELECT o.name, o.id, o.floor, o.head, COALESCE(a.owner, 0) FROM owners o \
         LEFT JOIN announced a ON a.owner = o.id WHERE {keys}",
    ),
    &["o.name"],
);

/// Stores posts as an append does, at the versions that they name.
async fn place(session: &mut Session, posts: Vec<StoredPost>) -> Result<(), Fault> {
    if posts.is_empty() {
        return Ok(());
    }
    let timelines = plan::owners_of_stored(&posts);
    let names = lookup::names(timelines.iter());
    create_owners(session, names.clone()).await?;
    let mut known = Known::default();
    let mut announced = std::collections::HashMap::new();
    for row in session.find(&KNOWN, vec![Column::Blobs(names)]).await? {
        let (name, owner) = lookup::owner(&row)?;
        announced.insert(name, owner.known(row.int(4)? > 0));
    }
    for timeline in timelines {
        if let Some(owner) = announced.remove(&name::of(&timeline)) {
            known.owners.insert(timeline, owner);
        }
    }
    append::store(session, &plan::import(posts, known)?).await.map_err(|fault| match fault.index() {
        Some("messages_send_key") => Misfit::Twice("send key").into(),
        Some("entries_msgid") => Misfit::Twice("msgid").into(),
        Some(_) => Misfit::Twice("version").into(),
        None => fault,
    })
}

async fn create_owners(session: &mut Session, names: Vec<Vec<u8>>) -> Result<(), Fault> {
    let there = lookup::owners(session, names.clone()).await?;
    let new = names.into_iter().filter(|name| !there.contains_key(name)).collect();
    append::insert_owners(session, new).await
}

static CURSORS: Insert = Insert::new("cursors", &["uid", "timeline", "device", "version"], Both::same(""));

async fn store_cursors(session: &mut Session, acks: Vec<CursorAck>) -> Result<(), Fault> {
    if acks.is_empty() {
        return Ok(());
    }
    let users: Vec<_> = acks.iter().map(|ack| TimelineId::User(ack.uid.clone())).collect();
    let names = lookup::names(acks.iter().map(|ack| &ack.timeline).chain(&users));
    create_owners(session, names.clone()).await?;
    let owners = lookup::owners(session, names).await?;
    let mut rows = BTreeMap::new();
    for ack in acks {
        let head = head_of(&owners, &ack.timeline);
        if ack.version > head {
            return Err(Misfit::Ahead { timeline: ack.timeline, head, cursor: ack.version }.into());
        }
        let (uid, timeline) = (name::of_user(&ack.uid), name::of(&ack.timeline));
        let key = cursors::key(&owners, &uid, &timeline, &ack.device).ok_or(Fault::BadRow("owners.name"))?;
        if rows.insert(key, ack.version.0).is_some() {
            return Err(Misfit::Twice("cursor").into());
        }
    }
    session.insert(&CURSORS, cursors::columns(&rows)).await.map_err(twice("cursor"))
}

fn head_of(owners: &Owners, timeline: &TimelineId) -> Version {
    owners.get(&name::of(timeline)).map(|owner| owner.head.head).unwrap_or_default()
}

static NODES: Insert = Insert::new("nodes", &["node", "holder", "epoch", "until_ms"], Both::same(""));

async fn store_nodes(session: &mut Session, nodes: Vec<HeldNode>) -> Result<(), Fault> {
    let columns = vec![
        Column::ints(nodes.iter().map(|held| held.node.0.into())),
        Column::blobs(nodes.iter().map(|held| held.holder.clone().into_bytes())),
        Column::ints(nodes.iter().map(|held| held.epoch)),
        Column::ints(nodes.iter().map(|held| held.until.0)),
    ];
    session.insert(&NODES, columns).await.map_err(twice("node number"))
}
