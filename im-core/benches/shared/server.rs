use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::executor::LocalPool;
use futures::future::join_all;
use futures::task::LocalSpawnExt;
use futures::{FutureExt, StreamExt};
use im_core::id::{DeviceId, DeviceType, Uid, Version};
use im_core::logic::{Logic, Policy, Ports, Turn, run_all};
use im_core::memory::{MemoryBus, MemoryRoutes};
use im_core::message::TimelineId;
use im_core::ports::{AuthError, Authenticator, Credentials, Identity, LogWakeUp, OpenRooms};
use im_core::router::{Delivery, Subscription};
use im_core::session::{Ack, Acked, Caller, Login, Reply, Request, Ticket, Verdict};
use im_core::time::Timestamp;
use im_proto::{CmdId, Seq};

use super::at_once::AtOnce;
use super::frozen::Frozen;
use super::{PAIRS, body, caller, receiver, sender};

/// The use-cases over memory adapters, with [`PAIRS`] of users logged in.
pub struct Server {
    pool: LocalPool,
    logic: Arc<Logic>,
    bus: Subscription,
    senders: Vec<Arc<Caller>>,
    receivers: Vec<Arc<Caller>>,
    sent: u32,
}

struct LetIn;

#[async_trait]
impl Authenticator for LetIn {
    async fn authenticate(&self, credentials: &Credentials, _: Timestamp) -> Result<Identity, AuthError> {
        Ok(Identity { uid: credentials.uid.clone(), expires_at: None })
    }
}

impl Server {
    pub fn new() -> Self {
        let ports = Ports {
            store: Arc::new(AtOnce::default()),
            routes: Arc::new(MemoryRoutes::default()),
            bus: Arc::new(MemoryBus::default()),
            authenticator: Arc::new(LetIn),
            wake_up: Arc::new(LogWakeUp),
            clock: Arc::new(Frozen),
            rooms: Arc::new(OpenRooms),
            blocklist: None,
            commands: BTreeMap::new(),
        };
        let mut policy = Policy::default();
        // The clock stands still, and ids need time that is leased.
        policy.node_lease = Duration::from_secs(1 << 20);
        let mut pool = LocalPool::new();
        let (logic, background) = pool.run_until(Logic::start(ports, policy, "benchmark")).unwrap();
        pool.spawner().spawn_local(run_all(background)).unwrap();
        let bus = pool.run_until(logic.ports().bus.subscribe(logic.node())).unwrap();
        let mut server = Self { pool, logic, bus, senders: Vec::new(), receivers: Vec::new(), sent: 0 };
        server.senders = (0..PAIRS).map(|pair| server.log_in(sender(pair))).collect();
        server.receivers = (0..PAIRS).map(|pair| server.log_in(receiver(pair))).collect();
        server
    }

    fn log_in(&mut self, uid: Uid) -> Arc<Caller> {
        let caller = caller(uid, self.logic.next_conn().unwrap(), self.logic.node());
        let credentials = Credentials {
            uid: caller.uid.clone(),
            token: String::new(),
            device: DeviceId::default(),
            device_type: DeviceType::WEB,
        };
        let login = Login { caller: caller.clone(), credentials };
        let verdict = self.pool.run_until(self.logic.login(login));
        assert!(matches!(verdict, Verdict::Granted(_)));
        caller
    }

    /// `count` new messages, spread over the pairs.
    pub fn requests(&mut self, count: usize) -> Vec<Request> {
        (0..count).map(|n| self.request(n % PAIRS)).collect()
    }

    fn request(&mut self, pair: usize) -> Request {
        self.sent += 1;
        let body = body(&self.receivers[pair].uid, self.sent);
        let ticket = Ticket { cmd: CmdId::C2C_SEND, seq: Seq(self.sent), client_version: 200, weight: 256 };
        Request { caller: self.senders[pair].clone(), ticket, told: Version::ZERO, body }
    }

    /// Acknowledgements of everything, by as many receivers as there are pairs.
    pub fn acks(&self, version: i64) -> Vec<Ack> {
        let ack = |caller: &Arc<Caller>| {
            let of = Acked::UpTo(TimelineId::User(caller.uid.clone()), Version(version));
            Ack { caller: caller.clone(), of }
        };
        self.receivers.iter().map(ack).collect()
    }

    /// One turn, until its replies and its pushes are there.
    pub fn turn(&mut self, turn: Turn) -> (Vec<Reply>, Vec<Delivery>) {
        let answers = self.logic.serve(turn);
        let replies = self.pool.run_until(join_all(answers)).into_iter().flatten().collect();
        self.pool.run_until_stalled();
        (replies, self.bus.next().now_or_never().flatten().unwrap_or_default())
    }

    /// A turn that sends; every message is answered and pushed.
    pub fn send(&mut self, requests: Vec<Request>) -> (Vec<Reply>, Vec<Delivery>) {
        let count = requests.len();
        let (replies, deliveries) = self.turn(Turn { requests, ..Turn::default() });
        assert_eq!((replies.len(), deliveries.len()), (count, count));
        (replies, deliveries)
    }
}
