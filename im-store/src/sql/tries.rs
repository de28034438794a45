use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures::future::BoxFuture;

use super::driver::Session;
use super::{Fault, SqlStore};

/// A transaction is tried so often.
const MOST: u32 = 8;

/// Before it is tried the second time it waits for a random part of this; before each later time, of twice as much.
const FIRST_WAIT: Duration = Duration::from_millis(4);

/// How often a transaction that loses against others was tried.
#[derive(Debug, Default)]
pub(super) struct Tries {
    done: u32,
    jitter: RandomState,
}

impl Tries {
    /// Waits before the next try; when there were enough, gives the fault back.
    pub(super) async fn wait(&mut self, fault: Fault) -> Result<(), Fault> {
        self.done += 1;
        if self.done >= MOST {
            return Err(fault);
        }
        let most = FIRST_WAIT * 2_u32.pow(self.done - 1);
        let part = self.jitter.hash_one(self.done) % 1_000;
        tracing::debug!(
            error = &fault as &dyn std::error::Error,
            tries = self.done,
            "a transaction is tried again"
        );
        tokio::time::sleep(most * u32::try_from(part).unwrap_or(0) / 1_000).await;
        Ok(())
    }
}

impl SqlStore {
    /// Does some work in a transaction, again if it loses against another.
    pub(super) async fn transact<T, W>(
        &self,
        with: &W,
        work: impl for<'s> Fn(&'s mut Session, &'s W) -> BoxFuture<'s, Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut tries = Tries::default();
        loop {
            let mut session = self.pool.begin().await?;
            let done = work(&mut session, with).await;
            match session.end(done).await {
                Err(fault) if fault.is_conflict() => tries.wait(fault).await?,
                outcome => return outcome,
            }
        }
    }
}
