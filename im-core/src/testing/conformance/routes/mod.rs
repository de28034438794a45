//! The suite for [`Routes`].

mod online;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;

use self::online::*;
use super::case::cases;
use super::check::same;
use super::{Case, Failure, Outcome, Report, case};
use crate::id::{ConnId, DeviceId, DeviceType, LoginEpoch, NodeId, Uid};
use crate::router::{Confirmation, KickPolicy, Registration, Route, RouteError, RouterNodes, Routes};
use crate::time::Timestamp;

/// Opens the router under test.
#[async_trait]
pub trait RoutesBench: Send + Sync + 'static {
    /// Opens the router with no routes and no leases. Called once.
    async fn open(&self) -> Arc<dyn Routes>;

    /// Waits until a lease of `ttl` that was taken before this call has ended. `false` if leases of this router do not end, as in one process, which is the
    /// default.
    async fn outlast(&self, _ttl: Duration) -> bool {
        false
    }
}

/// Plays every case on a bench of its own.
pub async fn run_routes_suite<B: RoutesBench>(bench: impl Fn() -> B) -> Report {
    case::run(routes_cases(), || Box::new(bench()) as Box<dyn RoutesBench>).await
}

/// Every case, in the order of the trait's documentation.
pub fn routes_cases() -> Vec<Case<dyn RoutesBench>> {
    cases! {
        "Routes::register" {
            epochs_of_one_user_increase: "Logins of one user get increasing epochs, in the order in which they take effect; `route.epoch` is ignored.",
            of_racing_logins_one_survives: "of two racing conflicting logins exactly one survives, and the other is in the survivor's `evicted`.",
            a_login_removes_those_of_its_device_type: "Which older logins go is what the [`KickPolicy`] says",
            a_login_removes_those_of_its_device: "Which older logins go is what the [`KickPolicy`] says",
            a_login_removes_all_others_of_its_user: "Which older logins go is what the [`KickPolicy`] says",
            a_login_removes_the_oldest_beyond_the_most: "Which older logins go is what the [`KickPolicy`] says",
            a_login_below_the_most_removes_only_its_device: "Which older logins go is what the [`KickPolicy`] says",
            a_most_of_0_counts_as_1: "Which older logins go is what the [`KickPolicy`] says",
            a_login_removes_none_if_the_policy_is_never: "Which older logins go is what the [`KickPolicy`] says",
            users_do_not_conflict: "Which older logins go is what the [`KickPolicy`] says",
            a_link_registered_twice_keeps_its_place: "A conn that is registered already keeps its epoch and evicts nobody.",
        }
        "Routes::remove" {
            unknown_links_are_passed_over: "Links that are not registered are passed over.",
            only_the_link_named_goes: "Only the link named goes, not a newer one of the same device.",
        }
        "Routes::confirm" {
            a_registered_link_stays_as_it_is: "A link that is registered stays as it is.",
            a_link_that_was_lost_comes_back: "One that is not is registered again under its own epoch, unless the policy lets a newer login of its user remove it: that one is `gone`.",
            an_evicted_link_is_gone: "`gone` is in the order asked.",
            a_link_that_comes_back_removes_older_ones: "What comes back removes the older logins that conflict with it, `evicted`; so of all that are reported the newest survives.",
            of_all_that_were_lost_the_newest_survives: "What comes back removes the older logins that conflict with it, `evicted`; so of all that are reported the newest survives.",
            only_the_most_come_back: "What comes back removes the older logins that conflict with it, `evicted`; so of all that are reported the newest survives.",
            a_login_after_a_report_is_newer: "Later logins of the user get greater epochs than any that was reported.",
        }
        "Routes::renew" {
            a_nodes_new_life_voids_its_older_routes: "Routes of the node's earlier lives are void: they are not found, and are in nobody's way.",
            routes_are_void_when_their_nodes_lease_has_ended: "Where gates are not in the router's own process, routes of a node whose lease ended are void too.",
            a_renewal_of_an_earlier_life_changes_nothing: "A renewal of an earlier life changes nothing and is [`Superseded`]",
        }
        "Routes::nodes" {
            nodes_are_told_under_their_last_life: "Every node that was renewed, once, under its last life.",
            a_node_whose_lease_has_ended_is_not_told: "Where gates are not in the router's own process, a node whose lease has ended is not among them.",
        }
        "Routes::release" {
            routes_of_a_node_that_stops_are_void: "Routes of the node's life are void.",
            a_release_of_an_earlier_life_changes_nothing: "A release of an earlier life changes nothing.",
        }
        "Routes::find" {
            routes_are_found_in_the_order_asked: "One list for each uid asked, in order; each list in order of epoch.",
        }
        "Routes::count_online" {
            a_user_counts_once: "A user counts once, with any number of links.",
            a_user_counts_until_the_last_link_is_removed: "Whoever logged in or came back before this call counts, and whose last link was removed before it does not.",
        }
        "Routes::list_online" {
            users_are_listed_with_all_their_routes: "Everybody is listed with all their routes, in order of epoch; nobody is listed without one.",
            nobody_is_listed_without_a_route: "nobody is listed without one.",
            pages_together_list_everybody_once: "A page has at most `limit` users, where 0 counts as 1. It may have fewer, and none; only `next` says whether it is the last.",
            who_stays_online_is_listed_once: "Who is online from the first page to the last is listed exactly once, whoever comes and goes meanwhile.",
        }
    }
}

