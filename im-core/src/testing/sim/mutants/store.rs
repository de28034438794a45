use std::sync::Arc;

use async_trait::async_trait;

use crate::id::{MsgId, Version};
use crate::message::TimelineId;
use crate::storage::{
    CursorAck, Cursors as _, Head, Page, Placed, Post, Read, Store, StoreError, Timelines as _,
};
use crate::testing::StoreLayer;
use crate::testing::sim::store::SimStore;

/// What a wrong store does otherwise. What is not overridden is sound.
#[async_trait]
pub(super) trait Wrong: Send + Sync + 'static {
    async fn append(&self, store: &SimStore, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        store.append(posts).await
    }

    /// The version that the outside sees for one of the store's.
    fn outer(&self, _: &TimelineId, version: Version) -> Version {
        version
    }

    /// The greatest version of the store's that is not above one that the outside sees.
    fn inner(&self, _: &TimelineId, version: Version) -> Version {
        version
    }
}

/// A store with something wrong about it.
pub(super) struct WrongStore<W> {
    pub(super) store: Arc<SimStore>,
    pub(super) wrong: W,
}

impl<W: Wrong> WrongStore<W> {
    fn head(&self, timeline: &TimelineId, head: Version) -> Version {
        self.wrong.outer(timeline, head)
    }
}

#[async_trait]
impl<W: Wrong> StoreLayer for WrongStore<W> {
    fn inner(&self) -> &dyn Store {
        &*self.store
    }

    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        self.wrong.append(&self.store, posts).await
    }

    async fn read(&self, mut reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        for read in &mut reads {
            read.after = self.wrong.inner(&read.timeline, read.after);
            read.until = read.until.map(|until| self.wrong.inner(&read.timeline, until));
        }
        let timelines: Vec<TimelineId> = reads.iter().map(|read| read.timeline.clone()).collect();
        let mut pages = self.store.read(reads).await;
        for (timeline, page) in timelines.iter().zip(&mut pages) {
            if let Ok(page) = page {
                page.head = self.head(timeline, page.head);
                for entry in &mut page.entries {
                    entry.version = self.wrong.outer(timeline, entry.version);
                }
            }
        }
        pages
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        let heads = self.store.heads(timelines.clone()).await?;
        let outer =
            |(timeline, head): (&TimelineId, Head)| Head { head: self.head(timeline, head.head), ..head };
        Ok(timelines.iter().zip(heads).map(outer).collect())
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        let found = self.store.locate(messages.clone()).await?;
        let outer = |((timeline, _), version): (&(TimelineId, MsgId), Option<Version>)| {
            version.map(|version| self.wrong.outer(timeline, version))
        };
        Ok(messages.iter().zip(found).map(outer).collect())
    }

    async fn ack(&self, mut acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        for ack in &mut acks {
            ack.version = self.wrong.inner(&ack.timeline, ack.version);
        }
        self.store.ack(acks).await
    }
}
