//! A server over memory adapters, with a clock that the test moves.

pub(super) use std::collections::BTreeMap;
pub(super) use std::sync::{Arc, Mutex};
pub(super) use std::task::{Poll, Waker};
pub(super) use std::time::Duration;

pub(super) use async_trait::async_trait;
pub(super) use bytes::Bytes;
pub(super) use futures::executor::LocalPool;
pub(super) use futures::future::BoxFuture;
pub(super) use futures::task::LocalSpawnExt;
pub(super) use futures::{FutureExt, StreamExt};
pub(super) use im_proto::v1::{
    C2cPush, C2cRequest, C2cResponse, ErrorResponse, NoopReply, PullRequest, PullResponse, SyncRequest,
    SyncResponse,
};
pub(super) use im_proto::{CmdId, ErrorCode, Seq};
pub(super) use prost::Message as _;

pub(super) use super::super::group_commit::GroupCommitLimits;
pub(super) use super::super::*;
pub(super) use super::faulty::FaultyBus;
pub(super) use crate::id::{DeviceId, DeviceType, MsgId, Uid, Version};
pub(super) use crate::memory::{MemoryBus, MemoryRoutes, MemoryStore};
pub(super) use crate::message::TimelineId;
pub(super) use crate::ports::{AuthError, Credentials, Identity, OpenRooms, WakeUpError};
pub(super) use crate::router::{Parcel, Subscription};
pub(super) use crate::session::{Acked, KickReason, Login, Ticket, Verdict};
pub(super) use crate::storage::{
    CursorAck, Cursors, NodeLease, Nodes, Page, Placed, Post, Read, StoreError, Timelines,
};
pub(super) use crate::testing::StoreLayer;
pub(super) use crate::time::{Tick, Timestamp};

/// A clock that the test moves.
#[derive(Default)]
pub(super) struct TestClock(pub(super) Mutex<(Duration, Vec<Waker>)>);

impl TestClock {
    pub(super) fn advance(&self, by: Duration) {
        let mut state = lock(&self.0);
        state.0 += by;
        state.1.drain(..).for_each(Waker::wake);
    }
}

pub(super) struct SharedClock(pub(super) Arc<TestClock>);

impl Clock for SharedClock {
    fn tick(&self) -> Tick {
        Tick::default() + lock(&self.0.0).0
    }

    fn now(&self) -> Timestamp {
        Timestamp(1_000_000) + lock(&self.0.0).0
    }

    fn sleep_until(&self, deadline: Tick) -> BoxFuture<'static, ()> {
        let clock = self.0.clone();
        futures::future::poll_fn(move |cx| {
            let mut state = lock(&clock.0);
            if Tick::default() + state.0 >= deadline {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        })
        .boxed()
    }
}

/// The token says what the authenticator answers.
pub(super) struct TokenSays;

#[async_trait]
impl Authenticator for TokenSays {
    async fn authenticate(&self, credentials: &Credentials, _: Timestamp) -> Result<Identity, AuthError> {
        match credentials.token.as_str() {
            "down" => Err(AuthError::Unavailable(None)),
            "slow" => futures::future::pending().await,
            "bad" => Err(AuthError::Refused("forged")),
            "expired" => Ok(Identity { uid: credentials.uid.clone(), expires_at: Some(Timestamp(5)) }),
            uid => Ok(Identity { uid: Uid::new(uid).unwrap(), expires_at: None }),
        }
    }
}

#[derive(Default)]
pub(super) struct Woken(pub(super) Mutex<Vec<(Uid, Version)>>);

#[async_trait]
impl WakeUp for Woken {
    async fn wake(&self, users: Vec<(Uid, Version)>) -> Result<(), WakeUpError> {
        lock(&self.0).extend(users);
        Ok(())
    }
}

/// A memory store whose next appends fail.
#[derive(Default)]
pub(super) struct Failing {
    pub(super) store: MemoryStore,
    pub(super) next: Mutex<Vec<bool>>,
    /// No write is taken, as on a full disk.
    pub(super) read_only: AtomicBool,
    /// No head is read, as from a database that is not there.
    pub(super) headless: AtomicBool,
    /// Cursors are looked up for ever while something is in here.
    pub(super) hangs: Mutex<Vec<()>>,
    pub(super) batches: Mutex<Vec<usize>>,
    /// What the readers needed to see.
    pub(super) leasts: Mutex<Vec<Option<Version>>>,
}

