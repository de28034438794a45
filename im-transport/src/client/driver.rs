//! The task behind a [`Client`](super::Client): the machine between socket, timer, local store and application.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, OptionFuture};
use im_core::client::{
    self as machine, ClientConfig, Effect, Input, LocalEntry, LocalStore, Outgoing, Receipt, RoomAction,
    Saved,
};
use im_core::id::{ClientMsgId, StoreEpoch, Version};
use im_core::storage::StoreError;
use im_core::time::Tick;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::link::{self, Link, Ready};
use super::work::{Done, Work};
use super::{ClientOptions, Confirm, Ended, Event, SendError};

/// Messages that may be on their way through the local store to the machine.
const ENQUEUEING: usize = 256;
/// How long a stop waits for the local store.
const STOP: Duration = Duration::from_secs(5);

/// A message and where its answer goes.
#[derive(Debug)]
pub(super) struct Submit {
    pub(super) message: Outgoing,
    pub(super) answer: oneshot::Sender<Result<Receipt, SendError>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Control {
    NetworkChanged,
    Stop,
    Logout,
}

/// What the application confirmed last. It counts in its own epoch only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confirmed {
    pub(super) epoch: StoreEpoch,
    pub(super) version: Version,
}

/// The task's ends of the handle's channels.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) sends: mpsc::Receiver<Submit>,
    pub(super) rooms: mpsc::Receiver<RoomAction>,
    pub(super) control: mpsc::Receiver<Control>,
    pub(super) applied: watch::Receiver<Confirmed>,
    /// Where the task says that confirmations begin anew.
    pub(super) restart: watch::Sender<Confirmed>,
    pub(super) events: mpsc::Sender<Event>,
}

pub(super) struct Driver {
    options: ClientOptions,
    machine: machine::Client,
    started: Instant,
    ends: Ends,
    link: Option<Link>,
    connecting: Option<BoxFuture<'static, io::Result<Link>>>,
    closing: JoinSet<()>,
    store: Arc<dyn LocalStore>,
    /// Gathers while `writing` is under way.
    work: Work,
    writing: Option<BoxFuture<'static, Result<Done, StoreError>>>,
    /// Messages in `writing` or in `durable`: taken, and not with the machine.
    enqueueing: usize,
    /// Enqueued in the local store, for the machine when it has room.
    durable: VecDeque<Outgoing>,
    /// Given out by the machine: not yet in a batch, or for the application to confirm.
    received: VecDeque<LocalEntry>,
    received_up_to: Version,
    /// What the versions of entries belong to.
    epoch: StoreEpoch,
    /// Whether the local store may have entries of earlier epochs, which are not shown again.
    recognises: bool,
    in_store: Version,
    answers: BTreeMap<ClientMsgId, oneshot::Sender<Result<Receipt, SendError>>>,
    events: VecDeque<Event>,
    stopping: Stopping,
    ended: Option<Ended>,
}

#[derive(Debug)]
enum Stopping {
    No,
    /// Waits for the local store, at most so long.
    Soon {
        input: Input,
        until: Instant,
    },
    /// The machine was told.
    Told,
}

/// Why the task woke up.
enum Wake {
    Submit(Submit),
    Room(RoomAction),
    Control(Option<Control>),
    Confirmed,
    Connected(io::Result<Link>),
    Link(Ready),
    Wrote(Result<Done, StoreError>),
    EventTaken,
    Deadline,
}

impl Driver {
    pub(super) fn new(
        options: ClientOptions,
        config: ClientConfig,
        saved: Saved,
        store: Arc<dyn LocalStore>,
        ends: Ends,
    ) -> Self {
        let Saved { epoch, cursor, has_earlier, .. } = saved;
        Self {
            options,
            machine: machine::Client::new(config, saved, seed()),
            started: Instant::now(),
            ends,
            link: None,
            connecting: None,
            closing: JoinSet::new(),
            store,
            work: Work::default(),
            writing: None,
            enqueueing: 0,
            durable: VecDeque::new(),
            received: VecDeque::new(),
            received_up_to: cursor,
            epoch,
            recognises: has_earlier,
            in_store: cursor,
            answers: BTreeMap::new(),
            events: VecDeque::new(),
            stopping: Stopping::No,
            ended: None,
        }
    }

