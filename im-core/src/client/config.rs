use std::time::Duration;

use super::{Backoff, HeartbeatRange};
use crate::id::{DeviceId, DeviceType, Uid};
use crate::session::NOOP_VERSION;

/// Who the client is, and its bounds. Begin with [`new`](Self::new) and change what you need.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The user.
    pub uid: Uid,
    /// What the user centre gave it to show.
    pub token: String,
    /// The device's name among those of the user, stable over restarts.
    pub device: DeviceId,
    /// The device's type. Default [`DeviceType::UNSPECIFIED`].
    pub device_type: DeviceType,
    /// The number in every frame's header, by which a server tells SDKs apart. Default 200, as Mars' samples have it.
    pub client_version: u32,
    /// What is asked for at auth. Default `noop_version`: a heartbeat then also shows a lost push.
    pub capabilities: Vec<String>,
    /// How long the link may be silent. Default: Mars' smart heartbeat, 210 s to 580 s.
    pub heartbeat: HeartbeatRange,
    /// Sends in flight at most. Default 64.
    pub window: usize,
    /// Bytes of sends in flight at most, though one send always may. Default 256 KiB: what a slow link moves before the requests time out.
    pub window_bytes: usize,
    /// Entries asked for at once. Default 100.
    pub page_limit: i32,
    /// How long an answer may take, on top of the time that what is in flight needs at 4 KiB/s (Mars' slowest expected rate,
    /// `kGPRSMinRate`). Later the link counts as broken. Default 10 s.
    pub request_timeout: Duration,
    /// Between tries, of links and of failed requests. Default 200 ms to 30 s.
    pub backoff: Backoff,
    /// How long a login must last for the back-off to start over. Default 10 s: less, and a server that dies from its clients would be run over.
    pub stable_after: Duration,
    /// The shortest time between two acks. Default 50 ms: not felt by the sender who waits for "delivered", and 20 acks a second at most.
    pub ack_delay: Duration,
    /// Entries received ahead of a gap, kept until it is filled. More are dropped and pulled later. Default 256.
    pub max_waiting: usize,
    /// Bytes of such entries. Default 4 MiB.
    pub max_waiting_bytes: usize,
    /// Entries given out by [`Effect::Apply`](super::Effect::Apply) and not applied yet, beyond which nothing is fetched. Default 1,000; 0 for a client
    /// that only sends.
    pub max_unapplied: usize,
    /// Messages that wait to be sent or for their ack. Default 10,000.
    pub max_outgoing: usize,
    /// Bytes of such messages. Default 64 MiB.
    pub max_outgoing_bytes: usize,
}

impl ClientConfig {
    /// The defaults for this user on this device.
    pub fn new(uid: Uid, token: impl Into<String>, device: DeviceId) -> Self {
        Self {
            uid,
            token: token.into(),
            device,
            device_type: DeviceType::UNSPECIFIED,
            client_version: 200,
            capabilities: vec![NOOP_VERSION.to_owned()],
            heartbeat: HeartbeatRange::default(),
            window: 64,
            window_bytes: 256 << 10,
            page_limit: 100,
            request_timeout: Duration::from_secs(10),
            backoff: Backoff::default(),
            stable_after: Duration::from_secs(10),
            ack_delay: Duration::from_millis(50),
            max_waiting: 256,
            max_waiting_bytes: 4 << 20,
            max_unapplied: 1_000,
            max_outgoing: 10_000,
            max_outgoing_bytes: 64 << 20,
        }
    }
}

/// Leaves out the token, which must not reach a log.
impl std::fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConfig")
            .field("uid", &self.uid)
            .field("device", &self.device)
            .field("device_type", &self.device_type)
            .finish_non_exhaustive()
    }
}
