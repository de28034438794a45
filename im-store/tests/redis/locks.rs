//! A lock whose Redis loses its memory.

use std::time::{Duration, Instant};

use im_core::ports::{LockError, LockLease, Locks};
use im_store::redis::RedisLocks;
use im_test_servers::{Redis, RedisSentinel};

use crate::Bench;

const LONG: Duration = Duration::from_secs(300);

/// Asks until there is an answer.
async fn acquire(locks: &RedisLocks, holder: &str) -> Option<LockLease> {
    let asked = Instant::now();
    loop {
        match locks.acquire("mover", holder, LONG).await {
            Ok(lease) => return lease,
            Err(LockError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
        assert!(asked.elapsed() < Duration::from_secs(10), "Redis is there and no call succeeds");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_that_lost_the_lock_a_second_holder_has_a_greater_token() {
    let group = RedisSentinel::start();
    let locks = RedisLocks::new(Bench(group.url()).redis().await);
    group.catch_up();
    group.part();
    let first = acquire(&locks, "a").await.unwrap();
    assert_eq!(acquire(&locks, "b").await, None);
    tokio::task::block_in_place(|| group.fail_over());
    let second = acquire(&locks, "b").await.unwrap();
    assert!(second.token > first.token, "{second:?} after {first:?}");
    assert!(!locks.renew(&first, LONG).await.unwrap());
    locks.release(first).await.unwrap();
    assert!(locks.renew(&second, LONG).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_that_lost_everything_tokens_go_on() {
    let server = Redis::start();
    let locks = RedisLocks::new(Bench(server.url().to_owned()).redis().await);
    let first = acquire(&locks, "a").await.unwrap();
    server.kill();
    assert!(matches!(locks.renew(&first, LONG).await, Err(LockError::Unavailable(Some(_)))));
    server.restart();
    let second = acquire(&locks, "b").await.unwrap();
    assert!(second.token > first.token, "{second:?} after {first:?}");
}
