//! New connections, as soon as a server takes them and does what the pool needs.

use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use sqlx::Connection;

use super::Fault;
use super::trouble::Trouble;

/// How long a server has to take note that a connection is closed.
pub(super) const CLOSING: Duration = Duration::from_secs(2);

/// How long a server has to answer whether it may be used. One that takes longer is as good as away.
const PROOF: Duration = Duration::from_secs(2);

/// A server that may not be used yet is tried again after a part of this, then of twice as much, …
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// … and of this at most.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// PostgreSQL's "too many clients", and MySQL's "too many connections".
const TOO_MANY: [&str; 2] = ["53300", "08004"];

/// Opens a connection and sets it up.
pub(super) type Dial<C> = Box<dyn Fn() -> BoxFuture<'static, Result<C, Fault>> + Send + Sync>;

/// Asks whether a connection's server may be used. `ReadOnly` if it takes no writes and has to.
pub(super) type Prove<C> = for<'c> fn(&'c mut C) -> BoxFuture<'c, Result<(), Fault>>;

/// How a pool comes by its connections, and whether they are still good.
pub(super) struct Dialer<C> {
    dial: Dial<C>,
    prove: Prove<C>,
}

impl<C: Connection + 'static> Dialer<C> {
    pub(super) fn new(dial: Dial<C>, prove: Prove<C>) -> Self {
        Self { dial, prove }
    }

    /// A new connection, as soon as there is a server that may be used. If there is none in time, the error is what the server said, which tells more than that
    /// the time is over.
    pub(super) async fn dial(&self, until: Instant) -> Result<C, Fault> {
        let (mut wait, jitter) = (FIRST_WAIT, RandomState::new());
        loop {
            match self.dial_once().await {
                Err(fault) if is_not_now(&fault) && Instant::now() + wait < until => {
                    let part = jitter.hash_one(wait) % 1_000;
                    // Half at least: the part of the longest wait is the same each time, and may be next to nothing.
                    tokio::time::sleep(wait / 2 + wait / 2 * u32::try_from(part).unwrap_or(0) / 1_000).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                outcome => return outcome,
            }
        }
    }

    async fn dial_once(&self) -> Result<C, Fault> {
        let mut connection = (self.dial)().await?;
        match self.prove(&mut connection).await {
            Ok(()) => Ok(connection),
            Err(fault) => {
                hang_up(connection);
                Err(fault)
            }
        }
    }

    /// Whether the connection's server answers, and may be used.
    pub(super) async fn prove(&self, connection: &mut C) -> Result<(), Fault> {
        let proof = tokio::time::timeout(PROOF, (self.prove)(connection)).await;
        proof.unwrap_or(Err(Fault::DeadlinePassed))
    }
}

/// Says good-bye to the server, while nobody waits for it.
pub(super) fn hang_up(connection: impl Connection + 'static) {
    tokio::spawn(tokio::time::timeout(CLOSING, connection.close()));
}

/// Whether there may soon be a server that takes a connection and may be used.
fn is_not_now(fault: &Fault) -> bool {
    match (fault.trouble(), fault) {
        (Trouble::ReadOnly | Trouble::Server, _) => true,
        (_, Fault::Driver(sqlx::Error::Io(error))) => error.kind() == ErrorKind::ConnectionRefused,
        (_, Fault::Driver(sqlx::Error::Database(error))) => {
            error.code().is_some_and(|code| TOO_MANY.contains(&&*code))
        }
        _ => false,
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::FutureExt as _;
    use sqlx::postgres::PgConnection;

    use super::*;

    /// How often a connection is tried within two seconds, and why there is none.
    async fn tries(refusal: fn() -> Fault) -> (u32, Fault) {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = tries.clone();
        let refused: Dial<PgConnection> = Box::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { Err(refusal()) }.boxed()
        });
        let dialer = Dialer::new(refused, |_| async { Ok(()) }.boxed());
        let dialled = dialer.dial(Instant::now() + Duration::from_secs(2)).await;
        (tries.load(Ordering::SeqCst), dialled.expect_err("it is refused"))
    }

    /// 10, 20, 40, 80, 160 and 250 ms at least are between two tries, whatever the dice say.
    async fn is_not_stormed(refusal: fn() -> Fault, is_told: fn(&Fault) -> bool) {
        let tries = futures::future::join_all((0..200).map(|_| tries(refusal))).await;
        assert!(tries.iter().all(|(tries, why)| (2..=15).contains(tries) && is_told(why)), "{tries:?}");
    }

    #[tokio::test]
    async fn a_server_that_refuses_is_not_stormed() {
        let refusal = || Fault::Driver(sqlx::Error::Io(ErrorKind::ConnectionRefused.into()));
        is_not_stormed(refusal, |why| matches!(why, Fault::Driver(sqlx::Error::Io(_)))).await;
    }

    #[tokio::test]
    async fn a_server_that_is_read_only_is_not_stormed() {
        is_not_stormed(|| Fault::ReadOnly, |why| matches!(why, Fault::ReadOnly)).await;
    }
}
