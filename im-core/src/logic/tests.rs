#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::LocalPool;
use futures::future::BoxFuture;
use futures::task::LocalSpawnExt;
use futures::{FutureExt, StreamExt};
use im_proto::v1::{
    C2cPush, C2cRequest, C2cResponse, ErrorResponse, NoopReply, PullRequest, PullResponse, SyncRequest,
    SyncResponse,
};
use im_proto::{CmdId, ErrorCode, Seq};
use prost::Message as _;

use super::group_commit::GroupCommitLimits;
use super::*;
use crate::id::{DeviceId, DeviceType, MsgId, Uid, Version};
use crate::memory::{MemoryBus, MemoryRoutes, MemoryStore};
use crate::message::TimelineId;
use crate::ports::{AuthError, Credentials, Identity, WakeUpError};
use crate::router::{Parcel, Subscription};
use crate::session::{Acked, KickReason, Login, Ticket, Verdict};
use crate::storage::{Cursors, Page, Placed, Post, Read, Timelines};
use crate::time::{Tick, Timestamp};

/// A clock that the test moves.
#[derive(Default)]
struct TestClock(Mutex<(Duration, Vec<Waker>)>);

impl TestClock {
    fn advance(&self, by: Duration) {
        let mut state = lock(&self.0);
        state.0 += by;
        state.1.drain(..).for_each(Waker::wake);
    }
}

struct SharedClock(Arc<TestClock>);

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
struct TokenSays;

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
struct Woken(Mutex<Vec<(Uid, Version)>>);

#[async_trait]
impl WakeUp for Woken {
    async fn wake(&self, users: Vec<(Uid, Version)>) -> Result<(), WakeUpError> {
        lock(&self.0).extend(users);
        Ok(())
    }
}

/// A memory store whose next appends fail.
#[derive(Default)]
struct Failing {
    store: MemoryStore,
    next: Mutex<Vec<bool>>,
    /// Cursors are looked up for ever while something is in here.
    hangs: Mutex<Vec<()>>,
    batches: Mutex<Vec<usize>>,
}

#[async_trait]
impl Timelines for Failing {
    async fn append(&self, posts: Vec<Post>) -> Vec<Result<Placed, StoreError>> {
        lock(&self.batches).push(posts.len());
        let fails = lock(&self.next).pop().unwrap_or(false);
        if fails {
            let failure = StoreError::new(crate::storage::StoreErrorKind::Unavailable, "append");
            return vec![Err(failure); posts.len()];
        }
        self.store.append(posts).await
    }
    async fn read(&self, reads: Vec<Read>) -> Vec<Result<Page, StoreError>> {
        self.store.read(reads).await
    }
    async fn heads(&self, of: Vec<TimelineId>) -> Result<Vec<crate::storage::Head>, StoreError> {
        self.store.heads(of).await
    }
    async fn find(
        &self,
        keys: Vec<(Uid, crate::message::SendKey)>,
    ) -> Result<Vec<Option<crate::storage::Found>>, StoreError> {
        self.store.find(keys).await
    }
    async fn locate(&self, of: Vec<(TimelineId, MsgId)>) -> Result<Vec<Option<Version>>, StoreError> {
        self.store.locate(of).await
    }
}

