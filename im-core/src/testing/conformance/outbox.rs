//! The suite for [`Outbox`](crate::storage::Outbox).

use std::sync::Arc;

use async_trait::async_trait;

use super::case::cases;
use super::check::{refused, same};
use super::fixture::{
    append_all, append_one, direct, entries, numbered, only, outline, placed, repeated, resent, to_group,
    uid, user,
};
use super::{Case, Failure, Outcome, Report, case};
use crate::id::{MsgId, Version};
use crate::message::Target;
use crate::storage::{Intent, IntentId, Part, Pending, Placed, Post, Shard, StoreError, StoreErrorKind};

/// Opens the store under test as one database of several.
#[async_trait]
pub trait OutboxBench: Send + Sync + 'static {
    /// Opens the store on fresh, empty data. Called once, first.
    async fn open(&self) -> Arc<dyn Shard>;

    /// Opens the store again on the same data, as after the end of the process. The handle that was open before is not used
    /// any more, but may still be held.
    async fn reopen(&self) -> Arc<dyn Shard>;
}

/// Plays every case on a bench of its own.
pub async fn run_outbox_suite<B: OutboxBench>(bench: impl Fn() -> B) -> Report {
    case::run(outbox_cases(), || Box::new(bench()) as Box<dyn OutboxBench>).await
}

/// Every case, in the order of the trait's documentation.
pub fn outbox_cases() -> Vec<Case<dyn OutboxBench>> {
    cases! {
        "Outbox" {
            a_pending_send_is_not_found: "A send is pending until its intent is settled: its sender is not answered, and nobody finds it by its key.",
        }
        "Outbox::append_parts" {
            a_whole_post_is_placed_as_by_append: "A whole post is placed as [`Timelines::append`] does",
            parts_keep_the_order_of_their_batch: "A whole post is placed as [`Timelines::append`] does, and its rules hold for every part",
            halves_move_the_conversation_of_their_end: "A whole post is placed as [`Timelines::append`] does, and its rules hold for every part",
            a_home_is_stored_with_its_intent: "A home or a key is stored in one transaction with its intent, and answered with what is known",
            a_key_alone_makes_no_entry: "`copy` is `None`, and `home` is 0 for a key, until the intent is settled.",
            halves_outlive_a_restart: "A home or a key is stored in one transaction with its intent, and answered with what is known",
            a_taken_msgid_is_refused: "A home or a key whose msgid is `taken` is `MsgIdReused`, unless its key is known.",
            a_copy_is_recognised: "One that stands in the timeline already is a repeat; another message with its msgid is `MsgIdReused`.",
            a_copy_leaves_no_key: "It leaves no key behind.",
            a_pending_send_is_not_placed_again: "A repeat of a pending send that comes as a whole post, or by `append`, is `Unavailable`: it waits for the sweeper.",
            parts_that_fail_keep_the_order: "If a part fails with a retryable error, so does every later part of the batch with the same `home` or `into`.",
        }
        "Outbox::intents" {
            intents_are_listed_in_the_order_of_storing: "Those asked for, in the order of their numbers, which is the order of storing; at most `limit`.",
            an_intent_is_seen_at_once: "What `append_parts` acknowledged before this call began is seen by it.",
        }
        "Outbox::settle" {
            a_settled_send_is_answered_in_full: "From then on a repeat of the send is answered with that version as `copy`, or as `home` if only its key is here, and its key is found.",
            a_settled_send_stays_settled: "From then on a repeat of the send is answered with that version as `copy`, or as `home` if only its key is here, and its key is found.",
            what_is_not_there_is_passed_over: "What is settled already, or was never there, is passed over.",
        }
    }
}

fn home(post: &Post) -> Part {
    Part::Home { post: post.clone(), taken: false }
}

fn key(post: &Post) -> Part {
    Part::Key { post: post.clone(), taken: false }
}

fn copy(post: &Post) -> Part {
    let into = post.copy.clone().unwrap_or(post.home.clone());
    Part::Copy { message: post.message.clone(), into }
}

async fn one(store: &dyn Shard, part: Part) -> Result<Result<Placed, StoreError>, Failure> {
    only(store.append_parts(vec![part]).await)
}

async fn all(store: &dyn Shard, parts: Vec<Part>) -> Result<Vec<Placed>, Failure> {
    let count = parts.len();
    let answers = store.append_parts(parts).await;
    same("the number of answers to append_parts", answers.len(), count)?;
    Ok(answers.into_iter().collect::<Result<_, _>>()?)
}

