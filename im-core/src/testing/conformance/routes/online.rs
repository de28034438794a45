//! Who is online: counts and lists.

use std::collections::{BTreeMap, BTreeSet};

use super::{LEASE, lose, of_bob, open, phones, route, uid};
use crate::id::{DeviceType, NodeId, Uid};
use crate::router::{KickPolicy, Online, Routes};
use crate::testing::conformance::check::same;
use crate::testing::conformance::fixture::NAMES;
use crate::testing::conformance::{Failure, Outcome, RoutesBench};

/// Logs each of these users in once.
async fn log_in<'a>(routes: &dyn Routes, names: impl Iterator<Item = &'a str>) -> Outcome {
    for (conn, name) in (100..).zip(names) {
        routes.register(route(name, conn, "phone", DeviceType::IOS), KickPolicy::Never).await?;
    }
    Ok(())
}

/// One page: who is on it, and where to go on. It has to keep what every page has to.
async fn page(routes: &dyn Routes, after: Option<Uid>, limit: usize) -> Result<Online, Failure> {
    let online = routes.list_online(after, limit).await?;
    same("whether a page is within its limit", online.users.len() <= limit.max(1), true)?;
    same("whether all who are listed have routes", online.users.iter().all(|user| !user.is_empty()), true)?;
    Ok(online)
}

fn names(online: &Online) -> Vec<Uid> {
    online.users.iter().filter_map(|user| user.first()).map(|route| route.uid.clone()).collect()
}

/// All pages of this size, joined. `between` is called after each.
async fn walk<F: Future<Output = Outcome>>(
    routes: &dyn Routes,
    limit: usize,
    mut between: impl FnMut(usize) -> F,
) -> Result<Vec<Uid>, Failure> {
    let (mut all, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let online = page(routes, after.take(), limit).await?;
        all.extend(names(&online));
        pages += 1;
        after = online.next;
        if after.is_none() {
            return Ok(all);
        }
        same("whether a list ends", pages < 10_000, true)?;
        between(pages).await?;
    }
}

fn sorted(mut uids: Vec<Uid>) -> Vec<Uid> {
    uids.sort_unstable();
    uids
}

pub(super) async fn a_user_counts_once(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    same("the users online at first", routes.count_online().await?, 0)?;
    phones(&*routes, 1..=3).await?;
    same("the users online, with three links of one", routes.count_online().await?, 1)?;
    log_in(&*routes, NAMES.into_iter()).await?;
    same("the users online", routes.count_online().await?, 23)
}

pub(super) async fn a_user_counts_until_the_last_link_is_removed(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    log_in(&*routes, ["alice"].into_iter()).await?;
    let held = phones(&*routes, 1..=2).await?;
    lose(&*routes, &held[..1]).await?;
    same("the users online, with one link of two left", routes.count_online().await?, 2)?;
    lose(&*routes, &held[1..]).await?;
    same("the users online, with no link left", routes.count_online().await?, 1)?;
    routes.confirm(held, KickPolicy::Never).await?;
    same("the users online, with both links back", routes.count_online().await?, 2)?;
    // Who takes another's place does not change the number.
    routes.register(route("bob", 3, "web", DeviceType::WEB), KickPolicy::OnePerUser).await?;
    same("the users online, with another link", routes.count_online().await?, 2)
}

pub(super) async fn users_are_listed_with_all_their_routes(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    let held = phones(&*routes, 1..=4).await?;
    log_in(&*routes, ["alice", "carol"].into_iter()).await?;
    let online = page(&*routes, None, 10_000).await?;
    let listed: BTreeMap<Uid, Vec<_>> =
        online.users.iter().map(|user| (user[0].uid.clone(), user.to_vec())).collect();
    same("who is listed", listed.keys().cloned().collect(), ["alice", "bob", "carol"].map(uid).to_vec())?;
    same("bob's routes", listed.get(&uid("bob")), Some(&held))
}

pub(super) async fn nobody_is_listed_without_a_route(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    // Links 1 and 2: of the nodes 1 and 2.
    for (name, conn) in [("alice", 1), ("bob", 2), ("carol", 3)] {
        routes.register(route(name, conn, "phone", DeviceType::IOS), KickPolicy::Never).await?;
    }
    lose(&*routes, &of_bob(&*routes).await?).await?;
    let listed = walk(&*routes, 10, |_| async { Ok(()) }).await?;
    same("who is listed after a logout", sorted(listed), ["alice", "carol"].map(uid).to_vec())?;
    routes.renew(NodeId(1), 2, LEASE).await?;
    let listed = walk(&*routes, 10, |_| async { Ok(()) }).await?;
    same("who is listed after a node's new life", listed, vec![uid("carol")])
}

pub(super) async fn pages_together_list_everybody_once(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    same("the list of nobody", page(&*routes, None, 10).await?, Online::default())?;
    log_in(&*routes, NAMES.into_iter()).await?;
    let expected = sorted(NAMES.map(uid).to_vec());
    for limit in [0, 1, 2, 7, 22, 23, usize::MAX] {
        let listed = walk(&*routes, limit, |_| async { Ok(()) }).await?;
        same(format!("who is listed, {limit} a page"), sorted(listed), expected.clone())?;
    }
    Ok(())
}

pub(super) async fn who_stays_online_is_listed_once(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    let name = |kind: &str, number: usize| format!("{kind} {number}");
    let staying: Vec<_> = (0..30).map(|number| name("stays", number)).collect();
    let leaving: Vec<_> = (0..30).map(|number| name("leaves", number)).collect();
    log_in(&*routes, staying.iter().chain(&leaving).map(String::as_str)).await?;
    let shared = &*routes;
    let listed = walk(shared, 4, |page| async move {
        // Somebody comes, somebody goes, and somebody logs in again.
        let (comes, leaves, stays) =
            (name("comes", page), name("leaves", page % 30), name("stays", page % 30));
        let number = i64::try_from(page).unwrap_or_default();
        shared.register(route(&comes, 1_000 + number, "phone", DeviceType::IOS), KickPolicy::Never).await?;
        let found = shared.find(vec![uid(&leaves)]).await?;
        lose(shared, &found[0]).await?;
        shared
            .register(route(&stays, 2_000 + number, "phone", DeviceType::IOS), KickPolicy::default())
            .await?;
        Ok(())
    })
    .await?;
    let each: BTreeSet<_> = listed.iter().cloned().collect();
    same("how often somebody is listed twice", listed.len() - each.len(), 0)?;
    let missing: Vec<_> = staying.iter().filter(|name| !each.contains(name.as_str())).collect();
    same("who was online all the time and is not listed", missing, Vec::new())
}
