//! Buckets that move while everybody writes and reads, and movers that die.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use im_core::id::{DeviceId, Version};
use im_core::storage::{Bucket, CursorAck, Cursors, Placed, Post, Shard, Store, StoreErrorKind, Timelines};
use im_store::layer::sharding::{
    MoveError, MoveLimits, MoveReport, Mover, ShardedStore, SweepLimits, Sweeper,
};

use crate::bench::{Databases, Memory};
use crate::faulty::{EVERY_WAY, Fault, Faulty, How};
use crate::load::{Load, RealTime, buckets};
use crate::traffic::{assert_sound, batches, direct, pending, timelines, uid, user};

async fn server(databases: &[Arc<dyn Shard>]) -> Arc<ShardedStore> {
    Arc::new(ShardedStore::open(databases.to_vec(), RealTime::new()).await.unwrap())
}

/// A user whom the database keeps.
fn name_in(store: &ShardedStore, database: usize) -> String {
    let mut names = (0..).map(|n| format!("user {n}"));
    names.find(|name| store.map().database_of(&user(name)) == database).unwrap()
}

/// Fences are short, so that what a dead mover leaves is over soon.
fn mover(store: &Arc<ShardedStore>) -> Mover {
    let mut limits = MoveLimits::default();
    limits.fence = Duration::from_millis(400);
    Mover::new(store.clone(), RealTime::new(), limits)
}

async fn moved(store: &Arc<ShardedStore>, buckets: &[Bucket], to: usize) -> MoveReport {
    mover(store).move_buckets(buckets, to, |_| {}).await.unwrap()
}

