//! The suite for [`Buckets`](crate::storage::Buckets).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::case::cases;
use super::check::{refused, same};
use super::fixture::{
    append_all, append_one, device, direct, entries, everything, group, only, repeated, resent, to_group,
    uid, user,
};
use super::{Case, Failure, Outcome, Report, case};
use crate::id::Version;
use crate::message::TimelineId;
use crate::storage::{
    Bucket, BucketState, CopyLimits, CopyOut, CursorAck, Mark, Member, MoveId, MovedRow, Part, Pending, Post,
    SetId, Shard, StoreError, StoreErrorKind, StoredMap,
};

/// Opens the store under test as two databases of several.
#[async_trait]
pub trait BucketsBench: Send + Sync + 'static {
    /// Opens both on fresh, empty data. Called once, first.
    async fn open(&self) -> [Arc<dyn Shard>; 2];

    /// Opens them again on the same data, as after the end of the process.
    async fn reopen(&self) -> [Arc<dyn Shard>; 2];

    /// Lets time pass for the databases' clocks.
    async fn wait(&self, time: Duration);
}

/// Plays every case on a bench of its own.
pub async fn run_buckets_suite<B: BucketsBench>(bench: impl Fn() -> B) -> Report {
    case::run(buckets_cases(), || Box::new(bench()) as Box<dyn BucketsBench>).await
}

/// Every case, in the order of the trait's documentation.
pub fn buckets_cases() -> Vec<Case<dyn BucketsBench>> {
    cases! {
        "Buckets" {
            what_is_gone_is_refused: "While a bucket is [`Gone`] or [`Arriving`], every call of the other traits that concerns it",
            other_buckets_are_served: "A database owns every bucket unless it says otherwise.",
            a_later_move_takes_over: "calls with the number of the earlier are [`LeaseLost`]",
        }
        "Buckets::put_bucket_map" {
            a_map_follows_the_one_before: "It is stored, durably, if its version follows the stored one's, or is 1 and none is stored; `false` if not.",
        }
        "Buckets::join" {
            a_database_stays_which_it_is: "What was noted first stays, durably, and is what everybody is answered.",
        }
        "Buckets::some_timelines" {
            timelines_are_shown: "Up to `limit` timelines with a head above 0, whichever; fewer only if there are no more.",
            what_is_elsewhere_is_not_shown: "None of a bucket that is gone or arriving.",
        }
        "Buckets::next_move" {
            numbers_of_moves_ascend: "A number for a move: greater than every one given before.",
        }
        "Buckets::moving_buckets" {
            a_fence_that_is_over_is_listed_as_leaving: "A fence whose time is over is listed as leaving.",
        }
        "Buckets::depart" {
            a_move_that_loses_a_bucket_is_over: "What else left by that earlier move is simply owned again: it is over.",
            what_leaves_is_served: "The buckets are leaving from now on, all by this move",
            changed_cursors_are_noted: "From now on it is noted which cursors change.",
        }
        "Buckets::arrive" {
            what_arrives_is_refused: "The buckets are arriving from now on, all by this move.",
            a_bucket_moves_there_and_back: "What is there of them, from earlier moves, is to be [cleared] before anything is copied.",
        }
        "Buckets::clear" {
            halves_of_who_stays_are_left: "Halves that belong to other buckets stay, and are answered as before",
        }
        "Buckets::mark" {
            a_mark_is_before_what_is_pending: "What belongs to the move's buckets and was stored up to there is all there, and settled.",
            marks_ascend: "An earlier mark is never after a later one.",
        }
        "Buckets::copy_out" {
            pages_give_everything_once: "From one mark to another, everything of the buckets that was stored between them is given once",
            all_cursors_are_given: "All cursors of the buckets' timelines are given, or all that changed since the move departed.",
        }
        "Buckets::copy_in" {
            what_moved_answers_as_before: "Afterwards they answer as in the source: heads, entries, keys, conversations, cursors.",
            rows_that_come_again_change_nothing: "What is there already is passed over",
            a_hole_is_refused: "An entry comes at the version that it has; one that is not the head plus one is `Corrupt`.",
        }
        "Buckets::tally" {
            what_is_missing_shows_in_the_tally: "It differs from that of a database that has an entry more, or a cursor more, or a cursor that is further.",
        }
        "Buckets::fence" {
            writes_have_ended_when_a_fence_is_answered: "It is answered when every write that began before it has ended.",
            a_fence_keeps_writes_out_and_lets_reads_in: "Keeps everybody from writing to the leaving buckets",
            a_fence_ends_by_itself: "When the time is over the buckets are written to again, whatever became of who fenced them.",
        }
        "Buckets::unfence" {
            a_fence_can_be_taken_away: "Ends a fence before its time. None is no error.",
        }
        "Buckets::release" {
            only_what_is_fenced_is_given_away: "Only while the fence holds, and without an intent of the buckets' senders pending.",
            a_release_stays: "Durable when answered `Ok`.",
        }
        "Buckets::own" {
            to_own_again_changes_nothing: "Once more, and for buckets that left again since, is no error and changes nothing.",
        }
    }
}

