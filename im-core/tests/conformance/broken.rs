//! The suite reports an adapter that is wrong, with the line of the contract that it breaks.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::executor::block_on;
use im_core::id::{Uid, Version};
use im_core::memory::{MemoryStore, State};
use im_core::storage::{
    Conversation, Conversations as _, CursorAck, Cursors as _, Page, Placed, Post, Read, Store, StoreError,
    Timelines as _,
};
use im_core::testing::StoreLayer;
use im_core::testing::conformance::{StoreBench, run_store_suite};

/// What is wrong with the store.
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    /// A repeat is stored again.
    ForgetsKeys,
    /// What was appended is gone after a restart.
    ForgetsAtRestart,
    /// Batches are placed by msgid, not in their order.
    SortsBatches,
    /// A read ignores its byte limit.
    ReadsPastTheBudget,
    /// Acknowledgements above the head are taken.
    TrustsCursors,
    /// The part that lists conversations is not written yet.
    HasNoConversations,
}

struct Broken {
    flaw: Flaw,
    inner: MemoryStore,
}

struct Bench {
    flaw: Flaw,
    store: Mutex<Arc<Broken>>,
}

impl Bench {
    fn new(flaw: Flaw) -> Self {
        Self { flaw, store: Mutex::new(Arc::new(Broken { flaw, inner: MemoryStore::default() })) }
    }
}

#[async_trait]
impl StoreBench for Bench {
    async fn open(&self) -> Arc<dyn Store> {
        self.store.lock().unwrap().clone()
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        let mut store = self.store.lock().unwrap();
        let inner = match self.flaw {
            Flaw::ForgetsAtRestart => MemoryStore::default(),
            _ => store.inner.snapshot(),
        };
        *store = Arc::new(Broken { flaw: self.flaw, inner });
        store.clone()
    }
}

/// The contract lines that a suite over this flaw reports.
fn reported(flaw: Flaw) -> Vec<&'static str> {
    let report = block_on(run_store_suite(|| Bench::new(flaw)));
    report.failed.iter().map(|failed| failed.contract).collect()
}

#[test]
fn a_store_that_forgets_keys_breaks_the_line_on_repeats() {
    assert!(reported(Flaw::ForgetsKeys).contains(&"A repeat takes no version."));
}

#[test]
fn a_store_that_forgets_at_restart_breaks_the_line_on_durability() {
    assert!(reported(Flaw::ForgetsAtRestart).contains(&"`Ok` means durable"));
}

#[test]
fn a_store_that_sorts_batches_breaks_the_line_on_order() {
    let line = "Posts of one batch that touch a common timeline are placed in the batch's order.";
    assert!(reported(Flaw::SortsBatches).contains(&line));
}

#[test]
fn a_store_that_ignores_the_byte_limit_breaks_that_line_alone() {
    let line = "stops before their sizes pass `max_bytes`, but not before the first.";
    assert_eq!(reported(Flaw::ReadsPastTheBudget), [line]);
}

#[test]
fn a_store_that_trusts_cursors_breaks_the_line_on_the_head() {
    let lines = reported(Flaw::TrustsCursors);
    assert_eq!(
        lines,
        [
            "An acknowledgement above the timeline's head is refused with `AheadOfHead` and changes nothing.",
            "Each acknowledgement has its own answer.",
        ]
    );
}

#[test]
fn a_store_that_is_half_written_breaks_the_lines_of_the_other_half() {
    let report = block_on(run_store_suite(|| Bench::new(Flaw::HasNoConversations)));
    assert!(report.to_string().contains("panicked: conversations are not written yet\n"), "{report}");
    let other = report.failed.iter().filter(|failed| failed.method.starts_with("Cursors::"));
    assert_eq!(other.count(), 0, "{report}");
    assert!(report.cases > report.failed.len(), "{report}");
}

#[test]
fn a_report_names_the_case_the_contract_and_what_came() {
    let report = block_on(run_store_suite(|| Bench::new(Flaw::ReadsPastTheBudget))).to_string();
    assert!(report.starts_with(
        "case a_page_stops_before_its_byte_limit failed: entries within 0 bytes: expected 1, but got 9\n  \
         contract of Timelines::read: stops before their sizes pass `max_bytes`, but not before the first.\n"
    ));
    assert!(report.contains("\n1 of "), "{report}");
}

#[async_trait]
impl StoreLayer for Broken {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    async fn append(&self, mut posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        match self.flaw {
            Flaw::ForgetsKeys => self.inner.with_state(|state| {
                let place = |post| match State::check_msgid(state, &post) {
                    Ok(()) => Ok(state.place(post)),
                    Err(error) => Err(error),
                };
                posts.into_iter().map(place).collect()
            }),
            Flaw::SortsBatches => {
                posts.sort_by_key(|post| post.message.msgid);
                self.inner.append(posts).await
            }
            _ => self.inner.append(posts).await,
        }
    }

    async fn read(&self, mut reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        if self.flaw == Flaw::ReadsPastTheBudget {
            reads.iter_mut().filter(|read| read.limit > 0).for_each(|read| read.max_bytes = usize::MAX);
        }
        self.inner.read(reads).await
    }

    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        if self.flaw == Flaw::HasNoConversations {
            panic!("conversations are not written yet");
        }
        self.inner.conversations(owner, before, limit).await
    }

    async fn ack(&self, mut acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        if self.flaw == Flaw::TrustsCursors {
            for ack in &mut acks {
                let head = self.inner.with_state(|state| state.head(&ack.timeline).head);
                ack.version = ack.version.min(head);
            }
        }
        self.inner.ack(acks).await
    }
}
