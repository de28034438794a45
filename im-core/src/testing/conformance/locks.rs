//! The suite for [`Locks`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;

use super::case::cases;
use super::check::same;
use super::fixture::NAMES;
use super::{Case, Failure, Outcome, Report, case};
use crate::ports::{LockLease, Locks};

/// Opens the locks under test.
#[async_trait]
pub trait LocksBench: Send + Sync + 'static {
    /// Opens the locks, of which none is held. Called again, it opens them for another server.
    async fn open(&self) -> Arc<dyn Locks>;

    /// Waits until a lease of `ttl` that was taken before this call has ended.
    async fn outlast(&self, ttl: Duration);
}

/// Plays every case on a bench of its own.
pub async fn run_locks_suite<B: LocksBench>(bench: impl Fn() -> B) -> Report {
    case::run(locks_cases(), || Box::new(bench()) as Box<dyn LocksBench>).await
}

/// Every case, in the order of the trait's documentation.
pub fn locks_cases() -> Vec<Case<dyn LocksBench>> {
    cases! {
        "Locks::acquire" {
            of_many_that_race_one_holds_the_lock: "At most one holder has a lock, unless the memory of the locks was lost.",
            a_held_lock_is_refused: "At most one holder has a lock, unless the memory of the locks was lost.",
            tokens_grow_whatever_ended_the_lease_before: "The token is greater than that of every lease of this lock before.",
            an_ended_lease_is_in_nobodys_way: "A lease that has ended is in nobody's way.",
            a_holder_does_not_wait_for_itself: "A holder that has the lock gets a new lease, and its old one is over",
            names_are_compared_byte_by_byte: "Locks with other names do not matter; names and holders are compared byte by byte.",
        }
        "Locks::renew" {
            a_renewed_lease_holds: "A lease that is not over holds until `ttl` after this, also if that is sooner.",
            a_lease_can_be_made_shorter: "A lease that is not over holds until `ttl` after this, also if that is sooner.",
            a_lease_that_is_over_stays_so: "One that has ended, was released, or was followed by another is over, and stays so.",
        }
        "Locks::release" {
            a_released_lock_is_free: "Another may take the lock at once.",
            a_lease_that_is_over_releases_nothing: "A lease that is over changes nothing: the lock stays with who has it.",
        }
    }
}

/// Longer than a case takes.
const LONG: Duration = Duration::from_secs(300);

const SHORT: Duration = Duration::from_millis(50);

/// A lock that has to be free.
async fn take(locks: &dyn Locks, holder: &str, ttl: Duration) -> Result<LockLease, Failure> {
    let lease = locks.acquire("lock", holder, ttl).await?;
    let differs = || Failure::Differs {
        what: format!("what {holder} gets of a free lock"),
        expected: "a lease".to_owned(),
        came: "none".to_owned(),
    };
    lease.ok_or_else(differs)
}

async fn is_free(locks: &dyn Locks, what: &str, expected: bool) -> Outcome {
    let got = locks.acquire("lock", "somebody else", LONG).await?;
    same(what, got.is_some(), expected)
}

async fn of_many_that_race_one_holds_the_lock(bench: &dyn LocksBench) -> Outcome {
    let servers = join_all((0..4).map(|_| bench.open())).await;
    let holders: Vec<_> = (0..40).map(|number| format!("holder {number}")).collect();
    let race =
        holders.iter().zip(servers.iter().cycle()).map(|(holder, locks)| locks.acquire("lock", holder, LONG));
    let got = join_all(race).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let winners: Vec<_> = got.into_iter().flatten().collect();
    same("how many hold the lock", winners.len(), 1)?;
    for lease in winners {
        same("the lock's name", lease.name.as_str(), "lock")?;
        same("whether the holder is one of those who asked", holders.contains(&lease.holder), true)?;
        same("whether the winner can renew", servers[0].renew(&lease, LONG).await?, true)?;
    }
    Ok(())
}

async fn a_held_lock_is_refused(bench: &dyn LocksBench) -> Outcome {
    let (locks, others) = (bench.open().await, bench.open().await);
    take(&*locks, "a", LONG).await?;
    is_free(&*locks, "whether a held lock is free", false).await?;
    is_free(&*others, "whether a lock that another server holds is free", false).await
}

