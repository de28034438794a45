use super::StoreBench;
use super::fixture::{
    append_all, append_one, direct, entries, group, numbered, outline, placed, to_group, uid, user,
};
use crate::id::MsgId;
use crate::message::Entry;
use crate::storage::{Post, StoreErrorKind};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::{refused, same};
use crate::testing::conformance::{Case, Failure, Outcome};

pub(super) fn cases() -> Vec<Case<dyn StoreBench>> {
    cases! {
        "Timelines::append" {
            versions_of_a_timeline_are_contiguous_from_1: "A version is the timeline's head plus one",
            versions_go_on_after_a_restart: "contiguous from 1, never given twice, whatever fails",
            a_refused_post_takes_no_version: "contiguous from 1, never given twice, whatever fails",
            what_was_acknowledged_outlives_a_restart: "`Ok` means durable",
            every_post_has_its_answer: "There is one answer for each post, in order; an empty batch has none.",
            one_sender_to_many_keeps_the_order: "Posts of one batch that touch a common timeline are placed in the batch's order.",
            many_senders_to_one_keep_the_order: "Posts of one batch that touch a common timeline are placed in the batch's order.",
            crossed_posts_keep_the_order: "Posts of one batch that touch a common timeline are placed in the batch's order.",
            batches_of_every_size_are_placed: "Posts of one batch that touch a common timeline are placed in the batch's order.",
            a_msgid_that_stands_in_home_is_refused: "A post whose key is new but whose msgid stands in `home` or `copy` already",
            a_msgid_that_stands_in_the_copy_is_refused: "A post whose key is new but whose msgid stands in `home` or `copy` already",
            a_msgid_used_twice_in_one_batch_is_refused: "A post whose key is new but whose msgid stands in `home` or `copy` already",
            a_post_stands_in_both_timelines_or_in_none: "A post is placed in both its timelines or in none, and its key with it.",
            failed_writes_keep_the_order: "If a post fails with a retryable error, so does every later post of the batch with the same `home`.",
            a_refused_post_leaves_its_neighbours_alone: "A batch is not atomic: each post has its own answer.",
            a_message_to_oneself_stands_once: "A post is placed in both its timelines or in none, and its key with it.",
            a_copy_equal_to_home_counts_as_none: "A post is placed in both its timelines or in none, and its key with it.",
            a_group_message_stands_in_the_group: "A post is placed in both its timelines or in none, and its key with it.",
        }
    }
}

async fn versions_of_a_timeline_are_contiguous_from_1(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    for n in 1..=5 {
        let post = direct("alice", "bob", n);
        same("placement", append_one(&*store, &post).await??, placed(&post, n, Some(n)))?;
    }
    same("bob's timeline", outline(&*store, user("bob")).await?, numbered(1..=5))
}

async fn versions_go_on_after_a_restart(bench: &dyn StoreBench) -> Outcome {
    append_all(&*bench.open().await, &[direct("alice", "bob", 1), direct("bob", "alice", 2)]).await?;
    let store = bench.reopen().await;
    append_all(&*store, &[direct("alice", "carol", 3)]).await?;
    same("alice's timeline", outline(&*store, user("alice")).await?, numbered(1..=3))
}

async fn a_refused_post_takes_no_version(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let first = direct("alice", "bob", 1);
    append_all(&*store, std::slice::from_ref(&first)).await?;
    let mut other = direct("alice", "bob", 2);
    other.message.key = first.message.key;
    refused("a reused key", append_one(&*store, &other).await?, StoreErrorKind::KeyReused)?;
    append_all(&*store, &[direct("alice", "bob", 3)]).await?;
    same("alice's timeline", outline(&*store, user("alice")).await?, numbered([1, 3]))
}