/// The router, with leases for the nodes that the suite uses.
async fn open(bench: &dyn RoutesBench) -> Result<Arc<dyn Routes>, Failure> {
    let routes = bench.open().await;
    for node in 0..3 {
        routes.renew(NodeId(node), 1, LEASE).await?;
    }
    Ok(routes)
}

/// Longer than a case takes.
const LEASE: Duration = Duration::from_secs(300);

fn uid(name: &str) -> Uid {
    Uid::new(name).expect("the suite's names are short")
}

fn route(name: &str, conn: i64, device: &str, device_type: DeviceType) -> Route {
    Route {
        uid: uid(name),
        device: DeviceId::new(device).expect("the suite's names are short"),
        device_type,
        conn: ConnId(conn),
        node: NodeId(u16::try_from(conn % 3).unwrap_or_default()),
        epoch: LoginEpoch(u64::MAX),
        since: Timestamp(1_000 + conn),
    }
}

fn conns(routes: &[Route]) -> Vec<i64> {
    routes.iter().map(|route| route.conn.0).collect()
}

/// Logs bob in on phone (1), tablet (2), second phone (3) and web (4), then on a new link 5 under `policy`; what that
/// evicts has to be `evicted`.
async fn fifth_login(bench: &dyn RoutesBench, policy: KickPolicy, evicted: &[i64]) -> Outcome {
    let routes = open(bench).await?;
    let devices = [
        ("phone", DeviceType::IOS),
        ("tablet", DeviceType::TABLET),
        ("second", DeviceType::IOS),
        ("web", DeviceType::WEB),
    ];
    for (conn, (device, device_type)) in (1..).zip(devices) {
        routes.register(route("bob", conn, device, device_type), KickPolicy::Never).await?;
    }
    let new = route("bob", 5, "phone", DeviceType::IOS);
    let done = routes.register(new, policy).await?;
    same("who was evicted", conns(&done.evicted), evicted.to_vec())?;
    let left: Vec<_> = (1..=5).filter(|conn| !evicted.contains(conn)).collect();
    same("who is left", conns(&of_bob(&*routes).await?), left)
}

async fn of_bob(routes: &dyn Routes) -> Result<Vec<Route>, Failure> {
    Ok(routes.find(vec![uid("bob")]).await?.iter().flat_map(|routes| routes.to_vec()).collect())
}

async fn epochs_of_one_user_increase(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    let mut epochs = Vec::new();
    for conn in 1..=5 {
        let route = route("bob", conn, "phone", DeviceType::IOS);
        epochs.push(routes.register(route, KickPolicy::default()).await?.epoch);
    }
    same("whether epochs increase", epochs.windows(2).all(|pair| pair[0] < pair[1]), true)?;
    let found: Vec<_> = of_bob(&*routes).await?.iter().map(|route| route.epoch).collect();
    same("the epoch of who is left", found, vec![epochs[4]])
}

