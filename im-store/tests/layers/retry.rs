use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use im_core::memory::MemoryStore;
use im_core::storage::{Placed, Post, Store, StoreError, StoreErrorKind, StoreLayer, Timelines};
use im_core::time::Timestamp;
use im_store::layer::retry::Retry;

use crate::bench::{Sleepless, conforms};
use crate::flaky::{Loss, unavailable};
use crate::posts::{direct, entries};

fn retry(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(Retry::new(store, Arc::new(Sleepless::default())))
}

#[tokio::test]
async fn a_retry_over_memory_conforms() {
    conforms("retry over memory", None, retry).await;
}

#[tokio::test]
async fn a_retry_over_calls_that_fail_before_their_effect_conforms() {
    for call in 0..3 {
        conforms("retry over failing memory", Some(Loss { call, after: false }), retry).await;
    }
}

#[tokio::test]
async fn a_retry_over_calls_whose_answers_are_lost_conforms() {
    for call in 0..3 {
        conforms("retry over failing memory", Some(Loss { call, after: true }), retry).await;
    }
}

/// What a try does to a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stored,
    /// Nothing, or stored and not answered.
    Lost,
    Unanswered,
    TooEarly,
}

/// A store that treats the posts of each try as it is told, and all after that well. Notes the msgids that each try had.
#[derive(Default)]
struct Scripted {
    memory: MemoryStore,
    script: Mutex<VecDeque<Vec<Fate>>>,
    tries: Mutex<Vec<Vec<i64>>>,
}

impl Scripted {
    fn new(script: &[&[Fate]]) -> Arc<Self> {
        let script = script.iter().map(|fates| fates.to_vec()).collect();
        Arc::new(Self { script: Mutex::new(script), ..Self::default() })
    }

    fn tries(&self) -> Vec<Vec<i64>> {
        self.tries.lock().unwrap().clone()
    }
}

#[async_trait]
impl StoreLayer for Scripted {
    fn inner(&self) -> &dyn Store {
        &self.memory
    }

    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        self.tries.lock().unwrap().push(posts.iter().map(|post| post.message.msgid.0).collect());
        let fates = self.script.lock().unwrap().pop_front();
        let fates = fates.unwrap_or_else(|| vec![Fate::Stored; posts.len()]);
        assert_eq!(fates.len(), posts.len(), "the script does not fit");
        let mut answers = Vec::new();
        for (post, fate) in posts.into_iter().zip(fates) {
            let answer = match fate {
                Fate::Stored => Timelines::append(&self.memory, vec![post]).await.remove(0),
                Fate::Lost => Err(unavailable()),
                Fate::Unanswered => {
                    Timelines::append(&self.memory, vec![post]).await.remove(0).unwrap();
                    Err(unavailable())
                }
                Fate::TooEarly => Err(StoreError::new(StoreErrorKind::OutOfOrder, "scripted")),
            };
            answers.push(answer);
        }
        answers
    }

    async fn lease_node(
        &self,
        _: &str,
        _: Timestamp,
        _: Duration,
    ) -> Result<im_core::storage::NodeLease, StoreError> {
        self.tries.lock().unwrap().push(Vec::new());
        Err(unavailable())
    }
}

use Fate::{Lost, Stored, TooEarly, Unanswered};

async fn append(store: &Arc<Scripted>, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
    StoreLayer::append(&Retry::new(store.clone(), Arc::new(Sleepless::default())), posts).await
}

/// The msgids in a user's timeline.
async fn timeline(store: &Scripted, name: &str) -> Vec<i64> {
    entries(store, name).await.iter().map(|entry| entry.message.msgid.0).collect()
}

#[tokio::test]
async fn only_the_posts_that_failed_are_tried_again_in_their_order() {
    let store = Scripted::new(&[&[Stored, Lost, TooEarly, Stored], &[Lost, TooEarly]]);
    let posts = [("carol", "dave"), ("alice", "bob"), ("alice", "erin"), ("frank", "dave")];
    let posts = (1..).zip(posts).map(|(n, (from, to))| direct(from, to, n, 1)).collect();
    let answers = append(&store, posts).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(store.tries(), [vec![1, 2, 3, 4], vec![2, 3], vec![2, 3]]);
    assert_eq!(timeline(&store, "alice").await, [2, 3]);
}