const LEASE: Duration = Duration::from_secs(3);

const LIMITS: CopyLimits = CopyLimits { rows: 3, bytes: 1 << 20 };

fn of(names: &[TimelineId]) -> Vec<Bucket> {
    names.iter().map(Bucket::of).collect()
}

fn ack(name: &str, timeline: TimelineId, version: i64) -> CursorAck {
    CursorAck { uid: uid(name), device: device("phone"), timeline, version: Version(version) }
}

/// Messages between alice, bob and a group, all in one database, and some cursors.
async fn filled(store: &dyn Shard) -> Result<Vec<Post>, Failure> {
    let mut posts = Vec::new();
    for n in 0..4 {
        posts.push(direct("alice", "bob", 10 * n + 1));
        posts.push(direct("bob", "alice", 10 * n + 2));
        posts.push(to_group("alice", 7, 10 * n + 3));
        posts.push(to_group("bob", 7, 10 * n + 4));
        posts.push(direct("alice", "alice", 10 * n + 5));
    }
    append_all(store, &posts).await?;
    for answer in store.ack(vec![ack("alice", user("alice"), 3), ack("bob", group(7), 2)]).await {
        answer?;
    }
    Ok(posts)
}

async fn begin(
    bench: &dyn BucketsBench,
    source: &dyn Shard,
    destination: &dyn Shard,
    names: &[TimelineId],
) -> Result<MoveId, Failure> {
    let id = source.next_move().await?;
    let id = MoveId(id.0 + 100 * destination.next_move().await?.0);
    source.depart(id, of(names), 1).await?;
    destination.arrive(id, of(names), 1).await?;
    clear(bench, destination, id).await?;
    Ok(id)
}

