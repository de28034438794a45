use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use im_proto::{CmdId, Seq};

use super::fixture::{append_all, device, direct, group, to_group, uid, user};
use super::{TransferBench, begin, open};
use crate::id::{ConnId, Version};
use crate::memory::MemoryStore;
use crate::message::{SendKey, TimelineId};
use crate::storage::{CursorAck, Export, ExportPage, Exportable, Post, Row, Store, StoreError, StoredPost};
use crate::testing::conformance::Failure;
use crate::testing::conformance::check::same;
use crate::time::Timestamp;
use crate::transfer::{PageLimits, verify};

/// Puts something of everything into a store: 60 posts, 6 cursors, 2 node numbers.
pub(super) async fn fill(store: &dyn Store) -> Result<(), Failure> {
    let posts = posts();
    let (first, second) = posts.split_at(23);
    append_all(store, first).await?;
    append_all(store, second).await?;
    for ack in acks() {
        for answer in store.ack(vec![ack]).await {
            answer?;
        }
    }
    let ttl = Duration::from_millis(100);
    let old = store.lease_node("a", Timestamp(1_000), ttl).await?;
    store.lease_node("b \u{e9}", Timestamp(1_000), ttl).await?;
    store.renew_node(&old, Timestamp(1_700), ttl).await?;
    store.lease_node("a", Timestamp(1_700), ttl).await?;
    Ok(())
}

/// Messages of every sort: to others, to oneself, to groups, without content, with a link's key, and in timelines of which neither sender nor
/// target is the owner.
pub(super) fn posts() -> Vec<Post> {
    const NAMES: [&str; 4] = ["alice", "bob", "carol", "g2345678"];
    let name = |n: i64| NAMES[usize::try_from(n.rem_euclid(4)).unwrap_or_default()];
    (1..=60)
        .map(|n| match n % 10 {
            3 => to_group(name(n), 7, n),
            4 => direct(name(n), name(n), n),
            5 => Post { home: user("dave"), ..to_group(name(n), 7, n) },
            6 => Post { home: group(9), copy: Some(user("eve")), ..direct(name(n), name(n * 7), n) },
            7 => keyed(direct(name(n), "bob", n)),
            8 => emptied(direct("eve", name(n), n)),
            _ => direct(name(n), name(n / 5 + n + 1), n),
        })
        .collect()
}

fn keyed(mut post: Post) -> Post {
    let number = post.message.msgid.0;
    post.message.key = SendKey::Link(ConnId(-number), CmdId::C2C_SEND, Seq(u32::MAX));
    post
}

fn emptied(mut post: Post) -> Post {
    post.message.content = Bytes::new();
    post
}

fn acks() -> [CursorAck; 6] {
    let ack = |name: &str, on: &str, timeline: TimelineId, version: i64| CursorAck {
        uid: uid(name),
        device: device(on),
        timeline,
        version: Version(version),
    };
    [
        ack("bob", "phone", user("bob"), 4),
        ack("bob", "tablet", user("bob"), 9),
        ack("bob", "phone", group(7), 2),
        ack("alice", "\u{1f4f1}", user("alice"), 0),
        ack("stranger", "phone", group(7), 1),
        ack("alice", "phone", user("bob"), 1),
    ]
}

/// The same in memory.
pub(super) async fn model() -> Result<Arc<MemoryStore>, Failure> {
    let store = Arc::new(MemoryStore::default());
    fill(&*store).await?;
    Ok(store)
}

/// All rows of a store, in its order, in pages of so many.
pub(super) async fn rows(store: &(impl Export + ?Sized), limit: usize) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    let mut page = ExportPage { after: None, limit, max_bytes: usize::MAX };
    loop {
        let exported = store.export(page.clone()).await?;
        rows.extend(exported.rows);
        match exported.next {
            Some(position) => page.after = Some(position),
            None => return Ok(rows),
        }
    }
}

/// The posts among rows.
pub(super) fn posts_of(rows: &[Row]) -> Vec<StoredPost> {
    let post = |row: &Row| match row {
        Row::Post(post) => Some(StoredPost::clone(post)),
        _ => None,
    };
    rows.iter().filter_map(post).collect()
}

/// Imports rows, in batches of so many, and opens what comes of it.
pub(super) async fn imported(
    bench: &dyn TransferBench,
    rows: &[Row],
    batch: usize,
) -> Result<Arc<dyn Exportable>, Failure> {
    let mut import = begin(bench).await?;
    for rows in rows.chunks(batch) {
        import.import(rows.to_vec()).await?;
    }
    import.finish().await?;
    open(bench).await
}

/// Both stores answer alike.
pub(super) async fn alike(expected: &dyn Exportable, came: &dyn Exportable) -> Result<(), Failure> {
    let found = verify(expected, came, PageLimits::default(), &mut |_| ()).await;
    let found = found.map_err(|failed| failed.source)?;
    same("what differs from the reference store", found.to_string(), "the stores are equal".to_owned())
}
