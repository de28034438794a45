//! Every call to a database goes wrong once, in every way, and then everything is as it would be without.

use std::sync::Arc;

use im_core::storage::{Placed, Post, Shard, Store, StoreErrorKind, Timelines};
use im_store::layer::sharding::{ShardedStore, SweepLimits, Sweeper};

use crate::bench::{Databases, Memory, over};
use crate::faulty::{EVERY_WAY, Fault, Faulty, How};
use crate::traffic::{assert_sound, batches, direct, entries, pending, to_group, user};

/// Who sends again what was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    SendAgain,
    Sweep,
}

fn faulty(databases: Vec<Arc<dyn Shard>>, fault: &Arc<Fault>) -> ShardedStore {
    over(databases.into_iter().map(|inner| Arc::new(Faulty::new(inner, fault.clone())) as _).collect())
}

/// Delivers what is left over.
async fn sweep(store: &Arc<ShardedStore>) {
    let mut sweeper = Sweeper::new(store.clone(), SweepLimits::default());
    let first = sweeper.pass().await;
    assert_eq!((first.delivered, first.failed), (0, 0), "the first pass only looks");
    let second = sweeper.pass().await;
    assert_eq!((second.failed, second.refused), (0, 0));
}

/// Sends every batch; a process that is killed is started again. Whether the fault came.
async fn play(mut databases: impl Databases, fault: Arc<Fault>, after: After, context: &str) -> bool {
    let mut open = databases.open().await;
    let mut store = faulty(open.clone(), &fault);
    let mut acked: Vec<(Post, Placed)> = Vec::new();
    for batch in batches() {
        let mut left = batch;
        loop {
            let answers = tokio::select! {
                answers = store.append(left.clone()) => answers,
                () = fault.killed.notified() => Vec::new(),
            };
            if answers.is_empty() {
                open = databases.open().await;
                store = over(open.clone());
            }
            left = note(left, answers, &mut acked, context);
            if left.is_empty() || after == After::Sweep {
                break;
            }
        }
    }
    let store = Arc::new(over(open.clone()));
    if after == After::Sweep {
        sweep(&store).await;
    }
    assert_eq!(pending(&open).await, 0, "{context}: halves that wait");
    assert_sound(&*store, &acked, context).await;
    fault.came()
}

/// Keeps what was acknowledged, and gives back what was not.
fn note(
    posts: Vec<Post>,
    answers: Vec<Result<Placed, im_core::storage::StoreError>>,
    acked: &mut Vec<(Post, Placed)>,
    context: &str,
) -> Vec<Post> {
    let mut left = Vec::new();
    let lost = std::iter::repeat_with(|| None);
    for (post, answer) in posts.into_iter().zip(answers.into_iter().map(Some).chain(lost)) {
        match answer {
            Some(Ok(placed)) => acked.push((post, placed)),
            Some(Err(error)) => {
                assert!(error.is_retryable(), "{context}: {error}");
                left.push(post);
            }
            None => left.push(post),
        }
    }
    left
}

/// Gives the number of calls that went wrong.
async fn every_call<D: Databases>(databases: impl Fn() -> D, how: How, after: After, step: usize) -> usize {
    let mut call = 0;
    loop {
        let context = format!("call {call}, {how:?}, {after:?}");
        if !play(databases(), Fault::at(call, how), after, &context).await {
            return call;
        }
        call += step;
    }
}

#[tokio::test]
async fn every_call_that_goes_wrong_is_made_good_by_sending_again() {
    for how in EVERY_WAY {
        for count in [2, 3] {
            let calls = every_call(|| Memory::new(count), how, After::SendAgain, 1).await;
            assert!(calls > 40, "{calls} calls");
        }
    }
}