async fn of_racing_logins_one_survives(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    let logins = (1..=20)
        .map(|conn| routes.register(route("bob", conn, "phone", DeviceType::IOS), KickPolicy::OnePerUser));
    let done = join_all(logins).await.into_iter().collect::<Result<Vec<Registration>, _>>()?;
    let mut evicted: Vec<_> = done.iter().flat_map(|done| conns(&done.evicted)).collect();
    let survivors = conns(&of_bob(&*routes).await?);
    same("the number of survivors", survivors.len(), 1)?;
    evicted.extend(survivors);
    evicted.sort_unstable();
    same("everyone once, evicted or left", evicted, (1..=20).collect())
}

async fn a_login_removes_those_of_its_device_type(bench: &dyn RoutesBench) -> Outcome {
    fifth_login(bench, KickPolicy::SameDeviceType, &[1, 3]).await
}

async fn a_login_removes_those_of_its_device(bench: &dyn RoutesBench) -> Outcome {
    fifth_login(bench, KickPolicy::SameDevice, &[1]).await
}

async fn a_login_removes_all_others_of_its_user(bench: &dyn RoutesBench) -> Outcome {
    fifth_login(bench, KickPolicy::OnePerUser, &[1, 2, 3, 4]).await
}

async fn a_login_removes_the_oldest_beyond_the_most(bench: &dyn RoutesBench) -> Outcome {
    fifth_login(bench, KickPolicy::AtMost(3), &[1, 2]).await
}

async fn a_login_below_the_most_removes_only_its_device(bench: &dyn RoutesBench) -> Outcome {
    fifth_login(bench, KickPolicy::AtMost(9), &[1]).await
}

async fn a_most_of_0_counts_as_1(bench: &dyn RoutesBench) -> Outcome {
    fifth_login(bench, KickPolicy::AtMost(0), &[1, 2, 3, 4]).await
}

async fn a_login_removes_none_if_the_policy_is_never(bench: &dyn RoutesBench) -> Outcome {
    fifth_login(bench, KickPolicy::Never, &[]).await
}

async fn users_do_not_conflict(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    routes.register(route("bob", 1, "phone", DeviceType::IOS), KickPolicy::OnePerUser).await?;
    let done = routes.register(route("bob\0", 2, "phone", DeviceType::IOS), KickPolicy::OnePerUser).await?;
    same("who was evicted", conns(&done.evicted), Vec::new())?;
    same("who is left", conns(&of_bob(&*routes).await?), vec![1])
}

async fn a_link_registered_twice_keeps_its_place(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    let first = route("bob", 1, "phone", DeviceType::IOS);
    let epoch = routes.register(first.clone(), KickPolicy::Never).await?.epoch;
    routes.register(route("bob", 2, "phone", DeviceType::IOS), KickPolicy::Never).await?;
    let again = routes.register(first, KickPolicy::OnePerUser).await?;
    same("the answer", again, Registration { epoch, evicted: Vec::new() })?;
    same("who is left", conns(&of_bob(&*routes).await?), vec![1, 2])
}

async fn unknown_links_are_passed_over(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    routes.register(route("bob", 1, "phone", DeviceType::IOS), KickPolicy::Never).await?;
    routes.remove(vec![(uid("bob"), ConnId(9)), (uid("carol"), ConnId(1)), (uid("bob"), ConnId(1))]).await?;
    routes.remove(vec![(uid("bob"), ConnId(1))]).await?;
    same("who is left", conns(&of_bob(&*routes).await?), Vec::new())
}

async fn only_the_link_named_goes(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    for conn in [1, 2] {
        routes.register(route("bob", conn, "phone", DeviceType::IOS), KickPolicy::SameDevice).await?;
    }
    routes.remove(vec![(uid("bob"), ConnId(1))]).await?;
    same("who is left", conns(&of_bob(&*routes).await?), vec![2])
}

/// Logs bob's links in, each on a phone of its own, and gives their routes.
async fn phones(routes: &dyn Routes, links: std::ops::RangeInclusive<i64>) -> Result<Vec<Route>, Failure> {
    for conn in links {
        let device = format!("phone {conn}");
        routes.register(route("bob", conn, &device, DeviceType::IOS), KickPolicy::Never).await?;
    }
    of_bob(routes).await
}

/// The router forgets links.
async fn lose(routes: &dyn Routes, links: &[Route]) -> Outcome {
    routes.remove(links.iter().map(|link| (link.uid.clone(), link.conn)).collect()).await?;
    Ok(())
}