#[async_trait]
impl crate::storage::Conversations for Failing {
    async fn conversations(
        &self,
        owner: &Uid,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<crate::storage::Conversation>, StoreError> {
        self.store.conversations(owner, before, limit).await
    }
}

#[async_trait]
impl Cursors for Failing {
    async fn ack(&self, acks: Vec<crate::storage::CursorAck>) -> Vec<Result<(), StoreError>> {
        self.store.ack(acks).await
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

#[async_trait]
impl crate::storage::Nodes for Failing {
    async fn lease_node(&self, holder: &str, now: Timestamp, ttl: Duration) -> Result<NodeLease, StoreError> {
        self.store.lease_node(holder, now, ttl).await
    }
    async fn renew_node(
        &self,
        lease: &NodeLease,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<NodeLease, StoreError> {
        self.store.renew_node(lease, now, ttl).await
    }
}

struct Bench {
    pool: LocalPool,
    clock: Arc<TestClock>,
    store: Arc<Failing>,
    woken: Arc<Woken>,
    logic: Arc<Logic>,
    bus: Subscription,
}

impl Bench {
    fn new() -> Self {
        Self::with(Policy::default())
    }

    fn with(policy: Policy) -> Self {
        let (clock, store, woken) =
            (Arc::<TestClock>::default(), Arc::<Failing>::default(), Arc::<Woken>::default());
        let ports = Ports {
            store: store.clone(),
            routes: Arc::new(MemoryRoutes::default()),
            bus: Arc::new(MemoryBus::default()),
            authenticator: Arc::new(TokenSays),
            wake_up: woken.clone(),
            clock: Arc::new(SharedClock(clock.clone())),
            commands: BTreeMap::from([
                (CmdId(5_000), Arc::new(Echo) as Arc<dyn Command>),
                (CmdId(5_001), Arc::new(Panics) as Arc<dyn Command>),
            ]),
        };
        let mut pool = LocalPool::new();
        let started = Logic::start(ports, policy, "test");
        let (logic, background) = pool.run_until(started).unwrap();
        pool.spawner().spawn_local(run_all(background)).unwrap();
        let bus = pool.run_until(logic.ports().bus.subscribe(logic.node())).unwrap();
        Self { pool, clock, store, woken, logic, bus }
    }

    fn log_in_on(&mut self, uid: &str, token: &str, device_type: DeviceType) -> (Arc<Caller>, Verdict) {
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

    fn log_in(&mut self, uid: &str) -> Arc<Caller> {
        let (caller, verdict) = self.log_in_on(uid, uid, DeviceType::WEB);
        assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
        caller
    }

    fn turn(&mut self, requests: Vec<Request>) -> Vec<Reply> {
        let groups = self.logic.serve(Turn { requests, ..Turn::default() });
        let mut replies: Vec<Reply> =
            self.pool.run_until(futures::future::join_all(groups)).into_iter().flatten().collect();
        replies.sort_by_key(|reply| reply.ticket.seq);
        replies
    }

    fn ask<T: prost::Message + Default>(&mut self, request: Request) -> T {
        let reply = self.turn(vec![request]).remove(0);
        T::decode(reply.body).unwrap()
    }

    fn refused(&mut self, request: Request) -> i32 {
        self.ask::<ErrorResponse>(request).err_code
    }

    fn acks(&mut self, acks: Vec<Ack>) {
        let groups = self.logic.serve(Turn { acks, ..Turn::default() });
        self.pool.run_until(futures::future::join_all(groups));
    }

    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 100 {
            self.clock.advance(Duration::from_millis(100));
            self.pool.run_until_stalled();
        }
    }

    /// What the bus carried since the last look: the link, and the push's version or the kick's reason.
    fn carried(&mut self) -> Vec<(ConnId, Result<i64, KickReason>)> {
        self.pool.run_until_stalled();
        let mut carried = Vec::new();
        while let Some(Some(batch)) = self.bus.next().now_or_never() {
            carried.extend(batch.into_iter().map(|delivery| match delivery.parcel {
                Parcel::Push(push) => {
                    let bytes = [&push.body[..], push.suffix.as_bytes()].concat();
                    (delivery.conn, Ok(C2cPush::decode(&bytes[..]).unwrap().version))
                }
                Parcel::Kick { reason, .. } => (delivery.conn, Err(reason)),
            }));
        }
        carried
    }

    fn cursor(&mut self, uid: &str) -> Option<i64> {
        let uid = Uid::new(uid).unwrap();
        let cursors = self.store.cursors(vec![(uid.clone(), TimelineId::User(uid))]);
        self.pool.run_until(cursors).unwrap()[0].first().map(|cursor| cursor.version.0)
    }
}

struct Echo;

#[async_trait]
impl Command for Echo {
    async fn serve(&self, requests: Vec<Request>) -> Vec<Reply> {
        requests.iter().map(|request| request.reply(request.body.clone())).collect()
    }
}

struct Panics;

#[async_trait]
impl Command for Panics {
    async fn serve(&self, _: Vec<Request>) -> Vec<Reply> {
        panic!("as the test wants it");
    }
}

fn request(caller: &Arc<Caller>, cmd: CmdId, seq: u32, body: &impl prost::Message) -> Request {
    let ticket = Ticket { cmd, seq: Seq(seq), client_version: 200, weight: 1 };
    Request { caller: caller.clone(), ticket, body: body.encode_to_vec().into() }
}

fn send(caller: &Arc<Caller>, seq: u32, to: &str, id: &str, content: &str) -> Request {
    let body = C2cRequest {
        to: to.to_owned(),
        content: Bytes::copy_from_slice(content.as_bytes()),
        client_msg_id: id.to_owned(),
        ..C2cRequest::default()
    };
    request(caller, CmdId::C2C_SEND, seq, &body)
}

fn pull(caller: &Arc<Caller>, offset: i64, limit: i32) -> Request {
    request(caller, CmdId::PULL, 50, &PullRequest { uid: String::new(), offset, limit })
}

fn contents(page: &PullResponse) -> Vec<(i64, &str)> {
    page.msgs.iter().map(|msg| (msg.version, std::str::from_utf8(&msg.content).unwrap())).collect()
}

#[test]
fn a_message_is_stored_for_both_acknowledged_and_pushed() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    let response: C2cResponse = bench.ask(send(&alice, 1, "bob", "k1", "hi"));
    assert_eq!((response.version, response.err_code), (1, 0));
    assert_eq!(bench.carried(), [(bob.conn, Ok(1))]);
    for reader in [&alice, &bob] {
        let page: PullResponse = bench.ask(pull(reader, 0, 0));
        assert_eq!((contents(&page), page.next_offset, page.head), (vec![(1, "hi")], 1, 1));
        let msg = &page.msgs[0];
        assert_eq!((msg.from.as_str(), msg.to.as_str(), msg.cmdid), ("alice", "bob", 1006));
        assert_eq!((msg.msgid, msg.send_time), (response.msgid, response.timestamp));
    }
}

#[test]
fn pushes_that_do_not_fit_before_a_slow_router_are_dropped_and_their_messages_are_not() {
    let mut bench = Bench::with(Policy { fan_out_bytes: 1_000, ..Policy::default() });
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    for (n, content) in [(1, "x".repeat(2_000)), (2, "y".to_owned())] {
        let response: C2cResponse = bench.ask(send(&alice, n, "bob", "", &content));
        assert_eq!(response.err_code, 0);
    }
    assert_eq!(bench.carried(), [(bob.conn, Ok(2))]);
    let page: PullResponse = bench.ask(pull(&bob, 0, 0));
    assert_eq!(page.head, 2);
}

#[test]
fn a_repeat_gets_the_first_answer_and_other_content_is_an_error() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let first: C2cResponse = bench.ask(send(&alice, 1, "bob", "k1", "hi"));
    bench.pass(Duration::from_secs(60));
    let repeat: C2cResponse = bench.ask(send(&alice, 2, "bob", "k1", "hi"));
    assert_eq!(repeat, first);
    let reused = ErrorCode::ClientMsgIdReused.code();
    assert_eq!(bench.refused(send(&alice, 3, "bob", "k1", "other")), reused);
    assert_eq!(bench.refused(send(&alice, 4, "carol", "k1", "hi")), reused);
}

#[test]
fn without_a_client_id_the_link_the_command_and_the_number_make_a_repeat() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let first: C2cResponse = bench.ask(send(&alice, 1, "bob", "", "hi"));
    let repeat: C2cResponse = bench.ask(send(&alice, 1, "bob", "", "hi"));
    let next: C2cResponse = bench.ask(send(&alice, 2, "bob", "", "hi"));
    assert_eq!((repeat.version, next.version), (first.version, 2));
}

#[test]
fn wrong_sends_are_refused_and_store_nothing() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let forged = C2cRequest { from: "bob".into(), to: "carol".into(), ..C2cRequest::default() };
    assert_eq!(bench.refused(request(&alice, CmdId::C2C_SEND, 1, &forged)), 3);
    assert_eq!(bench.refused(send(&alice, 2, "", "k", "x")), 4);
    assert_eq!(bench.refused(send(&alice, 3, "bob", &"k".repeat(65), "x")), 5);
    assert_eq!(bench.refused(send(&alice, 4, "bob", "k", &"x".repeat(300 << 10))), 5);
    let junk = Request { body: Bytes::from_static(&[0xff]), ..send(&alice, 5, "bob", "k", "x") };
    assert_eq!(bench.refused(junk), 1);
    let page: PullResponse = bench.ask(pull(&alice, 0, 0));
    assert_eq!(page.head, 0);
}

