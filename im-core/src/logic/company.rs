//! Which servers serve beside this one.
//!
//! All servers of a store have to be at one router: users on servers at different routers never hear each other.
//! And a router has to have the servers of one store alone: those of two stores take the same node numbers, and with
//! them each other's subscriptions.
//!
//! The store knows its servers by their leases, and the router the nodes that live there. A node's life is the epoch of
//! its lease, which no other store gives. So a [`Stranger`] is a server that only one of the two knows. A dead server may
//! look like one until its lease ends; one that is seen to renew it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Ports, StartError};
use crate::id::NodeId;
use crate::router::{NodeLife, RouterNodes};
use crate::storage::HeldNode;
use crate::time::{Tick, Timestamp};

/// Between two looks of a server that waits before it starts.
const LOOK: Duration = Duration::from_millis(250);

/// A server that does not belong together with this one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Stranger {
    /// It is at this server's router and has its lease from another store.
    #[error(
        "a server of another store is at this one's router, as node {node}: \
         the servers of each store need a router of their own, or names of their own in it"
    )]
    OfAnotherStore {
        /// Its node number.
        node: NodeId,
    },
    /// It serves this server's store, and is at another router.
    #[error(
        "the server {name:?} serves the same store and is not at this one's router: \
         users on the two would not hear each other until they read. Let all servers of a store share their routes"
    )]
    AtAnotherRouter {
        /// What it is called.
        name: String,
    },
}

/// A stranger at the moment of a look.
#[derive(Debug, PartialEq, Eq)]
struct Sighting {
    stranger: Stranger,
    /// The life of its node.
    life: i64,
    /// Another number after each renewal.
    mark: i64,
}

/// When and how a stranger was first seen.
#[derive(Clone, Copy, Debug)]
struct First {
    mark: i64,
    at: Tick,
}

/// The strangers that were seen, look by look.
#[derive(Debug, Default)]
pub(super) struct Company {
    first: BTreeMap<(Stranger, i64), First>,
    told: BTreeMap<Stranger, i64>,
}

/// The strangers that are there.
#[derive(Debug, Default)]
struct Look {
    /// Those that were seen to renew their leases, and since when they are there.
    running: Vec<(Stranger, i64, Tick)>,
    /// Those that may be dead.
    doubtful: Vec<Stranger>,
    /// Whether only servers in this process can be at the router.
    is_local: bool,
}

impl Company {
    async fn look(&mut self, ports: &Ports, name: &str) -> Result<Look, StartError> {
        // The router first: what it knows the store has known before.
        let nodes = ports.routes.nodes().await?;
        if nodes == RouterNodes::Untold {
            return Ok(Look::default());
        }
        let held = ports.store.held_nodes().await?;
        let found = strangers(&nodes, &held, name, ports.clock.now());
        let is_local = matches!(nodes, RouterNodes::Local(_));
        Ok(Look { is_local, ..self.compare(found, ports.clock.tick()) })
    }

    fn compare(&mut self, found: Vec<Sighting>, now: Tick) -> Look {
        let mut look = Look::default();
        let before = std::mem::take(&mut self.first);
        for Sighting { stranger, life, mark } in found {
            let key = (stranger, life);
            let first = before.get(&key).copied().unwrap_or(First { mark, at: now });
            match first.mark == mark {
                true => look.doubtful.push(key.0.clone()),
                false => look.running.push((key.0.clone(), life, first.at)),
            }
            self.first.insert(key, first);
        }
        look
    }

    /// Tells of strangers that have been there for `patience`, once each.
    pub(super) async fn watch(&mut self, ports: &Ports, name: &str, patience: Duration) {
        // A store or a router that is away is told elsewhere.
        let Ok(look) = self.look(ports, name).await else { return };
        for stranger in self.news(look, ports.clock.tick(), patience) {
            tracing::error!(%stranger, "servers that do not belong together");
        }
    }

