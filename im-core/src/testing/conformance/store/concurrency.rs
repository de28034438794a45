use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use futures::future::{join, join_all, poll_fn};

use super::StoreBench;
use super::fixture::{append_all, append_one, direct, everything, numbered, only, outline, resent, user};
use crate::storage::{Post, Store};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::same;
use crate::testing::conformance::{Case, Outcome};

pub(super) fn cases() -> Vec<Case<dyn StoreBench>> {
    cases! {
        "Timelines::append" {
            crossed_writers_keep_versions_contiguous: "contiguous from 1, never given twice, whatever fails",
            of_two_racing_repeats_one_is_placed: "A post whose key (sender, [`Message::key`]) is known is a repeat.",
            a_dropped_append_is_stored_or_not: "Dropping the future leaves each post stored or not stored, never half.",
        }
        "Timelines::read" {
            a_page_is_of_one_moment: "`head` and `entries` of one page are of one moment.",
        }
    }
}

const WRITERS: i64 = 8;
const BATCHES: i64 = 10;

/// Writer `w`'s batch `b`: to the next writers, so that every timeline is written by several.
fn batch(writer: i64, batch: i64) -> Vec<Post> {
    (0..WRITERS)
        .map(|n| {
            let msgid = writer * 10_000 + batch * 100 + n + 1;
            direct(&format!("user {writer}"), &format!("user {}", (writer + n) % WRITERS), msgid)
        })
        .collect()
}

async fn crossed_writers_keep_versions_contiguous(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let writers = (0..WRITERS).map(|writer| {
        let store = &*store;
        async move {
            for n in 0..BATCHES {
                append_all(store, &batch(writer, n)).await?;
            }
            Outcome::Ok(())
        }
    });
    join_all(writers).await.into_iter().collect::<Outcome>()?;
    for writer in 0..WRITERS {
        let name = format!("user {writer}");
        let found = outline(&*store, user(&name)).await?;
        let sent = found.iter().filter(|(_, msgid)| msgid / 10_000 == writer).map(|(_, msgid)| *msgid);
        let expected: Vec<_> =
            (0..BATCHES).flat_map(|n| batch(writer, n)).map(|post| post.message.msgid.0).collect();
        same(format!("what {name} sent, in its order"), sent.collect(), expected)?;
        let versions: Vec<_> = found.iter().map(|(version, _)| *version).collect();
        same(format!("the versions of {name}"), versions, (1..=(2 * WRITERS - 1) * BATCHES).collect())?;
    }
    Ok(())
}

async fn of_two_racing_repeats_one_is_placed(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    for n in 1..=20 {
        let post = direct("alice", "bob", n);
        let again = resent(&post, 1_000 + n);
        let (one, other) = join(append_one(&*store, &post), append_one(&*store, &again)).await;
        let (one, other) = (one??, other??);
        same("whether exactly one was new", one.repeated ^ other.repeated, true)?;
        same("the msgids", one.msgid, other.msgid)?;
        same("the versions", (one.home, one.copy), (other.home, other.copy))?;
    }
    same("bob's versions", outline(&*store, user("bob")).await?.len(), 20)
}

async fn a_dropped_append_is_stored_or_not(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let mut next = 1;
    for polls in [1, 2, 3, 5, 8, 20, 50, 100, 300, 1_000] {
        let posts: Vec<_> = (next..next + 70).map(|n| direct("alice", "bob", n)).collect();
        next += 70;
        drop_after(polls, store.append(posts.clone())).await;
        append_all(&*store, &posts).await?;
    }
    let store: std::sync::Arc<dyn Store> = bench.reopen().await;
    for name in ["alice", "bob"] {
        same(format!("{name}'s timeline"), outline(&*store, user(name)).await?, numbered(1..next))?;
    }
    Ok(())
}

/// Polls a future up to so many times, letting the executor turn in between, then drops it.
async fn drop_after(polls: usize, future: impl Future) {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 || future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn a_page_is_of_one_moment(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let writer = async {
        for n in 1..=100 {
            append_all(&*store, &[direct("alice", "bob", n)]).await?;
        }
        Outcome::Ok(())
    };
    let reader = async {
        let mut seen = 0;
        while seen < 100 {
            let page = only(store.read(vec![everything(user("bob"))]).await)??;
            let last = page.entries.last().map(|entry| entry.version).unwrap_or_default();
            same("the last entry of a page without bounds", last, page.head)?;
            same("whether the head went back", page.head.0 < seen, false)?;
            seen = page.head.0;
            drop_after(1, futures::future::pending::<()>()).await;
        }
        Outcome::Ok(())
    };
    let (writer, reader) = join(writer, reader).await;
    writer.and(reader)
}
