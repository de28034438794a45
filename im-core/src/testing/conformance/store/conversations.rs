use super::StoreBench;
use super::fixture::{append_all, append_one, direct, resent, to_group, uid, user};
use crate::id::Version;
use crate::message::Target;
use crate::storage::{Conversation, Post, Store, StoreErrorKind};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::{refused, same};
use crate::testing::conformance::{Case, Failure, Outcome};

pub(super) fn cases() -> Vec<Case<dyn StoreBench>> {
    cases! {
        "Conversations::conversations" {
            every_conversation_has_a_row_at_both_ends: "There is a row for every conversation that has an entry in the owner's timeline",
            rows_outlive_a_restart: "There is a row for every conversation that has an entry in the owner's timeline",
            a_group_has_no_conversation_list: "There is a row for every conversation that has an entry in the owner's timeline",
            rows_come_newest_first: "A row names the newest entry of its conversation; rows come in descending order of `last_version`.",
            entries_of_others_count_as_unread: "`unread` counts the entries of others above the owner's read position",
            an_own_entry_reads_the_conversation: "an own entry moves the read position to itself, so it sets `unread` to 0",
            one_batch_counts_as_its_posts_one_by_one: "an own entry moves the read position to itself, so it sets `unread` to 0",
            a_message_to_oneself_is_read: "A message to oneself is read.",
            a_repeat_moves_no_row: "A repeat changes nothing.",
            conversations_are_paged_by_version: "At most `limit` rows, those with `last_version` less than `before` if that is given",
        }
        "Timelines::append" {
            rows_are_there_when_the_append_is_answered: "Conversations move in the same transaction",
        }
    }
}

/// A user's rows as (with, last version, last msgid, unread).
async fn rows(store: &dyn Store, owner: &str) -> Result<Vec<(String, i64, i64, i64)>, Failure> {
    let rows = store.conversations(&uid(owner), None, 1_000).await?;
    Ok(rows.iter().map(|row| (name(row), row.last_version.0, row.last_msgid.0, row.unread)).collect())
}

fn name(row: &Conversation) -> String {
    match &row.with {
        Target::User(uid) => uid.to_string(),
        Target::Group(group) => format!("group {group}"),
    }
}

fn row(with: &str, version: i64, msgid: i64, unread: i64) -> (String, i64, i64, i64) {
    (with.to_owned(), version, msgid, unread)
}

async fn every_conversation_has_a_row_at_both_ends(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let post = direct("alice", "bob", 1);
    append_all(&*store, std::slice::from_ref(&post)).await?;
    let row = |with, unread| Conversation {
        with: Target::User(uid(with)),
        last_version: Version(1),
        last_msgid: post.message.msgid,
        last_at: post.message.sent_at,
        unread,
    };
    same("alice's rows", store.conversations(&uid("alice"), None, 10).await?, vec![row("bob", 0)])?;
    same("bob's rows", store.conversations(&uid("bob"), None, 10).await?, vec![row("alice", 1)])?;
    same("a stranger's rows", store.conversations(&uid("carol"), None, 10).await?, Vec::new())
}

async fn rows_outlive_a_restart(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    append_all(&*store, &[direct("alice", "bob", 1), direct("bob", "carol", 2), direct("alice", "bob", 3)])
        .await?;
    let store = bench.reopen().await;
    append_all(&*store, &[direct("alice", "bob", 4)]).await?;
    same("bob's rows", rows(&*store, "bob").await?, vec![row("alice", 4, 4, 3), row("carol", 2, 2, 0)])
}

async fn a_group_has_no_conversation_list(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    append_all(&*store, &[to_group("alice", 7, 1)]).await?;
    same("the sender's rows", rows(&*store, "alice").await?, Vec::new())?;
    let copied = Post { home: user("bob"), ..to_group("alice", 7, 2) };
    append_all(&*store, &[copied]).await?;
    same("a member's rows", rows(&*store, "bob").await?, vec![row("group 7", 1, 2, 1)])
}

