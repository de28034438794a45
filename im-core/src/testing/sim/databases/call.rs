use std::sync::Arc;

use super::{SimDatabases, num};
use crate::memory::MemoryStore;
use crate::storage::{StoreError, StoreErrorKind};

/// One of the databases, as the processes see it.
pub(super) struct SimDatabase {
    pub(super) all: Arc<SimDatabases>,
    pub(super) place: usize,
}

impl SimDatabase {
    /// Asks for what is durable.
    pub(super) async fn ask<T, F>(
        &self,
        operation: &'static str,
        work: impl FnOnce(Arc<MemoryStore>) -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let life = self.arrive(operation).await?;
        let answer = work(self.store(operation, life)?).await;
        self.leave(operation, life).await?;
        answer
    }

    /// Changes something, in a transaction that takes effect at one moment.
    pub(super) async fn change<T, F>(
        &self,
        operation: &'static str,
        work: impl FnOnce(Arc<MemoryStore>) -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let life = self.arrive(operation).await?;
        let Some(store) = self.commit(life).await else { return self.caught(operation).await };
        let answer = work(store).await;
        if self.all.kernel.fails(self.all.rates.after) {
            self.all.kernel.count(|counts| counts.calls_failed_after += 1);
            return Err(unavailable(operation));
        }
        self.leave(operation, life).await?;
        answer
    }

    /// A change of what the database has to do with buckets.
    pub(super) async fn turn<T, F>(
        &self,
        operation: &'static str,
        id: i64,
        work: impl FnOnce(Arc<MemoryStore>) -> F + Send,
    ) -> Result<T, StoreError>
    where
        T: Send,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let all = self.all.clone();
        let (place, id) = (num(self.place), id.unsigned_abs());
        let checked = move |store| {
            let work = work(store);
            async move {
                let answer = work.await;
                all.kernel.note(operation, place, id);
                all.kernel.log(|| format!("database {place}, move {id}: {}", outcome(&answer)));
                all.check();
                answer
            }
        };
        self.change(operation, checked).await
    }

    /// The way to the database. Gives the life in which the call came there.
    async fn arrive(&self, operation: &'static str) -> Result<u64, StoreError> {
        self.travel().await;
        if self.all.kernel.fails(self.all.rates.before) {
            self.all.kernel.count(|counts| counts.calls_failed_before += 1);
            return Err(unavailable(operation));
        }
        let up = {
            let database = &self.all.lock().all[self.place];
            database.up.then_some(database.life)
        };
        match up {
            Some(life) => Ok(life),
            None => {
                self.perhaps_hang(300).await;
                Err(unavailable(operation))
            }
        }
    }

    /// Waits until the transaction is durable; `None` if the database died before.
    async fn commit(&self, life: u64) -> Option<Arc<MemoryStore>> {
        let kernel = &self.all.kernel;
        self.all.lock().all[self.place].commits += 1;
        let slow = kernel.fails(20);
        let takes = kernel.dice(|dice| if slow { dice.millis(50, 400) } else { dice.micros(200, 8_000) });
        kernel.sleep(takes).await;
        let mut inner = self.all.lock();
        let database = &mut inner.all[self.place];
        if database.life != life {
            return None;
        }
        database.commits = database.commits.saturating_sub(1);
        Some(database.store.clone())
    }

    fn store(&self, operation: &'static str, life: u64) -> Result<Arc<MemoryStore>, StoreError> {
        let database = &self.all.lock().all[self.place];
        if database.life == life { Ok(database.store.clone()) } else { Err(unavailable(operation)) }
    }

    /// The way back, on which the answer is lost if the database dies.
    async fn leave(&self, operation: &'static str, life: u64) -> Result<(), StoreError> {
        self.travel().await;
        let lives = self.all.lock().all[self.place].life == life;
        if lives { Ok(()) } else { self.caught(operation).await }
    }

    /// A crash caught the call.
    async fn caught<T>(&self, operation: &'static str) -> Result<T, StoreError> {
        let silent = self.all.lock().all[self.place].silent;
        self.perhaps_hang(if silent { 1_000 } else { 0 }).await;
        Err(unavailable(operation))
    }

    async fn travel(&self) {
        let (kernel, rates) = (&self.all.kernel, self.all.rates);
        let slow = kernel.fails(rates.slow);
        let takes = kernel.dice(|dice| if slow { dice.millis(20, 700) } else { dice.micros(20, 1_500) });
        kernel.sleep(takes).await;
    }

    /// Says nothing until the deadline, in so many of a thousand cases.
    async fn perhaps_hang(&self, per_mille: u64) {
        let kernel = &self.all.kernel;
        if kernel.dice(|dice| dice.happens(per_mille)) {
            kernel.count(|counts| counts.calls_timed_out += 1);
            let deadline = kernel.dice(|dice| dice.millis(500, 2_000));
            kernel.sleep(deadline).await;
        }
    }
}

fn outcome<T>(answer: &Result<T, StoreError>) -> String {
    answer.as_ref().map_or_else(ToString::to_string, |_| "done".to_owned())
}

pub(super) fn unavailable(operation: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, operation)
}