async fn what_was_acknowledged_outlives_a_restart(bench: &dyn StoreBench) -> Outcome {
    let posts: Vec<_> = (1..=20).map(|n| direct("alice", "bob", n)).collect();
    append_all(&*bench.open().await, &posts).await?;
    let store = bench.reopen().await;
    let expected: Vec<_> = (1..)
        .zip(&posts)
        .map(|(n, post)| Entry {
            version: crate::id::Version(n),
            message: post.message.clone(),
            withdrawn_at: None,
        })
        .collect();
    same("bob's timeline", entries(&*store, user("bob")).await?, expected.clone())?;
    same("alice's timeline", entries(&*store, user("alice")).await?, expected)
}

async fn every_post_has_its_answer(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    same("answers to an empty batch", store.append(Vec::new()).await.len(), 0)?;
    let (first, second) = (direct("alice", "bob", 1), direct("carol", "dave", 2));
    let answers = append_all(&*store, &[first.clone(), second.clone()]).await?;
    same("answers", answers, vec![placed(&first, 1, Some(1)), placed(&second, 1, Some(1))])
}

async fn one_sender_to_many_keeps_the_order(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    // Receivers in falling order, msgids in falling order: neither may decide.
    let posts: Vec<_> = (1..=30).map(|n| direct("alice", &format!("user {:02}", 31 - n), 100 - n)).collect();
    append_all(&*store, &posts).await?;
    same("alice's timeline", outline(&*store, user("alice")).await?, numbered((1..=30).map(|n| 100 - n)))
}

async fn many_senders_to_one_keep_the_order(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let posts: Vec<_> = (1..=200).map(|n| direct(&format!("user {}", n * 7 % 31), "bob", n)).collect();
    append_all(&*store, &posts).await?;
    same("bob's timeline", outline(&*store, user("bob")).await?, numbered(1..=200))
}

async fn crossed_posts_keep_the_order(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let posts: Vec<_> = (1..=40)
        .map(|n| match n % 2 {
            0 => direct("alice", "bob", n),
            _ => direct("bob", "alice", n),
        })
        .collect();
    append_all(&*store, &posts).await?;
    for name in ["alice", "bob"] {
        same(format!("{name}'s timeline"), outline(&*store, user(name)).await?, numbered(1..=40))?;
    }
    Ok(())
}

async fn batches_of_every_size_are_placed(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let mut next = 1;
    for size in [1, 2, 7, 8, 9, 63, 64, 65, 500, 1300] {
        let posts: Vec<_> =
            (next..next + size).map(|n| direct(&format!("user {}", n % 50), "hot", n)).collect();
        next += size;
        let answers = append_all(&*store, &posts).await?;
        let versions: Vec<_> = answers.iter().filter_map(|placed| placed.copy).map(|copy| copy.0).collect();
        same(format!("versions of a batch of {size}"), versions, (next - size..next).collect())?;
    }
    same("the hot timeline", outline(&*store, user("hot")).await?, numbered(1..next))
}

async fn a_msgid_that_stands_in_home_is_refused(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    append_all(&*store, &[direct("alice", "bob", 1)]).await?;
    let mut other = direct("alice", "carol", 2);
    other.message.msgid = MsgId(1);
    refused("a msgid of home", append_one(&*store, &other).await?, StoreErrorKind::MsgIdReused)?;
    same("carol's timeline", outline(&*store, user("carol")).await?, Vec::new())
}

async fn a_msgid_that_stands_in_the_copy_is_refused(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    append_all(&*store, &[direct("alice", "bob", 1)]).await?;
    let mut other = direct("carol", "bob", 2);
    other.message.msgid = MsgId(1);
    refused("a msgid of the copy", append_one(&*store, &other).await?, StoreErrorKind::MsgIdReused)?;
    same("carol's timeline", outline(&*store, user("carol")).await?, Vec::new())
}

async fn a_msgid_used_twice_in_one_batch_is_refused(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let mut twin = direct("carol", "bob", 2);
    twin.message.msgid = MsgId(1);
    let mut answers = store.append(vec![direct("alice", "bob", 1), twin, direct("alice", "bob", 3)]).await;
    same("the number of answers", answers.len(), 3)?;
    refused("the second use of a msgid", answers.remove(1), StoreErrorKind::MsgIdReused)?;
    same("bob's timeline", outline(&*store, user("bob")).await?, numbered([1, 3]))
}

