use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use im_proto::v1::{AuthResponse, C2cResponse, Kickout, NoopReply, PullResponse, SyncResponse};
use im_proto::{CmdId, ErrorCode, Frame, HEADER_LEN, MAX_FRAME, Seq};
use prost::Message as _;

use super::acks::Acks;
use super::frame::{self, BadBody, Pushed};
use super::inbox::{Inbox, InboxLimits, Offered};
use super::outbox::{Outbox, Place, Window};
use super::seqs::Seqs;
use super::{
    ClientConfig, Effect, EndReason, Input, MAX_RETRY_AFTER, Outgoing, Receipt, Rejection, Saved, SendError,
    SmartHeartbeat, SplitMix64,
};
use crate::id::{MsgId, Version};
use crate::session::KickReason;
use crate::time::{Tick, Timestamp};

/// What a request may take on top of the time-out, by the bytes in flight: 4 KiB a second, Mars' `kGPRSMinRate`.
const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 10;

/// One user's device. See the [module](super) for what it promises.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    random: SplitMix64,
    link: Link,
    outbox: Outbox,
    inbox: Inbox,
    acks: Acks,
    heartbeat: SmartHeartbeat,
    seqs: Seqs,
    requests: BTreeMap<Seq, Request>,
    /// When the noop that is out must have been answered.
    noop_due: Option<Tick>,
    last_write: Tick,
    /// Links in a row that came to nothing.
    link_failures: u32,
    /// Fetches in a row that came to nothing.
    fetch_failures: u32,
    /// Nothing is fetched before.
    fetch_after: Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    New,
    Waiting { until: Tick },
    Connecting,
    Authenticating,
    Ready { since: Tick },
    LoggingOut,
    Ended,
}

#[derive(Debug)]
struct Request {
    what: Asked,
    due: Tick,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Auth,
    Send(Place),
    Pull { begin: Version },
    Sync { begin: Version },
    Logout,
}

/// The link is of no use any more.
struct Broken;

impl From<BadBody> for Broken {
    fn from(_: BadBody) -> Self {
        Self
    }
}

impl From<prost::DecodeError> for Broken {
    fn from(_: prost::DecodeError) -> Self {
        Self
    }
}

impl Client {
    /// A client that goes on from what its device saved. `seed` is for jitter: different on every device, or they all come back at once.
    pub fn new(config: ClientConfig, saved: Saved, seed: u64) -> Self {
        let limits = InboxLimits {
            waiting: config.max_waiting,
            waiting_bytes: config.max_waiting_bytes,
            unapplied: config.max_unapplied,
        };
        Self {
            random: SplitMix64::new(seed),
            link: Link::New,
            outbox: Outbox::new(saved.outgoing),
            inbox: Inbox::new(saved.cursor, limits),
            acks: Acks::new(config.ack_delay),
            heartbeat: SmartHeartbeat::new(config.heartbeat),
            seqs: Seqs::default(),
            requests: BTreeMap::new(),
            noop_due: None,
            last_write: Tick::default(),
            link_failures: 0,
            fetch_failures: 0,
            fetch_after: Tick::default(),
            config,
        }
    }

    /// Takes one input and appends what is to be done to `effects`. After [`Effect::Ended`] nothing is ever appended again.
    pub fn handle(&mut self, now: Tick, input: Input, effects: &mut Vec<Effect>) {
        if self.link == Link::Ended {
            return;
        }
        match input {
            Input::Start => self.on_start(effects),
            Input::Connected => self.on_connected(now, effects),
            Input::ConnectFailed => self.on_connect_failed(now, effects),
            Input::Frame(frame) => self.on_frame(now, frame, effects),
            Input::Malformed(_) => self.break_link(now, effects),
            Input::Disconnected => self.on_disconnected(now, effects),
            Input::Applied(version) => self.inbox.applied_up_to(version),
            Input::NetworkChanged => self.on_network_changed(now, effects),
            Input::Timeout => self.on_timeout(now, effects),
            Input::Stop => return self.on_stop(now, effects),
            Input::Logout => self.on_logout(now, effects),
        }
        self.work(now, effects);
    }

