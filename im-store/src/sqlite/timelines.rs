use async_trait::async_trait;
use im_core::id::{MsgId, Uid, Version};
use im_core::message::{SendKey, TimelineId};
use im_core::storage::{Found, Head, Page, Part, Placed, Post, Read, StoreError, Timelines};

use super::buckets::check_owned;
use super::{SqliteStore, lookup};
use crate::sql::halves::Sent;

#[async_trait]
impl Timelines for SqliteStore {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        let count = posts.len();
        if count == 0 {
            return Vec::new();
        }
        let parts = posts.into_iter().map(Part::Whole).collect();
        match self.within("append", self.place(parts)).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        let count = reads.len();
        if count == 0 {
            return Vec::new();
        }
        match self.within("read", self.pages(reads)).await {
            Ok(pages) => pages.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); count],
        }
    }

    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<Head>, StoreError> {
        let heads = async {
            let mut transaction = self.readers.begin().await?;
            check_owned(&mut transaction, timelines.iter()).await?;
            let owners = lookup::owners(&mut transaction, &timelines).await?;
            transaction.commit().await?;
            Ok(owners.into_iter().map(|owner| owner.map(|owner| owner.head).unwrap_or_default()).collect())
        };
        self.within("heads", heads).await
    }

    async fn find(&self, keys: Vec<(Uid, SendKey)>) -> Result<Vec<Option<Found>>, StoreError> {
        let found = async {
            let mut transaction = self.readers.begin().await?;
            let users: Vec<_> = keys.iter().map(|(uid, _)| TimelineId::User(uid.clone())).collect();
            check_owned(&mut transaction, users.iter()).await?;
            let found = lookup::sends(&mut transaction, &keys).await?;
            transaction.commit().await?;
            Ok(found)
        };
        let sends = self.within("find", found).await?;
        Ok(sends.into_iter().map(|sent| sent.and_then(Sent::into_found)).collect())
    }

    async fn locate(&self, messages: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        let places = async {
            let mut transaction = self.readers.begin().await?;
            check_owned(&mut transaction, messages.iter().map(|(timeline, _)| timeline)).await?;
            let places = lookup::places(&mut transaction, &messages).await?;
            transaction.commit().await?;
            Ok(places)
        };
        self.within("locate", places).await
    }
}
