use super::StoreBench;
use super::fixture::{NAMES, append_all, device, direct, group, only, to_group, uid, user};
use crate::id::Version;
use crate::message::TimelineId;
use crate::storage::{Cursor, CursorAck, MAX_CURSORS, Store, StoreErrorKind};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::{refused, same};
use crate::testing::conformance::{Case, Failure, Outcome};

pub(super) fn cases() -> Vec<Case<dyn StoreBench>> {
    cases! {
        "Cursors::ack" {
            every_acknowledgement_has_its_answer: "There is one answer for each acknowledgement, in order.",
            a_cursor_never_goes_back: "A cursor becomes the greater of what it was (0 at first) and what is acknowledged",
            many_acknowledgements_merge: "A cursor becomes the greater of what it was (0 at first) and what is acknowledged",
            an_acknowledgement_of_the_future_is_refused: "An acknowledgement above the timeline's head is refused with `AheadOfHead` and changes nothing.",
            cursors_outlive_a_restart: "Durable when answered `Ok`, like an append.",
            a_refused_acknowledgement_leaves_its_neighbours_alone: "Each acknowledgement has its own answer.",
        }
        "Cursors::cursors" {
            cursors_are_listed_in_the_order_asked_by_device: "One list for each pair asked, in order, sorted by device; a device that never acknowledged is not listed.",
            strange_device_names_are_told_apart: "One list for each pair asked, in order, sorted by device; a device that never acknowledged is not listed.",
            a_list_is_bounded: "A list has the first [`MAX_CURSORS`] devices at most.",
            an_acknowledgement_is_seen_at_once: "What `ack` answered `Ok` before this call began is seen by it.",
        }
    }
}

fn ack(name: &str, on: &str, timeline: TimelineId, version: i64) -> CursorAck {
    CursorAck { uid: uid(name), device: device(on), timeline, version: Version(version) }
}

/// Bob's timeline has 10 entries, group 7's has 3.
async fn ten_for_bob(bench: &dyn StoreBench) -> Result<std::sync::Arc<dyn Store>, Failure> {
    let store = bench.open().await;
    let direct = (1..=10).map(|n| direct("alice", "bob", n));
    let posts: Vec<_> = direct.chain((11..=13).map(|n| to_group("alice", 7, n))).collect();
    append_all(&*store, &posts).await?;
    Ok(store)
}

async fn ack_all(store: &dyn Store, acks: Vec<CursorAck>) -> Outcome {
    for answer in store.ack(acks).await {
        answer?;
    }
    Ok(())
}

/// The cursors of bob's devices in a timeline, as (device, version).
async fn of_bob(store: &dyn Store, timeline: TimelineId) -> Result<Vec<(String, i64)>, Failure> {
    let list = only(store.cursors(vec![(uid("bob"), timeline)]).await?)?;
    Ok(list.iter().map(|cursor| (cursor.device.to_string(), cursor.version.0)).collect())
}

fn at(on: &str, version: i64) -> (String, i64) {
    (on.to_owned(), version)
}

async fn every_acknowledgement_has_its_answer(bench: &dyn StoreBench) -> Outcome {
    let store = ten_for_bob(bench).await?;
    same("answers to no acknowledgement", store.ack(Vec::new()).await.len(), 0)?;
    let acks = (1..=10).map(|n| ack("bob", &format!("phone {n}"), user("bob"), n)).collect();
    let answers = store.ack(acks).await;
    same("the number of answers", answers.len(), 10)?;
    Ok(answers.into_iter().collect::<Result<(), _>>()?)
}

async fn a_cursor_never_goes_back(bench: &dyn StoreBench) -> Outcome {
    let store = ten_for_bob(bench).await?;
    for (acked, expected) in [(4, 4), (2, 4), (0, 4), (i64::MIN, 4), (7, 7), (7, 7)] {
        ack_all(&*store, vec![ack("bob", "phone", user("bob"), acked)]).await?;
        same(format!("after {acked}"), of_bob(&*store, user("bob")).await?, vec![at("phone", expected)])?;
    }
    ack_all(&*store, vec![ack("bob", "tablet", user("bob"), -3)]).await?;
    same("a first one below 0", of_bob(&*store, user("bob")).await?, vec![at("phone", 7), at("tablet", 0)])
}

async fn many_acknowledgements_merge(bench: &dyn StoreBench) -> Outcome {
    let store = ten_for_bob(bench).await?;
    let acks = (0..500).map(|n| ack("bob", &format!("{}", n % 9), user("bob"), n * 7 % 10)).collect();
    ack_all(&*store, acks).await?;
    let expected = (0..9).map(|n| at(&n.to_string(), 9)).collect();
    same("bob's cursors", of_bob(&*store, user("bob")).await?, expected)
}