    /// Takes a message to send, which the caller has made durable in its [`LocalStore`](super::LocalStore), and sends it as soon as there is room.
    /// Exactly one [`Effect::Acked`] or [`Effect::Rejected`] will answer it, in this process or, after a restart, in the next.
    ///
    /// # Errors
    /// [`SendError`]; ask [`check`](Self::check) first, to store nothing in vain.
    pub fn send(&mut self, now: Tick, message: Outgoing, effects: &mut Vec<Effect>) -> Result<(), SendError> {
        self.check(&message)?;
        self.outbox.push(message);
        self.work(now, effects);
        Ok(())
    }

    /// Whether [`send`](Self::send) would take the message now.
    ///
    /// # Errors
    /// As `send`.
    pub fn check(&self, message: &Outgoing) -> Result<(), SendError> {
        if self.link == Link::Ended {
            Err(SendError::Ended)
        } else if HEADER_LEN + message.size() > MAX_FRAME {
            Err(SendError::TooLarge)
        } else if self.outbox.len() >= self.config.max_outgoing
            || self.outbox.bytes() + message.size() > self.config.max_outgoing_bytes
        {
            Err(SendError::QueueFull)
        } else {
            Ok(())
        }
    }

    /// When to come with [`Input::Timeout`]; `None` if nothing is due by itself.
    pub fn next_deadline(&self) -> Option<Tick> {
        match self.link {
            Link::New | Link::Connecting | Link::Ended => None,
            Link::Waiting { until } => Some(until),
            Link::Authenticating | Link::LoggingOut => self.request_due(),
            Link::Ready { .. } => [
                self.request_due(),
                Some(self.noop_due.unwrap_or_else(|| self.next_noop())),
                self.acks.due(self.inbox.applied()),
                self.fetch_due(),
                self.outbox.next_deadline(),
            ]
            .into_iter()
            .flatten()
            .min(),
        }
    }

    /// Everything up to here is durable on this device, as far as the machine was told.
    pub fn cursor(&self) -> Version {
        self.inbox.applied()
    }

    /// Everything up to here was given out by [`Effect::Apply`].
    pub fn received(&self) -> Version {
        self.inbox.received()
    }

    /// Sends without an answer.
    pub fn unacked(&self) -> usize {
        self.outbox.len()
    }

    /// Whether the client is logged in.
    pub fn is_ready(&self) -> bool {
        matches!(self.link, Link::Ready { .. })
    }

    /// Whether the client is logged in and has received everything that it heard of.
    pub fn is_caught_up(&self) -> bool {
        self.is_ready() && self.inbox.is_caught_up() && !self.is_fetching()
    }

    /// Whether the client is at its end.
    pub fn is_ended(&self) -> bool {
        self.link == Link::Ended
    }

    /// Who the client is, and its bounds.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }
}

/// The link's life.
impl Client {
    fn on_start(&mut self, effects: &mut Vec<Effect>) {
        if self.link == Link::New {
            self.connect(effects);
        }
    }

    fn connect(&mut self, effects: &mut Vec<Effect>) {
        self.link = Link::Connecting;
        effects.push(Effect::Connect);
    }

    fn on_connected(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if self.link != Link::Connecting {
            return;
        }
        self.link = Link::Authenticating;
        self.seqs = Seqs::default();
        self.heartbeat.link_opened();
        self.acks.link_opened();
        let body = frame::auth(&self.config);
        self.request(now, CmdId::AUTH, body, Asked::Auth, effects);
    }

    fn on_connect_failed(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if self.link == Link::Connecting {
            self.wait(now, Duration::ZERO, effects);
        }
    }

    fn on_disconnected(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        match self.link {
            Link::Authenticating | Link::Ready { .. } => self.lost(now, Duration::ZERO, effects),
            Link::LoggingOut => self.end(EndReason::LoggedOut, effects),
            _ => {}
        }
    }

    /// Gives up the open link, and comes back.
    fn break_link(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        match self.link {
            Link::Authenticating | Link::Ready { .. } => {
                effects.push(Effect::Disconnect);
                self.lost(now, Duration::ZERO, effects);
            }
            Link::LoggingOut => {
                effects.push(Effect::Disconnect);
                self.end(EndReason::LoggedOut, effects);
            }
            _ => {}
        }
    }

    /// The open link is gone: forgets what was in flight on it.
    fn lost(&mut self, now: Tick, at_least: Duration, effects: &mut Vec<Effect>) {
        if matches!(self.link, Link::Ready { since } if now.since(since) >= self.config.stable_after) {
            self.link_failures = 0;
        }
        if self.noop_due.take().is_some() {
            self.heartbeat.failed();
        }
        self.requests.clear();
        self.outbox.rewind();
        self.fetch_failures = 0;
        self.fetch_after = Tick::default();
        self.wait(now, at_least, effects);
    }

