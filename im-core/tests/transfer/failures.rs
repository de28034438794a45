//! What fails on one side is said to have failed there.

use std::sync::Arc;

use async_trait::async_trait;
use futures::executor::block_on;
use im_core::memory::{MemoryImport, MemoryStore};
use im_core::message::TimelineId;
use im_core::storage::{
    Export, ExportPage, Exported, Head, Import, Row, Store, StoreError, StoreErrorKind, Timelines as _,
};
use im_core::testing::StoreLayer;
use im_core::transfer::{CopyError, PageLimits, Side, copy, verify};

use crate::posts::{direct, filled};

const LIMITS: PageLimits = PageLimits { rows: 10, bytes: usize::MAX };

/// A store that cannot be read beyond its first page.
struct Unreadable(MemoryStore);

#[async_trait]
impl StoreLayer for Unreadable {
    fn inner(&self) -> &dyn Store {
        &self.0
    }
}

#[async_trait]
impl Export for Unreadable {
    async fn export(&self, page: ExportPage) -> Result<Exported, StoreError> {
        match page.after {
            Some(_) => Err(StoreError::new(StoreErrorKind::Unavailable, "export")),
            None => self.0.export(page).await,
        }
    }
}

#[test]
fn a_source_that_cannot_be_read_is_named_and_the_target_stays_empty() {
    let to = Arc::new(MemoryStore::default());
    let import = Box::new(MemoryImport::new(to.clone()).unwrap());
    let failed = block_on(copy(&Unreadable(filled()), import, LIMITS, &mut |_| ())).unwrap_err();
    assert!(matches!(failed, CopyError::Reading(_)), "{failed:?}");
    let heads = block_on(to.heads(vec![crate::posts::user("alice")])).unwrap();
    assert_eq!(heads, [Head::default()]);
    assert_eq!(block_on(to.find(vec![])).unwrap(), []);
}

/// A target without room for posts.
struct Full;

#[async_trait]
impl Import for Full {
    async fn import(&mut self, rows: Vec<Row>) -> Result<(), StoreError> {
        match rows.iter().any(|row| matches!(row, Row::Post(_))) {
            true => Err(StoreError::new(StoreErrorKind::Unavailable, "import")),
            false => Ok(()),
        }
    }

    async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        unreachable!("what failed is not finished")
    }
}

#[test]
fn a_target_that_cannot_be_written_is_named_and_not_finished() {
    let failed = block_on(copy(&filled(), Box::new(Full), LIMITS, &mut |_| ())).unwrap_err();
    assert!(matches!(failed, CopyError::Writing(_)), "{failed:?}");
}

/// A store that takes a message after its timelines were exported.
struct Live(MemoryStore);

#[async_trait]
impl Export for Live {
    async fn export(&self, page: ExportPage) -> Result<Exported, StoreError> {
        let exported = self.0.export(page.clone()).await;
        if page.after.is_none() {
            self.0.append(vec![direct("alice", "bob", 99)]).await.remove(0)?;
        }
        exported
    }
}

#[test]
fn the_copy_of_a_store_that_changes_meanwhile_is_not_finished() {
    let import = Box::new(MemoryImport::new(Arc::default()).unwrap());
    let failed = block_on(copy(&Live(filled()), import, LIMITS, &mut |_| ())).unwrap_err();
    let CopyError::Writing(failed) = failed else { panic!("{failed:?}") };
    let cause = std::error::Error::source(&failed).unwrap().to_string();
    assert!(cause.ends_with("was announced up to 13"), "{cause}");
}

/// A store whose heads cannot be read.
struct Headless(MemoryStore);

#[async_trait]
impl StoreLayer for Headless {
    fn inner(&self) -> &dyn Store {
        &self.0
    }
    async fn heads(&self, _: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        Err(StoreError::new(StoreErrorKind::Unavailable, "heads"))
    }
}

#[async_trait]
impl Export for Headless {
    async fn export(&self, page: ExportPage) -> Result<Exported, StoreError> {
        self.0.export(page).await
    }
}

#[test]
fn a_store_that_cannot_be_compared_is_named() {
    let (sound, headless) = (filled(), Headless(filled()));
    let failed = block_on(verify(&sound, &headless, LIMITS, &mut |_| ())).unwrap_err();
    assert_eq!((failed.side, failed.to_string().as_str()), (Side::Second, "the second store cannot be read"));
    assert_eq!(block_on(verify(&headless, &sound, LIMITS, &mut |_| ())).unwrap_err().side, Side::First);
}
