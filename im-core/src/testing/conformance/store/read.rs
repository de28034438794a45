use bytes::Bytes;

use super::StoreBench;
use super::fixture::{
    NAMES, append_all, direct, entries, everything, group, key, numbered, only, outline, to_group, uid, user,
};
use crate::id::Version;
use crate::message::{Target, TimelineId};
use crate::storage::{Head, Page, Post, Read, Store};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::same;
use crate::testing::conformance::{Case, Failure, Outcome};

pub(super) fn cases() -> Vec<Case<dyn StoreBench>> {
    cases! {
        "Timelines::read" {
            reads_are_answered_in_the_order_asked: "There is one answer for each read, in order.",
            pages_join_without_a_hole: "Entries come in version order, without a hole between the first and the last",
            names_and_contents_come_back_byte_for_byte: "An entry is what was appended, byte for byte.",
            every_byte_comes_back: "An entry is what was appended, byte for byte.",
            large_contents_come_back: "An entry is what was appended, byte for byte.",
            long_texts_of_any_script_come_back: "An entry is what was appended, byte for byte.",
            extreme_numbers_come_back: "An entry is what was appended, byte for byte.",
            a_page_has_at_most_limit_entries: "A page has at most `limit` entries",
            a_page_ends_at_until: "none above `until`",
            a_page_stops_before_its_byte_limit: "stops before their sizes pass `max_bytes`, but not before the first.",
            an_unknown_timeline_is_empty: "An unknown timeline is an empty one with head 0.",
            only_an_empty_range_is_an_empty_page: "A page is empty only if nothing lies in the range.",
            a_read_sees_what_was_acknowledged: "what `append` acknowledged before this call began is seen by it.",
        }
        "Timelines::heads" {
            heads_are_answered_in_the_order_asked: "One answer for each timeline asked, in order; an unknown timeline has [`Head::default`].",
            a_head_moves_with_its_timeline: "What `append` acknowledged before this call began is seen by it.",
        }
    }
}

fn range(after: i64, until: Option<i64>, limit: usize, max_bytes: usize) -> Read {
    Read {
        timeline: user("bob"),
        after: Version(after),
        until: until.map(Version),
        limit,
        max_bytes,
        least: None,
    }
}

async fn bob_with(bench: &dyn StoreBench, count: i64) -> Result<std::sync::Arc<dyn Store>, Failure> {
    let store = bench.open().await;
    let posts: Vec<_> = (1..=count).map(|n| direct("alice", "bob", n)).collect();
    append_all(&*store, &posts).await?;
    Ok(store)
}

async fn page(store: &dyn Store, read: Read) -> Result<Page, Failure> {
    Ok(only(store.read(vec![read]).await)??)
}

fn versions(page: &Page) -> Vec<i64> {
    page.entries.iter().map(|entry| entry.version.0).collect()
}

async fn reads_are_answered_in_the_order_asked(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    append_all(&*store, &[direct("alice", "bob", 1), to_group("bob", 7, 2), direct("bob", "carol", 3)])
        .await?;
    let asked = ["carol", "nobody", "alice", "bob"].map(|name| everything(user(name)));
    let asked = [&asked[..], &[everything(group(7))]].concat();
    let mut found = Vec::new();
    for answer in store.read(asked).await {
        found.push(answer?.entries.iter().map(|entry| entry.message.msgid.0).collect::<Vec<_>>());
    }
    same("the msgids", found, vec![vec![3], vec![], vec![1], vec![1, 3], vec![2]])?;
    same("answers to no read", store.read(Vec::new()).await.len(), 0)
}

async fn pages_join_without_a_hole(bench: &dyn StoreBench) -> Outcome {
    let store = bob_with(bench, 100).await?;
    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let page = page(&*store, range(after, None, 7, usize::MAX)).await?;
        same("the head", page.head, Version(100))?;
        let Some(last) = page.entries.last() else { break };
        after = last.version.0;
        seen.extend(page.entries.iter().map(|entry| (entry.version.0, entry.message.msgid.0)));
    }
    same("all pages", seen, numbered(1..=100))
}