async fn tokens_grow_whatever_ended_the_lease_before(bench: &dyn LocksBench) -> Outcome {
    let locks = bench.open().await;
    let mut tokens = Vec::new();
    for round in 0..3 {
        let lease = take(&*locks, "a", LONG).await?;
        tokens.push(lease.token);
        locks.release(lease).await?;
        tokens.push(take(&*locks, &format!("b{round}"), SHORT).await?.token);
        bench.outlast(SHORT).await;
        tokens.push(take(&*locks, "a", LONG).await?.token);
    }
    same("whether tokens grow", tokens.windows(2).all(|pair| pair[0] < pair[1]), true)
}

async fn an_ended_lease_is_in_nobodys_way(bench: &dyn LocksBench) -> Outcome {
    let locks = bench.open().await;
    take(&*locks, "a", SHORT).await?;
    bench.outlast(SHORT).await;
    is_free(&*locks, "whether a lock is free whose lease has ended", true).await
}

async fn a_holder_does_not_wait_for_itself(bench: &dyn LocksBench) -> Outcome {
    let locks = bench.open().await;
    let first = take(&*locks, "a", LONG).await?;
    let second = take(&*locks, "a", LONG).await?;
    same("whether the second token is greater", second.token > first.token, true)?;
    same("whether the first lease can be renewed", locks.renew(&first, LONG).await?, false)?;
    same("whether the second can", locks.renew(&second, LONG).await?, true)?;
    is_free(&*locks, "whether the lock is free for others", false).await
}

async fn names_are_compared_byte_by_byte(bench: &dyn LocksBench) -> Outcome {
    let locks = bench.open().await;
    for name in NAMES {
        let lease = locks.acquire(name, "a", LONG).await?;
        same(
            format!("whether the lock {name:?} is free"),
            lease.map(|lease| lease.name),
            Some(name.to_owned()),
        )?;
    }
    take(&*locks, "holder", LONG).await?;
    for holder in NAMES.into_iter().chain([""]) {
        let lease = locks.acquire("lock", holder, LONG).await?;
        same(format!("what {holder:?} gets of another's lock"), lease, None)?;
    }
    Ok(())
}

async fn a_renewed_lease_holds(bench: &dyn LocksBench) -> Outcome {
    let locks = bench.open().await;
    let lease = take(&*locks, "a", LONG / 2).await?;
    same("whether it can be renewed", locks.renew(&lease, LONG).await?, true)?;
    same("whether it can be renewed again", locks.renew(&lease, LONG).await?, true)?;
    is_free(&*locks, "whether the lock is free", false).await
}

async fn a_lease_can_be_made_shorter(bench: &dyn LocksBench) -> Outcome {
    let locks = bench.open().await;
    let lease = take(&*locks, "a", LONG).await?;
    same("whether it can be renewed", locks.renew(&lease, SHORT).await?, true)?;
    bench.outlast(SHORT).await;
    is_free(&*locks, "whether the lock is free", true).await
}

async fn a_lease_that_is_over_stays_so(bench: &dyn LocksBench) -> Outcome {
    let locks = bench.open().await;
    let ended = take(&*locks, "a", SHORT).await?;
    bench.outlast(SHORT).await;
    same("whether an ended lease is renewed", locks.renew(&ended, LONG).await?, false)?;
    let released = take(&*locks, "a", LONG).await?;
    locks.release(released.clone()).await?;
    same("whether a released lease is renewed", locks.renew(&released, LONG).await?, false)?;
    take(&*locks, "b", LONG).await?;
    same("whether a lease is renewed that another followed", locks.renew(&released, LONG).await?, false)?;
    is_free(&*locks, "whether the lock is free", false).await
}

async fn a_released_lock_is_free(bench: &dyn LocksBench) -> Outcome {
    let locks = bench.open().await;
    let lease = take(&*locks, "a", LONG).await?;
    locks.release(lease).await?;
    is_free(&*locks, "whether a released lock is free", true).await
}

async fn a_lease_that_is_over_releases_nothing(bench: &dyn LocksBench) -> Outcome {
    let locks = bench.open().await;
    let first = take(&*locks, "a", LONG).await?;
    locks.release(first.clone()).await?;
    let second = take(&*locks, "b", LONG).await?;
    locks.release(first).await?;
    is_free(&*locks, "whether the lock is free", false).await?;
    same("whether its holder can renew", locks.renew(&second, LONG).await?, true)
}
