use super::{Kinds, Side, Verifier, VerifyError, of};
use crate::storage::{Found, Placed, StoredPost};
use crate::transfer::Difference;
use crate::transfer::pages::Pages;

impl Verifier<'_> {
    /// Compares what is remembered of sends, and where messages stand.
    pub(super) async fn messages(&mut self, posts: Vec<StoredPost>) -> Result<(), VerifyError> {
        if posts.is_empty() {
            return Ok(());
        }
        self.sends(&posts).await?;
        self.places(&posts).await
    }

    async fn sends(&mut self, posts: &[StoredPost]) -> Result<(), VerifyError> {
        let keys: Vec<_> = posts.iter().map(key).collect();
        let (first, second) = self.both.ask(|store| store.find(keys.clone())).await?;
        for (post, (first, second)) in posts.iter().zip(first.into_iter().zip(second)) {
            let expected = Some(found(post));
            if first != expected || second != expected {
                self.found.differ(Difference::Send(post.message.msgid, first, second));
            }
        }
        Ok(())
    }

    /// A place that both stores do not know of is below the floor.
    async fn places(&mut self, posts: &[StoredPost]) -> Result<(), VerifyError> {
        let of = |post: &StoredPost| -> Vec<_> {
            post.places().map(|place| (place.clone(), post.message.msgid)).collect()
        };
        let places: Vec<_> = posts.iter().flat_map(of).collect();
        let questions: Vec<_> =
            places.iter().map(|(place, msgid)| (place.timeline.clone(), *msgid)).collect();
        let (first, second) = self.both.ask(|store| store.locate(questions.clone())).await?;
        for ((place, msgid), answers) in places.into_iter().zip(first.into_iter().zip(second)) {
            if answers == (None, None) {
                continue;
            }
            for (side, version) in [(Side::First, answers.0), (Side::Second, answers.1)] {
                if version != Some(place.version) {
                    let timeline = place.timeline.clone();
                    self.found.differ(Difference::Located(timeline, msgid, side, version));
                }
            }
        }
        Ok(())
    }

    /// Messages of the second store that the first does not have.
    pub(super) async fn strange_messages(&mut self) -> Result<(), VerifyError> {
        let mut pages = Pages::new(self.both.second, self.limits);
        while let Some(rows) = pages.next().await.map_err(of(Side::Second))? {
            let Kinds { posts, .. } = Kinds::of(rows);
            let keys = posts.iter().map(key).collect();
            let known = self.both.first.find(keys).await.map_err(of(Side::First))?;
            for (post, _) in posts.iter().zip(known).filter(|(_, known)| known.is_none()) {
                self.found.differ(Difference::Send(post.message.msgid, None, Some(found(post))));
            }
        }
        Ok(())
    }
}

fn key(post: &StoredPost) -> (crate::id::Uid, crate::message::SendKey) {
    (post.message.from.clone(), post.message.key.clone())
}

/// What a store remembers of a post.
fn found(post: &StoredPost) -> Found {
    let placed = Placed {
        msgid: post.message.msgid,
        sent_at: post.message.sent_at,
        home: post.home.version,
        copy: post.copy.as_ref().map(|copy| copy.version),
        repeated: true,
    };
    Found { digest: post.digest, placed }
}
