//! The suite for [`Blocklist`].

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;

use super::case::cases;
use super::check::same;
use super::fixture::{NAMES, uid};
use super::{Case, Outcome, Report, case};
use crate::id::Uid;
use crate::storage::{Block, Blocklist};

/// Opens the blocklist under test.
#[async_trait]
pub trait BlocklistBench: Send + Sync + 'static {
    /// Opens an empty blocklist. Called once.
    async fn open(&self) -> Arc<dyn Blocklist>;

    /// Opens it again on the same data, as after the end of the process.
    async fn reopen(&self) -> Arc<dyn Blocklist>;
}

/// Plays every case on a bench of its own.
pub async fn run_blocklist_suite<B: BlocklistBench>(bench: impl Fn() -> B) -> Report {
    case::run(blocklist_cases(), || Box::new(bench()) as Box<dyn BlocklistBench>).await
}

/// Every case, in the order of the trait's documentation.
pub fn blocklist_cases() -> Vec<Case<dyn BlocklistBench>> {
    cases! {
        "Blocklist::block" {
            a_block_is_one_way: "A block is one way: the other's own list does not change.",
            a_block_made_twice_is_one: "What is blocked already stays so.",
            a_block_outlives_the_process: "Durable when answered `Ok`, like an append.",
            blocks_made_at_one_time_are_all_there: "Durable when answered `Ok`, like an append.",
        }
        "Blocklist::unblock" {
            a_block_that_is_not_there_is_passed_over: "What is not blocked is passed over.",
            a_block_taken_back_stays_so: "Durable when answered `Ok`, like an append.",
        }
        "Blocklist::blocked" {
            blocks_are_answered_in_the_order_asked: "One answer for each, in order.",
            a_change_is_seen_at_once: "What `block` and `unblock` answered before this call began is seen by it.",
            any_name_may_be_blocked: "One answer for each, in order.",
        }
        "Blocklist::list_blocked" {
            a_list_is_in_the_order_of_bytes: "In the order of the names' bytes.",
            a_list_comes_in_pages: "At most `limit` of them, those after `after` if that is given: the way to page. 0 asks for none.",
            a_list_shows_changes_at_once: "What `block` and `unblock` answered before this call began is seen by it, also where a cache stands before the list.",
        }
    }
}

fn block(owner: &str, other: &str) -> Block {
    Block { owner: uid(owner), other: uid(other) }
}

/// What the blocklist says about these has to be `expected`.
async fn says(list: &dyn Blocklist, blocks: &[(&str, &str)], expected: &[bool]) -> Outcome {
    let asked = blocks.iter().map(|(owner, other)| block(owner, other)).collect();
    same(format!("which of {blocks:?} there are"), list.blocked(asked).await?, expected.to_vec())
}

/// Bob's whole list has to be `expected`.
async fn lists(list: &dyn Blocklist, expected: &[&str]) -> Outcome {
    let expected: Vec<Uid> = expected.iter().map(|name| uid(name)).collect();
    same("whom bob has blocked", list.list_blocked(&uid("bob"), None, 1_000).await?, expected)
}

async fn a_block_is_one_way(bench: &dyn BlocklistBench) -> Outcome {
    let list = bench.open().await;
    list.block(vec![block("bob", "mallory")]).await?;
    says(&*list, &[("bob", "mallory"), ("mallory", "bob"), ("alice", "mallory")], &[true, false, false])
        .await?;
    lists(&*list, &["mallory"]).await?;
    same("whom mallory has blocked", list.list_blocked(&uid("mallory"), None, 10).await?, Vec::new())
}

async fn a_block_made_twice_is_one(bench: &dyn BlocklistBench) -> Outcome {
    let list = bench.open().await;
    list.block(vec![block("bob", "mallory"), block("bob", "mallory")]).await?;
    list.block(vec![block("bob", "mallory"), block("bob", "trudy")]).await?;
    lists(&*list, &["mallory", "trudy"]).await?;
    list.unblock(vec![block("bob", "mallory")]).await?;
    lists(&*list, &["trudy"]).await
}

async fn a_block_outlives_the_process(bench: &dyn BlocklistBench) -> Outcome {
    let list = bench.open().await;
    list.block(vec![block("bob", "mallory")]).await?;
    drop(list);
    let list = bench.reopen().await;
    says(&*list, &[("bob", "mallory")], &[true]).await
}

async fn blocks_made_at_one_time_are_all_there(bench: &dyn BlocklistBench) -> Outcome {
    let list = bench.open().await;
    let names: Vec<_> = (0..40).map(|number| format!("user {number:02}")).collect();
    // In orders of their own, so that whoever locks has to take care.
    let calls = (0..8).map(|caller| {
        let mut mine: Vec<_> = names.iter().map(|name| block("bob", name)).collect();
        mine.rotate_left(caller * 5);
        list.block(mine)
    });
    join_all(calls).await.into_iter().collect::<Result<Vec<()>, _>>()?;
    lists(&*list, &names.iter().map(String::as_str).collect::<Vec<_>>()).await
}