async fn an_acknowledgement_of_the_future_is_refused(bench: &dyn StoreBench) -> Outcome {
    let store = ten_for_bob(bench).await?;
    ack_all(&*store, vec![ack("bob", "phone", user("bob"), 3)]).await?;
    for (timeline, version) in
        [(user("bob"), 11), (user("bob"), i64::MAX), (user("nobody"), 1), (group(8), 1)]
    {
        for on in ["phone", "tablet"] {
            let answer = only(store.ack(vec![ack("bob", on, timeline.clone(), version)]).await)?;
            refused(format!("{version} of {timeline:?}"), answer, StoreErrorKind::AheadOfHead)?;
        }
    }
    same("bob's cursors", of_bob(&*store, user("bob")).await?, vec![at("phone", 3)])?;
    same("cursors in a timeline that is not", of_bob(&*store, group(8)).await?, Vec::new())
}

async fn cursors_outlive_a_restart(bench: &dyn StoreBench) -> Outcome {
    let store = ten_for_bob(bench).await?;
    ack_all(&*store, vec![ack("bob", "", user("bob"), 10), ack("bob", "\0", group(7), 3)]).await?;
    let store = bench.reopen().await;
    same("in bob's timeline", of_bob(&*store, user("bob")).await?, vec![at("", 10)])?;
    same("in the group's", of_bob(&*store, group(7)).await?, vec![at("\0", 3)])
}

async fn a_refused_acknowledgement_leaves_its_neighbours_alone(bench: &dyn StoreBench) -> Outcome {
    let store = ten_for_bob(bench).await?;
    let versions = [4, 11, 6];
    let acks = versions.map(|version| ack("bob", "phone", user("bob"), version)).to_vec();
    let answers: Vec<_> =
        store.ack(acks).await.into_iter().map(|answer| answer.map_err(|error| error.kind())).collect();
    same("the answers", answers, vec![Ok(()), Err(StoreErrorKind::AheadOfHead), Ok(())])?;
    same("bob's cursors", of_bob(&*store, user("bob")).await?, vec![at("phone", 6)])
}

async fn cursors_are_listed_in_the_order_asked_by_device(bench: &dyn StoreBench) -> Outcome {
    let store = ten_for_bob(bench).await?;
    let devices = ["phone", "a", "B", "", "é", "z\0"];
    ack_all(&*store, devices.map(|on| ack("bob", on, user("bob"), 5)).to_vec()).await?;
    ack_all(&*store, vec![ack("carol", "phone", group(7), 2), ack("bob", "x", group(7), 3)]).await?;
    let asked = vec![
        (uid("carol"), group(7)),
        (uid("nobody"), user("bob")),
        (uid("bob"), user("bob")),
        (uid("bob"), group(7)),
    ];
    let cursor = |on, version| Cursor { device: device(on), version: Version(version) };
    let of_bob = ["", "B", "a", "phone", "z\0", "é"].map(|on| cursor(on, 5)).to_vec();
    let expected = vec![vec![cursor("phone", 2)], vec![], of_bob, vec![cursor("x", 3)]];
    same("the lists", store.cursors(asked).await?, expected)?;
    same("nothing asked", store.cursors(Vec::new()).await?, Vec::new())
}

async fn a_list_is_bounded(bench: &dyn StoreBench) -> Outcome {
    let store = ten_for_bob(bench).await?;
    let named = |n: usize| format!("device {n:05}");
    let acks = (0..MAX_CURSORS + 5).rev().map(|n| ack("bob", &named(n), user("bob"), 1)).collect();
    ack_all(&*store, acks).await?;
    let first: Vec<_> = (0..MAX_CURSORS).map(|n| at(&named(n), 1)).collect();
    same("the cursors listed", of_bob(&*store, user("bob")).await?, first)
}

async fn an_acknowledgement_is_seen_at_once(bench: &dyn StoreBench) -> Outcome {
    let store = ten_for_bob(bench).await?;
    for n in 1..=10 {
        ack_all(&*store, vec![ack("bob", "phone", user("bob"), n)]).await?;
        same("bob's cursors", of_bob(&*store, user("bob")).await?, vec![at("phone", n)])?;
    }
    Ok(())
}

async fn strange_device_names_are_told_apart(bench: &dyn StoreBench) -> Outcome {
    let store = ten_for_bob(bench).await?;
    let posts: Vec<_> = (101..).zip(NAMES).map(|(n, name)| direct("alice", name, n)).collect();
    append_all(&*store, &posts).await?;
    for (version, name) in (1..).zip(NAMES) {
        let version = version % 10;
        let of_bob = ack("bob", name, user("bob"), version);
        ack_all(&*store, vec![of_bob, ack(name, name, user(name), 1)]).await?;
    }
    let mut expected: Vec<_> = (1..).zip(NAMES).map(|(version, name)| at(name, version % 10)).collect();
    expected.sort();
    same("bob's devices", of_bob(&*store, user("bob")).await?, expected)?;
    for name in NAMES {
        let list = only(store.cursors(vec![(uid(name), user(name))]).await?)?;
        let expected = Cursor { device: device(name), version: Version(1) };
        same(format!("the cursors of {name:?}"), list, vec![expected])?;
    }
    Ok(())
}