    fn wait(&mut self, now: Tick, at_least: Duration, effects: &mut Vec<Effect>) {
        self.link_failures = self.link_failures.saturating_add(1);
        let delay = self.config.backoff.delay(self.link_failures, &mut self.random);
        let until = now + at_least + delay;
        self.link = Link::Waiting { until };
        effects.push(Effect::Offline { retry_at: until });
    }

    fn end(&mut self, reason: EndReason, effects: &mut Vec<Effect>) {
        self.requests.clear();
        self.link = Link::Ended;
        effects.push(Effect::Ended(reason));
    }

    fn on_stop(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if self.is_ready() {
            self.acks.hurry();
            self.ack(now, effects);
        }
        if !matches!(self.link, Link::New | Link::Waiting { .. }) {
            effects.push(Effect::Disconnect);
        }
        self.end(EndReason::Stopped, effects);
    }

    fn on_logout(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if !self.is_ready() {
            return self.on_stop(now, effects);
        }
        self.acks.hurry();
        self.ack(now, effects);
        let body = frame::logout(&self.config);
        self.request(now, CmdId::LOGOUT, body, Asked::Logout, effects);
        self.link = Link::LoggingOut;
    }

    fn on_network_changed(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        self.link_failures = 0;
        self.heartbeat = SmartHeartbeat::new(self.config.heartbeat);
        match self.link {
            Link::Waiting { .. } => self.connect(effects),
            Link::Ready { .. } if self.noop_due.is_none() => self.noop(now, effects),
            _ => {}
        }
    }

    fn on_timeout(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        let overdue = |due: Option<Tick>| due.is_some_and(|due| due <= now);
        match self.link {
            Link::Waiting { until } if until <= now => self.connect(effects),
            Link::Authenticating | Link::LoggingOut if overdue(self.request_due()) => {
                self.break_link(now, effects);
            }
            Link::Ready { .. } if overdue(self.request_due()) || overdue(self.noop_due) => {
                self.break_link(now, effects);
            }
            Link::Ready { .. } if self.noop_due.is_none() && self.next_noop() <= now => {
                self.noop(now, effects);
            }
            _ => {}
        }
    }

    fn noop(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        self.write(now, CmdId::NOOP, Seq::NOOP, Bytes::new(), effects);
        self.noop_due = Some(now + self.config.request_timeout);
    }

    fn next_noop(&self) -> Tick {
        self.last_write + self.heartbeat.interval()
    }

    fn request_due(&self) -> Option<Tick> {
        self.requests.values().map(|request| request.due).min()
    }
}

/// What arrives.
impl Client {
    fn on_frame(&mut self, now: Tick, frame: Frame, effects: &mut Vec<Effect>) {
        let heard = match (self.link, frame.seq) {
            (Link::Authenticating | Link::Ready { .. } | Link::LoggingOut, Seq::PUSH) => {
                self.on_push(now, frame, effects)
            }
            (Link::Ready { .. } | Link::LoggingOut, Seq::NOOP) => self.on_noop(frame.body),
            (Link::Authenticating | Link::Ready { .. } | Link::LoggingOut, _) => {
                self.on_reply(now, frame, effects)
            }
            _ => Ok(()),
        };
        if let Err(Broken) = heard {
            self.break_link(now, effects);
        }
    }

    fn on_noop(&mut self, body: Bytes) -> Result<(), Broken> {
        if self.noop_due.take().is_some() {
            self.heartbeat.succeeded();
        }
        let reply = NoopReply::decode(body)?;
        self.inbox.heard_of(Version(reply.version));
        Ok(())
    }

    fn on_push(&mut self, now: Tick, frame: Frame, effects: &mut Vec<Effect>) -> Result<(), Broken> {
        let pushed = match frame.cmd {
            CmdId::KICKOUT => return self.on_kickout(now, frame.body, effects),
            CmdId::C2C_PUSH => frame::c2c_push(frame.body, &self.config.uid)?,
            CmdId::C2G_PUSH => frame::c2g_push(frame.body)?,
            CmdId::CTRL_PUSH => Pushed::Hint,
            _ => {
                effects.push(Effect::Other(frame));
                return Ok(());
            }
        };
        match pushed {
            Pushed::Hint => self.inbox.hint(),
            Pushed::Head(head) if head <= self.inbox.applied() => self.acks.say_again(),
            Pushed::Head(head) => self.inbox.heard_of(head),
            Pushed::Entry(entry) => {
                if self.inbox.offer(*entry) == Offered::Applied {
                    self.acks.say_again();
                }
            }
        }
        Ok(())
    }

