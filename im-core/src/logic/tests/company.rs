//! Who may start beside whom.

use super::bench::*;
use super::faulty::FaultyRoutes;
use crate::router::{NodeLife, RouterNodes};
use crate::storage::Nodes;

const TTL: Duration = Duration::from_secs(10);

type Outcome = Result<Arc<Logic>, StartError>;

/// A server that starts over a store, at routes; and the others that the store has leases of.
struct Starting {
    pool: LocalPool,
    clock: Arc<TestClock>,
    store: Arc<MemoryStore>,
    outcome: Arc<Mutex<Option<Outcome>>>,
}

impl Starting {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        Self { pool: LocalPool::new(), clock: Arc::default(), store, outcome: Arc::default() }
    }

    fn now(&self) -> Timestamp {
        SharedClock(self.clock.clone()).now()
    }

    fn lease(&self, holder: &str) -> NodeLease {
        self.store.lease_node(holder, self.now(), TTL).now_or_never().unwrap().unwrap()
    }

    fn renew(&self, lease: &NodeLease) {
        self.store.renew_node(lease, self.now(), TTL).now_or_never().unwrap().unwrap();
    }

    /// Begins to start the server "me".
    fn start(&mut self, routes: Arc<dyn Routes>) {
        let ports = Ports {
            store: self.store.clone(),
            routes,
            bus: Arc::new(MemoryBus::default()),
            authenticator: Arc::new(TokenSays),
            wake_up: Arc::<Woken>::default(),
            clock: Arc::new(SharedClock(self.clock.clone())),
            rooms: Arc::new(OpenRooms),
            blocklist: None,
            commands: BTreeMap::new(),
        };
        let outcome = self.outcome.clone();
        let starts = async move {
            let started = Logic::start(ports, Policy::default(), "me").await;
            *lock(&outcome) = Some(started.map(|(logic, _)| logic));
        };
        self.pool.spawner().spawn_local(starts).unwrap();
        self.pool.run_until_stalled();
    }

    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 250 {
            self.clock.advance(Duration::from_millis(250));
            self.pool.run_until_stalled();
        }
    }

    fn is_waiting(&self) -> bool {
        lock(&self.outcome).is_none()
    }

    fn has_started(&self) -> bool {
        lock(&self.outcome).as_ref().is_some_and(Result::is_ok)
    }

    /// Beside whom the server does not start.
    fn refused(&self) -> Stranger {
        match lock(&self.outcome).as_ref() {
            Some(Err(StartError::Company(stranger))) => stranger.clone(),
            other => panic!("it is not refused: {other:?}"),
        }
    }
}

fn in_process() -> Arc<MemoryRoutes> {
    Arc::default()
}

#[test]
fn a_server_with_routes_of_its_own_does_not_start_beside_one_that_runs() {
    let mut bench = Starting::new();
    let other = bench.lease("other");
    bench.start(in_process());
    bench.pass(Duration::from_secs(3));
    assert!(bench.is_waiting(), "the other one may be dead");
    bench.renew(&other);
    bench.pass(Duration::from_millis(250));
    assert_eq!(bench.refused(), Stranger::AtAnotherRouter { name: "other".to_owned() });
    let holders: Vec<_> = bench.store.held_nodes().now_or_never().unwrap().unwrap();
    assert_eq!(holders.len(), 1, "who is refused takes no lease");
}

#[test]
fn a_server_starts_when_the_lease_of_one_that_crashed_has_ended() {
    let mut bench = Starting::new();
    bench.lease("before it was renamed");
    bench.pass(Duration::from_secs(4));
    bench.start(in_process());
    bench.pass(Duration::from_millis(5_750));
    assert!(bench.is_waiting());
    bench.pass(Duration::from_millis(250));
    assert!(bench.has_started());
}

