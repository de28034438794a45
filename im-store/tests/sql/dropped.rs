//! Callers that give up in the middle of an append, and send again.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use async_trait::async_trait;
use im_core::storage::{Placed, Post, Store, StoreError, StoreErrorKind, StoreLayer};
use im_store::sql::{SqlOptions, SqlStore};

use crate::bench::{Kind, database};
use crate::posts::user;
use crate::traffic::{Chance, Traffic, turn};

/// An append has waited so often, at most, when it is dropped: for a connection, for locks, for answers, for its commit.
const MOST_WAITS: u64 = 16;

/// Two of three appends may be dropped, wherever they are.
struct Hasty {
    store: Arc<SqlStore>,
    chance: Mutex<Chance>,
}

#[async_trait]
impl StoreLayer for Hasty {
    fn inner(&self) -> &dyn Store {
        &*self.store
    }

    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        let (count, waits) = (posts.len(), self.chance.lock().unwrap().below(MOST_WAITS * 3 / 2));
        let waits = if waits < MOST_WAITS { waits } else { u64::MAX };
        let dropped =
            || (0..count).map(|_| Err(StoreError::new(StoreErrorKind::Unavailable, "test"))).collect();
        at_most(waits, self.inner().append(posts)).await.unwrap_or_else(dropped)
    }
}

/// Drops a call that has to wait once more.
async fn at_most<T>(mut waits: u64, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    std::future::poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if waits == 0 => Poll::Ready(None),
        Poll::Pending => {
            waits -= 1;
            Poll::Pending
        }
    })
    .await
}

async fn dropped(kind: Kind) {
    let _turn = turn().await;
    let url = database(kind, "dropped");
    let store = Arc::new(SqlOptions::new(url).connections(4).open().await.unwrap());
    let hasty: Arc<dyn Store> = Arc::new(Hasty { store: store.clone(), chance: Mutex::new(Chance(7)) });
    let traffic = Arc::new(Traffic::default());
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..3 {
        tasks.spawn(traffic.clone().write(hasty.clone(), writer));
    }
    tasks.spawn(traffic.clone().watch(hasty, user("user 0")));
    traffic.go_on_for(300).await;
    traffic.end();
    tasks.join_all().await;
    traffic.audit(&*store).await;
    assert!(traffic.refusals.load(Ordering::SeqCst) > 0, "some were dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_to_mariadb_that_is_dropped_anywhere_is_stored_once_when_it_is_sent_again() {
    dropped(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_to_postgresql_that_is_dropped_anywhere_is_stored_once_when_it_is_sent_again() {
    dropped(Kind::Postgres).await;
}