async fn a_registered_link_stays_as_it_is(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    let held = phones(&*routes, 1..=3).await?;
    let said = routes.confirm(held.clone(), KickPolicy::Never).await?;
    same("the answer", said, Confirmation::default())?;
    same("bob's routes", of_bob(&*routes).await?, held)
}

async fn a_link_that_was_lost_comes_back(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    let held = phones(&*routes, 1..=3).await?;
    lose(&*routes, &held[1..2]).await?;
    let said = routes.confirm(held[1..2].to_vec(), KickPolicy::SameDevice).await?;
    same("the answer", said, Confirmation::default())?;
    same("bob's routes", of_bob(&*routes).await?, held)
}

async fn an_evicted_link_is_gone(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    let held = phones(&*routes, 1..=3).await?;
    lose(&*routes, &held[..2]).await?;
    let asked = vec![held[1].clone(), held[2].clone(), held[0].clone()];
    let said = routes.confirm(asked, KickPolicy::SameDeviceType).await?;
    same("the gone", said.gone, vec![ConnId(2), ConnId(1)])?;
    same("the evicted", conns(&said.evicted), vec![])?;
    same("who is left", conns(&of_bob(&*routes).await?), vec![3])
}

async fn a_link_that_comes_back_removes_older_ones(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    let held = phones(&*routes, 1..=3).await?;
    lose(&*routes, &held[2..]).await?;
    let said = routes.confirm(held[2..].to_vec(), KickPolicy::OnePerUser).await?;
    same("the answer", said, Confirmation { gone: vec![], evicted: held[..2].to_vec() })?;
    same("who is left", of_bob(&*routes).await?, held[2..].to_vec())
}

async fn of_all_that_were_lost_the_newest_survives(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let held = phones(&*routes, 1..=3).await?;
        lose(&*routes, &held).await?;
        let (mut gone, mut evicted) = (Vec::new(), Vec::new());
        for at in order {
            let said = routes.confirm(vec![held[at].clone()], KickPolicy::SameDeviceType).await?;
            gone.extend(said.gone.iter().map(|conn| conn.0));
            evicted.extend(conns(&said.evicted));
        }
        same("who is left", conns(&of_bob(&*routes).await?), vec![3])?;
        gone.extend(evicted);
        gone.sort_unstable();
        same("who is told to go", gone, vec![1, 2])?;
        lose(&*routes, &held).await?;
    }
    Ok(())
}

async fn only_the_most_come_back(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    let held = phones(&*routes, 1..=5).await?;
    lose(&*routes, &held).await?;
    let mut order = held.clone();
    order.swap(0, 4);
    for link in order {
        routes.confirm(vec![link], KickPolicy::AtMost(2)).await?;
    }
    same("who is left", conns(&of_bob(&*routes).await?), vec![4, 5])
}

async fn a_login_after_a_report_is_newer(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    let held = phones(&*routes, 1..=1).await?;
    // From a router whose clock was far ahead.
    let future = Route { conn: ConnId(2), epoch: LoginEpoch(held[0].epoch.0 + (1 << 40)), ..held[0].clone() };
    routes.confirm(vec![future.clone()], KickPolicy::Never).await?;
    let done = routes.register(route("bob", 3, "web", DeviceType::WEB), KickPolicy::Never).await?;
    same("whether the login is newer", done.epoch > future.epoch, true)
}

async fn a_nodes_new_life_voids_its_older_routes(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    phones(&*routes, 1..=4).await?;
    // Links 1 and 4.
    routes.renew(NodeId(1), 2, LEASE).await?;
    same("who is found", conns(&of_bob(&*routes).await?), vec![2, 3])?;
    let new = route("bob", 5, "web", DeviceType::WEB);
    let done = routes.register(new, KickPolicy::AtMost(3)).await?;
    same("who was evicted", conns(&done.evicted), vec![])?;
    let again = route("bob", 7, "tablet", DeviceType::TABLET);
    routes.register(again, KickPolicy::Never).await?;
    same("who is found", conns(&of_bob(&*routes).await?), vec![2, 3, 5, 7])
}