async fn a_post_stands_in_both_timelines_or_in_none(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    append_all(&*store, &[direct("zoe", "bob", 9)]).await?;
    let mut twin = direct("alice", "bob", 1);
    twin.message.msgid = MsgId(9);
    refused("a msgid of the copy", append_one(&*store, &twin).await?, StoreErrorKind::MsgIdReused)?;
    same("alice's timeline", outline(&*store, user("alice")).await?, Vec::new())?;
    let key = (uid("alice"), twin.message.key);
    same("the key of the post that failed", store.find(vec![key]).await?, vec![None])?;
    let good = direct("alice", "bob", 1);
    same("the post with a free msgid", append_one(&*store, &good).await??, placed(&good, 1, Some(2)))
}

async fn failed_writes_keep_the_order(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    append_all(&*store, &[direct("alice", "bob", 1)]).await?;
    if !bench.fail_writes(true).await {
        return Err(Failure::NotTried("the bench cannot make writes fail"));
    }
    // Large enough that not even a store with some room left can take it all.
    let mut posts: Vec<_> = (2..=400).map(|n| direct("alice", &format!("user {n}"), n)).collect();
    posts.iter_mut().for_each(|post| post.message.content = bytes::Bytes::from(vec![7; 16 << 10]));
    let answers = store.append(posts.clone()).await;
    let stored = answers.iter().take_while(|answer| answer.is_ok()).count();
    same("whether something failed", stored < posts.len(), true)?;
    let retryable = |error: &crate::storage::StoreError| error.is_retryable();
    let failed = answers.iter().skip(stored).all(|answer| answer.as_ref().is_err_and(retryable));
    same("whether all after the first failure failed, retryably", failed, true)?;
    bench.fail_writes(false).await;
    append_all(&*store, &posts).await?;
    same("alice's timeline", outline(&*store, user("alice")).await?, numbered(1..=400))
}

async fn a_refused_post_leaves_its_neighbours_alone(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let first = direct("alice", "bob", 1);
    let mut bad = direct("alice", "bob", 2);
    bad.message.key = first.message.key.clone();
    let last = direct("alice", "bob", 3);
    let mut answers = store.append(vec![first.clone(), bad, last.clone()]).await;
    same("the number of answers", answers.len(), 3)?;
    refused("a reused key", answers.remove(1), StoreErrorKind::KeyReused)?;
    let rest = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    same("the neighbours", rest, vec![placed(&first, 1, Some(1)), placed(&last, 2, Some(2))])
}

async fn a_message_to_oneself_stands_once(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let note = direct("alice", "alice", 1);
    same("placement", append_one(&*store, &note).await??, placed(&note, 1, None))?;
    same("alice's timeline", outline(&*store, user("alice")).await?, numbered([1]))
}

async fn a_copy_equal_to_home_counts_as_none(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let note = Post { copy: Some(user("alice")), ..direct("alice", "alice", 1) };
    same("placement", append_one(&*store, &note).await??, placed(&note, 1, None))?;
    same("alice's timeline", outline(&*store, user("alice")).await?, numbered([1]))
}

async fn a_group_message_stands_in_the_group(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let posts = [to_group("alice", 7, 1), to_group("bob", 7, 2), to_group("alice", i64::MAX, 3)];
    append_all(&*store, &posts).await?;
    same("the group's timeline", outline(&*store, group(7)).await?, numbered([1, 2]))?;
    same("another group's timeline", outline(&*store, group(i64::MAX)).await?, numbered([3]))?;
    same("a user named like the group", outline(&*store, user("7")).await?, Vec::new())?;
    same("the sender's timeline", outline(&*store, user("alice")).await?, Vec::new())
}