async fn names_and_contents_come_back_byte_for_byte(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let posts: Vec<_> = (1..).zip(NAMES).map(|(n, name)| named(name, n)).collect();
    append_all(&*store, &posts).await?;
    drop(store);
    let store = bench.reopen().await;
    for post in &posts {
        let stored = entries(&*store, post.home.clone()).await?;
        let stored: Vec<_> = stored.into_iter().map(|entry| entry.message).collect();
        same("the timeline of a strange name", stored, vec![post.message.clone()])?;
        let rows = store.conversations(&post.message.from, None, 10).await?;
        let with: Vec<_> = rows.into_iter().map(|row| row.with).collect();
        same("the conversations of a strange name", with, vec![Target::User(uid("bob"))])?;
    }
    let rows = store.conversations(&uid("bob"), None, 100).await?;
    same("the number of bob's conversations", rows.len(), NAMES.len())
}

fn named(name: &str, msgid: i64) -> Post {
    let mut post = direct(name, "bob", msgid);
    post.message.key = key(name);
    post.message.content = Bytes::copy_from_slice(name.as_bytes());
    post
}

async fn every_byte_comes_back(bench: &dyn StoreBench) -> Outcome {
    let mut post = direct("alice", "bob", 1);
    post.message.content = (0..=255_u8).rev().chain([0, 0, 0xFF, 0xC3, 0x28]).collect();
    let mut empty = direct("alice", "bob", 2);
    empty.message.content = Bytes::new();
    contents_come_back(bench, vec![post, empty]).await
}

async fn large_contents_come_back(bench: &dyn StoreBench) -> Outcome {
    let posts = (1..=20).map(|n| {
        let mut post = direct("alice", "bob", n);
        let byte = u8::try_from(n).unwrap_or_default();
        post.message.content = Bytes::from(vec![byte; 64 << 10]);
        post
    });
    contents_come_back(bench, posts.collect()).await
}

/// Quotes, escapes and NULs, right-to-left marks, and characters of one to four bytes, up to 64 KiB.
async fn long_texts_of_any_script_come_back(bench: &dyn StoreBench) -> Outcome {
    let unit = "'; --\"\\\0%_\u{202E}\u{200F}é漢😀\u{10FFFF}$1?\r\n";
    let text = unit.repeat((64 << 10) / unit.len());
    let posts = NAMES.into_iter().chain([&*text]).zip(1..).map(|(text, n)| {
        let mut post = direct("alice", "bob", n);
        post.message.content = Bytes::copy_from_slice(text.as_bytes());
        post
    });
    contents_come_back(bench, posts.collect()).await
}

async fn contents_come_back(bench: &dyn StoreBench, posts: Vec<Post>) -> Outcome {
    append_all(&*bench.open().await, &posts).await?;
    let store = bench.reopen().await;
    let stored = entries(&*store, user("bob")).await?;
    let stored: Vec<_> = stored.into_iter().map(|entry| entry.message.content).collect();
    same("the contents", stored, posts.into_iter().map(|post| post.message.content).collect())
}

async fn extreme_numbers_come_back(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let mut least = direct("alice", "bob", 1);
    least.message.msgid = crate::id::MsgId(i64::MIN);
    least.message.sent_at = crate::time::Timestamp(i64::MIN);
    least.message.content_type = crate::message::ContentType(i32::MIN);
    least.message.kind = im_proto::CmdId(0);
    let mut most = direct("alice", "bob", 2);
    most.message.msgid = crate::id::MsgId(i64::MAX);
    most.message.sent_at = crate::time::Timestamp(i64::MAX);
    most.message.content_type = crate::message::ContentType(i32::MAX);
    most.message.kind = im_proto::CmdId(u32::MAX);
    append_all(&*store, &[least.clone(), most.clone()]).await?;
    let stored = entries(&*store, user("bob")).await?;
    let stored: Vec<_> = stored.into_iter().map(|entry| entry.message).collect();
    same("the messages", stored, vec![least.message, most.message])
}