async fn pending(store: &dyn Shard) -> Result<Vec<Intent>, Failure> {
    Ok(store.intents(Pending::After(IntentId(0)), 1_000).await?)
}

fn msgids(intents: &[Intent]) -> Vec<i64> {
    intents.iter().map(|intent| intent.message.msgid.0).collect()
}

/// Settles every intent at this version.
async fn settle_all(store: &dyn Shard, version: i64) -> Outcome {
    let settled = pending(store).await?.iter().map(|intent| (intent.id, Version(version))).collect();
    Ok(store.settle(settled).await?)
}

async fn a_pending_send_is_not_found(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let (post, group) = (direct("alice", "bob", 1), to_group("alice", 7, 2));
    all(&*store, vec![home(&post), key(&group)]).await?;
    let asked = [&post, &group].map(|post| (uid("alice"), post.message.key.clone()));
    same("what is found", store.find(asked.to_vec()).await?, vec![None, None])
}

async fn a_whole_post_is_placed_as_by_append(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let (first, second) = (direct("alice", "bob", 1), to_group("bob", 7, 2));
    let answers = all(&*store, vec![Part::Whole(first.clone()), Part::Whole(second.clone())]).await?;
    same("the answers", answers, vec![placed(&first, 1, Some(1)), placed(&second, 1, None)])?;
    same("by append", append_one(&*store, &resent(&first, 9)).await??, repeated(&first, 1, Some(1)))?;
    same("the intents", pending(&*store).await?, Vec::new())?;
    same("answers to no part", store.append_parts(Vec::new()).await.len(), 0)
}

async fn parts_keep_the_order_of_their_batch(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let parts = vec![
        copy(&direct("carol", "alice", 5)),
        home(&direct("alice", "dave", 4)),
        Part::Whole(direct("alice", "bob", 3)),
        copy(&direct("dave", "alice", 2)),
        home(&direct("alice", "carol", 1)),
    ];
    let answers = all(&*store, parts).await?;
    same(
        "the versions",
        answers.iter().map(|placed| placed.home.0).collect::<Vec<_>>(),
        vec![1, 2, 3, 4, 5],
    )?;
    same("alice's timeline", outline(&*store, user("alice")).await?, numbered([5, 4, 3, 2, 1]))
}

async fn halves_move_the_conversation_of_their_end(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let parts = vec![copy(&direct("bob", "alice", 1)), copy(&direct("carol", "alice", 2))];
    all(&*store, parts).await?;
    all(&*store, vec![home(&direct("alice", "bob", 3)), copy(&direct("carol", "alice", 4))]).await?;
    let rows = store.conversations(&uid("alice"), None, 10).await?;
    let rows: Vec<_> = rows.into_iter().map(|row| (row.with, row.last_version.0, row.unread)).collect();
    let expected = vec![(Target::User(uid("carol")), 4, 2), (Target::User(uid("bob")), 3, 0)];
    same("alice's conversations", rows, expected)?;
    same("bob's conversations", store.conversations(&uid("bob"), None, 10).await?, Vec::new())
}

async fn a_home_is_stored_with_its_intent(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let post = direct("alice", "bob", 1);
    same("the answer", one(&*store, home(&post)).await??, placed(&post, 1, None))?;
    same("alice's timeline", outline(&*store, user("alice")).await?, numbered([1]))?;
    same("bob's timeline", outline(&*store, user("bob")).await?, Vec::new())?;
    let intents = pending(&*store).await?;
    let found: Vec<_> = intents.into_iter().map(|intent| (intent.message, intent.into)).collect();
    same("the intents", found, vec![(post.message.clone(), user("bob"))])?;
    let again = one(&*store, home(&resent(&post, 9))).await??;
    same("a repeat", again, repeated(&post, 1, None))?;
    same("the intents after it", pending(&*store).await?.len(), 1)
}

async fn a_key_alone_makes_no_entry(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let post = to_group("alice", 7, 1);
    same("the answer", one(&*store, key(&post)).await??, placed(&post, 0, None))?;
    same("the group's timeline", outline(&*store, post.home.clone()).await?, Vec::new())?;
    same("alice's timeline", outline(&*store, user("alice")).await?, Vec::new())?;
    let intents = pending(&*store).await?;
    let found: Vec<_> = intents.into_iter().map(|intent| (intent.message, intent.into)).collect();
    same("the intents", found, vec![(post.message.clone(), post.home.clone())])?;
    let mut other = direct("alice", "bob", 2);
    other.message.key = post.message.key;
    refused("the key for another message", one(&*store, home(&other)).await?, StoreErrorKind::KeyReused)
}

