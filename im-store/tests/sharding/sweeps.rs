//! The sweeper as a task, and many servers at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use im_core::ports::Clock;
use im_core::storage::{Part, Placed, Post, Shard, Timelines};
use im_core::time::{Tick, Timestamp};
use im_store::layer::sharding::{SweepLimits, Sweeper};
use tokio::sync::Notify;

use crate::bench::{Databases, Memory, over};
use crate::faulty::{Fault, Faulty, How};
use crate::traffic::{USERS, assert_sound, direct, entries, pending, to_group, user};

/// Time passes only for who sleeps. Notes how long.
#[derive(Default)]
struct Sleepless {
    now: Mutex<Tick>,
    rests: Arc<Mutex<Vec<Duration>>>,
    rested: Arc<Notify>,
}

impl Clock for Sleepless {
    fn tick(&self) -> Tick {
        *self.now.lock().unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn sleep_until(&self, deadline: Tick) -> BoxFuture<'static, ()> {
        let mut now = self.now.lock().unwrap();
        self.rests.lock().unwrap().push(deadline.since(*now));
        *now = deadline;
        self.rested.notify_one();
        Box::pin(tokio::task::yield_now())
    }
}

/// Two databases, of which the second can be away, with one half to deliver from the first to it.
async fn with_a_half_to_deliver() -> (Vec<Arc<dyn Shard>>, Arc<AtomicBool>, String) {
    let away = Arc::new(AtomicBool::new(false));
    let mut databases = Memory::new(2).open().await;
    let map = over(databases.clone()).map();
    let named = |database: usize| {
        let mut names = (0..).map(|n| format!("user {n}"));
        names.find(|name| map.database_of(&user(name)) == database).unwrap()
    };
    let (here, there) = (named(0), named(1));
    let half = Part::Home { post: direct(&here, &there, 1), taken: false };
    databases[0].append_parts(vec![half]).await.remove(0).unwrap();
    databases[1] = Arc::new(Faulty::new(databases[1].clone(), Fault::while_set(away.clone())));
    (databases, away, there)
}

/// Whether a rest is a random part of this one, from half of it on.
fn is_part_of(rest: Duration, whole: Duration) -> bool {
    rest >= whole / 2 && rest <= whole
}

#[tokio::test]
async fn the_sweeper_rests_longer_while_a_database_is_away_and_delivers_when_it_is_back() {
    let (databases, away, there) = with_a_half_to_deliver().await;
    away.store(true, Ordering::SeqCst);
    let store = Arc::new(over(databases.clone()));
    let clock = Arc::new(Sleepless::default());
    let (rests, rested) = (clock.rests.clone(), clock.rested.clone());
    let sweeper = tokio::spawn(Sweeper::new(store.clone(), SweepLimits::default()).run(clock));
    while rests.lock().unwrap().len() < 10 {
        rested.notified().await;
    }
    // In the test's one thread, the sweeper stands still here.
    let seconds = [1, 2, 4, 8, 16, 30, 30, 30];
    let grown = rests.lock().unwrap()[..8].to_vec();
    for (rest, whole) in grown.iter().zip(seconds) {
        assert!(is_part_of(*rest, Duration::from_secs(whole)), "{grown:?}");
    }
    assert!(entries_of(&databases, &away, &there).await.is_empty());

    away.store(false, Ordering::SeqCst);
    while pending(&databases[..1]).await > 0 {
        rested.notified().await;
    }
    let seen = rests.lock().unwrap().len();
    while rests.lock().unwrap().len() < seen + 3 {
        rested.notified().await;
    }
    sweeper.abort();
    assert_eq!(entries(&*store, user(&there)).await.len(), 1);
    let last = *rests.lock().unwrap().last().unwrap();
    assert!(is_part_of(last, Duration::from_secs(1)), "{last:?}");
}

/// What the second database has, although it is away.
async fn entries_of(
    databases: &[Arc<dyn Shard>],
    away: &AtomicBool,
    name: &str,
) -> Vec<im_core::message::Entry> {
    let was = away.swap(false, Ordering::SeqCst);
    let entries = entries(&over(databases.to_vec()), user(name)).await;
    away.store(was, Ordering::SeqCst);
    entries
}