async fn a_page_has_at_most_limit_entries(bench: &dyn StoreBench) -> Outcome {
    let store = bob_with(bench, 10).await?;
    for (limit, expected) in
        [(0, vec![4]), (1, vec![4]), (3, vec![4, 5, 6]), (usize::MAX, (4..=10).collect())]
    {
        let page = page(&*store, range(3, None, limit, usize::MAX)).await?;
        same(format!("a page with limit {limit}"), versions(&page), expected)?;
    }
    Ok(())
}

async fn a_page_ends_at_until(bench: &dyn StoreBench) -> Outcome {
    let store = bob_with(bench, 10).await?;
    let bounds = [
        (2, 5, vec![3, 4, 5]),
        (2, 3, vec![3]),
        (2, 2, vec![]),
        (5, 2, vec![]),
        (8, 99, vec![9, 10]),
        (-9, 2, vec![1, 2]),
        (i64::MIN, i64::MAX, (1..=10).collect()),
        (3, i64::MIN, vec![]),
        (i64::MAX, i64::MAX, vec![]),
    ];
    for (after, until, expected) in bounds {
        let page = page(&*store, range(after, Some(until), 100, usize::MAX)).await?;
        same(format!("versions after {after} until {until}"), versions(&page), expected)?;
        same("the head", page.head, Version(10))?;
    }
    Ok(())
}

async fn a_page_stops_before_its_byte_limit(bench: &dyn StoreBench) -> Outcome {
    let store = bob_with(bench, 9).await?;
    let size = direct("alice", "bob", 1).message.size();
    let budgets = [(0, 1), (size - 1, 1), (size, 1), (2 * size - 1, 1), (2 * size, 2), (5 * size + 1, 5)];
    for (budget, expected) in budgets {
        let page = page(&*store, range(0, None, 100, budget)).await?;
        same(format!("entries within {budget} bytes"), page.entries.len(), expected)?;
    }
    Ok(())
}

async fn an_unknown_timeline_is_empty(bench: &dyn StoreBench) -> Outcome {
    let store = bob_with(bench, 1).await?;
    for timeline in [user("nobody"), user("Bob"), group(1), TimelineId::User(uid("bob\0"))] {
        let page = page(&*store, everything(timeline)).await?;
        same("the page of an unknown timeline", page, Page::default())?;
    }
    Ok(())
}

async fn only_an_empty_range_is_an_empty_page(bench: &dyn StoreBench) -> Outcome {
    let store = bob_with(bench, 3).await?;
    for after in [3, 4, i64::MAX] {
        let page = page(&*store, range(after, None, 100, usize::MAX)).await?;
        same(format!("the page after {after} of 3"), page, Page { entries: vec![], head: Version(3) })?;
    }
    let page = page(&*store, range(2, Some(3), 0, 0)).await?;
    same("the page with the last entry, with limits of 0", versions(&page), vec![3])
}

async fn a_read_sees_what_was_acknowledged(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    for n in 1..=50 {
        append_all(&*store, &[direct("alice", "bob", n)]).await?;
        same("bob's timeline at once", outline(&*store, user("bob")).await?, numbered(1..=n))?;
    }
    Ok(())
}

async fn heads_are_answered_in_the_order_asked(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    append_all(&*store, &[direct("alice", "bob", 1), direct("carol", "bob", 2), to_group("carol", 7, 3)])
        .await?;
    let asked = vec![user("bob"), group(8), user("nobody"), group(7), user("alice"), user("bob")];
    let heads = store.heads(asked).await?;
    let expected = [2, 0, 0, 1, 1, 2].map(|head| Head { floor: Version(0), head: Version(head) });
    same("the heads", heads, expected.to_vec())?;
    same("nothing asked", store.heads(Vec::new()).await?, Vec::new())
}

async fn a_head_moves_with_its_timeline(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    for n in 1..=20 {
        append_all(&*store, &[direct("alice", "bob", n)]).await?;
        let heads = store.heads(vec![user("alice"), user("bob")]).await?;
        same("the heads", heads, vec![Head { floor: Version(0), head: Version(n) }; 2])?;
    }
    let many = (0..300).map(|n| if n % 3 == 0 { user("bob") } else { user("nobody") }).collect();
    let heads: i64 = bench.reopen().await.heads(many).await?.iter().map(|head| head.head.0).sum();
    same("the sum of many heads after a restart", heads, 100 * 20)
}
