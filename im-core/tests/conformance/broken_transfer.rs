//! The suite for copies reports an adapter that is wrong, with the line of the contract that it breaks.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::executor::block_on;
use im_core::memory::{MemoryImport, MemoryStore};
use im_core::message::{Target, TimelineId};
use im_core::storage::{
    Export, ExportPage, Exportable, Exported, Import, Post, Row, Store, StoreError, StoredPost,
};
use im_core::testing::StoreLayer;
use im_core::testing::conformance::{Refused, TransferBench, run_transfer_suite};

/// What is wrong with the store.
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    /// The last row of a page that is followed by another is left out.
    SkipsAtPageEnds,
    /// A message is said to stand with its sender and its target.
    GuessesPlaces,
    /// The posts of a page come newest first.
    Reverses,
    /// A page has as many rows as there are.
    IgnoresLimits,
    /// Messages are imported under the versions that they get.
    Renumbers,
    /// What was said at first is forgotten.
    ForgetsDigests,
    /// Node numbers are not imported.
    ForgetsNodes,
}

struct Broken(Flaw, Arc<MemoryStore>);

#[async_trait]
impl StoreLayer for Broken {
    fn inner(&self) -> &dyn Store {
        &*self.1
    }
}

#[async_trait]
impl Export for Broken {
    async fn export(&self, mut page: ExportPage) -> Result<Exported, StoreError> {
        if self.0 == Flaw::IgnoresLimits {
            (page.limit, page.max_bytes) = (usize::MAX, usize::MAX);
        }
        let mut exported = self.1.export(page).await?;
        match self.0 {
            Flaw::SkipsAtPageEnds if exported.next.is_some() && exported.rows.len() > 1 => {
                exported.rows.pop();
            }
            Flaw::GuessesPlaces => posts(&mut exported.rows).for_each(guess),
            Flaw::Reverses => {
                let of: Vec<_> = posts(&mut exported.rows).map(|post| post.clone()).collect();
                posts(&mut exported.rows).zip(of.into_iter().rev()).for_each(|(post, other)| *post = other);
            }
            _ => {}
        }
        Ok(exported)
    }
}

fn posts(rows: &mut [Row]) -> impl Iterator<Item = &mut StoredPost> {
    rows.iter_mut().filter_map(|row| match row {
        Row::Post(post) => Some(&mut **post),
        _ => None,
    })
}

fn guess(post: &mut StoredPost) {
    post.home.timeline = match &post.message.to {
        Target::User(_) => TimelineId::User(post.message.from.clone()),
        Target::Group(group) => TimelineId::Group(*group),
    };
}

struct BrokenImport(Flaw, Box<MemoryImport>, Arc<MemoryStore>);

#[async_trait]
impl Import for BrokenImport {
    async fn import(&mut self, mut rows: Vec<Row>) -> Result<(), StoreError> {
        match self.0 {
            Flaw::Renumbers => {
                for post in posts(&mut rows) {
                    let StoredPost { message, home, copy, .. } = post.clone();
                    let copy = copy.map(|copy| copy.timeline);
                    self.2.with_state(|state| state.append(Post { message, home: home.timeline, copy }))?;
                }
                return Ok(());
            }
            Flaw::ForgetsDigests => posts(&mut rows).for_each(|post| post.digest = post.message.digest()),
            Flaw::ForgetsNodes => rows.retain(|row| !matches!(row, Row::Node(_))),
            _ => {}
        }
        self.1.import(rows).await
    }

    async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        match self.0 {
            Flaw::Renumbers => Ok(()),
            _ => self.1.finish().await,
        }
    }
}

struct Bench(Flaw, Mutex<Arc<MemoryStore>>);

#[async_trait]
impl TransferBench for Bench {
    async fn open(&self) -> Result<Arc<dyn Exportable>, Refused> {
        Ok(Arc::new(Broken(self.0, self.1.lock().unwrap().clone())))
    }

    async fn import(&self) -> Result<Box<dyn Import>, Refused> {
        let store = self.1.lock().unwrap().clone();
        let import = Box::new(MemoryImport::new(store.clone())?);
        Ok(Box::new(BrokenImport(self.0, import, store)))
    }

    fn is_durable(&self) -> bool {
        false
    }
}

/// Whether the suite reports a line of the contract for this flaw.
fn reports(flaw: Flaw, line: &str) -> bool {
    let report = block_on(run_transfer_suite(|| Bench(flaw, Mutex::default())));
    report.failed.iter().any(|failed| failed.contract.starts_with(line))
}

#[test]
fn an_export_that_loses_rows_between_pages_breaks_the_line_on_all() {
    assert!(reports(Flaw::SkipsAtPageEnds, "Everything that the store answers from is given"));
}

#[test]
fn an_export_that_guesses_where_messages_stand_breaks_the_line_on_places() {
    assert!(reports(Flaw::GuessesPlaces, "A post carries what its repeats are answered from"));
}

#[test]
fn an_export_in_another_order_breaks_the_line_on_order() {
    assert!(reports(Flaw::Reverses, "Posts come in an order in which the versions of every timeline ascend"));
}

#[test]
fn an_export_of_all_at_once_breaks_the_line_on_pages() {
    assert!(reports(Flaw::IgnoresLimits, "A page has at most `limit` rows"));
}

#[test]
fn an_import_that_gives_versions_of_its_own_breaks_the_line_on_versions() {
    assert!(reports(Flaw::Renumbers, "A post stands at the versions that it names"));
}

#[test]
fn an_import_that_forgets_what_was_said_at_first_breaks_the_line_on_answers() {
    assert!(reports(Flaw::ForgetsDigests, "The store answers every question as the exported one does"));
}

#[test]
fn an_import_that_forgets_leases_breaks_the_line_on_what_comes_after() {
    assert!(reports(Flaw::ForgetsNodes, "What comes after goes on from there"));
}