#[test]
fn after_a_failure_later_sends_to_the_same_conversation_fail_until_the_first_comes_again() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    lock(&bench.store.next).push(true);
    assert_eq!(bench.refused(send(&alice, 1, "bob", "a", "1")), 7);
    assert_eq!(bench.refused(send(&alice, 2, "bob", "b", "2")), 7);
    let other: C2cResponse = bench.ask(send(&alice, 3, "carol", "c", "3"));
    assert_eq!(other.err_code, 0);
    let both = vec![send(&alice, 4, "bob", "a", "1"), send(&alice, 5, "bob", "b", "2")];
    let versions: Vec<i64> =
        bench.turn(both).into_iter().map(|reply| C2cResponse::decode(reply.body).unwrap().version).collect();
    assert_eq!(versions, [2, 3]);
}

#[test]
fn turns_that_come_while_a_batch_is_written_make_the_next_batch_together() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let turn = |n: u32| Turn { requests: vec![send(&alice, n, "bob", "", "x")], ..Turn::default() };
    let groups: Vec<_> = (1..=3).flat_map(|n| bench.logic.serve(turn(n))).collect();
    let replies = bench.pool.run_until(futures::future::join_all(groups)).concat();
    let versions: Vec<i64> =
        replies.into_iter().map(|reply| C2cResponse::decode(reply.body).unwrap().version).collect();
    assert_eq!(versions, [1, 2, 3]);
    assert_eq!(*lock(&bench.store.batches), [3]);
}