    pub(super) async fn run(mut self) {
        self.feed(Input::Start);
        while self.ended.is_none() {
            self.hand_over_durable();
            self.begin_write();
            self.stop_if_idle();
            if self.ended.is_none() {
                let wake = self.wait().await;
                self.on_wake(wake);
            }
        }
        self.finish().await;
    }

    async fn wait(&mut self) -> Wake {
        while self.closing.try_join_next().is_some() {}
        let deadline = self.deadline();
        let listens = matches!(self.stopping, Stopping::No);
        let takes_sends = listens && self.enqueueing < ENQUEUEING;
        let Self { ends, link, connecting, writing, events, .. } = self;
        tokio::select! {
            Some(ready) = OptionFuture::from(link.as_mut().map(Link::ready)) => Wake::Link(ready),
            Some(done) = OptionFuture::from(writing.as_mut()) => Wake::Wrote(done),
            Some(link) = OptionFuture::from(connecting.as_mut()) => Wake::Connected(link),
            Some(submit) = ends.sends.recv(), if takes_sends => Wake::Submit(submit),
            Some(action) = ends.rooms.recv(), if listens => Wake::Room(action),
            control = ends.control.recv(), if listens => Wake::Control(control),
            Ok(()) = ends.applied.changed() => Wake::Confirmed,
            room = ends.events.reserve(), if !events.is_empty() => {
                match (room, events.pop_front()) {
                    (Ok(room), Some(event)) => room.send(event),
                    _ => events.clear(),
                }
                Wake::EventTaken
            }
            Some(()) = OptionFuture::from(deadline.map(sleep_until)) => Wake::Deadline,
        }
    }

    fn on_wake(&mut self, wake: Wake) {
        match wake {
            Wake::Submit(submit) => self.take_sends(submit),
            Wake::Room(action) => self.feed(Input::Room(action)),
            Wake::Control(control) => self.on_control(control),
            Wake::Confirmed => self.on_confirmed(),
            Wake::Connected(Ok(link)) => {
                self.connecting = None;
                self.link = Some(link);
                self.feed(Input::Connected);
            }
            Wake::Connected(Err(error)) => {
                tracing::info!(server = self.options.server, %error, "cannot connect");
                self.connecting = None;
                self.feed(Input::ConnectFailed);
            }
            Wake::Link(Ready::Read) => self.read_frames(),
            Wake::Link(Ready::Closed) => {
                self.link = None;
                self.feed(Input::Disconnected);
            }
            Wake::Wrote(done) => self.on_wrote(done),
            Wake::Deadline => self.feed(Input::Timeout),
            Wake::Link(Ready::Written) | Wake::EventTaken => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let of_machine = self.machine.next_deadline().map(|at| self.started + Duration::from_nanos(at.0));
        let of_stop = match self.stopping {
            Stopping::Soon { until, .. } => Some(until),
            _ => None,
        };
        of_machine.into_iter().chain(of_stop).min()
    }

    fn now(&self) -> Tick {
        Tick::default() + self.started.elapsed()
    }
}

/// To and from the machine.
impl Driver {
    fn feed(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.machine.handle(self.now(), input, &mut effects);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Connect => {
                    let opening = link::open(self.options.server.clone(), self.options.connect_timeout);
                    self.connecting = Some(Box::pin(opening));
                }
                Effect::Write(frame) => {
                    if let Some(link) = &mut self.link {
                        link.write(&frame);
                    }
                }
                Effect::Disconnect => self.disconnect(),
                Effect::BeginEpoch(epoch) => self.on_epoch(epoch),
                Effect::Apply { entries, cursor } => self.on_entries(entries, cursor),
                Effect::Acked(receipt) => self.on_acked(receipt),
                Effect::Rejected(rejection) => self.on_rejected(rejection),
                Effect::LoggedIn { head, .. } => self.announce(Event::LoggedIn { head }),
                Effect::Offline { retry_at } => self.on_offline(retry_at),
                Effect::Room(event) => self.announce(Event::Room(event)),
                Effect::Other(frame) => self.announce(Event::Other(frame)),
                Effect::Ended(reason) => self.ended = Some(reason.into()),
            }
        }
    }

    fn disconnect(&mut self) {
        self.connecting = None;
        if let Some(link) = self.link.take() {
            self.closing.spawn(link.close());
        }
    }

    fn read_frames(&mut self) {
        while let Some(link) = &mut self.link {
            match link.frame() {
                Ok(Some(frame)) => self.feed(Input::Frame(frame)),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "the server sent no frame");
                    self.feed(Input::Malformed(error));
                }
            }
        }
    }

    fn on_offline(&mut self, retry_at: Tick) {
        let retry_in = retry_at.since(self.now());
        self.announce(Event::Offline { retry_in });
    }

    /// Queues an event that carries nothing lasting. If nobody takes events, such ones make room: a server that comes and goes
    /// for a day must not fill the memory.
    fn announce(&mut self, event: Event) {
        if self.events.len() >= self.options.events {
            let lasting = |event: &Event| {
                matches!(
                    event,
                    Event::EpochBegan(_) | Event::Entries { .. } | Event::Acked(_) | Event::Rejected(_)
                )
            };
            self.events.retain(lasting);
        }
        self.events.push_back(event);
    }
}