    /// The strangers of a look that have run for `patience` and were not told before.
    fn news(&mut self, look: Look, now: Tick, patience: Duration) -> Vec<Stranger> {
        let settled = look.running.into_iter().filter(|(.., since)| now.since(*since) >= patience);
        let before = std::mem::take(&mut self.told);
        let mut news = Vec::new();
        for (stranger, life, _) in settled {
            if before.get(&stranger) != Some(&life) {
                news.push(stranger.clone());
            }
            self.told.insert(stranger, life);
        }
        news
    }
}

impl Look {
    /// Whom this server must not start beside.
    ///
    /// At a shared router one that serves the same store may just have lost its way there, which must keep no other
    /// server from starting.
    fn refuses(&self, stranger: &Stranger) -> bool {
        self.is_local || matches!(stranger, Stranger::OfAnotherStore { .. })
    }
}

/// The servers that only the router or only the store knows.
fn strangers(nodes: &RouterNodes, held: &[HeldNode], name: &str, now: Timestamp) -> Vec<Sighting> {
    let (here, shared): (&[NodeLife], &[NodeLife]) = match nodes {
        RouterNodes::Untold => return Vec::new(),
        RouterNodes::Local(nodes) => (nodes, &[]),
        RouterNodes::Shared(nodes) => (nodes, nodes),
    };
    let is_known = |node: &NodeLife| held.iter().any(|held| is_same(held, node));
    let of_others = shared.iter().filter(|node| !is_known(node)).map(|node| Sighting {
        stranger: Stranger::OfAnotherStore { node: node.node },
        life: node.life,
        mark: node.mark.cast_signed(),
    });
    let runs = |held: &&HeldNode| held.until > now && held.holder != name;
    let is_here = |held: &&HeldNode| here.iter().any(|node| is_same(held, node));
    let elsewhere = held.iter().filter(runs).filter(|held| !is_here(held)).map(|held| Sighting {
        stranger: Stranger::AtAnotherRouter { name: held.holder.clone() },
        life: held.epoch,
        mark: held.until.0,
    });
    of_others.chain(elsewhere).collect()
}

fn is_same(held: &HeldNode, node: &NodeLife) -> bool {
    held.node == node.node && held.epoch == node.life
}

/// Waits until no stranger is left that may run; an error as soon as one is seen to run.
///
/// It takes no lease meanwhile: a server that is refused leaves no trace for others to wait for.
pub(super) async fn admit(ports: &Ports, name: &str, patience: Duration) -> Result<(), StartError> {
    let began = ports.clock.tick();
    let mut company = Company::default();
    let mut waits = false;
    loop {
        let look = company.look(ports, name).await?;
        if let Some((stranger, ..)) = look.running.iter().find(|(stranger, ..)| look.refuses(stranger)) {
            return Err(stranger.clone().into());
        }
        let Some(stranger) = look.doubtful.iter().find(|stranger| look.refuses(stranger)) else {
            return Ok(());
        };
        let now = ports.clock.tick();
        if now.since(began) >= patience {
            return outlived(stranger);
        }
        if !std::mem::replace(&mut waits, true) {
            tracing::info!(%stranger, wait = ?patience, "waits to see whether it still runs");
        }
        ports.clock.sleep_until(now + LOOK).await;
    }
}