#[test]
fn what_does_not_fit_in_the_queue_fails_and_keeps_the_order() {
    let group_commit = GroupCommitLimits { queue_bytes: 1_000, ..GroupCommitLimits::default() };
    let mut bench = Bench::with(Policy { group_commit, ..Policy::default() });
    let alice = bench.log_in("alice");
    let large = send(&alice, 1, "bob", "a", &"x".repeat(2_000));
    let turns = [large, send(&alice, 2, "bob", "b", "y"), send(&alice, 3, "carol", "c", "z")];
    let groups: Vec<_> = turns
        .into_iter()
        .flat_map(|request| bench.logic.serve(Turn { requests: vec![request], ..Turn::default() }))
        .collect();
    let replies = bench.pool.run_until(futures::future::join_all(groups)).concat();
    let codes: Vec<i32> =
        replies.into_iter().map(|reply| C2cResponse::decode(reply.body).unwrap().err_code).collect();
    assert_eq!(codes, [7, 7, 0], "the one to bob that would fit waits for the one that did not");
}

#[test]
fn posts_of_a_dropped_caller_are_stored_all_the_same() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let turn = Turn { requests: vec![send(&alice, 1, "bob", "a", "1")], ..Turn::default() };
    drop(bench.logic.serve(turn));
    bench.pool.run_until_stalled();
    let page: PullResponse = bench.ask(pull(&alice, 0, 0));
    assert_eq!(contents(&page), [(1, "1")]);
}

