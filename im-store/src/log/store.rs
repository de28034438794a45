//! The traits' methods: writes go to the writer, reads look for themselves.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::channel::oneshot;
use im_core::id::{MsgId, Uid, Version};
use im_core::message::{SendKey, TimelineId};
use im_core::storage::{
    Conversation, Conversations, Cursor, CursorAck, Cursors, Found, Head, HeldNode, NodeLease, Nodes, Page,
    Placed, Post, Read, StoreError, Timelines,
};
use im_core::time::Timestamp;

use super::queue::Job;
use super::segments::Wait;
use super::shared::Shared;
use super::view::View;
use super::{Fault, LogStore};

impl LogStore {
    /// Gives the writer a job and waits for the answer, but not beyond the deadline.
    pub(super) async fn write<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, Fault> {
        let (sender, answer) = oneshot::channel();
        self.shared.queue.push(job(sender))?;
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(oneshot::Canceled)) => Err(Fault::Closed),
            Err(_) => Err(Fault::DeadlinePassed),
        }
    }

    /// Looks something up: here, if all of it is in memory, else where waiting for the disk holds nobody up.
    async fn look<Q, T>(&self, question: Q, look: fn(View<'_>, &Q) -> Result<T, Fault>) -> Result<T, Fault>
    where
        Q: Send + 'static,
        T: Send + 'static,
    {
        if self.shared.queue.is_closed() {
            return Err(Fault::Closed);
        }
        let found = match look(View { shared: &self.shared, wait: Wait::Never }, &question) {
            Err(Fault::WouldBlock) => self.look_on_disk(question, look).await,
            found => found,
        };
        if let Err(Fault::BadTable(table)) = found {
            self.shared.distrust_index(table);
        }
        found
    }

    /// Looks something up where waiting for the disk holds nobody up.
    pub(super) async fn look_on_disk<Q, T>(
        &self,
        question: Q,
        look: fn(View<'_>, &Q) -> Result<T, Fault>,
    ) -> Result<T, Fault>
    where
        Q: Send + 'static,
        T: Send + 'static,
    {
        let shared: Arc<Shared> = self.shared.clone();
        let looking =
            tokio::task::spawn_blocking(move || look(View { shared: &shared, wait: Wait::Disk }, &question));
        match tokio::time::timeout(self.deadline, looking).await {
            Ok(found) => found.unwrap_or(Err(Fault::Closed)),
            Err(_) => Err(Fault::DeadlinePassed),
        }
    }
}

#[async_trait]
impl Timelines for LogStore {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        let count = posts.len();
        if count == 0 {
            return Vec::new();
        }
        let answers = self.write(|answer| Job::Append(posts, answer)).await;
        answers.unwrap_or_else(|fault| vec![Err(fault.into_error("append")); count])
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        let mut pages = Vec::with_capacity(reads.len());
        for read in reads {
            let page = self.look(read, |view, read| view.page(read)).await;
            pages.push(page.map_err(|fault| fault.into_error("read")));
        }
        pages
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        let heads = self.look(timelines, |view, timelines| {
            Ok(timelines.iter().map(|timeline| view.bounds(timeline)).collect())
        });
        heads.await.map_err(|fault| fault.into_error("heads"))
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        let found = self.look(keys, |view, keys| keys.iter().map(|(uid, key)| view.find(uid, key)).collect());
        found.await.map_err(|fault| fault.into_error("find"))
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        let versions = self.look(messages, |view, messages| {
            messages.iter().map(|(timeline, msgid)| view.locate(timeline, *msgid)).collect()
        });
        versions.await.map_err(|fault| fault.into_error("locate"))
    }
}

#[async_trait]
impl Conversations for LogStore {
    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Conversation>, StoreError> {
        let question = (owner.clone(), before, limit);
        let page =
            self.look(question, |view, (owner, before, limit)| view.conversations(owner, *before, *limit));
        page.await.map_err(|fault| fault.into_error("conversations"))
    }
}

#[async_trait]
impl Cursors for LogStore {
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        let count = acks.len();
        if count == 0 {
            return Vec::new();
        }
        let answers = self.write(|answer| Job::Ack(acks, answer)).await;
        answers.unwrap_or_else(|fault| vec![Err(fault.into_error("ack")); count])
    }

    async fn cursors(&self, of: Vec<(Uid, TimelineId)>) -> Result<Vec<Vec<Cursor>>, StoreError> {
        let lists =
            self.look(of, |view, of| of.iter().map(|(uid, timeline)| view.cursors(uid, timeline)).collect());
        lists.await.map_err(|fault| fault.into_error("cursors"))
    }
}

#[async_trait]
impl Nodes for LogStore {
    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        let holder = holder.to_owned();
        let lease = self.write(|answer| Job::Lease { holder, now, ttl, answer }).await;
        lease.unwrap_or_else(|fault| Err(fault.into_error("lease_node")))
    }

    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        let lease = lease.clone();
        let lease = self.write(|answer| Job::Renew { lease, until: now + ttl, answer }).await;
        lease.unwrap_or_else(|fault| Err(fault.into_error("renew_node")))
    }

    async fn held_nodes(&self) -> Result<Vec<HeldNode>, StoreError> {
        let held = self.look((), |view, ()| Ok(view.held_nodes()));
        held.await.map_err(|fault| fault.into_error("held_nodes"))
    }

    async fn release_node(&self, lease: &NodeLease, until: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        let released = self.write(|answer| Job::Release { lease, until, answer }).await;
        released.unwrap_or_else(|fault| Err(fault.into_error("release_node"))).map(drop)
    }
}
