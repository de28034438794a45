//! Open connections to one database, for calls to use one after the other.
//!
//! The driver has a pool too, but it asks each connection that comes back whether it lives: one more round trip for every call. Here a connection is asked once a
//! second at most, because it comes back only if its last statement was answered.
//!
//! All connections lead to where the database's name led when they were opened. If one shows that this is no server to use any more, [all are given
//! up](Shared::give_up): the name may lead elsewhere by now.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Fault;
use super::dial::{CLOSING, Dialer, hang_up};
use super::trouble::Trouble;

/// A connection that was not used for so long is closed.
const IDLE: Duration = Duration::from_secs(600);

/// A connection is replaced after so long, so that a balancer is followed that moves connections without a word.
const LIFETIME: Duration = Duration::from_secs(1800);

/// A connection that was not asked for so long is asked whether it may still be used: to ask before every call is one round trip in five. One that died just now
/// fails its call, as `Unavailable`; the next one takes another. So long is a server read from that has been replaced.
const DOUBTFUL: Duration = Duration::from_secs(1);

/// At most so many connections.
pub(super) struct Connections<C: Connection + 'static> {
    shared: Arc<Shared<C>>,
    permits: Arc<Semaphore>,
    most: u32,
    /// How long to wait for one.
    patience: Duration,
    dialer: Dialer<C>,
}

struct Shared<C> {
    state: Mutex<State<C>>,
    /// Whether a server that is read-only is of no use.
    writes: bool,
}

struct State<C> {
    /// What no call uses, the last used on top.
    ready: Vec<Ready<C>>,
    /// How often all connections were given up. Those of an earlier generation are not used again.
    generation: u64,
}

struct Ready<C> {
    open: Open<C>,
    since: Instant,
}

/// A connection, and what is known of it.
struct Open<C> {
    connection: C,
    opened: Instant,
    /// When it last showed that it may be used.
    proved: Instant,
    generation: u64,
}

/// A connection in use. One that is dropped is cut: only after [`keep`](Self::keep) it serves another call.
pub(super) struct Held<C: Connection + 'static> {
    open: Open<C>,
    shared: Arc<Shared<C>>,
    permit: OwnedSemaphorePermit,
}

impl<C: Connection + 'static> Connections<C> {
    /// `writes` if a server that is read-only is of no use.
    pub(super) fn new(most: u32, patience: Duration, dialer: Dialer<C>, writes: bool) -> Self {
        let state = Mutex::new(State { ready: Vec::new(), generation: 0 });
        let places = usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        let (shared, permits) = (Arc::new(Shared { state, writes }), Arc::new(Semaphore::new(places)));
        Self { shared, permits, most, patience, dialer }
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
        let open = match self.ready().await {
            Some(ready) => ready,
            None => self.open(until).await?,
        };
        Ok(Held { open, shared: self.shared.clone(), permit })
    }

    async fn open(&self, until: Instant) -> Result<Open<C>, Fault> {
        // Before the name is looked up: what is given up meanwhile is this one too.
        let generation = self.shared.state().generation;
        let connection = self.dialer.dial(until).await?;
        let opened = Instant::now();
        Ok(Open { connection, opened, proved: opened, generation })
    }

    /// The one used last of those that may be used.
    async fn ready(&self) -> Option<Open<C>> {
        loop {
            let ready = self.shared.state().ready.pop()?;
            if ready.is_old() {
                hang_up(ready.open.connection);
                continue;
            }
            let mut open = ready.open;
            if open.proved.elapsed() < DOUBTFUL {
                return Some(open);
            }
            match self.dialer.prove(&mut open.connection).await {
                Ok(()) => return Some(Open { proved: Instant::now(), ..open }),
                Err(fault) => self.shared.doubt(&fault, open.generation),
            }
        }
    }

    /// Waits for the calls that run, and closes all connections. There are none after it.
    pub(super) async fn close(&self) {
        let all = self.permits.acquire_many(self.most).await;
        self.permits.close();
        drop(all);
        let ready = std::mem::take(&mut self.shared.state().ready);
        for ready in ready {
            // It is closed anyway, and an old one may be dead.
            let _ = tokio::time::timeout(CLOSING, ready.open.connection.close()).await;
        }
    }
}

impl<C> Shared<C> {
    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_about_server(&self, fault: &Fault) -> bool {
        match fault.trouble() {
            Trouble::Server => true,
            Trouble::ReadOnly => self.writes,
            Trouble::Connection | Trouble::Statement => false,
        }
    }
}

impl<C: Connection + 'static> Shared<C> {
    /// After a connection that was unused has not shown that it may be used. What ended it may have ended all that are unused.
    fn doubt(&self, fault: &Fault, generation: u64) {
        if self.is_about_server(fault) {
            return self.give_up(fault, generation);
        }
        let unused = std::mem::take(&mut self.state().ready);
        unused.into_iter().for_each(|ready| hang_up(ready.open.connection));
    }

    /// Closes all connections of a generation, those in use when they come back.
    fn give_up(&self, fault: &Fault, generation: u64) {
        let mut state = self.state();
        if state.generation != generation {
            return;
        }
        state.generation += 1;
        let unused = std::mem::take(&mut state.ready);
        drop(state);
        tracing::info!(
            error = fault as &dyn std::error::Error,
            "all connections to the database server are given up"
        );
        unused.into_iter().for_each(|ready| hang_up(ready.open.connection));
    }
}

impl<C> Ready<C> {
    fn is_old(&self) -> bool {
        self.since.elapsed() >= IDLE || self.open.opened.elapsed() >= LIFETIME
    }
}

impl<C: Connection + 'static> Held<C> {
    /// Lets another call use it. Its last statement has to be answered.
    ///
    /// # Errors
    /// `GivenUp` if another connection has shown meanwhile that its server is not to be used: then it is cut.
    pub(super) fn keep(self) -> Result<(), Fault> {
        let Self { open, shared, permit } = self;
        let mut state = shared.state();
        if open.generation != state.generation {
            drop(state);
            hang_up(open.connection);
            return Err(Fault::GivenUp);
        }
        // The longest unused are at the bottom.
        let old = state.ready.iter().take_while(|ready| ready.is_old()).count();
        let old: Vec<_> = state.ready.drain(..old).collect();
        state.ready.push(Ready { open, since: Instant::now() });
        drop(state);
        // Not before: who gets it looks for a ready one first.
        drop(permit);
        old.into_iter().for_each(|ready| hang_up(ready.open.connection));
        Ok(())
    }

    /// Cuts it, and gives up all others too if the fault is the server's.
    pub(super) fn cut(self, fault: &Fault) {
        if self.shared.is_about_server(fault) {
            self.shared.give_up(fault, self.open.generation);
        }
    }
}

impl<C: Connection + 'static> fmt::Debug for Connections<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("most", &self.most).finish_non_exhaustive()
    }
}

impl<C: Connection + 'static> fmt::Debug for Held<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("opened", &self.open.opened).finish_non_exhaustive()
    }
}

impl<C: Connection + 'static> Deref for Held<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.open.connection
    }
}

impl<C: Connection + 'static> DerefMut for Held<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.open.connection
    }
}