impl Failing {
    fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }
}

fn unavailable() -> StoreError {
    StoreError::new(crate::storage::StoreErrorKind::Unavailable, "a write")
}

#[async_trait]
impl StoreLayer for Failing {
    fn inner(&self) -> &dyn Store {
        &self.store
    }
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        lock(&self.batches).push(posts.len());
        let fails = lock(&self.next).pop().unwrap_or(false);
        if fails || self.is_read_only() {
            return vec![Err(unavailable()); posts.len()];
        }
        self.store.append(posts).await
    }
    async fn ack(&self, acks: Vec<CursorAck>) -> Vec<Result<(), StoreError>> {
        if self.is_read_only() {
            return vec![Err(unavailable()); acks.len()];
        }
        self.store.ack(acks).await
    }
    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        if self.is_read_only() {
            return Err(unavailable());
        }
        self.store.renew_node(lease, now, ttl).await
    }
    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        lock(&self.leasts).extend(reads.iter().map(|read| read.least));
        self.store.read(reads).await
    }
    async fn heads(&self, timelines: Vec<TimelineId>) -> Result<Vec<crate::storage::Head>, StoreError> {
        if self.headless.load(Ordering::Relaxed) {
            return Err(unavailable());
        }
        self.store.heads(timelines).await
    }
    async fn cursors(
        &self,
        of: Vec<(Uid, TimelineId)>,
    ) -> Result<Vec<Vec<crate::storage::Cursor>>, StoreError> {
        if !lock(&self.hangs).is_empty() {
            futures::future::pending::<()>().await;
        }
        self.store.cursors(of).await
    }
}