#[tokio::test]
async fn every_call_that_goes_wrong_is_made_good_by_the_sweeper() {
    for how in EVERY_WAY {
        for count in [2, 3] {
            let calls = every_call(|| Memory::new(count), how, After::Sweep, 1).await;
            assert!(calls > 40, "{calls} calls");
        }
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_databases_lose_nothing_between_their_two_commits() {
    for (how, after) in [(How::Unanswered, After::SendAgain), (How::KilledAfter, After::Sweep)] {
        let calls = every_call(|| crate::bench::Sqlite::new(2), how, after, 3).await;
        assert!(calls > 40, "{calls} calls");
    }
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[tokio::test(flavor = "multi_thread")]
async fn databases_in_servers_lose_nothing_between_their_two_commits() {
    for (how, after) in [(How::Unanswered, After::SendAgain), (How::KilledAfter, After::Sweep)] {
        let calls = every_call(crate::bench::Servers::new, how, after, 9).await;
        assert!(calls > 40, "{calls} calls");
    }
}

/// Two databases of which the second does not answer until told.
async fn with_second_away() -> (Vec<Arc<dyn Shard>>, Arc<ShardedStore>, Arc<std::sync::atomic::AtomicBool>) {
    let away = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let inner = Memory::new(2).open().await;
    let second = Faulty::new(inner[1].clone(), Fault::while_set(away.clone()));
    let store = Arc::new(over(vec![inner[0].clone(), Arc::new(second)]));
    (inner, store, away)
}

/// Names in the first and in the second of two databases.
fn names(store: &ShardedStore) -> [String; 2] {
    let named = |database| {
        let names = (0..).map(|n| format!("user {n}"));
        let mut names = names.filter(|name| store.map().database_of(&user(name)) == database);
        names.next().unwrap()
    };
    [named(0), named(1)]
}

#[tokio::test]
async fn a_database_that_is_away_fails_what_concerns_it_and_nothing_else() {
    let (inner, store, away) = with_second_away().await;
    let [here, there] = names(&store);
    let note = direct(&here, &here, 1);
    let across = direct(&here, &there, 2);
    store.append(vec![note]).await.remove(0).unwrap();
    let error = store.append(vec![across.clone()]).await.remove(0).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(entries(&*store, user(&here)).await.len(), 1, "a second half that cannot be looked for");

    away.store(false, std::sync::atomic::Ordering::SeqCst);
    let placed = store.append(vec![across]).await.remove(0).unwrap();
    assert_eq!((placed.home.0, placed.copy.map(|copy| copy.0)), (2, Some(1)));
    assert_eq!(pending(&inner).await, 0);
}

#[tokio::test]
async fn what_was_left_halfway_is_delivered_before_what_the_same_sender_sends_next() {
    let inner = Memory::new(2).open().await;
    let names = names(&over(inner.clone()));
    let [here, there] = &names;
    let stopped = (0..20).map(|call| Fault::at(call, How::Refused));
    let mut left_halfway = false;
    for (msgid, fault) in (1..).zip(stopped) {
        let store = faulty(inner.clone(), &fault);
        let _ = store.append(vec![direct(here, there, 2 * msgid)]).await;
        left_halfway |= pending(&inner).await > 0;
        let store = over(inner.clone());
        store.append(vec![direct(here, there, 2 * msgid + 1)]).await.remove(0).unwrap();
        assert_eq!(pending(&inner).await, 0);
    }
    assert!(left_halfway);
    let msgids: Vec<_> = entries(&over(inner.clone()), user(there)).await;
    let msgids: Vec<_> = msgids.into_iter().map(|entry| entry.message.msgid).collect();
    assert!(msgids.is_sorted(), "{msgids:?}");
    assert_eq!(entries(&over(inner), user(here)).await.len(), msgids.len());
}

#[tokio::test]
async fn a_key_that_waits_is_found_once_its_message_is_in_the_group() {
    let inner = Memory::new(2).open().await;
    let open = over(inner.clone());
    let [here, _] = names(&open);
    let group = (1..).find(|group| open.map().database_of(&to_group("x", *group, 1).home) == 1).unwrap();
    let post = to_group(&here, group, 1);
    let key = || vec![(post.message.from.clone(), post.message.key.clone())];
    // The key is stored, and then the process ends.
    let killed = Fault::at(1, How::KilledAfter);
    let store = faulty(inner.clone(), &killed);
    tokio::select! {
        _ = store.append(vec![post.clone()]) => panic!("it went through"),
        () = killed.killed.notified() => {}
    }
    let store = Arc::new(over(inner.clone()));
    assert_eq!((pending(&inner).await, store.find(key()).await.unwrap()), (1, vec![None]));
    sweep(&store).await;
    let found = store.find(key()).await.unwrap().remove(0).unwrap();
    assert_eq!((found.placed.home.0, found.placed.copy, found.digest), (1, None, post.message.digest()));
    let again = store.append(vec![post]).await.remove(0).unwrap();
    assert_eq!(again, found.placed);
}

/// What a sender's database cannot know: that the msgid was used in the other one a moment ago.
#[tokio::test]
async fn a_half_that_is_refused_holds_up_nobody_else() {
    let inner = Memory::new(2).open().await;
    let names = names(&over(inner.clone()));
    let [here, there] = &names;
    for post in [direct(here, there, 1), direct(here, there, 2)] {
        let home = im_core::storage::Part::Home { post, taken: false };
        inner[0].append_parts(vec![home]).await.remove(0).unwrap();
    }
    over(vec![inner[0].clone(), inner[1].clone()])
        .append(vec![direct(there, there, 1)])
        .await
        .remove(0)
        .unwrap();
    let store = Arc::new(over(inner.clone()));
    let mut sweeper = Sweeper::new(store.clone(), SweepLimits::default());
    sweeper.pass().await;
    let swept = sweeper.pass().await;
    assert_eq!((swept.delivered, swept.failed, swept.refused), (1, 0, 1));
    let msgids: Vec<_> = entries(&*store, user(there)).await;
    assert_eq!(msgids.into_iter().map(|entry| entry.message.msgid.0).collect::<Vec<_>>(), [1, 2]);
    let store: &dyn Store = &*store;
    store.append(vec![direct(here, there, 3)]).await.remove(0).unwrap();
}
