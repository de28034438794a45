mod epoch;
mod heard;
mod link;
mod rooms;
mod work;

use std::collections::BTreeMap;

use im_proto::{HEADER_LEN, MAX_FRAME, Seq};

use self::epoch::NextEpoch;
use super::acks::Acks;
use super::inbox::{Inbox, InboxLimits};
use super::outbox::{Outbox, Place};
use super::rooms::Rooms;
use super::seqs::Seqs;
use super::{ClientConfig, Effect, Input, Outgoing, Saved, SendError, SmartHeartbeat, SplitMix64};
use crate::id::{ClientMsgId, RoomId, StoreEpoch, Version};
use crate::time::Tick;

/// What a request may take on top of the time-out, by the bytes in flight: 4 KiB a second, Mars' `kGPRSMinRate`.
const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 10;

/// One user's device. See the [module](super) for what it promises.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    random: SplitMix64,
    link: Link,
    outbox: Outbox,
    /// What the inbox's versions belong to.
    epoch: StoreEpoch,
    /// The link's epoch, if it is another and has not begun on this device.
    next_epoch: Option<NextEpoch>,
    inbox: Inbox,
    /// The greatest version that was pushed before the login was answered, and with it the epoch known.
    early: Version,
    acks: Acks,
    heartbeat: SmartHeartbeat,
    seqs: Seqs,
    requests: BTreeMap<Seq, Request>,
    rooms: Rooms,
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

#[derive(Clone, Debug)]
enum Asked {
    Auth,
    Send(Place),
    Pull { begin: Version },
    Sync { begin: Version },
    Logout,
    Join { room: RoomId, leave: Option<RoomId> },
    LeaveRoom(RoomId),
    Say(ClientMsgId),
}

impl Client {
    /// A client that goes on from what its device saved. `seed` is for jitter: different on every device, or they all come back at once.
    pub fn new(config: ClientConfig, saved: Saved, seed: u64) -> Self {
        Self {
            random: SplitMix64::new(seed),
            link: Link::New,
            outbox: Outbox::new(saved.outgoing),
            epoch: saved.epoch,
            next_epoch: None,
            inbox: Inbox::new(saved.cursor, limits(&config)),
            early: Version::ZERO,
            acks: Acks::new(config.ack_delay),
            heartbeat: SmartHeartbeat::new(config.heartbeat),
            seqs: Seqs::default(),
            requests: BTreeMap::new(),
            rooms: Rooms::default(),
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
            Input::Room(action) => self.on_room_action(now, action, effects),
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
                self.ack_due(),
                self.fetch_due(),
                self.outbox.next_deadline(),
                self.rooms.retry_at,
            ]
            .into_iter()
            .flatten()
            .min(),
        }
    }

    /// The epoch that [`cursor`](Self::cursor) and [`received`](Self::received) belong to.
    pub fn epoch(&self) -> StoreEpoch {
        self.epoch
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
        self.is_ready() && self.next_epoch.is_none() && self.inbox.is_caught_up() && !self.is_fetching()
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

fn limits(config: &ClientConfig) -> InboxLimits {
    InboxLimits {
        waiting: config.max_waiting,
        waiting_bytes: config.max_waiting_bytes,
        unapplied: config.max_unapplied,
    }
}
