use std::time::{Duration, Instant};

use super::Redis;
use crate::directory::Directory;
use crate::process::PATIENCE;

/// The slots of a Redis Cluster.
const SLOTS: usize = 16_384;

/// A master, and the port for the cluster's own traffic.
#[derive(Debug)]
struct Node {
    server: Redis,
    bus: Directory,
}

/// Three masters that share the slots of a Redis Cluster.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Node>,
}

impl RedisCluster {
    /// Starts the three; they end when this is dropped. Returns when every slot is served.
    pub fn start() -> Self {
        let nodes: Vec<Node> = (0..3).map(|_| Node::start()).collect();
        for (at, node) in nodes.iter().enumerate() {
            let (first, last) = (at * SLOTS / 3, (at + 1) * SLOTS / 3 - 1);
            node.server.run(&format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
            for Node { server, bus } in &nodes {
                node.server.run(&format!("CLUSTER MEET 127.0.0.1 {} {}", server.port(), bus.port()));
            }
        }
        let cluster = Self { nodes };
        let started = Instant::now();
        while !cluster.servers().all(knows_all) {
            assert!(started.elapsed() < PATIENCE, "the cluster does not come together");
            std::thread::sleep(Duration::from_millis(20));
        }
        cluster
    }

    /// The URL, which names all three.
    pub fn url(&self) -> String {
        let nodes: Vec<String> =
            self.servers().map(|server| format!("127.0.0.1:{}", server.port())).collect();
        format!("redis+cluster://{}", nodes.join(","))
    }

    /// The masters.
    pub fn servers(&self) -> impl Iterator<Item = &Redis> {
        self.nodes.iter().map(|node| &node.server)
    }
}

impl Node {
    fn start() -> Self {
        let bus = Directory::claim();
        let port = bus.port().to_string();
        let server = Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", &port]);
        Self { server, bus }
    }
}

fn knows_all(server: &Redis) -> bool {
    let info = server.run("CLUSTER INFO");
    info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
}
