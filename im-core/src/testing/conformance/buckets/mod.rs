//! The suite for [`Buckets`](crate::storage::Buckets).

mod copying;
mod fencing;
mod notes;
mod ownership;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::copying::*;
use self::fencing::*;
use self::notes::*;
use self::ownership::*;
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