async fn rows_come_newest_first(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let posts = [("carol", 1), ("dave", 2), ("alice", 3), ("carol", 4)];
    append_all(&*store, &posts.map(|(from, n)| direct(from, "bob", n))).await?;
    let expected = vec![row("carol", 4, 4, 2), row("alice", 3, 3, 1), row("dave", 2, 2, 1)];
    same("bob's rows", rows(&*store, "bob").await?, expected)
}

async fn entries_of_others_count_as_unread(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    for n in 1..=9 {
        append_all(&*store, &[direct("alice", "bob", n)]).await?;
    }
    same("bob's rows", rows(&*store, "bob").await?, vec![row("alice", 9, 9, 9)])?;
    same("alice's rows", rows(&*store, "alice").await?, vec![row("bob", 9, 9, 0)])
}

async fn an_own_entry_reads_the_conversation(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let says = |from, to, n| [direct(from, to, n)];
    append_all(&*store, &says("alice", "bob", 1)).await?;
    append_all(&*store, &says("carol", "bob", 2)).await?;
    append_all(&*store, &says("bob", "alice", 3)).await?;
    same("after an answer", rows(&*store, "bob").await?, vec![row("alice", 3, 3, 0), row("carol", 2, 2, 1)])?;
    append_all(&*store, &says("alice", "bob", 4)).await?;
    same("after another", rows(&*store, "bob").await?, vec![row("alice", 4, 4, 1), row("carol", 2, 2, 1)])?;
    same("at the other end", rows(&*store, "alice").await?, vec![row("bob", 3, 4, 0)])
}

async fn one_batch_counts_as_its_posts_one_by_one(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    append_all(&*store, &[direct("alice", "bob", 1), direct("carol", "bob", 2)]).await?;
    let batch = [
        direct("alice", "bob", 3),
        direct("bob", "alice", 4),
        direct("alice", "bob", 5),
        direct("carol", "bob", 6),
        direct("alice", "bob", 7),
    ];
    append_all(&*store, &batch).await?;
    same("bob's rows", rows(&*store, "bob").await?, vec![row("alice", 7, 7, 2), row("carol", 6, 6, 2)])?;
    same("alice's rows", rows(&*store, "alice").await?, vec![row("bob", 5, 7, 0)])
}

async fn a_message_to_oneself_is_read(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    append_all(&*store, &[direct("alice", "alice", 1), direct("alice", "alice", 2)]).await?;
    same("alice's rows", rows(&*store, "alice").await?, vec![row("alice", 2, 2, 0)])
}

async fn a_repeat_moves_no_row(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let first = direct("alice", "bob", 1);
    append_all(&*store, &[first.clone(), direct("carol", "bob", 2)]).await?;
    let before = rows(&*store, "bob").await?;
    append_one(&*store, &resent(&first, 99)).await??;
    let mut reused = direct("alice", "bob", 3);
    reused.message.key = first.message.key;
    refused("a reused key", append_one(&*store, &reused).await?, StoreErrorKind::KeyReused)?;
    same("bob's rows", rows(&*store, "bob").await?, before)
}

async fn conversations_are_paged_by_version(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let posts: Vec<_> = (1..=25).map(|n| direct(&format!("user {}", n % 10), "bob", n)).collect();
    append_all(&*store, &posts).await?;
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = store.conversations(&uid("bob"), before, 3).await?;
        let Some(last) = page.last() else { break };
        same("whether a page keeps its limit", page.len() <= 3, true)?;
        before = Some(last.last_version);
        seen.extend(page.iter().map(|row| row.last_version.0));
    }
    same("all pages", seen, (16..=25).rev().collect())?;
    same("a page of 0", store.conversations(&uid("bob"), None, 0).await?.len(), 0)?;
    same("an endless page", store.conversations(&uid("bob"), None, usize::MAX).await?.len(), 10)
}

async fn rows_are_there_when_the_append_is_answered(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    for n in 1..=20 {
        append_all(&*store, &[direct("alice", "bob", n)]).await?;
        same("bob's rows at once", rows(&*store, "bob").await?, vec![row("alice", n, n, n)])?;
    }
    Ok(())
}
