//! Two movers at once that want some of the same buckets, and a server that completes a move late.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use im_core::storage::{
    Bucket, BucketState, Intent, Pending, Shard, ShardLayer, Store, StoreError, StoreErrorKind, Timelines,
};
use im_core::testing::StoreLayer;
use im_store::layer::sharding::{MoveError, MoveLimits, MoveStep, Mover, ShardedStore};

use crate::bench::{Databases, Memory};
use crate::load::RealTime;
use crate::traffic::{direct, user};

/// Two users that the first database keeps.
fn two_users(store: &ShardedStore) -> [String; 2] {
    let names = (0..).map(|n| format!("user {n}"));
    let mut names = names.filter(|name| store.map().database_of(&user(name)) == 0);
    [names.next().unwrap(), names.next().unwrap()]
}

/// Which databases serve a user.
async fn serving(databases: &[Arc<dyn Shard>], name: &str) -> BTreeSet<usize> {
    let mut serving = BTreeSet::new();
    for (place, database) in databases.iter().enumerate() {
        let heads = database.heads(vec![user(name)]).await;
        if heads.is_ok_and(|heads| heads[0].head.0 > 0) {
            serving.insert(place);
        }
    }
    serving
}

#[tokio::test]
async fn a_move_that_loses_one_bucket_to_another_gives_none_away() {
    let databases = Memory::with_clock(3, RealTime::new()).open().await;
    let store = Arc::new(ShardedStore::open(databases.clone(), RealTime::new()).await.unwrap());
    let [kept, taken] = two_users(&store);
    for post in [direct(&kept, &taken, 1), direct(&taken, &kept, 2)] {
        store.append(vec![post]).await.remove(0).unwrap();
    }
    let buckets = [&kept, &taken].map(|name| Bucket::of(&user(name)));
    let rival = |step: MoveStep| {
        if matches!(step, MoveStep::Clearing) && store.map().version() == 1 {
            let id = databases[0].next_move().now_or_never().unwrap().unwrap();
            databases[0].depart(id, vec![buckets[1]], 2).now_or_never().unwrap().unwrap();
        }
    };
    let mover = Mover::new(store.clone(), RealTime::new(), MoveLimits::default());
    let lost = mover.move_buckets(&buckets, 1, rival).await.unwrap_err();
    assert!(matches!(&lost, MoveError::Store(error) if error.kind() == StoreErrorKind::LeaseLost), "{lost}");
    for name in [&kept, &taken] {
        assert_eq!(serving(&databases, name).await, BTreeSet::from([0]), "{name}");
        assert_eq!(store.map().database_of(&user(name)), 0);
    }
    let left = databases[0].moving_buckets().await.unwrap();
    let left: Vec<_> = left.into_iter().map(|row| (row.bucket, row.state, row.to)).collect();
    assert_eq!(left, [(buckets[1], BucketState::Leaving, 2)], "the rival's move goes on");
}

/// A database of which the first call for intents takes long: meanwhile others do this.
struct Slow {
    database: Arc<dyn Shard>,
    meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl StoreLayer for Slow {
    fn inner(&self) -> &dyn Store {
        &*self.database
    }
}

#[async_trait]
impl ShardLayer for Slow {
    fn inner_shard(&self) -> &dyn Shard {
        &*self.database
    }

    async fn intents(&self, pending: Pending, limit: usize) -> Result<Vec<Intent>, StoreError> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        self.database.intents(pending, limit).await
    }
}

#[tokio::test]
async fn a_server_that_completes_a_move_late_leaves_a_bucket_where_it_has_gone_since() {
    let databases = Memory::with_clock(2, RealTime::new()).open().await;
    let store = Arc::new(ShardedStore::open(databases.clone(), RealTime::new()).await.unwrap());
    let [name, other] = two_users(&store);
    let bucket = Bucket::of(&user(&name));
    let id = databases[0].next_move().await.unwrap();
    databases[0].depart(id, vec![bucket], 1).await.unwrap();
    databases[1].arrive(id, vec![bucket], 1).await.unwrap();
    databases[0].fence(id, Duration::from_secs(60)).await.unwrap();
    databases[0].release(id).await.unwrap();
    let there_and_back = {
        let store = store.clone();
        async move {
            store.refresh().await.unwrap();
            assert_eq!(store.map().database(bucket), 1, "completed");
            let mover = Mover::new(store.clone(), RealTime::new(), MoveLimits::default());
            mover.move_buckets(&[bucket], 0, |_| {}).await.unwrap();
        }
    };
    let meanwhile = Mutex::new(Some(there_and_back.boxed()));
    let slow = Arc::new(Slow { database: databases[1].clone(), meanwhile });
    let late = ShardedStore::open(vec![databases[0].clone(), slow], RealTime::new()).await.unwrap();
    store.refresh().await.unwrap();
    assert_eq!((store.map().database(bucket), late.map().database(bucket)), (0, 0));
    late.append(vec![direct(&name, &other, 1)]).await.remove(0).unwrap();
}