async fn halves_outlive_a_restart(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let (post, to_seven) = (direct("alice", "bob", 1), to_group("alice", 7, 2));
    all(&*store, vec![home(&post), key(&to_seven), copy(&direct("zoe", "alice", 3))]).await?;
    drop(store);
    let store = bench.reopen().await;
    same("the intents", msgids(&pending(&*store).await?), vec![1, 2])?;
    same("alice's timeline", outline(&*store, user("alice")).await?, numbered([1, 3]))?;
    let message = direct("zoe", "alice", 3).message;
    let entry = entries(&*store, user("alice")).await?.pop().map(|entry| entry.message);
    same("the copy, byte for byte", entry, Some(message))?;
    same("a repeat", one(&*store, home(&resent(&post, 9))).await??, repeated(&post, 1, None))
}

async fn a_taken_msgid_is_refused(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let (known, new) = (direct("alice", "bob", 1), direct("alice", "bob", 2));
    one(&*store, home(&known)).await??;
    let taken = |post: &Post| Part::Home { post: post.clone(), taken: true };
    same("a known key", one(&*store, taken(&known)).await??, repeated(&known, 1, None))?;
    refused("a new home", one(&*store, taken(&new)).await?, StoreErrorKind::MsgIdReused)?;
    let group = Part::Key { post: to_group("alice", 7, 3), taken: true };
    refused("a new key", one(&*store, group).await?, StoreErrorKind::MsgIdReused)?;
    let mut twin = direct("alice", "carol", 4);
    twin.message.msgid = MsgId(1);
    refused("a msgid of home", one(&*store, home(&twin)).await?, StoreErrorKind::MsgIdReused)?;
    same("alice's timeline", outline(&*store, user("alice")).await?, numbered([1]))?;
    same("the intents", msgids(&pending(&*store).await?), vec![1])
}

async fn a_copy_is_recognised(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let post = direct("alice", "bob", 1);
    same("the copy", one(&*store, copy(&post)).await??, placed(&post, 1, None))?;
    one(&*store, copy(&direct("carol", "bob", 2))).await??;
    same("the copy again", one(&*store, copy(&post)).await??, repeated(&post, 1, None))?;
    let twice =
        all(&*store, vec![copy(&direct("alice", "bob", 3)), copy(&direct("alice", "bob", 3))]).await?;
    same(
        "twice in one batch",
        twice.iter().map(|placed| placed.repeated).collect::<Vec<_>>(),
        vec![false, true],
    )?;
    let mut twin = direct("dave", "bob", 4);
    twin.message.msgid = MsgId(1);
    refused("another with its msgid", one(&*store, copy(&twin)).await?, StoreErrorKind::MsgIdReused)?;
    same("bob's timeline", outline(&*store, user("bob")).await?, numbered([1, 2, 3]))
}

async fn a_copy_leaves_no_key(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let post = direct("alice", "bob", 1);
    let mut elsewhere = copy(&post);
    if let Part::Copy { into, .. } = &mut elsewhere {
        *into = user("carol");
    }
    all(&*store, vec![copy(&post), elsewhere]).await?;
    let key = vec![(uid("alice"), post.message.key.clone())];
    same("what is found", store.find(key).await?, vec![None])?;
    for name in ["bob", "carol"] {
        let stored = entries(&*store, user(name)).await?.pop().map(|entry| entry.message);
        same(format!("{name}'s copy"), stored, Some(post.message.clone()))?;
    }
    let new = Post {
        copy: None,
        message: crate::message::Message { msgid: MsgId(2), ..post.message.clone() },
        ..post
    };
    same("the key for a new send", one(&*store, Part::Whole(new.clone())).await??, placed(&new, 1, None))
}

async fn a_pending_send_is_not_placed_again(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let post = direct("alice", "bob", 1);
    one(&*store, home(&post)).await??;
    refused("by append", append_one(&*store, &post).await?, StoreErrorKind::Unavailable)?;
    refused("as a whole", one(&*store, Part::Whole(post)).await?, StoreErrorKind::Unavailable)?;
    same("alice's timeline", outline(&*store, user("alice")).await?, numbered([1]))?;
    same("bob's timeline", outline(&*store, user("bob")).await?, Vec::new())
}

