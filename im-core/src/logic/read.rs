//! Reading: pages of a user's own timeline. What a page holds depends on where it begins alone.

use std::sync::Arc;

use im_proto::ErrorCode;

use super::{Logic, lock, refusal};
use crate::id::{Uid, Version};
use crate::message::TimelineId;
use crate::session::Caller;
use crate::storage::{Head, Page, Read};

/// A page that is asked for: after < version ≤ until.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageAsk {
    /// Whose timeline.
    pub user: Uid,
    /// Behind which version it begins.
    pub after: Version,
    /// Up to which it goes; `None`: as far as there is something.
    pub until: Option<Version>,
    /// How many entries at most; `None`: [`Policy::default_page`](super::Policy::default_page). Never more than
    /// [`Policy::max_page`](super::Policy::max_page).
    pub limit: Option<usize>,
    /// What the reader knows of: whoever answers has at least that, so that no head goes back.
    pub told: Version,
}

impl PageAsk {
    /// What comes after a version.
    #[must_use]
    pub fn after(user: Uid, after: Version) -> Self {
        Self { user, after, until: None, limit: None, told: Version::ZERO }
    }
}

impl Logic {
    /// Reads pages of users' timelines; acknowledges nothing.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// For each page: [`VersionAheadOfHead`](ErrorCode::VersionAheadOfHead) if the timeline is shorter than `after`;
    /// [`Unavailable`](ErrorCode::Unavailable).
    pub async fn read(&self, asks: Vec<PageAsk>) -> Vec<Result<Page, ErrorCode>> {
        let afters: Vec<_> = asks.iter().map(|ask| ask.after).collect();
        let reads = asks.into_iter().map(|ask| self.bounded(ask)).collect();
        let pages = self.ports.store.read(reads).await;
        let answer = |(after, page): (Version, Result<Page, _>)| match page {
            Ok(page) if after > page.head => Err(ErrorCode::VersionAheadOfHead),
            Ok(page) => Ok(page),
            Err(failure) => Err(refusal(&failure)),
        };
        afters.into_iter().zip(pages).map(answer).collect()
    }

    fn bounded(&self, ask: PageAsk) -> Read {
        Read {
            timeline: TimelineId::User(ask.user),
            after: ask.after,
            until: ask.until,
            limit: ask.limit.map_or(self.policy.default_page, |limit| limit.min(self.policy.max_page)),
            max_bytes: self.policy.page_bytes,
            least: Some(ask.told.max(ask.after)),
        }
    }

    /// Where users' timelines are.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorCode::Unavailable).
    pub async fn heads(&self, users: Vec<Uid>) -> Result<Vec<Head>, ErrorCode> {
        let timelines = users.into_iter().map(TimelineId::User).collect();
        self.ports.store.heads(timelines).await.map_err(|failure| refusal(&failure))
    }

    /// The caller's device holds everything up to this version, which is in its timeline. It is stored soon.
    pub(super) fn holds(&self, caller: &Arc<Caller>, version: Version) {
        if version > Version::ZERO {
            lock(&self.acks).up_to(&caller.uid, &caller.device, version);
            lock(&self.deliveries).acked(self.ports.clock.tick(), &caller.uid, version);
        }
    }
}