async fn a_block_that_is_not_there_is_passed_over(bench: &dyn BlocklistBench) -> Outcome {
    let list = bench.open().await;
    list.block(vec![block("bob", "mallory")]).await?;
    list.unblock(vec![block("bob", "alice"), block("mallory", "bob")]).await?;
    list.unblock(Vec::new()).await?;
    list.block(Vec::new()).await?;
    lists(&*list, &["mallory"]).await
}

async fn a_block_taken_back_stays_so(bench: &dyn BlocklistBench) -> Outcome {
    let list = bench.open().await;
    list.block(vec![block("bob", "mallory"), block("bob", "trudy"), block("carol", "mallory")]).await?;
    list.unblock(vec![block("bob", "mallory"), block("bob", "mallory")]).await?;
    drop(list);
    let list = bench.reopen().await;
    let asked = [("bob", "mallory"), ("bob", "trudy"), ("carol", "mallory")];
    says(&*list, &asked, &[false, true, true]).await
}

async fn blocks_are_answered_in_the_order_asked(bench: &dyn BlocklistBench) -> Outcome {
    let list = bench.open().await;
    same("the answer to no question", list.blocked(Vec::new()).await?, Vec::new())?;
    list.block(vec![block("bob", "mallory"), block("carol", "trudy")]).await?;
    let asked = [
        ("carol", "trudy"),
        ("bob", "trudy"),
        ("bob", "mallory"),
        ("carol", "trudy"),
        ("dave", "mallory"),
        ("carol", "mallory"),
    ];
    says(&*list, &asked, &[true, false, true, true, false, false]).await?;
    let many: Vec<_> = (0..700).map(|number| block("bob", &format!("{number}"))).collect();
    list.block(many.iter().step_by(3).cloned().collect()).await?;
    let expected = (0..700).map(|number| number % 3 == 0).collect();
    same("which of many there are", list.blocked(many).await?, expected)
}

async fn a_change_is_seen_at_once(bench: &dyn BlocklistBench) -> Outcome {
    let list = bench.open().await;
    for _ in 0..5 {
        says(&*list, &[("bob", "mallory"), ("bob", "trudy")], &[false, false]).await?;
        list.block(vec![block("bob", "mallory")]).await?;
        says(&*list, &[("bob", "mallory"), ("bob", "trudy")], &[true, false]).await?;
        list.unblock(vec![block("bob", "mallory")]).await?;
    }
    Ok(())
}

async fn any_name_may_be_blocked(bench: &dyn BlocklistBench) -> Outcome {
    let list = bench.open().await;
    let pairs =
        || NAMES.into_iter().flat_map(|owner| NAMES.into_iter().map(move |other| block(owner, other)));
    let is_blocked = |at: usize| at.is_multiple_of(5);
    list.block(pairs().enumerate().filter(|(at, _)| is_blocked(*at)).map(|(_, block)| block).collect())
        .await?;
    for _ in 0..2 {
        let expected = (0..pairs().count()).map(is_blocked).collect();
        same("which of all pairs of odd names there are", list.blocked(pairs().collect()).await?, expected)?;
    }
    Ok(())
}

async fn a_list_is_in_the_order_of_bytes(bench: &dyn BlocklistBench) -> Outcome {
    let list = bench.open().await;
    list.block(NAMES.iter().map(|name| block("bob", name)).collect()).await?;
    let mut expected = NAMES;
    expected.sort_unstable();
    lists(&*list, &expected).await
}

async fn a_list_comes_in_pages(bench: &dyn BlocklistBench) -> Outcome {
    let list = bench.open().await;
    list.block(NAMES.iter().map(|name| block("bob", name)).collect()).await?;
    list.block(vec![block("boa", "x"), block("boc", "x")]).await?;
    same("a page of 0", list.list_blocked(&uid("bob"), None, 0).await?, Vec::new())?;
    let mut expected = NAMES.map(uid).to_vec();
    expected.sort_unstable();
    for limit in [1, 4, 21, 22, usize::MAX] {
        let mut all: Vec<Uid> = Vec::new();
        loop {
            let page = list.list_blocked(&uid("bob"), all.last(), limit).await?;
            same("whether a page is within its limit", page.len() <= limit, true)?;
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        same(format!("the list, {limit} a page"), all, expected.clone())?;
    }
    Ok(())
}

async fn a_list_shows_changes_at_once(bench: &dyn BlocklistBench) -> Outcome {
    let list = bench.open().await;
    lists(&*list, &[]).await?;
    list.block(vec![block("bob", "mallory"), block("bob", "trudy")]).await?;
    lists(&*list, &["mallory", "trudy"]).await?;
    list.unblock(vec![block("bob", "mallory")]).await?;
    lists(&*list, &["trudy"]).await
}