    fn on_kickout(&mut self, now: Tick, body: Bytes, effects: &mut Vec<Effect>) -> Result<(), Broken> {
        let kickout = Kickout::decode(body)?;
        let reason = KickReason::from_code(kickout.reason).ok_or(Broken)?;
        effects.push(Effect::Disconnect);
        if self.link == Link::LoggingOut {
            self.end(EndReason::LoggedOut, effects);
        } else if reason == KickReason::GoingAway {
            let asked = Duration::from_millis(u64::try_from(kickout.retry_after_ms).unwrap_or(0));
            self.link_failures = 0;
            self.lost(now, asked.min(MAX_RETRY_AFTER), effects);
        } else {
            self.end(EndReason::Kicked(reason), effects);
        }
        Ok(())
    }

    fn on_reply(&mut self, now: Tick, frame: Frame, effects: &mut Vec<Effect>) -> Result<(), Broken> {
        let Some(request) = self.requests.remove(&frame.seq) else {
            if frame.cmd.name().is_none() {
                effects.push(Effect::Other(frame));
            }
            return Ok(());
        };
        match request.what {
            Asked::Auth => self.on_auth(now, frame.body, effects),
            Asked::Send(place) => self.on_sent(now, place, frame.body, effects),
            Asked::Pull { begin } => {
                let page = PullResponse::decode(frame.body)?;
                let PullResponse { msgs, next_offset, head, err_code, .. } = page;
                self.on_page(
                    now,
                    begin,
                    SyncResponse { msgs, next_offset, head, err_code, ..Default::default() },
                )
            }
            Asked::Sync { begin } => self.on_page(now, begin, SyncResponse::decode(frame.body)?),
            Asked::Logout => {
                effects.push(Effect::Disconnect);
                self.end(EndReason::LoggedOut, effects);
                Ok(())
            }
        }
    }

    fn on_auth(&mut self, now: Tick, body: Bytes, effects: &mut Vec<Effect>) -> Result<(), Broken> {
        let response = AuthResponse::decode(body)?;
        if response.status == 0 {
            let (head, held) = (Version(response.version), self.inbox.received());
            if head < held {
                effects.push(Effect::Disconnect);
                self.end(EndReason::TimelineLost { head, held }, effects);
                return Ok(());
            }
            self.link = Link::Ready { since: now };
            self.inbox.heard_of(head);
            effects.push(Effect::LoggedIn { head, server_time: Timestamp(response.server_time) });
            return Ok(());
        }
        let code = ErrorCode::from_code(response.err_code);
        if code.is_some_and(ErrorCode::is_retryable) {
            return Err(Broken);
        }
        effects.push(Effect::Disconnect);
        self.end(EndReason::Refused { code, message: response.err_msg }, effects);
        Ok(())
    }

