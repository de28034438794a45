use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use im_core::id::NodeId;
use im_core::router::NodeLife;
use redis::RedisResult;
use tokio::sync::Mutex;

use super::link::Redis;
use super::record::Record;
use super::scripts::NODES;

/// How old what is known of the nodes may be. A route of a node that died counts for as much longer.
const FRESH: Duration = Duration::from_millis(500);

/// Which nodes live, read anew when it is old.
#[derive(Default)]
pub(super) struct Leases {
    last: Mutex<Option<Reading>>,
}

/// What Redis said last, or why it said nothing.
struct Reading {
    began: Instant,
    answer: RedisResult<Arc<Living>>,
}

impl Reading {
    /// Whether it answers who came then. Those who came before it began and waited take what it brought, also a failure: a Redis that takes longer than an answer stays
    /// fresh would let them wait for one reading each.
    fn serves(&self, came: Instant) -> bool {
        self.began >= came || (self.answer.is_ok() && self.began.elapsed() < FRESH)
    }
}

/// The nodes that lived at a moment.
pub(super) struct Living {
    nodes: HashMap<NodeId, Lease>,
    /// The moment, in microseconds of Redis' clock.
    pub(super) as_of: u64,
    at: Instant,
}

/// A node's lease.
#[derive(Clone, Copy)]
struct Lease {
    life: i64,
    /// By Redis' clock, in microseconds.
    until: u64,
}

impl Leases {
    pub(super) async fn living(&self, redis: &Redis) -> RedisResult<Arc<Living>> {
        let came = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.serves(came)) {
            return last.answer.clone();
        }
        let began = Instant::now();
        let answer = Living::read(redis).await.map(Arc::new);
        *last = Some(Reading { began, answer: answer.clone() });
        answer
    }

    /// A lease of this process' own has changed.
    pub(super) async fn forget(&self) {
        *self.last.lock().await = None;
    }
}

impl Living {
    /// As it is now.
    pub(super) async fn read(redis: &Redis) -> RedisResult<Self> {
        let key = nodes_key(redis);
        let at = Instant::now();
        let answer: Vec<String> = redis.run(NODES.key(key)).await?;
        let as_of = answer.first().and_then(|time| time.parse().ok()).unwrap_or_default();
        let leases = answer.get(1..).unwrap_or_default().chunks_exact(2);
        let nodes = leases.filter_map(|pair| living(&pair[0], &pair[1], as_of)).collect();
        Ok(Self { nodes, as_of, at })
    }

    /// The nodes with their lives.
    pub(super) fn lives(&self) -> Vec<NodeLife> {
        let life =
            |(node, lease): (&NodeId, &Lease)| NodeLife { node: *node, life: lease.life, mark: lease.until };
        self.nodes.iter().map(life).collect()
    }

    /// The time now, by the same clock.
    pub(super) fn now(&self) -> u64 {
        let passed = u64::try_from(self.at.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.as_of.saturating_add(passed)
    }

    /// As the scripts take it.
    pub(super) fn list(&self) -> String {
        self.nodes.iter().fold(",".to_owned(), |mut list, (node, Lease { life, .. })| {
            let _ = write!(list, "{node}:{life},");
            list
        })
    }

    /// Whether a link counts, by the rule of the scripts.
    pub(super) fn counts(&self, record: &Record, ttl: Duration) -> bool {
        let lives = self.nodes.get(&record.route.node).is_some_and(|lease| lease.life == record.life);
        let ttl = u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX);
        (lives || record.seen > self.as_of) && record.seen.saturating_add(ttl) >= self.as_of
    }
}

pub(super) fn nodes_key(redis: &Redis) -> String {
    format!("{}:nodes", redis.options().prefix)
}

fn living(node: &str, lease: &str, as_of: u64) -> Option<(NodeId, Lease)> {
    let mut parts = lease.split(' ');
    let life = parts.next()?.parse().ok()?;
    let until: u64 = parts.next()?.parse().ok()?;
    (until > as_of).then_some((NodeId(node.parse().ok()?), Lease { life, until }))
}
