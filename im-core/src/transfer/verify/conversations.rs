use futures::future::{BoxFuture, try_join_all};

use super::{Both, Verifier, VerifyError};
use crate::id::{Uid, Version};
use crate::message::TimelineId;
use crate::storage::{Conversation, Exportable, StoreError};
use crate::transfer::Difference;

/// Lists that are compared at the same time.
const TOGETHER: usize = 8;

/// Rows of a list that are compared at a time.
const PAGE: usize = 1_000;

impl Verifier<'_> {
    /// Compares the conversation lists of those timelines that have one.
    pub(super) async fn conversations(&mut self, timelines: &[TimelineId]) -> Result<(), VerifyError> {
        let both = self.both;
        let users: Vec<_> = timelines.iter().filter_map(user).collect();
        for users in users.chunks(TOGETHER) {
            let lists: Vec<BoxFuture<'_, _>> =
                users.iter().map(|uid| Box::pin(first_differing(both, uid)) as _).collect();
            for (uid, row) in users.iter().zip(try_join_all(lists).await?) {
                if let Some(row) = row {
                    self.found.differ(Difference::Conversations(Uid::clone(uid), row));
                }
            }
        }
        Ok(())
    }
}

fn user(timeline: &TimelineId) -> Option<&Uid> {
    match timeline {
        TimelineId::User(uid) => Some(uid),
        TimelineId::Group(_) => None,
    }
}

/// The first row of a user's list that is not the same in both stores.
async fn first_differing(both: Both<'_>, uid: &Uid) -> Result<Option<usize>, VerifyError> {
    let mut before: Option<Version> = None;
    let mut compared = 0;
    loop {
        let (first, second) = both.ask(|store| Box::pin(page(store, uid.clone(), before))).await?;
        let alike = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
        compared += alike;
        if alike < first.len().max(second.len()) {
            return Ok(Some(compared));
        }
        match first.last() {
            Some(last) if alike == PAGE => before = Some(last.last_version),
            _ => return Ok(None),
        }
    }
}

async fn page(
    store: &dyn Exportable,
    uid: Uid,
    before: Option<Version>,
) -> Result<Vec<Conversation>, StoreError> {
    store.conversations(&uid, before, PAGE).await
}