/// Sends.
impl Driver {
    /// Takes what waits, for one write to the local store.
    fn take_sends(&mut self, first: Submit) {
        let mut next = Some(first);
        while let Some(Submit { message, answer }) = next {
            if self.machine.check(&message) == Err(machine::SendError::TooLarge) {
                let _ = answer.send(Err(SendError::TooLarge));
            } else {
                self.enqueueing += 1;
                self.answers.insert(message.client_msg_id.clone(), answer);
                self.work.outgoing.push(message);
            }
            next = if self.enqueueing < ENQUEUEING { self.ends.sends.try_recv().ok() } else { None };
        }
    }

    fn hand_over_durable(&mut self) {
        while let Some(message) = self.durable.pop_front() {
            let mut effects = Vec::new();
            if self.machine.send(self.now(), message.clone(), &mut effects).is_err() {
                return self.durable.push_front(message);
            }
            self.enqueueing -= 1;
            self.perform(effects);
        }
    }

    fn on_acked(&mut self, receipt: Receipt) {
        self.work.settled.push(receipt.client_msg_id.clone());
        match self.answers.remove(&receipt.client_msg_id) {
            Some(answer) => drop(answer.send(Ok(receipt))),
            None => self.events.push_back(Event::Acked(receipt)),
        }
    }

    fn on_rejected(&mut self, rejection: machine::Rejection) {
        self.work.settled.push(rejection.client_msg_id.clone());
        match self.answers.remove(&rejection.client_msg_id) {
            Some(answer) => drop(answer.send(Err(rejection.into()))),
            None => self.events.push_back(Event::Rejected(rejection)),
        }
    }
}

/// Entries and the local store.
impl Driver {
    /// Everything of the epoch before is in the local store: the machine waited for that.
    fn on_epoch(&mut self, epoch: StoreEpoch) {
        let held_something = self.recognises || self.received_up_to > Version::ZERO;
        (self.epoch, self.recognises) = (epoch, held_something);
        (self.received_up_to, self.in_store) = (Version::ZERO, Version::ZERO);
        self.work.epoch = Some(epoch);
        self.ends.restart.send_replace(Confirmed { epoch, version: Version::ZERO });
        if held_something {
            self.events.push_back(Event::EpochBegan(epoch));
        }
    }

    fn on_entries(&mut self, entries: Vec<LocalEntry>, cursor: Version) {
        if self.options.confirm == Confirm::Application {
            self.offer(entries.clone(), cursor);
        }
        self.received.extend(entries);
        self.received_up_to = cursor;
    }

    /// Shows entries to the application, those that it has seen in an earlier epoch left out: the local store tells which.
    fn offer(&mut self, entries: Vec<LocalEntry>, cursor: Version) {
        if !self.recognises {
            return self.show(entries, cursor);
        }
        let (offered, up_to) = self.work.offered.get_or_insert_with(|| (Vec::new(), cursor));
        offered.extend(entries);
        *up_to = cursor;
    }

