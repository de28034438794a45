//! The client over real sockets, against a server that says what each scenario wants, frame by frame.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use im_core::client::{
    ClientConfig, EarlierEntry, EarlierPlace, EndReason, LocalEntry, LocalStore, MemoryLocalStore, Outgoing,
    Saved,
};
use im_core::id::{ClientMsgId, DeviceId, StoreEpoch, Uid, Version};
use im_core::message::ContentType;
use im_core::storage::{StoreError, StoreErrorKind};
use im_proto::v1::{
    AuthRequest, AuthResponse, C2cPush, C2cRequest, C2cResponse, PullMsg, PullRequest, PullResponse, PushAck,
    SyncRequest,
};
use im_proto::{CmdId, Decoder, Frame, Seq};
use im_transport::client::{Client, ClientOptions, Confirm, Ended, Event, Events, new_message_id};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_message_is_acknowledged_and_forgotten() {
    let world = World::new(Confirm::Store).await;
    let mut server = world.accept(0).await;
    let sending = world.client.send(message("hello")).await.unwrap();
    let send = server.read().await;
    let request = C2cRequest::decode(send.body.clone()).unwrap();
    assert_eq!((send.cmd, &request.content[..]), (CmdId::C2C_SEND, &b"hello"[..]));
    assert_eq!(world.store.load().await.unwrap().outgoing.len(), 1, "durable before it is sent");
    server.reply(&send, &C2cResponse { msgid: 7, timestamp: 8, version: 1, ..Default::default() }).await;
    assert_eq!(sending.await.unwrap().version, Version(1));
    world.client.stop().await;
    assert!(world.store.load().await.unwrap().outgoing.is_empty());
    assert_eq!(world.store.read(Version(0), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn messages_survive_a_link_and_keep_their_order() {
    let world = World::new(Confirm::Store).await;
    let mut first = world.accept(0).await;
    let mut sendings = Vec::new();
    for text in ["1", "2", "3"] {
        sendings.push(world.client.send(message(text)).await.unwrap());
    }
    first.read().await;
    drop(first);
    let mut second = world.accept(0).await;
    for (version, text) in (1..).zip(["1", "2", "3"]) {
        let send = second.read_send().await;
        assert_eq!(C2cRequest::decode(send.body.clone()).unwrap().content, text.as_bytes());
        second.reply(&send, &C2cResponse { msgid: version, version, ..Default::default() }).await;
    }
    for sending in sendings {
        timeout(SOON, sending).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn entries_are_in_the_local_store_before_they_are_acknowledged() {
    let mut world = World::new(Confirm::Store).await;
    let mut server = world.accept(0).await;
    server.push(1).await;
    let ack = server.read().await;
    assert_eq!((ack.cmd, PushAck::decode(ack.body).unwrap().version), (CmdId::PUSH_ACK, 1));
    assert_eq!(world.store.load().await.unwrap().cursor, Version(1));
    assert_eq!(world.entries().await, [1]);
}

#[tokio::test]
async fn an_application_that_confirms_decides_when_an_entry_is_acknowledged() {
    let mut world = World::new(Confirm::Application).await;
    let mut server = world.accept(0).await;
    server.push(1).await;
    server.push(2).await;
    assert_eq!(world.entries().await, [1]);
    assert!(timeout(Duration::from_millis(300), server.read()).await.is_err(), "nothing is confirmed yet");
    assert_eq!(world.store.load().await.unwrap().cursor, Version(0));
    world.client.applied(StoreEpoch(0), Version(1));
    let ack = server.read().await;
    assert_eq!(PushAck::decode(ack.body).unwrap().version, 1);
    assert_eq!(world.store.load().await.unwrap().cursor, Version(1));
}

#[tokio::test]
async fn stopping_acknowledges_what_was_confirmed() {
    let mut world = World::new(Confirm::Application).await;
    let mut server = world.accept(0).await;
    server.push(1).await;
    world.entries().await;
    world.client.applied(StoreEpoch(0), Version(1));
    world.client.stop().await;
    assert_eq!(PushAck::decode(server.read().await.body).unwrap().version, 1);
    assert_eq!(world.store.load().await.unwrap().cursor, Version(1));
    assert!(matches!(world.ended().await, Ended::Client(EndReason::Stopped)));
}

/// What a server answers whose restored store kept entry 1, gave 2 to another message, and has more.
async fn give_again(server: &mut Server) {
    let pull = server.read().await;
    assert_eq!((pull.cmd, fetched_after(&pull)), (CmdId::PULL, Some(0)));
    let new = |version| PullMsg { msgid: version + 100, ..entry(version) };
    let msgs = vec![entry(1), new(2), new(3)];
    server.reply(&pull, &PullResponse { msgs, next_offset: 3, head: 3, ..Default::default() }).await;
}

#[tokio::test]
async fn a_restored_server_gives_everything_again_and_only_what_is_new_comes_out() {
    for failures in [0, 2] {
        let store = Arc::new(Flaky::default());
        let mut world = World::with(Confirm::Store, |_| {}, store.clone()).await;
        let mut server = world.accept(0).await;
        server.push(1).await;
        server.push(2).await;
        while world.store.load().await.unwrap().cursor < Version(2) {
            world.entries().await;
        }
        drop(server);
        store.failures.store(failures, Ordering::SeqCst);
        let mut server = world.accept_in(5, 3).await;
        give_again(&mut server).await;
        let shown = world.entries().await;
        assert_eq!(if shown == [2] { world.entries().await } else { shown }, [2, 3], "{failures} failures");
        let saved = store.load().await.unwrap();
        assert_eq!((saved.epoch, saved.cursor), (StoreEpoch(5), Version(3)));
        let lost = store.earlier(EarlierPlace::END, 9).await.unwrap();
        assert_eq!(lost.iter().map(|lost| lost.entry.msgid.0).collect::<Vec<_>>(), [2]);
    }
}

#[tokio::test]
async fn an_application_that_confirms_sees_another_epoch_once_it_confirmed_all_of_the_one_before() {
    let mut world = World::new(Confirm::Application).await;
    let mut server = world.accept(0).await;
    server.push(1).await;
    server.push(2).await;
    assert_eq!((world.entries().await, world.entries().await), (vec![1], vec![2]));
    drop(server);
    let mut server = world.accept_in(5, 3).await;
    assert!(timeout(Duration::from_millis(300), server.read()).await.is_err(), "nothing is confirmed yet");
    world.client.applied(StoreEpoch(0), Version(2));
    give_again(&mut server).await;
    assert_eq!(world.entries().await, [2, 3], "1 was shown");
    world.client.applied(StoreEpoch(0), Version(9));
    assert_eq!(world.store.load().await.unwrap().cursor, Version(0), "an epoch that has ended");
    world.client.applied(StoreEpoch(5), Version(3));
    let ack = server.read().await;
    assert_eq!((ack.cmd, PushAck::decode(ack.body).unwrap().version), (CmdId::PUSH_ACK, 3));
    assert_eq!(world.store.load().await.unwrap().cursor, Version(3));
}

#[tokio::test]
async fn a_refused_token_ends_the_client_and_its_sends() {
    let mut world = World::new(Confirm::Store).await;
    let sending = world.client.send(message("x")).await.unwrap();
    let mut server = world.connection().await;
    let auth = server.read().await;
    server.reply(&auth, &AuthResponse { status: -1, err_code: 2, ..Default::default() }).await;
    assert!(sending.await.is_err());
    assert!(matches!(world.ended().await, Ended::Client(EndReason::Refused { .. })));
}

#[tokio::test]
async fn a_server_that_is_down_is_tried_again() {
    let World { client, mut events, listener, .. } = World::new(Confirm::Store).await;
    let (stream, _) = listener.accept().await.unwrap();
    drop((stream, listener));
    for _ in 0..3 {
        let event = timeout(SOON, events.next()).await.unwrap().unwrap();
        assert!(matches!(event, Event::Offline { .. }), "{event:?}");
    }
    timeout(SOON, client.stop()).await.unwrap();
}

#[tokio::test]
async fn a_message_larger_than_a_frame_is_refused_at_once() {
    let world = World::new(Confirm::Store).await;
    let large = Outgoing { content: vec![0; 1 << 20].into(), ..message("") };
    let sending = world.client.send(large).await.unwrap();
    assert!(timeout(SOON, sending).await.unwrap().is_err());
}

#[tokio::test]
async fn a_thousand_pipelined_messages_are_acknowledged() {
    let world = World::new(Confirm::Store).await;
    let mut server = world.accept(0).await;
    let serve = tokio::spawn(async move {
        for version in 1..=1_000 {
            let send = server.read_send().await;
            server.reply(&send, &C2cResponse { msgid: version, version, ..Default::default() }).await;
        }
        server
    });
    let mut sendings = Vec::new();
    for number in 0..1_000 {
        sendings.push(world.client.send(message(&number.to_string())).await.unwrap());
    }
    for (version, sending) in (1..).zip(sendings) {
        assert_eq!(timeout(SOON, sending).await.unwrap().unwrap().version, Version(version));
    }
    serve.await.unwrap();
}

#[tokio::test]
async fn entries_that_nobody_takes_stay_with_the_server_and_come_later() {
    const LAST: i64 = 500;
    let mut world =
        World::with(Confirm::Store, |config| config.max_unapplied = 20, Arc::new(MemoryLocalStore::new()))
            .await;
    let mut server = world.accept(LAST).await;
    let serve = tokio::spawn(async move {
        let mut listed = 0;
        while let Ok(frame) = timeout(Duration::from_secs(2), server.read()).await {
            if let Some(begin) = fetched_after(&frame) {
                let page: Vec<_> = (begin + 1..=LAST).take(10).map(entry).collect();
                listed += page.len();
                let next_offset = page.last().map_or(LAST, |last| last.version);
                server
                    .reply(
                        &frame,
                        &PullResponse { msgs: page, next_offset, head: LAST, ..Default::default() },
                    )
                    .await;
                server.push(LAST).await;
            }
        }
        (server, listed)
    });
    let (server, listed) = serve.await.unwrap();
    assert!(listed < 400, "{listed} entries were fetched for nobody");
    let mut server = server;
    let serve = tokio::spawn(async move {
        loop {
            let frame = server.read().await;
            if let Some(begin) = fetched_after(&frame) {
                let msgs = (begin + 1..=LAST).take(10).map(entry).collect();
                server.reply(&frame, &PullResponse { msgs, head: LAST, ..Default::default() }).await;
            }
        }
    });
    let mut versions = Vec::new();
    while versions.len() < 500 {
        versions.extend(world.entries().await);
    }
    assert_eq!(versions, (1..=LAST).collect::<Vec<_>>());
    serve.abort();
}

#[tokio::test]
async fn a_local_store_that_fails_for_now_is_tried_again() {
    let store = Arc::new(Flaky { failures: 1.into(), ..Flaky::default() });
    let world = World::with(Confirm::Store, |_| {}, store).await;
    let mut server = world.accept(0).await;
    let sending = world.client.send(message("x")).await.unwrap();
    let send = server.read_send().await;
    server.reply(&send, &C2cResponse { msgid: 1, version: 1, ..Default::default() }).await;
    assert!(timeout(SOON, sending).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_local_store_that_is_damaged_ends_the_client() {
    let store = Arc::new(Flaky { failures: 1.into(), damaged: true, ..Flaky::default() });
    let mut world = World::with(Confirm::Store, |_| {}, store).await;
    let _server = world.accept(0).await;
    let sending = world.client.send(message("x")).await.unwrap();
    assert!(timeout(SOON, sending).await.unwrap().is_err());
    assert!(matches!(world.ended().await, Ended::Store(_)));
}

/// Where a pull or a sync begins.
fn fetched_after(frame: &Frame) -> Option<i64> {
    match frame.cmd {
        CmdId::PULL => Some(PullRequest::decode(frame.body.clone()).unwrap().offset),
        CmdId::SYNC => Some(SyncRequest::decode(frame.body.clone()).unwrap().begin),
        _ => None,
    }
}

fn entry(version: i64) -> PullMsg {
    PullMsg { from: "bob".to_owned(), msgid: version, cmdid: 1006, version, ..Default::default() }
}

/// A local store whose first writes fail.
#[derive(Default)]
struct Flaky {
    inner: MemoryLocalStore,
    failures: AtomicU32,
    damaged: bool,
}

impl Flaky {
    fn try_now(&self) -> Result<(), StoreError> {
        let one_less = |left: u32| left.checked_sub(1);
        match self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) if self.damaged => Err(StoreError::new(StoreErrorKind::Corrupt, "test")),
            Ok(_) => Err(StoreError::new(StoreErrorKind::Unavailable, "test")),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait::async_trait]
impl LocalStore for Flaky {
    async fn load(&self) -> Result<Saved, StoreError> {
        self.inner.load().await
    }

    async fn enqueue(&self, messages: Vec<Outgoing>) -> Result<(), StoreError> {
        self.try_now()?;
        self.inner.enqueue(messages).await
    }

    async fn settle(&self, messages: Vec<ClientMsgId>) -> Result<(), StoreError> {
        self.inner.settle(messages).await
    }

    async fn begin_epoch(&self, epoch: StoreEpoch) -> Result<(), StoreError> {
        self.try_now()?;
        self.inner.begin_epoch(epoch).await
    }

    async fn recognise(&self, entries: &[LocalEntry]) -> Result<Vec<bool>, StoreError> {
        self.inner.recognise(entries).await
    }

    async fn apply(&self, entries: Vec<LocalEntry>, cursor: Version) -> Result<(), StoreError> {
        self.try_now()?;
        self.inner.apply(entries, cursor).await
    }

    async fn read(&self, after: Version, limit: usize) -> Result<Vec<LocalEntry>, StoreError> {
        self.inner.read(after, limit).await
    }

    async fn earlier(&self, before: EarlierPlace, limit: usize) -> Result<Vec<EarlierEntry>, StoreError> {
        self.inner.earlier(before, limit).await
    }
}

/// Alice's client and the server that she was told of.
struct World {
    client: Client,
    events: Events,
    store: Arc<dyn LocalStore>,
    listener: TcpListener,
}

impl World {
    async fn new(confirm: Confirm) -> Self {
        Self::with(confirm, |_| {}, Arc::new(MemoryLocalStore::new())).await
    }

    async fn with(
        confirm: Confirm,
        change: impl FnOnce(&mut ClientConfig),
        store: Arc<dyn LocalStore>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut options = ClientOptions::new(listener.local_addr().unwrap().to_string());
        options.confirm = confirm;
        options.events = 4;
        let mut config = ClientConfig::new(Uid::new("alice").unwrap(), "token", DeviceId::new("d").unwrap());
        change(&mut config);
        let (client, events) = Client::connect(options, config, store.clone()).await.unwrap();
        Self { client, events, store, listener }
    }

    async fn connection(&self) -> Server {
        let (stream, _) = timeout(SOON, self.listener.accept()).await.unwrap().unwrap();
        Server { stream, received: BytesMut::new() }
    }

    /// Takes a connection and its login.
    async fn accept(&self, head: i64) -> Server {
        self.accept_in(0, head).await
    }

    /// As `accept`, by a server whose store is in this epoch.
    async fn accept_in(&self, epoch: i32, head: i64) -> Server {
        let mut server = self.connection().await;
        let auth = server.read().await;
        assert_eq!(AuthRequest::decode(auth.body.clone()).unwrap().uid, "alice");
        server.reply(&auth, &AuthResponse { version: head, epoch, ..Default::default() }).await;
        server
    }

    /// The versions of the next entries.
    async fn entries(&mut self) -> Vec<i64> {
        loop {
            if let Event::Entries { entries, .. } = timeout(SOON, self.events.next()).await.unwrap().unwrap()
            {
                return entries.iter().map(|entry| entry.version.0).collect();
            }
        }
    }

    async fn ended(&mut self) -> Ended {
        loop {
            if let Event::Ended(reason) = timeout(SOON, self.events.next()).await.unwrap().unwrap() {
                return reason;
            }
        }
    }
}

struct Server {
    stream: TcpStream,
    received: BytesMut,
}

impl Server {
    async fn read(&mut self) -> Frame {
        loop {
            if let Some(frame) = Decoder::default().decode(&mut self.received).unwrap() {
                return frame;
            }
            let read = timeout(SOON, self.stream.read_buf(&mut self.received)).await.unwrap().unwrap();
            assert!(read > 0, "the client closed the link");
        }
    }

    /// The next send; own messages are acknowledged in between like all others.
    async fn read_send(&mut self) -> Frame {
        loop {
            let frame = self.read().await;
            if frame.cmd == CmdId::C2C_SEND {
                return frame;
            }
        }
    }

    async fn reply(&mut self, to: &Frame, body: &impl Message) {
        self.write(Frame { body: body.encode_to_vec().into(), ..to.clone() }).await;
    }

    async fn push(&mut self, version: i64) {
        let push = C2cPush { from: "bob".to_owned(), msgid: version, version, ..Default::default() };
        let body = push.encode_to_vec().into();
        self.write(Frame { client_version: 200, cmd: CmdId::C2C_PUSH, seq: Seq::PUSH, body }).await;
    }

    async fn write(&mut self, frame: Frame) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }
}

fn message(text: &str) -> Outgoing {
    Outgoing {
        client_msg_id: new_message_id(),
        to: Uid::new("bob").unwrap(),
        content_type: ContentType(0),
        content: text.as_bytes().to_vec().into(),
    }
}