    fn on_sent(
        &mut self,
        now: Tick,
        place: Place,
        body: Bytes,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Broken> {
        let response = C2cResponse::decode(body)?;
        match frame::error(response.err_code) {
            Ok(()) => self.on_acked(place, &response, effects),
            Err(Some(code)) if code.is_retryable() => self.hold_back(now, place),
            Err(code) => {
                if let Some(sent) = self.outbox.settle(place) {
                    let rejection =
                        Rejection { client_msg_id: sent.client_msg_id, code, message: response.err_msg };
                    effects.push(Effect::Rejected(rejection));
                }
            }
        }
        Ok(())
    }

    fn on_acked(&mut self, place: Place, response: &C2cResponse, effects: &mut Vec<Effect>) {
        let Some(sent) = self.outbox.settle(place) else { return };
        let receipt = Receipt {
            client_msg_id: sent.client_msg_id.clone(),
            msgid: MsgId(response.msgid),
            version: Version(response.version),
            timestamp: Timestamp(response.timestamp),
        };
        if receipt.version > self.inbox.received() {
            self.inbox.offer(frame::own(sent, &receipt, &self.config.uid));
        } else if receipt.version <= Version::ZERO {
            self.inbox.hint();
        }
        // The entry first: once the send is settled, only the timeline remembers it.
        self.apply(effects);
        effects.push(Effect::Acked(receipt));
    }

    fn hold_back(&mut self, now: Tick, place: Place) {
        let rewound = self.outbox.hold_back(place, now, &self.config.backoff, &mut self.random);
        self.requests.retain(|_, request| match request.what {
            Asked::Send(place) => rewound.binary_search(&place).is_err(),
            _ => true,
        });
    }

    fn on_page(&mut self, now: Tick, begin: Version, page: SyncResponse) -> Result<(), Broken> {
        match frame::error(page.err_code) {
            Ok(()) => {}
            Err(Some(code)) if code.is_retryable() => {
                self.put_off_fetch(now);
                return Ok(());
            }
            Err(_) => return Err(Broken),
        }
        let entries = frame::entries(&page.msgs, begin, &self.config.uid)?;
        let last = entries.last().map_or(begin, |entry| entry.version);
        let covered = last.max(Version(page.next_offset));
        let progress = self.inbox.page(entries, covered, Version(page.head));
        if !progress && self.inbox.is_behind() && covered <= begin {
            self.put_off_fetch(now);
        } else {
            self.fetch_failures = 0;
        }
        Ok(())
    }

    /// Something is said to be there that the server does not give: asks again later.
    fn put_off_fetch(&mut self, now: Tick) {
        self.fetch_failures = self.fetch_failures.saturating_add(1);
        self.fetch_after = now + self.config.backoff.delay(self.fetch_failures, &mut self.random);
        self.inbox.hint();
    }
}

/// What leaves.
impl Client {
    /// Does everything that can be done now.
    fn work(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        self.apply(effects);
        if self.is_ready() {
            self.fetch(now, effects);
            self.ack(now, effects);
            self.send_queued(now, effects);
        }
    }

    fn apply(&mut self, effects: &mut Vec<Effect>) {
        if let Some((entries, cursor)) = self.inbox.take_ready() {
            effects.push(Effect::Apply { entries, cursor });
        }
    }

    fn is_fetching(&self) -> bool {
        self.requests.values().any(|request| matches!(request.what, Asked::Pull { .. } | Asked::Sync { .. }))
    }

    fn fetch_due(&self) -> Option<Tick> {
        (self.inbox.wants_fetch() && !self.is_fetching()).then_some(self.fetch_after)
    }

    /// Asks for what comes after the last received entry. If that one is durable, the offset may say so, and a pull does; else a
    /// sync asks, which acknowledges nothing.
    fn fetch(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if self.fetch_due().is_none_or(|due| due > now) {
            return;
        }
        self.inbox.fetching();
        let (begin, limit) = (self.inbox.received(), self.config.page_limit);
        if self.inbox.is_applied() {
            self.acks.said_by_pull(begin);
            self.request(now, CmdId::PULL, frame::pull(begin, limit), Asked::Pull { begin }, effects);
        } else {
            self.request(now, CmdId::SYNC, frame::sync(begin, limit), Asked::Sync { begin }, effects);
        }
    }

    fn ack(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if let Some(version) = self.acks.take(now, self.inbox.applied()) {
            let seq = self.seq();
            self.write(now, CmdId::PUSH_ACK, seq, frame::ack(version), effects);
        }
    }

    fn send_queued(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        let window = Window { messages: self.config.window, bytes: self.config.window_bytes };
        while let Some((place, message)) = self.outbox.take(now, window) {
            self.request(now, CmdId::C2C_SEND, frame::send(&message), Asked::Send(place), effects);
        }
    }

    fn request(&mut self, now: Tick, cmd: CmdId, body: Bytes, what: Asked, effects: &mut Vec<Effect>) {
        let seq = self.seq();
        let bytes = u64::try_from(self.outbox.bytes_in_flight()).unwrap_or(u64::MAX);
        let slow = Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
        let due = now + self.config.request_timeout + slow;
        self.requests.insert(seq, Request { what, due });
        self.write(now, cmd, seq, body, effects);
    }

    fn write(&mut self, now: Tick, cmd: CmdId, seq: Seq, body: Bytes, effects: &mut Vec<Effect>) {
        self.last_write = now;
        effects.push(Effect::Write(Frame { client_version: self.config.client_version, cmd, seq, body }));
    }

    fn seq(&mut self) -> Seq {
        let requests = &self.requests;
        self.seqs.next(|seq| requests.contains_key(&seq))
    }
}