async fn clear(bench: &dyn BucketsBench, store: &dyn Shard, id: MoveId) -> Outcome {
    while !store.clear(id, 4).await? {
        bench.wait(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn pages(store: &dyn Shard, id: MoveId, ask: CopyOut) -> Result<Vec<MovedRow>, Failure> {
    let (mut rows, mut next) = (Vec::new(), Some(ask));
    while let Some(ask) = next {
        let page = store.copy_out(id, ask, LIMITS).await?;
        same("whether a page has too many rows", page.rows.len() > LIMITS.rows, false)?;
        rows.extend(page.rows);
        next = page.next;
    }
    Ok(rows)
}

async fn copy(source: &dyn Shard, destination: &dyn Shard, id: MoveId) -> Outcome {
    let until = source.mark(id).await?;
    for ask in [
        CopyOut::Floors { after: None },
        CopyOut::Posts { after: Mark(0), until },
        CopyOut::Cursors { changed: false, after: None },
    ] {
        let rows = pages(source, id, ask).await?;
        destination.copy_in(id, rows).await?;
    }
    Ok(())
}

async fn switch(source: &dyn Shard, destination: &dyn Shard, id: MoveId) -> Outcome {
    source.fence(id, LEASE).await?;
    same("the tallies", destination.tally(id).await?, source.tally(id).await?)?;
    source.release(id).await?;
    Ok(destination.own(id).await?)
}

/// Moves these from one to the other, all the way.
async fn moved(
    bench: &dyn BucketsBench,
    source: &dyn Shard,
    destination: &dyn Shard,
    names: &[TimelineId],
) -> Result<MoveId, Failure> {
    let id = begin(bench, source, destination, names).await?;
    copy(source, destination, id).await?;
    switch(source, destination, id).await?;
    Ok(id)
}

fn is_moved<T: std::fmt::Debug>(what: &str, result: Result<T, StoreError>) -> Outcome {
    refused(what, result, StoreErrorKind::Moved)
}

/// Every call that concerns alice is refused.
async fn is_elsewhere(store: &dyn Shard) -> Outcome {
    let alice = user("alice");
    is_moved("append", append_one(store, &direct("alice", "zoe", 901)).await?)?;
    is_moved("append to", append_one(store, &direct("zoe", "alice", 902)).await?)?;
    is_moved("append to a group", append_one(store, &to_group("alice", 70, 903)).await?)?;
    let post = direct("alice", "zoe", 904);
    let parts = vec![
        Part::Key { post: to_group("alice", 71, 905), taken: false },
        Part::Home { post, taken: false },
        Part::Copy { message: direct("zoe", "alice", 906).message, into: alice.clone() },
    ];
    for (part, what) in parts.into_iter().zip(["a key", "a home", "a copy"]) {
        is_moved(what, only(store.append_parts(vec![part]).await)?)?;
    }
    is_moved("read", only(store.read(vec![everything(alice.clone())]).await)?)?;
    is_moved("heads", store.heads(vec![alice.clone()]).await)?;
    let message = direct("alice", "zoe", 901).message;
    is_moved("find", store.find(vec![(uid("alice"), message.key)]).await)?;
    is_moved("locate", store.locate(vec![(alice.clone(), message.msgid)]).await)?;
    is_moved("conversations", store.conversations(&uid("alice"), None, 9).await)?;
    is_moved("ack", only(store.ack(vec![ack("alice", alice.clone(), 0)]).await)?)?;
    is_moved("cursors", store.cursors(vec![(uid("alice"), alice)]).await)?;
    same("zoe's timeline", entries(store, user("zoe")).await?, Vec::new())
}

async fn what_is_gone_is_refused(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    moved(bench, &*source, &*destination, &[user("alice")]).await?;
    is_elsewhere(&*source).await
}

async fn what_arrives_is_refused(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    is_elsewhere(&*destination).await?;
    copy(&*source, &*destination, id).await?;
    is_elsewhere(&*destination).await
}

async fn what_leaves_is_served(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    append_one(&*source, &direct("alice", "bob", 100)).await??;
    append_one(&*source, &direct("bob", "alice", 101)).await??;
    only(source.ack(vec![ack("alice", user("alice"), 4)]).await)??;
    same("entries", entries(&*source, user("alice")).await?.len(), 14)?;
    let rows = source.moving_buckets().await?;
    let rows: Vec<_> = rows.into_iter().map(|row| (row.bucket, row.state, row.id, row.to)).collect();
    same("the list", rows, vec![(Bucket::of(&user("alice")), BucketState::Leaving, id, 1)])
}

async fn other_buckets_are_served(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    moved(bench, &*source, &*destination, &[user("alice")]).await?;
    for store in [&source, &destination] {
        append_one(&**store, &direct("carol", "dave", 500)).await??;
        same("dave's", entries(&**store, user("dave")).await?.len(), 1)?;
    }
    Ok(())
}

async fn a_later_move_takes_over(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let names = [user("alice")];
    let early = begin(bench, &*source, &*destination, &names).await?;
    copy(&*source, &*destination, early).await?;
    source.fence(early, LEASE).await?;
    let late = begin(bench, &*source, &*destination, &names).await?;
    refused("release", source.release(early).await, StoreErrorKind::LeaseLost)?;
    refused("fence", source.fence(early, LEASE).await, StoreErrorKind::LeaseLost)?;
    refused("mark", source.mark(early).await, StoreErrorKind::LeaseLost)?;
    let rows = vec![MovedRow::Cursor(ack("alice", user("alice"), 1))];
    refused("copy_in", destination.copy_in(early, rows).await, StoreErrorKind::LeaseLost)?;
    let buckets = of(&names);
    refused("depart", source.depart(early, buckets.clone(), 1).await, StoreErrorKind::LeaseLost)?;
    refused("arrive", destination.arrive(early, buckets, 1).await, StoreErrorKind::LeaseLost)?;
    copy(&*source, &*destination, late).await?;
    switch(&*source, &*destination, late).await?;
    let buckets = of(&names);
    refused("arrive", destination.arrive(early, buckets, 1).await, StoreErrorKind::LeaseLost)
}

async fn a_move_that_loses_a_bucket_is_over(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let early = begin(bench, &*source, &*destination, &[user("alice"), user("bob")]).await?;
    copy(&*source, &*destination, early).await?;
    source.fence(early, LEASE).await?;
    let names = [user("alice")];
    let late = begin(bench, &*source, &*destination, &names).await?;
    refused("mark", source.mark(early).await, StoreErrorKind::LeaseLost)?;
    refused("fence", source.fence(early, LEASE).await, StoreErrorKind::LeaseLost)?;
    refused("unfence", source.unfence(early).await, StoreErrorKind::LeaseLost)?;
    refused("release", source.release(early).await, StoreErrorKind::LeaseLost)?;
    let taken = vec![MovedRow::Cursor(ack("alice", user("alice"), 1))];
    refused("copy_in", destination.copy_in(early, taken).await, StoreErrorKind::LeaseLost)?;
    append_one(&*source, &direct("alice", "bob", 100)).await??;
    let leaving = source.moving_buckets().await?;
    let leaving: Vec<_> = leaving.into_iter().map(|row| (row.bucket, row.state, row.id)).collect();
    same("what leaves", leaving, vec![(Bucket::of(&user("alice")), BucketState::Leaving, late)])?;
    copy(&*source, &*destination, late).await?;
    switch(&*source, &*destination, late).await?;
    is_elsewhere(&*source).await
}

async fn a_map_follows_the_one_before(bench: &dyn BucketsBench) -> Outcome {
    let [store, _] = bench.open().await;
    let map = |version, byte| StoredMap { version, bytes: vec![byte, 0, 255] };
    same("no map", store.bucket_map().await?, None)?;
    let mut put = Vec::new();
    for next in [map(2, 0), map(1, 1), map(1, 2), map(3, 3), map(2, 4)] {
        put.push(store.put_bucket_map(next).await?);
    }
    same("which were stored", put, vec![false, true, false, false, true])?;
    drop(store);
    let [store, _] = bench.reopen().await;
    same("the map", store.bucket_map().await?, Some(map(2, 4)))
}

async fn a_database_stays_which_it_is(bench: &dyn BucketsBench) -> Outcome {
    let [store, other] = bench.open().await;
    let member = |set, place| Member { set: SetId(set), place };
    same("nobody has said so", store.member().await?, None)?;
    same("noted", store.join(member(-7, 3)).await?, member(-7, 3))?;
    same("as another", store.join(member(8, 3)).await?, member(-7, 3))?;
    same("at another place", store.join(member(-7, 4)).await?, member(-7, 3))?;
    drop((store, other));
    let [store, other] = bench.reopen().await;
    same("which it is", store.member().await?, Some(member(-7, 3)))?;
    same("which the other is", other.member().await?, None)
}

async fn timelines_are_shown(bench: &dyn BucketsBench) -> Outcome {
    let [store, _] = bench.open().await;
    same("of nothing", store.some_timelines(9).await?, Vec::new())?;
    // Bob is named, and has no timeline here.
    let half = Part::Home { post: direct("alice", "bob", 1), taken: false };
    only(store.append_parts(vec![half]).await)??;
    same("one", store.some_timelines(9).await?, vec![user("alice")])?;
    append_one(&*store, &direct("carol", "dave", 2)).await??;
    let mut shown = store.some_timelines(9).await?;
    shown.sort();
    same("all", shown, vec![user("alice"), user("carol"), user("dave")])?;
    same("not more than asked for", store.some_timelines(2).await?.len(), 2)
}

async fn what_is_elsewhere_is_not_shown(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    append_all(&*source, &[direct("alice", "bob", 1)]).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    copy(&*source, &*destination, id).await?;
    same("what arrives", destination.some_timelines(9).await?, Vec::new())?;
    switch(&*source, &*destination, id).await?;
    same("who stays", source.some_timelines(9).await?, vec![user("bob")])?;
    same("who came", destination.some_timelines(9).await?, vec![user("alice")])
}

async fn numbers_of_moves_ascend(bench: &dyn BucketsBench) -> Outcome {
    let [store, _] = bench.open().await;
    let (first, second) = (store.next_move().await?, store.next_move().await?);
    drop(store);
    let [store, _] = bench.reopen().await;
    let third = store.next_move().await?;
    same("whether they ascend", first < second && second < third, true)
}

async fn a_mark_is_before_what_is_pending(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    append_one(&*source, &direct("alice", "alice", 1)).await??;
    let half = Part::Home { post: direct("alice", "bob", 2), taken: false };
    only(source.append_parts(vec![half]).await)??;
    append_one(&*source, &direct("alice", "alice", 3)).await??;
    let until = source.mark(id).await?;
    let rows = pages(&*source, id, CopyOut::Posts { after: Mark(0), until }).await?;
    same("what is copied", msgids(&rows), vec![1])?;
    let intents = source.intents(Pending::Of(vec![uid("alice")]), 9).await?;
    source.settle(intents.iter().map(|intent| (intent.id, Version(1))).collect()).await?;
    let rest = CopyOut::Posts { after: until, until: source.mark(id).await? };
    same("what is copied then", msgids(&pages(&*source, id, rest).await?), vec![2, 3])
}

fn msgids(rows: &[MovedRow]) -> Vec<i64> {
    let msgid = |row: &MovedRow| match row {
        MovedRow::Post(post) => Some(post.message.msgid.0),
        _ => None,
    };
    rows.iter().filter_map(msgid).collect()
}

async fn pages_give_everything_once(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let posts = filled(&*source).await?;
    append_one(&*source, &direct("carol", "dave", 500)).await??;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    let until = source.mark(id).await?;
    let rows = pages(&*source, id, CopyOut::Posts { after: Mark(0), until }).await?;
    let concern_alice = |post: &&Post| {
        let alice = user("alice");
        post.message.from == uid("alice") || post.home == alice || post.copy == Some(alice)
    };
    let expected: Vec<_> = posts.iter().filter(concern_alice).map(|post| post.message.msgid.0).collect();
    same("what is given", msgids(&rows), expected)
}

async fn marks_ascend(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    let mut marks = vec![source.mark(id).await?];
    for n in 1..5 {
        append_one(&*source, &direct("alice", "bob", n)).await??;
        append_one(&*source, &direct("carol", "dave", 10 + n)).await??;
        marks.push(source.mark(id).await?);
    }
    marks.push(source.fence(id, LEASE).await?);
    same("whether they ascend", marks.is_sorted() && marks[0] < marks[4], true)?;
    same("the mark behind the fence", marks[5], marks[4])
}

async fn all_cursors_are_given(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let names = ["ann", "ben", "cid", "dan", "eve", "fay", "gil"];
    for name in names {
        only(source.ack(vec![ack(name, group(7), 1)]).await)??;
    }
    let id = begin(bench, &*source, &*destination, &[group(7)]).await?;
    let rows = pages(&*source, id, CopyOut::Cursors { changed: false, after: None }).await?;
    let whose = rows.iter().filter_map(|row| match row {
        MovedRow::Cursor(ack) => Some(ack.uid.as_str().to_owned()),
        _ => None,
    });
    let mut whose: Vec<_> = whose.collect();
    whose.sort_unstable();
    same(
        "whose cursors",
        whose,
        ["ann", "ben", "bob", "cid", "dan", "eve", "fay", "gil"].map(str::to_owned).to_vec(),
    )
}

async fn changed_cursors_are_noted(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice"), group(7)]).await?;
    let cursors = |changed| CopyOut::Cursors { changed, after: None };
    same("changed", pages(&*source, id, cursors(true)).await?, Vec::new())?;
    only(source.ack(vec![ack("bob", group(7), 4)]).await)??;
    let changed = vec![MovedRow::Cursor(ack("bob", group(7), 4))];
    same("changed", pages(&*source, id, cursors(true)).await?, changed)
}

/// What a store says of an owner.
async fn seen(store: &dyn Shard, name: &str) -> Result<String, Failure> {
    let timeline = user(name);
    let entries = entries(store, timeline.clone()).await?;
    let head = store.heads(vec![timeline.clone()]).await?;
    let conversations = store.conversations(&uid(name), None, 100).await?;
    let cursors = store.cursors(vec![(uid(name), timeline)]).await?;
    Ok(format!("{entries:?} {head:?} {conversations:?} {cursors:?}"))
}

/// What it says of the sends of somebody.
async fn found(store: &dyn Shard, posts: &[Post], name: &str) -> Result<String, Failure> {
    let own = posts.iter().filter(|post| post.message.from == uid(name));
    let keys = own.map(|post| (post.message.from.clone(), post.message.key.clone())).collect();
    Ok(format!("{:?}", store.find(keys).await?))
}

async fn what_moved_answers_as_before(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let posts = filled(&*source).await?;
    let before = (seen(&*source, "alice").await?, found(&*source, &posts, "alice").await?);
    moved(bench, &*source, &*destination, &[user("alice")]).await?;
    drop((source, destination));
    let [_source, destination] = bench.reopen().await;
    let after = (seen(&*destination, "alice").await?, found(&*destination, &posts, "alice").await?);
    same("what is said of alice", after, before)?;
    let note = direct("alice", "alice", 5);
    let again = append_one(&*destination, &resent(&note, 77)).await??;
    same("a repeat", again, repeated(&note, 3, None))?;
    let next = append_one(&*destination, &direct("alice", "alice", 800)).await??;
    same("the next version", next.home, Version(13))
}

async fn rows_that_come_again_change_nothing(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let posts = filled(&*source).await?;
    let names = [user("alice"), group(7)];
    let before = (seen(&*source, "alice").await?, found(&*source, &posts, "alice").await?);
    let id = begin(bench, &*source, &*destination, &names).await?;
    for _ in 0..2 {
        copy(&*source, &*destination, id).await?;
    }
    switch(&*source, &*destination, id).await?;
    let after = (seen(&*destination, "alice").await?, found(&*destination, &posts, "alice").await?);
    same("what is said of alice", after, before)
}

async fn a_hole_is_refused(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    let until = source.mark(id).await?;
    let mut rows = pages(&*source, id, CopyOut::Posts { after: Mark(0), until }).await?;
    rows.remove(1);
    refused("a hole", destination.copy_in(id, rows).await, StoreErrorKind::Corrupt)?;
    same("what was stored", destination.tally(id).await?.heads, 0)
}

async fn what_is_missing_shows_in_the_tally(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice"), group(7)]).await?;
    let until = source.mark(id).await?;
    let mut posts = pages(&*source, id, CopyOut::Posts { after: Mark(0), until }).await?;
    let cursors = pages(&*source, id, CopyOut::Cursors { changed: false, after: None }).await?;
    let last: Vec<_> = posts.pop().into_iter().collect();
    let mut less = cursors.clone();
    let mut furthest: Vec<_> = less.pop().into_iter().collect();
    for row in &mut furthest {
        if let MovedRow::Cursor(ack) = row {
            ack.version = Version(ack.version.0 - 1);
        }
    }
    let differs = async |what: &str| {
        let (here, there) = (source.tally(id).await?, destination.tally(id).await?);
        same(what, here == there, false)
    };
    for (rows, lacks) in
        [(posts, "an entry and cursors"), (less, "an entry and a cursor"), (cursors, "an entry")]
    {
        destination.copy_in(id, rows).await?;
        differs(lacks).await?;
    }
    destination.copy_in(id, last.clone()).await?;
    same("the tallies", destination.tally(id).await?, source.tally(id).await?)?;
    clear(bench, &*destination, id).await?;
    copy_but_cursors(&*source, &*destination, id).await?;
    differs("cursors").await?;
    let mut nearly = pages(&*source, id, CopyOut::Cursors { changed: false, after: None }).await?;
    nearly.pop();
    destination.copy_in(id, nearly).await?;
    differs("a cursor").await?;
    destination.copy_in(id, furthest).await?;
    differs("a cursor's last step").await
}

async fn copy_but_cursors(source: &dyn Shard, destination: &dyn Shard, id: MoveId) -> Outcome {
    let until = source.mark(id).await?;
    let rows = pages(source, id, CopyOut::Posts { after: Mark(0), until }).await?;
    Ok(destination.copy_in(id, rows).await?)
}

async fn halves_of_who_stays_are_left(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let posts = filled(&*source).await?;
    let outline = entries(&*source, group(7)).await?;
    let before = (seen(&*source, "bob").await?, found(&*source, &posts, "bob").await?);
    let id = moved(bench, &*source, &*destination, &[user("alice")]).await?;
    clear(bench, &*source, id).await?;
    let after = (seen(&*source, "bob").await?, found(&*source, &posts, "bob").await?);
    same("what is said of bob", after, before.clone())?;
    same("the group", entries(&*source, group(7)).await?, outline)?;
    let id = moved(bench, &*source, &*destination, &[group(7)]).await?;
    clear(bench, &*source, id).await?;
    let after = (seen(&*source, "bob").await?, found(&*source, &posts, "bob").await?);
    same("what is said of bob, without the group", after, before)
}

async fn a_bucket_moves_there_and_back(bench: &dyn BucketsBench) -> Outcome {
    let [one, other] = bench.open().await;
    let posts = filled(&*one).await?;
    let (alice, bob) = (seen(&*one, "alice").await?, seen(&*one, "bob").await?);
    let (alice_sent, bob_sent) = (found(&*one, &posts, "alice").await?, found(&*one, &posts, "bob").await?);
    let outline = entries(&*one, group(7)).await?;
    for names in
        [vec![user("alice")], vec![group(7), user("bob")], vec![user("alice"), group(7), user("bob")]]
    {
        moved(bench, &*one, &*other, &names).await?;
        same(
            "alice's",
            (seen_in(&one, &other, "alice", &names, &posts)).await?,
            (alice.clone(), alice_sent.clone()),
        )?;
        moved(bench, &*other, &*one, &names).await?;
        same("alice", seen(&*one, "alice").await?, alice.clone())?;
        same("bob", seen(&*one, "bob").await?, bob.clone())?;
        same("what alice sent", found(&*one, &posts, "alice").await?, alice_sent.clone())?;
        same("what bob sent", found(&*one, &posts, "bob").await?, bob_sent.clone())?;
        same("the group", entries(&*one, group(7)).await?, outline.clone())?;
    }
    Ok(())
}

async fn seen_in(
    one: &Arc<dyn Shard>,
    other: &Arc<dyn Shard>,
    name: &str,
    moved: &[TimelineId],
    posts: &[Post],
) -> Result<(String, String), Failure> {
    let store = if moved.contains(&user(name)) { other } else { one };
    Ok((seen(&**store, name).await?, found(&**store, posts, name).await?))
}

async fn a_fence_keeps_writes_out_and_lets_reads_in(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    let half = Part::Home { post: direct("alice", "zoe", 300), taken: false };
    only(source.append_parts(vec![half]).await)??;
    source.fence(id, LEASE).await?;
    is_moved("append", append_one(&*source, &direct("alice", "zoe", 901)).await?)?;
    is_moved("append to", append_one(&*source, &direct("zoe", "alice", 902)).await?)?;
    is_moved("ack", only(source.ack(vec![ack("alice", user("alice"), 1)]).await)?)?;
    append_one(&*source, &direct("bob", "bob", 903)).await??;
    same("entries", entries(&*source, user("alice")).await?.len(), 13)?;
    let intents = source.intents(Pending::Of(vec![uid("alice")]), 9).await?;
    source.settle(intents.iter().map(|intent| (intent.id, Version(1))).collect()).await?;
    same("intents", source.intents(Pending::Of(vec![uid("alice")]), 9).await?, Vec::new())
}

async fn writes_have_ended_when_a_fence_is_answered(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    append_one(&*source, &direct("alice", "bob", 1)).await??;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    let appends = (0..20).map(|n| source.append(vec![direct("alice", "bob", 10 + n)]));
    let after_fence = async {
        source.fence(id, LEASE).await?;
        source.heads(vec![user("alice")]).await
    };
    let (answers, heads) = futures::join!(futures::future::join_all(appends), after_fence);
    let head = heads?.first().map(|head| head.head).unwrap_or_default();
    let stored = answers.iter().flatten().filter(|answer| answer.is_ok()).count();
    let stored = i64::try_from(stored).unwrap_or(i64::MAX);
    same("the head when the fence was answered", head, Version(1 + stored))?;
    same("the head now", source.heads(vec![user("alice")]).await?.first().map(|now| now.head), Some(head))
}

async fn a_fence_that_is_over_is_listed_as_leaving(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    source.fence(id, Duration::from_millis(300)).await?;
    let fenced = source.moving_buckets().await?;
    bench.wait(Duration::from_millis(600)).await;
    let over = source.moving_buckets().await?;
    let states = fenced.iter().chain(&over).map(|row| row.state).collect();
    same("the lists", states, vec![BucketState::Fenced, BucketState::Leaving])
}

async fn a_fence_ends_by_itself(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    source.fence(id, Duration::from_millis(300)).await?;
    is_moved("append", append_one(&*source, &direct("alice", "alice", 1)).await?)?;
    bench.wait(Duration::from_millis(600)).await;
    append_one(&*source, &direct("alice", "alice", 1)).await??;
    refused("release", source.release(id).await, StoreErrorKind::LeaseLost)
}

async fn a_fence_can_be_taken_away(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    source.unfence(id).await?;
    source.fence(id, LEASE).await?;
    source.unfence(id).await?;
    append_one(&*source, &direct("alice", "alice", 1)).await??;
    refused("release", source.release(id).await, StoreErrorKind::LeaseLost)
}

async fn only_what_is_fenced_is_given_away(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    refused("release", source.release(id).await, StoreErrorKind::LeaseLost)?;
    let half = Part::Home { post: direct("alice", "zoe", 300), taken: false };
    only(source.append_parts(vec![half]).await)??;
    source.fence(id, LEASE).await?;
    refused("release", source.release(id).await, StoreErrorKind::Unavailable)?;
    let intents = source.intents(Pending::Of(vec![uid("alice")]), 9).await?;
    source.settle(intents.iter().map(|intent| (intent.id, Version(1))).collect()).await?;
    source.release(id).await?;
    source.release(id).await?;
    is_moved("depart", source.depart(MoveId(id.0 + 1), of(&[user("alice")]), 1).await)
}

async fn a_release_stays(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = moved(bench, &*source, &*destination, &[user("alice")]).await?;
    drop((source, destination));
    let [source, destination] = bench.reopen().await;
    let states: Vec<_> = source.moving_buckets().await?.iter().map(|row| (row.state, row.id)).collect();
    same("the source", states, vec![(BucketState::Gone, id)])?;
    same("the destination", destination.moving_buckets().await?, Vec::new())?;
    is_elsewhere(&*source).await
}

async fn to_own_again_changes_nothing(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let names = [user("alice")];
    let id = moved(bench, &*source, &*destination, &names).await?;
    destination.own(id).await?;
    append_one(&*destination, &direct("alice", "alice", 700)).await??;
    moved(bench, &*destination, &*source, &names).await?;
    destination.own(id).await?;
    is_elsewhere(&*destination).await?;
    same("entries", entries(&*source, user("alice")).await?.len(), 13)
}