#[test]
fn a_pull_pages_to_the_head_and_acknowledges_its_offset() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    let sends = (1..=12).map(|n| send(&alice, n, "bob", &format!("k{n}"), &n.to_string())).collect();
    bench.turn(sends);
    let first: PullResponse = bench.ask(pull(&bob, 0, 0));
    assert_eq!((first.msgs.len(), first.next_offset, first.head), (10, 10, 12));
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("bob"), None, "the first page acknowledges nothing");
    let second: PullResponse = bench.ask(pull(&bob, first.next_offset, 100));
    assert_eq!(contents(&second), [(11, "11"), (12, "12")]);
    let last: PullResponse = bench.ask(pull(&bob, 12, 100));
    assert_eq!((last.msgs.len(), last.next_offset, last.head), (0, 12, 12));
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("bob"), Some(12));
    assert_eq!(bench.refused(pull(&bob, 13, 1)), ErrorCode::VersionAheadOfHead.code());
}

#[test]
fn another_users_timeline_cannot_be_pulled() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let body = PullRequest { uid: "bob".into(), offset: 0, limit: 1 };
    assert_eq!(bench.refused(request(&alice, CmdId::PULL, 1, &body)), 3);
    let group = SyncRequest { group: 5, ..SyncRequest::default() };
    assert_eq!(bench.refused(request(&alice, CmdId::SYNC, 2, &group)), 4);
}

#[test]
fn a_sync_returns_what_lies_between_and_acknowledges_nothing() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    bench.turn((1..=6).map(|n| send(&alice, n, "bob", &format!("k{n}"), "x")).collect());
    let body = SyncRequest { begin: 2, end: 4, limit: 10, ..SyncRequest::default() };
    let page: SyncResponse = bench.ask(request(&alice, CmdId::SYNC, 9, &body));
    let versions: Vec<i64> = page.msgs.iter().map(|msg| msg.version).collect();
    assert_eq!((versions, page.next_offset, page.head), (vec![3, 4], 4, 6));
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("alice"), None);
}

#[test]
fn acknowledgements_are_flushed_merged_and_refused_above_the_head() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    bench.turn((1..=3).map(|n| send(&alice, n, "bob", &format!("k{n}"), "x")).collect());
    let own = TimelineId::User(bob.uid.clone());
    let up_to = |version| Ack { caller: bob.clone(), of: Acked::UpTo(own.clone(), Version(version)) };
    bench.acks(vec![up_to(2), up_to(1)]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("bob"), Some(2));
    bench.acks(vec![up_to(99)]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("bob"), Some(2));
}

#[test]
fn an_acknowledged_msgid_moves_the_cursor_over_a_contiguous_run_only() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    let replies = bench.turn((1..=3).map(|n| send(&alice, n, "bob", &format!("k{n}"), "x")).collect());
    let msgids: Vec<i64> =
        replies.into_iter().map(|reply| C2cResponse::decode(reply.body).unwrap().msgid).collect();
    let one = |n: usize| Ack { caller: bob.clone(), of: Acked::Message(MsgId(msgids[n])) };
    bench.acks(vec![one(1)]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("bob"), None);
    bench.acks(vec![one(0), Ack { caller: bob.clone(), of: Acked::Message(MsgId(5)) }]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("bob"), Some(2));
}