    fn show(&mut self, entries: Vec<LocalEntry>, cursor: Version) {
        self.events.push_back(Event::Entries { epoch: self.epoch, entries, cursor });
    }

    fn on_confirmed(&mut self) {
        let Confirmed { epoch, version } = *self.ends.applied.borrow_and_update();
        if self.options.confirm == Confirm::Application && epoch == self.epoch {
            self.apply_up_to(version.min(self.received_up_to));
        }
    }

    fn apply_up_to(&mut self, cursor: Version) {
        if cursor <= self.in_store {
            return;
        }
        self.in_store = cursor;
        let count = self.received.partition_point(|entry| entry.version <= cursor);
        self.work.entries.extend(self.received.drain(..count));
        self.work.cursor = Some(cursor);
    }

    fn begin_write(&mut self) {
        if self.writing.is_some() {
            return;
        }
        // Events that nobody takes hold the entries back, and with them the fetching.
        if self.options.confirm == Confirm::Store && self.events.len() < self.options.events {
            self.apply_up_to(self.received_up_to);
        }
        if !self.work.is_empty() {
            self.write();
        }
    }

    fn write(&mut self) {
        let mut work = std::mem::take(&mut self.work);
        work.recognises = self.recognises;
        self.writing = Some(Box::pin(work.write(self.store.clone())));
    }

    fn on_wrote(&mut self, done: Result<Done, StoreError>) {
        self.writing = None;
        let Done { outgoing, offered, entries, cursor } = match done {
            Ok(done) => done,
            Err(error) => return self.fail(error),
        };
        self.durable.extend(outgoing);
        if let Some((entries, cursor)) = offered {
            self.show(entries, cursor);
        }
        if let Some(cursor) = cursor {
            if self.options.confirm == Confirm::Store {
                self.show(entries, cursor);
            }
            self.feed(Input::Applied(cursor));
        }
    }

    fn fail(&mut self, error: StoreError) {
        tracing::error!(%error, "the local store failed");
        self.disconnect();
        self.ended = Some(error.into());
    }
}

/// The end.
impl Driver {
    fn on_control(&mut self, control: Option<Control>) {
        match control {
            Some(Control::NetworkChanged) => self.feed(Input::NetworkChanged),
            Some(Control::Logout) => self.stop(Input::Logout),
            Some(Control::Stop) | None => self.stop(Input::Stop),
        }
    }

    /// What the application confirmed is acknowledged before the link closes, so the local store comes first.
    fn stop(&mut self, input: Input) {
        self.on_confirmed();
        self.stopping = Stopping::Soon { input, until: Instant::now() + STOP };
    }

    fn stop_if_idle(&mut self) {
        let Stopping::Soon { input, until } = &self.stopping else { return };
        if (self.writing.is_none() && self.work.is_empty()) || *until <= Instant::now() {
            let input = input.clone();
            self.stopping = Stopping::Told;
            self.feed(input);
        }
    }

    /// Ends what is under way, then tells.
    async fn finish(mut self) {
        let reason = self.ended.take().expect("run ends with a reason");
        if !matches!(reason, Ended::Store(_)) && timeout(STOP, self.finish_writes()).await.is_err() {
            tracing::warn!("the local store is not up to date: it took too long");
        }
        while self.closing.join_next().await.is_some() {}
        for answer in std::mem::take(&mut self.answers).into_values() {
            let _ = answer.send(Err(SendError::Ended(reason.clone())));
        }
        let Self { ends: Ends { sends, rooms, control, events: taker, .. }, mut events, .. } = self;
        drop((sends, rooms, control));
        events.push_back(Event::Ended(reason));
        for event in events {
            if taker.send(event).await.is_err() {
                return;
            }
        }
    }

    async fn finish_writes(&mut self) {
        loop {
            if let Some(writing) = self.writing.take() {
                writing.await.inspect_err(|error| tracing::warn!(%error, "the local store failed")).ok();
            }
            if self.work.is_empty() {
                return;
            }
            self.write();
        }
    }
}

/// A seed for jitter.
fn seed() -> u64 {
    getrandom::u64().unwrap_or_else(|_| std::process::id().into())
}