async fn routes_are_void_when_their_nodes_lease_has_ended(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    phones(&*routes, 1..=4).await?;
    let short = Duration::from_millis(50);
    routes.renew(NodeId(1), 1, short).await?;
    if !bench.outlast(short).await {
        return Err(Failure::NotTried("leases of this router do not end"));
    }
    same("who is found", conns(&of_bob(&*routes).await?), vec![2, 3])?;
    let new = route("bob", 5, "web", DeviceType::WEB);
    let done = routes.register(new, KickPolicy::AtMost(3)).await?;
    same("who was evicted", conns(&done.evicted), vec![])
}

async fn a_renewal_of_an_earlier_life_changes_nothing(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    routes.renew(NodeId(1), 2, LEASE).await?;
    let held = phones(&*routes, 1..=2).await?;
    let refused = matches!(routes.renew(NodeId(1), 1, LEASE).await, Err(RouteError::Superseded));
    same("whether the earlier life is refused", refused, true)?;
    same("bob's routes", of_bob(&*routes).await?, held)
}

/// The nodes that the router tells, in order, with their lives.
async fn lives(routes: &dyn Routes) -> Result<Vec<(u16, i64)>, Failure> {
    let mut lives: Vec<_> = match routes.nodes().await? {
        RouterNodes::Untold => return Err(Failure::NotTried("this router does not tell of its nodes")),
        RouterNodes::Local(nodes) | RouterNodes::Shared(nodes) => {
            nodes.iter().map(|node| (node.node.0, node.life)).collect()
        }
    };
    lives.sort_unstable();
    Ok(lives)
}

async fn nodes_are_told_under_their_last_life(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    same("the nodes", lives(&*routes).await?, vec![(0, 1), (1, 1), (2, 1)])?;
    // As large as epochs of leases are.
    let life = 1_767_225_600_000;
    routes.renew(NodeId(1), life, LEASE).await?;
    routes.renew(NodeId(1_023), life + 1, LEASE).await?;
    let expected = vec![(0, 1), (1, life), (2, 1), (1_023, life + 1)];
    same("the nodes", lives(&*routes).await?, expected)
}

async fn a_node_whose_lease_has_ended_is_not_told(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    lives(&*routes).await?;
    let short = Duration::from_millis(50);
    routes.renew(NodeId(1), 1, short).await?;
    if !bench.outlast(short).await {
        return Err(Failure::NotTried("leases of this router do not end"));
    }
    same("the nodes", lives(&*routes).await?, vec![(0, 1), (2, 1)])
}

async fn routes_of_a_node_that_stops_are_void(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    routes.renew(NodeId(1), 2, LEASE).await?;
    phones(&*routes, 1..=4).await?;
    // Links 1 and 4.
    routes.release(NodeId(1), 2).await?;
    same("who is found", conns(&of_bob(&*routes).await?), vec![2, 3])?;
    let new = route("bob", 5, "web", DeviceType::WEB);
    let done = routes.register(new, KickPolicy::AtMost(3)).await?;
    same("who was evicted", conns(&done.evicted), vec![])
}

async fn a_release_of_an_earlier_life_changes_nothing(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    routes.renew(NodeId(1), 2, LEASE).await?;
    let held = phones(&*routes, 1..=2).await?;
    routes.release(NodeId(1), 1).await?;
    same("bob's routes", of_bob(&*routes).await?, held)
}

async fn routes_are_found_in_the_order_asked(bench: &dyn RoutesBench) -> Outcome {
    let routes = open(bench).await?;
    // Links in falling order: the epoch decides, not the number.
    for conn in [7, 5, 3] {
        routes.register(route("bob", conn, "phone", DeviceType::IOS), KickPolicy::Never).await?;
    }
    routes.register(route("carol", 9, "web", DeviceType::WEB), KickPolicy::Never).await?;
    let found = routes.find(vec![uid("carol"), uid("nobody"), uid("bob"), uid("carol")]).await?;
    let found_conns: Vec<_> = found.iter().map(|routes| conns(routes)).collect();
    same("the links", found_conns, vec![vec![9], vec![], vec![7, 5, 3], vec![9]])?;
    let stored = found[0].first().cloned();
    let expected = route("carol", 9, "web", DeviceType::WEB);
    same("a route", stored.clone(), stored.map(|stored| Route { epoch: stored.epoch, ..expected }))
}