#[test]
fn an_unacknowledged_message_is_hinted_and_then_the_vendor_is_asked() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    bench.turn((1..=2).map(|n| send(&alice, n, "bob", &format!("k{n}"), "x")).collect());
    assert_eq!(bench.carried().len(), 2);
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.carried(), [(bob.conn, Ok(2))], "the head is pushed again");
    assert!(lock(&bench.woken.0).is_empty());
    bench.pass(Duration::from_secs(6));
    assert_eq!(*lock(&bench.woken.0), [(bob.uid.clone(), Version(2))]);
    bench.pass(Duration::from_secs(60));
    assert_eq!(lock(&bench.woken.0).len(), 1, "once a message is enough");
}

#[test]
fn an_acknowledged_message_is_neither_hinted_nor_woken_for() {
    let mut bench = Bench::new();
    let (alice, bob) = (bench.log_in("alice"), bench.log_in("bob"));
    bench.turn(vec![send(&alice, 1, "bob", "k", "x")]);
    bench.carried();
    let own = TimelineId::User(bob.uid.clone());
    bench.acks(vec![Ack { caller: bob, of: Acked::UpTo(own, Version(1)) }]);
    bench.pass(Duration::from_secs(30));
    assert_eq!(bench.carried(), []);
    assert!(lock(&bench.woken.0).is_empty());
}

#[test]
fn a_login_of_the_same_device_type_kicks_the_older_one() {
    let mut bench = Bench::new();
    let old = bench.log_in("alice");
    let (phone, _) = bench.log_in_on("alice", "alice", DeviceType::IOS);
    assert_eq!(bench.carried(), []);
    bench.log_in("alice");
    assert_eq!(bench.carried(), [(old.conn, Err(KickReason::LoggedInElsewhere))]);
    let links = vec![(old.uid.clone(), old.conn), (phone.uid.clone(), phone.conn)];
    let evicted = bench.logic.evicted(links);
    assert_eq!(bench.pool.run_until(evicted).unwrap(), [old.conn]);
}

#[test]
fn a_user_with_too_many_links_loses_the_oldest() {
    let mut bench = Bench::with(Policy { links_per_user: 2, ..Policy::default() });
    let mut links: Vec<ConnId> = Vec::new();
    for kind in [DeviceType::WEB, DeviceType::IOS, DeviceType::TABLET] {
        let (caller, verdict) = bench.log_in_on("alice", "alice", kind);
        assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
        links.push(caller.conn);
    }
    assert_eq!(bench.carried(), [(links[0], Err(KickReason::LoggedInElsewhere))]);
    let alice = Uid::new("alice").unwrap();
    let all = links.iter().map(|conn| (alice.clone(), *conn)).collect();
    assert_eq!(bench.pool.run_until(bench.logic.evicted(all)).unwrap(), [links[0]]);
}

#[test]
fn a_handler_that_panics_is_answered_as_unavailable() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let asked = vec![request(&alice, CmdId(5_001), 1, &()), request(&alice, CmdId(5_001), 2, &())];
    let replies = bench.turn(asked);
    let codes = replies.iter().map(|reply| ErrorResponse::decode(reply.body.clone()).unwrap().err_code);
    assert_eq!(codes.collect::<Vec<_>>(), [7, 7]);
}

#[test]
fn a_link_that_acknowledges_and_leaves_at_once_is_forgotten() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let sent: C2cResponse = bench.ask(send(&alice, 1, "alice", "k", "hi"));
    let acks = vec![Ack { caller: alice.clone(), of: Acked::Message(MsgId(sent.msgid)) }];
    let groups = bench.logic.serve(Turn { acks, leaves: vec![alice], ..Turn::default() });
    bench.pool.run_until(futures::future::join_all(groups));
    assert!(lock(&bench.logic.acks).is_forgotten());
    assert_eq!(bench.cursor("alice"), None);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.cursor("alice"), Some(1));
}

#[test]
fn logins_fail_with_what_the_client_should_do_about_it() {
    let mut bench = Bench::new();
    let code = |verdict| match verdict {
        Verdict::Refused { code, .. } => code,
        Verdict::Granted(granted) => panic!("{granted:?}"),
    };
    for token in ["bad", "bob", "expired"] {
        assert_eq!(code(bench.log_in_on("alice", token, DeviceType::WEB).1), ErrorCode::RefusedToken);
    }
    assert_eq!(code(bench.log_in_on("alice", "down", DeviceType::WEB).1), ErrorCode::Unavailable);
}