async fn parts_that_fail_keep_the_order(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let first = direct("alice", "bob", 1);
    one(&*store, home(&first)).await??;
    let batch = [Part::Whole(first), home(&direct("alice", "carol", 2)), home(&direct("dave", "carol", 3))];
    let answers = store.append_parts(batch.to_vec()).await;
    let failed = |answer: &Result<Placed, StoreError>| answer.as_ref().is_err_and(StoreError::is_retryable);
    same("who failed", answers.iter().map(failed).collect::<Vec<_>>(), vec![true, true, false])
}

async fn intents_are_listed_in_the_order_of_storing(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let senders = ["bob", "carol", "alice"].into_iter().cycle();
    let posts: Vec<_> = (1..=9).zip(senders).map(|(n, from)| direct(from, "zoe", 100 - n)).collect();
    for batch in posts.chunks(2) {
        all(&*store, batch.iter().map(home).collect()).await?;
    }
    let intents = pending(&*store).await?;
    same("all", msgids(&intents), (1..=9).map(|n| 100 - n).collect())?;
    same("whether numbers ascend", intents.is_sorted_by(|a, b| a.id < b.id), true)?;
    let of = Pending::Of(vec![uid("carol"), uid("nobody"), uid("alice")]);
    same("of two senders", msgids(&store.intents(of.clone(), 100).await?), vec![98, 97, 95, 94, 92, 91])?;
    same("the first of them", msgids(&store.intents(of, 3).await?), vec![98, 97, 95])?;
    let after = store.intents(Pending::After(intents[5].id), 2).await?;
    same("two after the sixth", msgids(&after), vec![93, 92])?;
    same("of nobody", store.intents(Pending::Of(Vec::new()), 9).await?, Vec::new())
}

async fn an_intent_is_seen_at_once(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    for n in 1..=20 {
        one(&*store, home(&direct("alice", "bob", n))).await??;
        same("the intents", msgids(&pending(&*store).await?), (1..=n).collect())?;
    }
    Ok(())
}

async fn a_settled_send_is_answered_in_full(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let (post, group) = (direct("alice", "bob", 1), to_group("alice", 7, 2));
    all(&*store, vec![home(&post), key(&group)]).await?;
    settle_all(&*store, 5).await?;
    same("the intents", pending(&*store).await?, Vec::new())?;
    let full = [repeated(&post, 1, Some(5)), repeated(&group, 5, None)];
    let again = all(&*store, vec![home(&resent(&post, 9)), key(&resent(&group, 10))]).await?;
    same("repeats in part", again, full.to_vec())?;
    let again = append_all(&*store, &[resent(&post, 9), resent(&group, 10)]).await?;
    same("repeats by append", again, full.to_vec())?;
    let asked = [&post, &group].map(|post| (uid("alice"), post.message.key.clone()));
    let found = store.find(asked.to_vec()).await?;
    let found: Vec<_> = found.into_iter().map(|found| found.map(|found| found.placed)).collect();
    same("what is found", found, full.map(Some).to_vec())
}

async fn a_settled_send_stays_settled(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let post = direct("alice", "bob", 1);
    all(&*store, vec![home(&post), home(&direct("alice", "bob", 2))]).await?;
    let first: Vec<_> = pending(&*store).await?.drain(..1).map(|intent| (intent.id, Version(7))).collect();
    store.settle(first).await?;
    one(&*store, home(&direct("alice", "bob", 3))).await??;
    drop(store);
    let store = bench.reopen().await;
    same("the intents", msgids(&pending(&*store).await?), vec![2, 3])?;
    same("a repeat", one(&*store, home(&post)).await??, repeated(&post, 1, Some(7)))
}

async fn what_is_not_there_is_passed_over(bench: &dyn OutboxBench) -> Outcome {
    let store = bench.open().await;
    let post = direct("alice", "bob", 1);
    one(&*store, home(&post)).await??;
    let id = pending(&*store).await?.first().map(|intent| intent.id).unwrap_or_default();
    store.settle(vec![(IntentId(id.0 + 1), Version(9)), (id, Version(5)), (id, Version(6))]).await?;
    store.settle(vec![(id, Version(7))]).await?;
    store.settle(Vec::new()).await?;
    same("a repeat", one(&*store, home(&post)).await??, repeated(&post, 1, Some(5)))
}