/// Everything moves to each database in turn, so many times, under the traffic of three servers that learn of it from the databases alone.
async fn move_under_load(mut databases: impl Databases, rounds: usize, between: u64, slower: u32) {
    // Tests that load a machine of few cores take turns.
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = TURN.lock().await;
    let open = databases.open().await;
    let mut servers: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..3 {
        servers.push(server(&open).await);
    }
    let load = Load::new(slower);
    let mut tasks = load.start(&servers);
    let store = server(&open).await;
    let sweeper = tokio::spawn(Sweeper::new(store.clone(), SweepLimits::default()).run(RealTime::new()));
    let mut fences = Vec::new();
    for round in 1..=rounds {
        load.go_on_for(between).await;
        let report = moved(&store, &buckets(), round % open.len()).await;
        fences.push(report.longest_fence);
        println!("{report}");
    }
    load.go_on_for(between).await;
    load.end();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    sweeper.abort();
    let (acks, refusals) = (load.acks.load(Ordering::SeqCst), load.refusals.load(Ordering::SeqCst));
    println!(
        "{acks} acknowledged, {refusals} refused, the longest call {:?}, fences {fences:?}",
        load.longest()
    );
    for server in &servers {
        load.audit(&**server).await;
    }
    assert!(fences.iter().all(|fence| *fence < Duration::from_secs(1)), "{fences:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_move_between_memory_stores_under_load() {
    move_under_load(Memory::with_clock(3, RealTime::new()), 12, 100, 1).await;
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::*;
    use crate::bench::Sqlite;

    #[tokio::test(flavor = "multi_thread")]
    async fn buckets_move_between_sqlite_databases_under_load() {
        move_under_load(Sqlite::new(2), 6, 100, 1).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_bucket_that_moves_between_sqlite_databases_there_and_back_answers_as_before() {
        there_and_back(Sqlite::new(3), 16).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_mover_between_sqlite_databases_that_dies_is_made_good_by_running_it_again() {
        for how in [How::Unanswered, How::KilledAfter] {
            let calls = every_call(|| Sqlite::new(2), how, 3, 2).await;
            assert!(calls > 20, "{calls} calls");
        }
    }
}

/// With short deadlines: what is gone stays for as long as two reads may take.
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod servers {
    use super::*;
    use crate::bench::{Kind, Servers};

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn buckets_move_between_two_databases_of_mariadb_under_load() {
        move_under_load(Servers::of(&[Kind::MySql, Kind::MySql]), 2, 200, 4).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn buckets_move_from_mariadb_to_postgresql_and_back_under_load() {
        move_under_load(Servers::of(&[Kind::MySql, Kind::Postgres]), 2, 200, 4).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_bucket_that_moves_between_servers_there_and_back_answers_as_before() {
        there_and_back(Servers::of(&[Kind::MySql, Kind::Postgres]), 6).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_mover_between_servers_that_dies_is_made_good_by_running_it_again() {
        // One call in four: each run waits for what is gone to be cleared.
        let servers = || Servers::of(&[Kind::MySql, Kind::Postgres]);
        let calls = every_call(servers, How::KilledAfter, 4, 5).await;
        println!("{calls} calls");
        assert!(calls > 20, "{calls} calls");
    }
}

/// One after the other: what was acknowledged, repeats, cursors and conversations are what they were.
async fn assert_unchanged(store: &Arc<ShardedStore>, acked: &[(Post, Placed)], context: &str) {
    assert_sound(&**store, acked, context).await;
    let posts = acked.iter().map(|(post, _)| post.clone()).collect();
    let again: Vec<_> = store.append(posts).await.into_iter().map(Result::unwrap).collect();
    let expected: Vec<_> =
        acked.iter().map(|(_, placed)| Placed { repeated: true, ..placed.clone() }).collect();
    assert_eq!(again, expected, "{context}: repeats");
    for timeline in timelines() {
        let cursor = store.cursors(vec![(uid("alice"), timeline.clone())]).await.unwrap().remove(0);
        let versions: Vec<_> = cursor.iter().map(|cursor| cursor.version.0).collect();
        assert_eq!(versions, [3], "{context}: the cursor in {timeline:?}");
    }
}

async fn fill(store: &ShardedStore) -> Vec<(Post, Placed)> {
    let mut acked = Vec::new();
    for batch in batches() {
        let answers = store.append(batch.clone()).await;
        acked.extend(batch.into_iter().zip(answers.into_iter().map(Result::unwrap)));
    }
    for timeline in timelines() {
        let device = DeviceId::new("phone").unwrap();
        let ack = CursorAck { uid: uid("alice"), device, timeline, version: Version(3) };
        store.ack(vec![ack]).await.remove(0).unwrap();
    }
    acked
}

fn all_buckets() -> Vec<Bucket> {
    timelines().map(|timeline| Bucket::of(&timeline)).collect()
}

/// Every bucket alone, in an order of its own, to everywhere and back.
async fn there_and_back(mut databases: impl Databases, moves: usize) {
    let open = databases.open().await;
    let store = server(&open).await;
    let other = server(&open).await;
    let acked = fill(&store).await;
    assert_unchanged(&store, &acked, "before").await;
    for (number, bucket) in all_buckets().into_iter().cycle().enumerate().take(moves) {
        let to = (number * 5 / 3) % open.len();
        let report = moved(&store, &[bucket], to).await;
        let context = format!("move {number} to {to}: {report}");
        assert_eq!(store.map().database(bucket), to, "{context}");
        assert_unchanged(&store, &acked, &context).await;
        assert_unchanged(&other, &acked, &context).await;
    }
    assert_eq!(pending(&open).await, 0);
    let open = databases.open().await;
    assert_unchanged(&server(&open).await, &acked, "opened again").await;
}

#[tokio::test]
async fn a_bucket_that_moves_there_and_back_answers_as_before() {
    for count in [2, 3] {
        there_and_back(Memory::with_clock(count, RealTime::new()), 24).await;
    }
}

/// Moves everything to one database with a fault, and again without; halves that wait come from a fault before. Whether the fault came.
async fn die(mut databases: impl Databases, fault: Arc<Fault>, context: &str) -> bool {
    let mut open = databases.open().await;
    let mut acked = fill(&*server(&open).await).await;
    let dying =
        open.iter().map(|inner| Arc::new(Faulty::new(inner.clone(), fault.clone())) as Arc<dyn Shard>);
    let dying: Vec<_> = dying.collect();
    let outcome = tokio::select! {
        outcome = async {
            let Ok(store) = ShardedStore::open(dying, RealTime::new()).await else { return Ok(MoveReport::default()) };
            mover(&Arc::new(store)).move_buckets(&all_buckets(), 1, |_| {}).await
        } => Some(outcome),
        () = fault.killed.notified() => None,
    };
    if outcome.is_none() {
        open = databases.open().await;
    }
    if let Some(Err(error)) = outcome {
        assert!(matches!(error, MoveError::Store(_)), "{context}: {error}");
    }
    // Everybody else serves at once.
    let store = server(&open).await;
    let more: Vec<_> = batches().concat().into_iter().enumerate().map(|(n, post)| again(&post, n)).collect();
    let answers = store.append(more.clone()).await;
    acked.extend(more.into_iter().zip(answers.into_iter().map(|answer| answer.expect(context))));
    assert_unchanged(&store, &acked, context).await;
    moved(&store, &all_buckets(), 1).await;
    assert_unchanged(&store, &acked, context).await;
    assert!(all_buckets().iter().all(|bucket| store.map().database(*bucket) == 1));
    moved(&store, &all_buckets(), 0).await;
    assert_unchanged(&store, &acked, context).await;
    fault.came()
}

/// Another post from and to the same.
fn again(post: &Post, number: usize) -> Post {
    let mut post = post.clone();
    post.message.msgid.0 += 1_000 + i64::try_from(number).unwrap();
    let key = im_core::id::ClientMsgId::new(&format!("more {number}")).unwrap();
    post.message.key = im_core::message::SendKey::Client(key);
    post
}

/// One run for every `step`th call that can fail, so many at a time: a run is mostly a wait for rows that may be removed. Gives the number of calls.
async fn every_call<D: Databases>(
    databases: impl Fn() -> D,
    how: How,
    step: usize,
    concurrency: usize,
) -> usize {
    let runs = (0..).step_by(step).map(|call| {
        let databases = databases();
        async move { (call, die(databases, Fault::at(call, how), &format!("call {call}, {how:?}")).await) }
    });
    let mut runs = pin!(stream::iter(runs).buffered(concurrency));
    loop {
        let (call, came) = runs.next().await.expect("there is no last run");
        if !came {
            return call;
        }
    }
}

#[tokio::test]
async fn a_mover_that_dies_anywhere_is_made_good_by_running_it_again() {
    for how in EVERY_WAY {
        let calls = every_call(|| Memory::with_clock(2, RealTime::new()), how, 1, 4).await;
        assert!(calls > 20, "{calls} calls");
    }
}

#[tokio::test]
async fn halves_that_wait_are_delivered_before_their_sender_moves() {
    let open = Memory::with_clock(2, RealTime::new()).open().await;
    let store = server(&open).await;
    let [here, there] = [0, 1].map(|database| name_in(&store, database));
    let post = direct(&here, &there, 1);
    let half = im_core::storage::Part::Home { post: post.clone(), taken: false };
    open[0].append_parts(vec![half]).await.remove(0).unwrap();
    moved(&store, &[Bucket::of(&user(&here))], 1).await;
    assert_eq!(pending(&open).await, 0);
    let placed = store.append(vec![post]).await.remove(0).unwrap();
    assert_eq!((placed.home, placed.copy, placed.repeated), (Version(1), Some(Version(1)), true));
}

#[tokio::test]
async fn a_half_that_waits_for_a_bucket_is_delivered_when_that_comes_to_its_sender() {
    let open = Memory::with_clock(2, RealTime::new()).open().await;
    let store = server(&open).await;
    let [here, there] = [0, 1].map(|database| name_in(&store, database));
    let post = direct(&here, &there, 1);
    let half = im_core::storage::Part::Home { post: post.clone(), taken: false };
    open[0].append_parts(vec![half]).await.remove(0).unwrap();
    moved(&store, &[Bucket::of(&user(&there))], 0).await;
    assert_eq!(pending(&open).await, 0);
    let placed = store.append(vec![post]).await.remove(0).unwrap();
    assert_eq!((placed.home, placed.copy, placed.repeated), (Version(1), Some(Version(1)), true));
}

/// A half waits in the first database for a bucket that the second one has just released to there; the mover has died.
async fn released_to_where_a_half_waits() -> (Arc<ShardedStore>, [String; 2]) {
    let open = Memory::with_clock(2, RealTime::new()).open().await;
    let store = server(&open).await;
    let [here, there] = [0, 1].map(|database| name_in(&store, database));
    let half = im_core::storage::Part::Home { post: direct(&here, &there, 1), taken: false };
    open[0].append_parts(vec![half]).await.remove(0).unwrap();
    let (id, buckets) = (open[0].next_move().await.unwrap(), vec![Bucket::of(&user(&there))]);
    open[1].depart(id, buckets.clone(), 0).await.unwrap();
    open[0].arrive(id, buckets, 0).await.unwrap();
    open[1].fence(id, Duration::from_secs(60)).await.unwrap();
    open[1].release(id).await.unwrap();
    (store, [here, there])
}

async fn assert_in_order(store: &ShardedStore, there: &str) {
    let msgids = crate::traffic::entries(store, user(there)).await;
    let msgids: Vec<_> = msgids.into_iter().map(|entry| entry.message.msgid.0).collect();
    assert_eq!(msgids, [1, 2]);
}

#[tokio::test]
async fn what_was_left_halfway_is_not_overtaken_when_its_receiver_comes_to_its_sender() {
    let (store, [here, there]) = released_to_where_a_half_waits().await;
    store.refresh().await.unwrap();
    store.append(vec![direct(&here, &there, 2)]).await.remove(0).unwrap();
    assert_in_order(&store, &there).await;
}

#[tokio::test]
async fn a_post_that_was_stored_in_one_half_when_its_receiver_came_to_its_sender_is_acknowledged() {
    let (store, [here, there]) = released_to_where_a_half_waits().await;
    let placed = store.append(vec![direct(&here, &there, 2)]).await.remove(0).unwrap();
    assert_eq!((placed.home, placed.copy, placed.repeated), (Version(2), Some(Version(2)), false));
    assert_in_order(&store, &there).await;
}

#[tokio::test]
async fn a_mover_says_what_it_cannot_do() {
    let open = Memory::new(2).open().await;
    let fixed = Arc::new(crate::bench::over(open.clone()));
    let refused = mover(&fixed).move_buckets(&all_buckets(), 1, |_| {}).await;
    assert!(matches!(refused, Err(MoveError::MapIsFixed)), "{refused:?}");
    let refused = mover(&server(&open).await).move_buckets(&all_buckets(), 2, |_| {}).await;
    assert!(matches!(refused, Err(MoveError::NoSuchDatabase(2))), "{refused:?}");
}

/// A fence that a dead mover left, in a database without a clock: it never ends, and callers learn that in time.
#[tokio::test]
async fn a_call_that_waits_for_a_fence_ends_with_an_error_to_try_again() {
    let open = Memory::new(2).open().await;
    let store = server(&open).await;
    let alice = Bucket::of(&user("alice"));
    let database = &open[store.map().database(alice)];
    let id = open[0].next_move().await.unwrap();
    database.depart(id, vec![alice], 1).await.unwrap();
    database.fence(id, Duration::from_secs(1)).await.unwrap();
    let posts = vec![direct("alice", "alice", 1), direct("alice", "alice", 2), direct("bob", "bob", 3)];
    let answers = store.append(posts).await;
    let kinds: Vec<_> =
        answers.iter().map(|answer| answer.as_ref().err().map(|error| error.kind())).collect();
    assert_eq!(kinds, [Some(StoreErrorKind::Moved), Some(StoreErrorKind::OutOfOrder), None]);
    assert_eq!(store.heads(vec![user("alice")]).await.unwrap()[0].head, Version(0), "reads go on");
    moved(&store, &[alice], 1 - store.map().database(alice)).await;
    store.append(vec![direct("alice", "alice", 1)]).await.remove(0).unwrap();
}

/// A database that never answers keeps nobody waiting for a bucket of another one.
#[tokio::test]
async fn a_call_that_waits_for_a_fence_ends_also_if_another_database_hangs() {
    let memory = Memory::new(2).open().await;
    server(&memory).await;
    // Three calls are made when the store is opened again.
    let hangs = Faulty::new(memory[1].clone(), Fault::at(3, How::KilledBefore));
    let store = server(&[memory[0].clone(), Arc::new(hangs)]).await;
    let name = name_in(&store, 0);
    let id = memory[0].next_move().await.unwrap();
    memory[0].depart(id, vec![Bucket::of(&user(&name))], 1).await.unwrap();
    memory[0].fence(id, Duration::from_secs(1)).await.unwrap();
    let append = store.append(vec![direct(&name, &name, 1)]);
    let answer = tokio::time::timeout(Duration::from_secs(20), append).await.unwrap().remove(0);
    assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Moved);
}