#[tokio::test]
async fn a_post_that_a_later_one_has_overtaken_is_left_and_so_is_what_follows_it() {
    // Bob's timeline has carol's message already: alice's must not come behind it. Her next one waits for it, frank's does not.
    let store = Scripted::new(&[&[Lost, Stored, TooEarly, Lost], &[Stored]]);
    let posts = [("alice", "bob"), ("carol", "bob"), ("alice", "erin"), ("frank", "erin")];
    let posts = (1..).zip(posts).map(|(n, (from, to))| direct(from, to, n, 1)).collect();
    let kinds = append(&store, posts).await.into_iter().map(|answer| answer.map_err(|error| error.kind()));
    let kinds: Vec<_> = kinds.map(|answer| answer.map(drop)).collect();
    let expected = [Err(StoreErrorKind::Unavailable), Ok(()), Err(StoreErrorKind::OutOfOrder), Ok(())];
    assert_eq!(kinds, expected);
    assert_eq!(store.tries(), [vec![1, 2, 3, 4], vec![4]]);
    assert_eq!(timeline(&store, "bob").await, [2]);
}

#[tokio::test]
async fn a_post_that_a_lost_try_has_stored_is_answered_as_new_and_its_repeats_as_repeats() {
    let store = Scripted::new(&[&[Unanswered, Unanswered, Unanswered]]);
    let post = direct("alice", "bob", 1, 1);
    let mut resent = post.clone();
    resent.message.msgid.0 = 9;
    let answers = append(&store, vec![post.clone(), resent, post]).await;
    let said = answers.into_iter().map(|answer| answer.map(|placed| (placed.msgid.0, placed.repeated)));
    let said: Vec<_> = said.map(Result::unwrap).collect();
    assert_eq!(said, [(1, false), (1, true), (1, true)]);
    assert_eq!(timeline(&store, "bob").await, [1]);
}

#[tokio::test]
async fn a_resend_is_a_repeat_also_when_a_try_of_it_is_lost() {
    let store = Scripted::new(&[&[Stored], &[Unanswered]]);
    let mut post = direct("alice", "bob", 1, 1);
    append(&store, vec![post.clone()]).await.remove(0).unwrap();
    post.message.msgid.0 = 9;
    let placed = append(&store, vec![post]).await.remove(0).unwrap();
    assert_eq!((placed.msgid.0, placed.repeated), (1, true));
}

#[tokio::test]
async fn what_will_not_do_better_is_not_tried_again() {
    let store = Scripted::new(&[]);
    let mut other = direct("alice", "bob", 1, 1);
    other.message.content_type.0 = 9;
    append(&store, vec![direct("alice", "bob", 1, 1)]).await.remove(0).unwrap();
    let error = append(&store, vec![other]).await.remove(0).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::KeyReused);
    assert_eq!(store.tries(), [[1], [1]]);
}

#[tokio::test]
async fn the_pauses_grow_and_the_tries_end() {
    let lost: &[Fate] = &[Lost];
    let store = Scripted::new(&[lost; 9]);
    let clock = Arc::new(Sleepless::default());
    let retry = Retry::new(store.clone(), clock.clone()).tries(5);
    let error = StoreLayer::append(&retry, vec![direct("alice", "bob", 1, 1)]).await.remove(0).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(store.tries().len(), 5);
    let rests = clock.rests.lock().unwrap().clone();
    let most = [20, 40, 80, 160].map(Duration::from_millis);
    assert_eq!(rests.len(), most.len());
    assert!(rests.iter().zip(most).all(|(rest, most)| *rest >= most / 2 && *rest <= most), "{rests:?}");
}

#[tokio::test]
async fn no_try_begins_after_the_time_is_up() {
    let lost: &[Fate] = &[Lost];
    let store = Scripted::new(&[lost; 200]);
    let clock = Arc::new(Sleepless::default());
    let (second, whole) = (Duration::from_secs(1), Duration::from_secs(10));
    let retry = Retry::new(store.clone(), clock.clone()).tries(200).pauses(second, second).within(whole);
    StoreLayer::append(&retry, vec![direct("alice", "bob", 1, 1)]).await.remove(0).unwrap_err();
    let rested: Duration = clock.rests.lock().unwrap().iter().sum();
    assert!(rested <= whole && rested >= whole - second, "{rested:?}");
}

#[tokio::test]
async fn a_lease_is_not_taken_twice() {
    let store = Scripted::new(&[]);
    let retry = Retry::new(store.clone(), Arc::new(Sleepless::default()));
    let error = retry.lease_node("a", Timestamp(1_000), Duration::from_secs(1)).await.unwrap_err();
    assert_eq!((error.kind(), store.tries().len()), (StoreErrorKind::Unavailable, 1));
}
