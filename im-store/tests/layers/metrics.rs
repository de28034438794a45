use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use im_core::memory::MemoryStore;
use im_core::storage::{Cursors as _, Head, Store, StoreError, StoreErrorKind};
use im_store::layer::metrics::{Metrics, ShardMetrics};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use crate::bench::{Sleepless, conforms, conforms_as_a_shard};
use crate::flaky::{Flaky, Loss};
use crate::posts::{direct, user};

fn metrics_over(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(Metrics::new(store, "memory", Arc::new(Sleepless::default())))
}

#[tokio::test]
async fn metrics_over_memory_conform() {
    conforms("metrics over memory", None, metrics_over).await;
}

#[tokio::test]
async fn metrics_over_a_shard_conform() {
    let layer = |shard| Arc::new(ShardMetrics::new(shard, "memory", Arc::new(Sleepless::default()))) as _;
    conforms_as_a_shard("metrics over memory", layer).await;
}

/// Keeps all it is told, by name and labels.
#[derive(Clone, Default)]
struct Notes {
    counters: Arc<Mutex<BTreeMap<String, Arc<Count>>>>,
    histograms: Arc<Mutex<BTreeMap<String, Arc<Values>>>>,
    described: Arc<Mutex<Vec<String>>>,
}

#[derive(Default)]
struct Count(AtomicU64);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::SeqCst);
    }

    fn absolute(&self, value: u64) {
        self.0.store(value, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Values(Mutex<Vec<f64>>);

impl HistogramFn for Values {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

fn text(key: &Key) -> String {
    let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
    format!("{} {}", key.name(), labels.join(" "))
}

impl Recorder for Notes {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().push(key.as_str().to_owned());
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().push(key.as_str().to_owned());
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.counters.lock().unwrap().entry(text(key)).or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.histograms.lock().unwrap().entry(text(key)).or_default().clone())
    }
}

impl Notes {
    fn counts(&self) -> BTreeMap<String, u64> {
        let counters = self.counters.lock().unwrap();
        counters.iter().map(|(name, count)| (name.clone(), count.0.load(Ordering::SeqCst))).collect()
    }

    fn values(&self, name: &str) -> Vec<f64> {
        self.histograms.lock().unwrap()[name].0.lock().unwrap().clone()
    }
}

/// What the layer says about calls of a store, of which the first fails if `failing`.
fn heard(failing: bool, calls: impl AsyncFnOnce(&dyn Store)) -> Notes {
    let notes = Notes::default();
    let loss = failing.then_some(Loss { call: 0, after: false });
    let store = Flaky::new(Arc::new(MemoryStore::default()), loss, Arc::default());
    metrics::with_local_recorder(&notes, || {
        // Nothing in it waits.
        calls(&*metrics_over(Arc::new(store))).now_or_never().unwrap();
    });
    notes
}

fn counts<'a>(of: impl IntoIterator<Item = (&'a str, u64)>) -> BTreeMap<String, u64> {
    of.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn calls_and_posts_are_counted_by_outcome() {
    let notes = heard(true, async |store| {
        let posts = |first| (first..first + 2).map(|n| direct("alice", "bob", n, 1)).collect::<Vec<_>>();
        store.append(posts(1)).await;
        store.append(posts(1)).await;
        store.append(posts(2)).await;
        store.heads(vec![user("alice")]).await.ok();
    });
    let expected = [
        ("im_store_calls_total store=memory operation=append outcome=ok", 2),
        ("im_store_calls_total store=memory operation=append outcome=unavailable", 1),
        ("im_store_calls_total store=memory operation=heads outcome=ok", 1),
        ("im_store_posts_total store=memory outcome=ok", 3),
        ("im_store_posts_total store=memory outcome=repeated", 1),
        ("im_store_posts_total store=memory outcome=unavailable", 2),
    ];
    assert_eq!(notes.counts(), counts(expected));
    assert_eq!(notes.values("im_store_batch_posts store=memory"), [2.0, 2.0, 2.0]);
    assert_eq!(notes.values("im_store_call_seconds store=memory operation=append").len(), 3);
}

#[test]
fn all_metrics_are_described() {
    let notes = heard(false, async |_| ());
    let mut described = notes.described.lock().unwrap().clone();
    described.sort_unstable();
    let names =
        ["im_store_batch_posts", "im_store_call_seconds", "im_store_calls_total", "im_store_posts_total"];
    assert_eq!(described, names);
}

/// Never answers.
struct Silent(MemoryStore);

#[async_trait::async_trait]
impl im_core::storage::StoreLayer for Silent {
    fn inner(&self) -> &dyn Store {
        &self.0
    }

    async fn cursors(
        &self,
        _: Vec<(im_core::id::Uid, im_core::message::TimelineId)>,
    ) -> Result<Vec<Vec<im_core::storage::Cursor>>, im_core::storage::StoreError> {
        std::future::pending().await
    }
}

/// Refuses in one way.
struct Refusing(MemoryStore, StoreErrorKind);

#[async_trait::async_trait]
impl im_core::storage::StoreLayer for Refusing {
    fn inner(&self) -> &dyn Store {
        &self.0
    }

    async fn heads(&self, _: Vec<im_core::message::TimelineId>) -> Result<Vec<Head>, StoreError> {
        Err(StoreError::new(self.1, "heads"))
    }
}

#[test]
fn every_kind_of_error_is_an_outcome_of_its_own() {
    let kinds = [
        (StoreErrorKind::Unavailable, "unavailable"),
        (StoreErrorKind::OutOfOrder, "out_of_order"),
        (StoreErrorKind::Moved, "moved"),
        (StoreErrorKind::KeyReused, "key_reused"),
        (StoreErrorKind::MsgIdReused, "msgid_reused"),
        (StoreErrorKind::Forbidden, "forbidden"),
        (StoreErrorKind::AheadOfHead, "ahead_of_head"),
        (StoreErrorKind::LeaseLost, "lease_lost"),
        (StoreErrorKind::Corrupt, "corrupt"),
    ];
    for (kind, outcome) in kinds {
        let notes = Notes::default();
        metrics::with_local_recorder(&notes, || {
            let store = metrics_over(Arc::new(Refusing(MemoryStore::default(), kind)));
            assert!(store.heads(Vec::new()).now_or_never().unwrap().is_err());
        });
        let call = format!("im_store_calls_total store=memory operation=heads outcome={outcome}");
        assert_eq!(notes.counts(), counts([(call.as_str(), 1)]));
    }
}

#[test]
fn a_call_that_is_dropped_counts_as_dropped() {
    let notes = Notes::default();
    metrics::with_local_recorder(&notes, || {
        let store =
            Metrics::new(Arc::new(Silent(MemoryStore::default())), "silent", Arc::new(Sleepless::default()));
        assert!(store.cursors(Vec::new()).now_or_never().is_none());
    });
    let dropped = "im_store_calls_total store=silent operation=cursors outcome=dropped";
    assert_eq!(notes.counts(), counts([(dropped, 1)]));
}
