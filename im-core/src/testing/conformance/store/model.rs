use super::StoreBench;
use super::fixture::{direct, entries, group, resent, to_group, uid, user};
use crate::memory::State;
use crate::storage::{Post, Store};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::same;
use crate::testing::conformance::{Case, Outcome};

pub(super) fn cases() -> Vec<Case<dyn StoreBench>> {
    cases! {
        "Timelines::append" {
            random_batches_do_what_the_reference_store_does: "Posts of one batch that touch a common timeline are placed in the batch's order.",
        }
        "Conversations::conversations" {
            random_batches_leave_the_rows_of_the_reference_store: "`unread` counts the entries of others above the owner's read position",
        }
    }
}

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "eve"];

async fn random_batches_do_what_the_reference_store_does(bench: &dyn StoreBench) -> Outcome {
    let (store, state) = play(bench).await?;
    let timelines = NAMES.map(user).into_iter().chain([group(1), group(2)]);
    for timeline in timelines {
        let expected = state.read(&super::fixture::everything(timeline.clone()));
        same(format!("{timeline:?}"), entries(&*store, timeline.clone()).await?, expected.entries)?;
        let heads = store.heads(vec![timeline.clone()]).await?;
        same(format!("the head of {timeline:?}"), heads, vec![state.head(&timeline)])?;
    }
    Ok(())
}

async fn random_batches_leave_the_rows_of_the_reference_store(bench: &dyn StoreBench) -> Outcome {
    let (store, state) = play(bench).await?;
    for name in NAMES {
        let rows = store.conversations(&uid(name), None, 100).await?;
        same(format!("{name}'s rows"), rows, state.conversations(&uid(name), None, 100))?;
    }
    Ok(())
}

/// Plays random batches on the store under test and on the reference, comparing every answer.
async fn play(
    bench: &dyn StoreBench,
) -> Result<(std::sync::Arc<dyn Store>, State), crate::testing::conformance::Failure> {
    let (mut store, mut state, mut dice) = (bench.open().await, State::default(), Dice(42));
    let mut sent: Vec<Post> = Vec::new();
    for round in 0..40 {
        let posts: Vec<_> = (0..dice.below(90)).map(|_| random_post(&mut dice, &mut sent)).collect();
        let expected: Vec<_> = posts.iter().map(|post| state.append(post.clone())).collect();
        let answers = store.append(posts).await;
        same("the number of answers", answers.len(), expected.len())?;
        for (answer, expected) in answers.into_iter().zip(expected) {
            let kinds = (answer.map_err(|error| error.kind()), expected.map_err(|error| error.kind()));
            same(format!("an answer of round {round}"), kinds.0, kinds.1)?;
        }
        if round % 10 == 9 {
            store = bench.reopen().await;
        }
    }
    Ok((store, state))
}

/// Most posts are new; some repeat an old send, reuse its key or take its msgid.
fn random_post(dice: &mut Dice, sent: &mut Vec<Post>) -> Post {
    let msgid = i64::try_from(sent.len()).unwrap_or(i64::MAX) + 1;
    let new = match dice.below(6) {
        0 => to_group(dice.name(), dice.below(2) + 1, msgid),
        _ => direct(dice.name(), dice.name(), msgid),
    };
    let old = usize::try_from(dice.below(msgid)).ok().and_then(|n| sent.get(n)).cloned();
    let post = match (dice.below(10), old) {
        (0 | 1, Some(old)) => resent(&old, msgid),
        (2, Some(old)) => changed(new, |post| post.message.key = old.message.key),
        (3, Some(old)) => changed(new, |post| post.message.msgid = old.message.msgid),
        _ => new,
    };
    sent.push(post.clone());
    post
}

fn changed(mut post: Post, change: impl FnOnce(&mut Post)) -> Post {
    change(&mut post);
    post
}

/// SplitMix64: the same throws everywhere.
struct Dice(u64);

impl Dice {
    /// A number from 0 to `bound - 1`.
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        i64::try_from(z >> 1).unwrap_or_default() % bound.max(1)
    }

    fn name(&mut self) -> &'static str {
        usize::try_from(self.below(5)).ok().and_then(|n| NAMES.get(n)).unwrap_or(&"alice")
    }
}