#[tokio::test]
async fn a_page_at_a_time_delivers_everything_in_its_order() {
    let (databases, _, there) = with_a_half_to_deliver().await;
    let store = Arc::new(over(databases.clone()));
    let [from, other] = ["alice", "bob"];
    let mut halves = 1;
    for msgid in 2..=40 {
        let sender = if msgid % 3 == 0 { from } else { other };
        let half = Part::Home { post: direct(sender, &there, msgid), taken: false };
        let database = store.map().database_of(&user(sender));
        if database == 0 {
            databases[0].append_parts(vec![half]).await.remove(0).unwrap();
            halves += 1;
        }
    }
    let mut limits = SweepLimits::default();
    limits.page = 3;
    let mut sweeper = Sweeper::new(store.clone(), limits);
    sweeper.pass().await;
    let swept = sweeper.pass().await;
    assert_eq!((swept.delivered, swept.failed, swept.refused), (halves, 0, 0));
    let msgids: Vec<_> =
        entries(&*store, user(&there)).await.into_iter().map(|entry| entry.message.msgid).collect();
    assert!(msgids.len() == halves && msgids.is_sorted(), "{msgids:?}");
}

/// One user's sends, five at a time, each again until it is acknowledged.
async fn send_all(databases: Vec<Arc<dyn Shard>>, number: usize) -> Vec<(Post, Placed)> {
    let store = over(databases);
    let mut acked = Vec::new();
    for batch in 0..12_i64 {
        let post = |at: i64| {
            let msgid = i64::try_from(number).unwrap() * 10_000 + batch * 5 + at;
            let to = usize::try_from(batch + at).unwrap() % USERS.len();
            match at {
                4 => to_group(USERS[number], 1 + batch % 3, msgid),
                _ => direct(USERS[number], USERS[to], msgid),
            }
        };
        let mut left: Vec<Post> = (0..5).map(post).collect();
        while !left.is_empty() {
            let answers = store.append(left.clone()).await;
            let tried = std::mem::take(&mut left);
            for (post, answer) in tried.into_iter().zip(answers) {
                match answer {
                    Ok(placed) => acked.push((post, placed)),
                    Err(error) if error.is_retryable() => left.push(post),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    acked
}

/// Six servers over the same databases, each with a user, and two sweepers; every few dozen calls one fails, and half of those were done.
async fn many_servers(mut databases: impl Databases) {
    let inner = databases.open().await;
    let fails = [Fault::every(41, How::Refused), Fault::every(31, How::Unanswered)];
    let faulty = |fault: &Arc<Fault>| -> Vec<Arc<dyn Shard>> {
        inner.iter().map(|inner| Arc::new(Faulty::new(inner.clone(), fault.clone())) as _).collect()
    };
    let sweepers = fails.iter().map(|fault| {
        let store = Arc::new(over(faulty(fault)));
        tokio::spawn(Sweeper::new(store, SweepLimits::default()).run(Arc::new(Sleepless::default())))
    });
    let sweepers: Vec<_> = sweepers.collect();
    let senders = (0..USERS.len()).map(|number| tokio::spawn(send_all(faulty(&fails[number % 2]), number)));
    let mut acked = Vec::new();
    for sender in senders.collect::<Vec<_>>() {
        acked.extend(sender.await.unwrap());
    }
    for sweeper in sweepers {
        sweeper.abort();
        let _ = sweeper.await;
    }
    assert_eq!(acked.len(), USERS.len() * 60);
    assert_eq!(pending(&inner).await, 0, "what is acknowledged is settled");
    assert_sound(&over(inner), &acked, "many servers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_and_sweepers_over_the_same_databases_do_not_get_in_each_others_way() {
    for count in [2, 3] {
        many_servers(Memory::new(count)).await;
    }
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[tokio::test(flavor = "multi_thread")]
async fn servers_over_databases_in_servers_do_not_get_in_each_others_way() {
    many_servers(crate::bench::Servers::new()).await;
}