/// What becomes of a stranger that renewed nothing for as long as a lease. A router ends leases by a clock of its own;
/// in a store, the lease of a dead server whose clock was wrong may have years left.
fn outlived(stranger: &Stranger) -> Result<(), StartError> {
    match stranger {
        Stranger::OfAnotherStore { .. } => Err(stranger.clone().into()),
        Stranger::AtAnotherRouter { name } => {
            tracing::warn!(
                name,
                "the server has a lease that goes on, and does not renew it: takes it for dead"
            );
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn held(node: u16, holder: &str, epoch: i64, until: i64) -> HeldNode {
        HeldNode { node: NodeId(node), holder: holder.to_owned(), epoch, until: Timestamp(until) }
    }

    fn life(node: u16, life: i64) -> NodeLife {
        NodeLife { node: NodeId(node), life, mark: 7 }
    }

    fn names(nodes: &RouterNodes, held: &[HeldNode]) -> Vec<Stranger> {
        strangers(nodes, held, "me", NOW).into_iter().map(|sighting| sighting.stranger).collect()
    }

    fn elsewhere(name: &str) -> Stranger {
        Stranger::AtAnotherRouter { name: name.to_owned() }
    }

    #[test]
    fn servers_that_both_know_are_no_strangers() {
        let leases = [held(0, "me", 5, 2_000), held(1, "b", 6, 2_000), held(2, "dead", 4, 900)];
        for nodes in [vec![life(0, 5), life(1, 6)], vec![life(1, 6)]] {
            assert_eq!(names(&RouterNodes::Shared(nodes), &leases), []);
        }
    }

    #[test]
    fn a_node_with_a_lease_of_another_store_is_a_stranger() {
        let leases = [held(0, "me", 5, 900), held(1, "b", 6, 2_000)];
        // A number that the store has under another epoch, and one that it never gave.
        let nodes = RouterNodes::Shared(vec![life(0, 4), life(1, 6), life(2, 6)]);
        let strangers = [0, 2].map(|node| Stranger::OfAnotherStore { node: NodeId(node) });
        assert_eq!(names(&nodes, &leases), strangers);
    }

    #[test]
    fn a_server_that_is_not_at_the_router_is_a_stranger() {
        let leases = [held(0, "me", 5, 2_000), held(1, "b", 6, 2_000)];
        for nodes in [RouterNodes::Local(Vec::new()), RouterNodes::Shared(Vec::new())] {
            assert_eq!(names(&nodes, &leases), [elsewhere("b")]);
        }
        assert_eq!(names(&RouterNodes::Local(vec![life(1, 6)]), &leases), []);
        assert_eq!(names(&RouterNodes::Untold, &leases), []);
    }

    #[test]
    fn a_stranger_runs_if_it_renews_and_not_if_it_starts_again() {
        let mut company = Company::default();
        let mut look = |at: u64, epoch, until| {
            let nodes = RouterNodes::Local(Vec::new());
            let found = strangers(&nodes, &[held(1, "b", epoch, until)], "me", NOW);
            let look = company.compare(found, Tick::from_millis(at));
            (look.running.into_iter().map(|(.., since)| since).next(), look.doubtful.len())
        };
        assert_eq!(look(1, 6, 2_000), (None, 1));
        assert_eq!(look(2, 6, 2_000), (None, 1));
        assert_eq!(look(3, 7, 2_100), (None, 1), "it crashes again and again");
        assert_eq!(look(4, 7, 2_200), (Some(Tick::from_millis(3)), 0));
        assert_eq!(look(5, 7, 2_200), (Some(Tick::from_millis(3)), 0));
        assert_eq!(look(6, 7, 900), (None, 0), "its lease has ended");
    }

    #[test]
    fn a_stranger_that_stays_is_told_once_and_again_when_it_comes_back() {
        let mut company = Company::default();
        let mut news = |at: u64, epoch, until| {
            let nodes = RouterNodes::Shared(Vec::new());
            let found = strangers(&nodes, &[held(1, "b", epoch, until)], "me", NOW);
            let look = company.compare(found, Tick::from_millis(at));
            company.news(look, Tick::from_millis(at), Duration::from_millis(10))
        };
        assert_eq!(news(0, 6, 2_000), []);
        assert_eq!(news(5, 6, 2_100), [], "it may be on its way to the router");
        assert_eq!(news(10, 6, 2_200), [elsewhere("b")]);
        assert_eq!(news(15, 6, 2_300), []);
        assert_eq!(news(20, 6, 900), [], "it has gone");
        assert_eq!(news(25, 7, 2_000), []);
        assert_eq!(news(30, 7, 2_100), []);
        assert_eq!(news(40, 7, 2_200), [elsewhere("b")]);
    }
}