#[test]
fn a_dead_server_whose_clock_was_years_ahead_delays_a_start_by_one_lease() {
    let mut bench = Starting::new();
    let years = Duration::from_secs(100_000_000);
    bench.store.lease_node("dead", bench.now() + years, TTL).now_or_never().unwrap().unwrap();
    bench.start(in_process());
    bench.pass(Duration::from_millis(9_750));
    assert!(bench.is_waiting());
    bench.pass(Duration::from_millis(250));
    assert!(bench.has_started());
}

#[test]
fn a_server_waits_neither_for_its_own_last_lease_nor_for_one_that_has_ended() {
    let mut bench = Starting::new();
    bench.lease("long ago");
    bench.pass(TTL);
    bench.lease("me");
    bench.start(in_process());
    assert!(bench.has_started());
}

#[test]
fn servers_of_one_process_that_share_their_routes_start_beside_each_other() {
    let mut bench = Starting::new();
    let routes = in_process();
    let other = bench.lease("other");
    routes.renew(other.node, other.epoch, TTL).now_or_never().unwrap().unwrap();
    bench.start(routes);
    assert!(bench.has_started());
}

#[test]
fn a_server_does_not_start_beside_one_of_another_store_at_its_router() {
    let mut bench = Starting::new();
    let routes = Arc::new(FaultyRoutes::default());
    let node = |mark| RouterNodes::Shared(vec![NodeLife { node: NodeId(0), life: 1_000_000, mark }]);
    // This store gave the same number, under another epoch, to a server of the same name.
    bench.pass(Duration::from_secs(1));
    bench.lease("me");
    *lock(&routes.nodes) = Some(node(1));
    bench.start(routes.clone());
    bench.pass(Duration::from_secs(2));
    assert!(bench.is_waiting(), "it may be dead");
    *lock(&routes.nodes) = Some(node(2));
    bench.pass(Duration::from_millis(250));
    assert_eq!(bench.refused(), Stranger::OfAnotherStore { node: NodeId(0) });
}

#[test]
fn a_server_starts_when_a_node_that_its_store_does_not_know_has_gone_from_the_router() {
    let mut bench = Starting::new();
    let routes = Arc::new(FaultyRoutes::default());
    *lock(&routes.nodes) = Some(RouterNodes::Shared(vec![NodeLife { node: NodeId(3), life: 5, mark: 1 }]));
    bench.start(routes.clone());
    bench.pass(Duration::from_secs(9));
    assert!(bench.is_waiting());
    *lock(&routes.nodes) = Some(RouterNodes::Shared(Vec::new()));
    bench.pass(Duration::from_millis(250));
    assert!(bench.has_started());
}

#[test]
fn at_a_shared_router_a_server_that_lost_its_way_there_keeps_no_other_from_starting() {
    let mut bench = Starting::new();
    let routes = Arc::new(FaultyRoutes::default());
    *lock(&routes.nodes) = Some(RouterNodes::Shared(Vec::new()));
    bench.lease("cut off");
    bench.start(routes);
    assert!(bench.has_started());
}

#[test]
fn a_server_whose_router_does_not_take_its_node_does_not_start() {
    let mut bench = Starting::new();
    let routes = Arc::new(FaultyRoutes::default());
    routes.away.store(true, Ordering::Relaxed);
    bench.start(routes);
    assert!(bench.is_waiting());
    bench.pass(Duration::from_millis(2_500));
    assert!(matches!(&*lock(&bench.outcome), Some(Err(StartError::Routes(_)))));
}

#[test]
fn a_server_that_the_router_does_not_take_gives_its_lease_back() {
    let mut bench = Starting::new();
    let routes = in_process();
    routes.renew(NodeId(0), i64::MAX, TTL).now_or_never().unwrap().unwrap();
    bench.pass(Duration::from_secs(60));
    for _ in 0..3 {
        bench.start(routes.clone());
        let refused = lock(&bench.outcome).take();
        assert!(matches!(refused, Some(Err(StartError::Routes(_)))), "{refused:?}");
        let held = bench.store.held_nodes().now_or_never().unwrap().unwrap();
        assert_eq!(held[0].until, bench.now(), "leases of starts in a row run ahead of the clock");
    }
}