#[test]
fn a_user_centre_that_does_not_answer_ends_the_login_at_its_deadline() {
    let mut bench = Bench::new();
    let caller = bench.log_in("alice");
    let credentials = Credentials {
        uid: caller.uid.clone(),
        token: "slow".into(),
        device: caller.device.clone(),
        device_type: caller.device_type,
    };
    let logic = bench.logic.clone();
    let done = Arc::new(Mutex::new(None));
    let seen = done.clone();
    let login = async move { *lock(&seen) = Some(logic.login(Login { caller, credentials }).await) };
    bench.pool.spawner().spawn_local(login).unwrap();
    bench.pass(Duration::from_secs(4));
    assert!(lock(&done).is_none());
    bench.pass(Duration::from_secs(2));
    assert!(matches!(*lock(&done), Some(Verdict::Refused { code: ErrorCode::Unavailable, .. })));
}

#[test]
fn a_noop_of_a_client_that_asked_carries_the_head() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    bench.turn(vec![send(&alice, 1, "bob", "k", "x")]);
    let reply: NoopReply = bench.ask(request(&alice, CmdId::NOOP, Seq::NOOP.0, &()));
    assert_eq!(reply.version, 1);
}

#[test]
fn the_integrators_commands_are_served_and_unknown_ones_refused() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let reply =
        bench.turn(vec![request(&alice, CmdId(5_000), 1, &NoopReply { version: 3, ..NoopReply::default() })]);
    assert_eq!(NoopReply::decode(reply[0].body.clone()).unwrap().version, 3);
    assert_eq!(bench.refused(request(&alice, CmdId(6_000), 2, &())), ErrorCode::UnknownCommand.code());
}

#[test]
fn a_logic_that_stops_stores_what_it_took_and_flushes_what_was_acknowledged() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    bench.turn(vec![send(&alice, 1, "bob", "k", "x")]);
    let own = TimelineId::User(alice.uid.clone());
    bench.acks(vec![Ack { caller: alice.clone(), of: Acked::UpTo(own, Version(1)) }]);
    let late =
        bench.logic.serve(Turn { requests: vec![send(&alice, 2, "bob", "l", "y")], ..Turn::default() });
    bench.logic.stop();
    bench.pool.run_until_stalled();
    let replies = bench.pool.run_until(futures::future::join_all(late)).concat();
    assert_eq!(C2cResponse::decode(replies[0].body.clone()).unwrap().version, 2);
    assert_eq!(bench.cursor("alice"), Some(1));
    assert_eq!(bench.refused(send(&alice, 3, "bob", "m", "z")), ErrorCode::Unavailable.code());
}

#[test]
fn a_look_up_that_hangs_does_not_cost_the_lease() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    lock(&bench.store.hangs).push(());
    bench.turn(vec![send(&alice, 1, "bob", "a", "1")]);
    bench.pass(Duration::from_secs(60));
    let response: C2cResponse = bench.ask(send(&alice, 2, "bob", "b", "2"));
    assert_eq!(response.err_code, 0);
}

#[test]
fn a_server_whose_name_another_one_took_stops() {
    let mut bench = Bench::new();
    let alice = bench.log_in("alice");
    let taken =
        crate::storage::Nodes::lease_node(&*bench.store, "test", Timestamp(0), Duration::from_secs(1));
    let taken = taken.now_or_never().unwrap();
    assert!(taken.is_ok());
    bench.pass(Duration::from_secs(15));
    assert_eq!(bench.refused(send(&alice, 1, "bob", "k", "x")), ErrorCode::Unavailable.code());
    assert!(bench.logic.next_conn().is_err());
    assert!(bench.logic.is_superseded());
}