pub(super) struct Bench {
    pub(super) pool: LocalPool,
    pub(super) clock: Arc<TestClock>,
    pub(super) store: Arc<Failing>,
    pub(super) woken: Arc<Woken>,
    pub(super) logic: Arc<Logic>,
    pub(super) bus: Arc<FaultyBus>,
    pub(super) arrives: Subscription,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Policy::default())
    }

    pub(super) fn with(policy: Policy) -> Self {
        Self::with_routes(policy, Arc::new(MemoryRoutes::default()))
    }

    pub(super) fn with_routes(policy: Policy, routes: Arc<dyn Routes>) -> Self {
        Self::with_ports(policy, routes, None)
    }

    pub(super) fn with_ports(
        policy: Policy,
        routes: Arc<dyn Routes>,
        blocklist: Option<Arc<dyn Blocklist>>,
    ) -> Self {
        let (clock, store, woken) =
            (Arc::<TestClock>::default(), Arc::<Failing>::default(), Arc::<Woken>::default());
        let bus = Arc::<FaultyBus>::default();
        let ports = Ports {
            store: store.clone(),
            routes,
            bus: bus.clone(),
            authenticator: Arc::new(TokenSays),
            wake_up: woken.clone(),
            clock: Arc::new(SharedClock(clock.clone())),
            rooms: Arc::new(OpenRooms),
            blocklist,
            commands: BTreeMap::from([
                (CmdId(5_000), Arc::new(Echo) as Arc<dyn Command>),
                (CmdId(5_001), Arc::new(Panics) as Arc<dyn Command>),
            ]),
        };
        let mut pool = LocalPool::new();
        let started = Logic::start(ports, policy, "test");
        let (logic, background) = pool.run_until(started).unwrap();
        pool.spawner().spawn_local(run_all(background)).unwrap();
        let arrives = pool.run_until(logic.ports().bus.subscribe(logic.node())).unwrap();
        Self { pool, clock, store, woken, logic, bus, arrives }
    }

    pub(super) fn log_in_on(
        &mut self,
        uid: &str,
        token: &str,
        device_type: DeviceType,
    ) -> (Arc<Caller>, Verdict) {
        let caller = Arc::new(Caller {
            uid: Uid::new(uid).unwrap(),
            device: DeviceId::default(),
            device_type,
            conn: self.logic.next_conn().unwrap(),
            node: self.logic.node(),
        });
        let credentials = Credentials {
            uid: caller.uid.clone(),
            token: token.to_owned(),
            device: caller.device.clone(),
            device_type,
        };
        let login = Login { caller: caller.clone(), credentials };
        let verdict = self.pool.run_until(self.logic.login(login));
        (caller, verdict)
    }

    pub(super) fn log_in(&mut self, uid: &str) -> Arc<Caller> {
        let (caller, verdict) = self.log_in_on(uid, uid, DeviceType::WEB);
        assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
        caller
    }

    pub(super) fn turn(&mut self, requests: Vec<Request>) -> Vec<Reply> {
        let groups = self.logic.serve(Turn { requests, ..Turn::default() });
        let mut replies: Vec<Reply> =
            self.pool.run_until(futures::future::join_all(groups)).into_iter().flatten().collect();
        replies.sort_by_key(|reply| reply.ticket.seq);
        replies
    }

    pub(super) fn ask<T: prost::Message + Default>(&mut self, request: Request) -> T {
        let reply = self.turn(vec![request]).remove(0);
        T::decode(reply.body).unwrap()
    }

    pub(super) fn refused(&mut self, request: Request) -> i32 {
        self.ask::<ErrorResponse>(request).err_code
    }

    pub(super) fn acks(&mut self, acks: Vec<Ack>) {
        let groups = self.logic.serve(Turn { acks, ..Turn::default() });
        self.pool.run_until(futures::future::join_all(groups));
    }

    pub(super) fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 100 {
            self.clock.advance(Duration::from_millis(100));
            self.pool.run_until_stalled();
        }
    }

    /// What the bus carried since the last look: the link, and the push's version or the kick's reason.
    pub(super) fn carried(&mut self) -> Vec<(ConnId, Result<i64, KickReason>)> {
        self.pool.run_until_stalled();
        let mut carried = Vec::new();
        while let Some(Some(batch)) = self.arrives.next().now_or_never() {
            carried.extend(batch.into_iter().map(|delivery| match delivery.parcel {
                Parcel::Push(push) => {
                    let bytes = [&push.body[..], push.suffix.as_bytes()].concat();
                    (delivery.conn, Ok(C2cPush::decode(&bytes[..]).unwrap().version))
                }
                Parcel::Room(..) => panic!("nobody spoke in a room"),
                Parcel::Kick { reason, .. } => (delivery.conn, Err(reason)),
            }));
        }
        carried
    }

    pub(super) fn cursor(&mut self, uid: &str) -> Option<i64> {
        let uid = Uid::new(uid).unwrap();
        let cursors = Cursors::cursors(&*self.store, vec![(uid.clone(), TimelineId::User(uid))]);
        self.pool.run_until(cursors).unwrap()[0].first().map(|cursor| cursor.version.0)
    }
}

pub(super) struct Echo;

#[async_trait]
impl Command for Echo {
    async fn serve(&self, _: &Arc<Logic>, requests: Vec<Request>) -> Vec<Reply> {
        requests.iter().map(|request| request.reply(request.body.clone())).collect()
    }
}

pub(super) struct Panics;

#[async_trait]
impl Command for Panics {
    async fn serve(&self, _: &Arc<Logic>, _: Vec<Request>) -> Vec<Reply> {
        panic!("as the test wants it");
    }
}

pub(super) fn request(caller: &Arc<Caller>, cmd: CmdId, seq: u32, body: &impl prost::Message) -> Request {
    let ticket = Ticket { cmd, seq: Seq(seq), client_version: 200, weight: 1 };
    Request { caller: caller.clone(), ticket, told: Version::ZERO, body: body.encode_to_vec().into() }
}

pub(super) fn send(caller: &Arc<Caller>, seq: u32, to: &str, id: &str, content: &str) -> Request {
    let body = C2cRequest {
        to: to.to_owned(),
        content: Bytes::copy_from_slice(content.as_bytes()),
        client_msg_id: id.to_owned(),
        ..C2cRequest::default()
    };
    request(caller, CmdId::C2C_SEND, seq, &body)
}

pub(super) fn pull(caller: &Arc<Caller>, offset: i64, limit: i32) -> Request {
    request(caller, CmdId::PULL, 50, &PullRequest { uid: String::new(), offset, limit })
}

pub(super) fn contents(page: &PullResponse) -> Vec<(i64, &str)> {
    page.msgs.iter().map(|msg| (msg.version, std::str::from_utf8(&msg.content).unwrap())).collect()
}
