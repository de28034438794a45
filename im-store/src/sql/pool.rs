//! Open connections to one database, for calls to use one after the other.
//!
//! The driver has a pool too, but it asks each connection that comes back whether it lives: one more round trip for every call. Here nobody asks, because a
//! connection comes back only if its last statement was answered.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use sqlx::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Fault;

/// A connection that was not used for so long is closed.
const IDLE: Duration = Duration::from_secs(600);

/// A connection is replaced after so long, so that a balancer or a fail-over is followed.
const LIFETIME: Duration = Duration::from_secs(1800);

/// A connection that was not used for so long is asked whether it still lives: to ask before every call is one round trip in five. One that died just now
/// fails its call, as `Unavailable`; the next one takes another.
const DOUBTFUL: Duration = Duration::from_secs(1);

/// How long a server has to take note that a connection is closed.
const CLOSING: Duration = Duration::from_secs(2);

/// A server that starts is tried again after a part of this, then of twice as much, …
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// … and of this at most.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// PostgreSQL's "starting up" and "too many clients", and MySQL's "too many connections".
const NOT_NOW: [&str; 3] = ["57P03", "53300", "08004"];

/// Opens a connection and sets it up.
pub(super) type Dial<C> = Box<dyn Fn() -> BoxFuture<'static, Result<C, sqlx::Error>> + Send + Sync>;

/// At most so many connections.
pub(super) struct Connections<C: Connection + 'static> {
    shared: Arc<Shared<C>>,
    permits: Arc<Semaphore>,
    most: u32,
    /// How long to wait for one.
    patience: Duration,
    dial: Dial<C>,
}

struct Shared<C> {
    /// What no call uses, the last used on top.
    ready: Mutex<Vec<Ready<C>>>,
}

struct Ready<C> {
    connection: C,
    opened: Instant,
    since: Instant,
}

/// A connection in use. One that is dropped is cut: only after [`keep`](Self::keep) it serves another call.
pub(super) struct Held<C> {
    connection: C,
    opened: Instant,
    shared: Arc<Shared<C>>,
    permit: OwnedSemaphorePermit,
}

impl<C: Connection + 'static> Connections<C> {
    pub(super) fn new(most: u32, patience: Duration, dial: Dial<C>) -> Self {
        let shared = Arc::new(Shared { ready: Mutex::default() });
        let places = usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self { shared, permits: Arc::new(Semaphore::new(places)), most, patience, dial }
    }

    /// A connection, when there is one.
    pub(super) async fn take(&self) -> Result<Held<C>, Fault> {
        self.take_within(self.patience).await
    }

    pub(super) async fn take_within(&self, patience: Duration) -> Result<Held<C>, Fault> {
        let taken = tokio::time::timeout(patience, self.ready_or_new(Instant::now() + patience));
        taken.await.unwrap_or(Err(Fault::DeadlinePassed))
    }

    async fn ready_or_new(&self, until: Instant) -> Result<Held<C>, Fault> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| Fault::Closed)?;
        // Who has a permit finds one that is ready, or room for another.
        let (connection, opened) = match self.ready().await {
            Some(ready) => (ready.connection, ready.opened),
            None => (self.dial(until).await?, Instant::now()),
        };
        Ok(Held { connection, opened, shared: self.shared.clone(), permit })
    }

    /// The one used last of those that still live.
    async fn ready(&self) -> Option<Ready<C>> {
        loop {
            let mut ready = self.shared.ready().pop()?;
            if ready.is_old() {
                close(vec![ready]);
                continue;
            }
            let lives = ready.since.elapsed() < DOUBTFUL || ready.connection.ping().await.is_ok();
            if lives {
                return Some(ready);
            }
        }
    }

    /// A new one, as soon as the server takes it. If it does not in time, the error is what the server said, which tells more than that the time is over.
    async fn dial(&self, until: Instant) -> Result<C, Fault> {
        let (mut wait, jitter) = (FIRST_WAIT, RandomState::new());
        loop {
            match (self.dial)().await {
                Err(error) if is_not_now(&error) && Instant::now() + wait < until => {
                    let part = jitter.hash_one(wait) % 1_000;
                    // Half at least: the part of the longest wait is the same each time, and may be next to nothing.
                    tokio::time::sleep(wait / 2 + wait / 2 * u32::try_from(part).unwrap_or(0) / 1_000).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Waits for the calls that run, and closes all connections. There are none after it.
    pub(super) async fn close(&self) {
        let all = self.permits.acquire_many(self.most).await;
        self.permits.close();
        drop(all);
        let ready = std::mem::take(&mut *self.shared.ready());
        for ready in ready {
            // It is closed anyway, and an old one may be dead.
            let _ = tokio::time::timeout(CLOSING, ready.connection.close()).await;
        }
    }
}

impl<C> Shared<C> {
    fn ready(&self) -> MutexGuard<'_, Vec<Ready<C>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Ready<C> {
    fn is_old(&self) -> bool {
        self.since.elapsed() >= IDLE || self.opened.elapsed() >= LIFETIME
    }
}

impl<C: Connection + 'static> Held<C> {
    /// Lets another call use it. Its last statement has to be answered.
    pub(super) fn keep(self) {
        let Self { connection, opened, shared, permit } = self;
        let mut ready = shared.ready();
        // The longest unused are at the bottom.
        let old = ready.iter().take_while(|ready| ready.is_old()).count();
        let old: Vec<_> = ready.drain(..old).collect();
        ready.push(Ready { connection, opened, since: Instant::now() });
        drop(ready);
        // Not before: who gets it looks for a ready one first.
        drop(permit);
        close(old);
    }
}

/// Says good-bye to the server, while nobody waits for it.
fn close<C: Connection + 'static>(connections: Vec<Ready<C>>) {
    for Ready { connection, .. } in connections {
        tokio::spawn(tokio::time::timeout(CLOSING, connection.close()));
    }
}

/// Whether the server may take a connection soon.
fn is_not_now(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| NOT_NOW.contains(&&*code)),
        _ => false,
    }
}

impl<C: Connection + 'static> fmt::Debug for Connections<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("most", &self.most).finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for Held<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("opened", &self.opened).finish_non_exhaustive()
    }
}

impl<C> Deref for Held<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.connection
    }
}

impl<C> DerefMut for Held<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.connection
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::FutureExt as _;
    use sqlx::postgres::PgConnection;

    use super::*;

    /// How often a connection is tried within two seconds.
    async fn tries() -> u32 {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = tries.clone();
        let refused: Dial<PgConnection> = Box::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Err(sqlx::Error::Io(ErrorKind::ConnectionRefused.into())) }.boxed()
        });
        let taken = Connections::new(1, Duration::from_secs(2), refused).take().await;
        assert!(matches!(taken, Err(Fault::Driver(sqlx::Error::Io(_)))), "what the server said");
        tries.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn a_server_that_refuses_is_not_stormed_whatever_the_dice_say() {
        let tries = futures::future::join_all((0..200).map(|_| tries())).await;
        // 10, 20, 40, 80, 160 and 250 ms at least.
        assert!(tries.iter().all(|tries| *tries <= 15), "{tries:?}");
    }
}
