use std::time::Duration;

use super::group_commit::GroupCommitLimits;
use crate::delivery::DeliveryLimits;
use crate::router::KickPolicy;

/// What the integrator decides. Change what you need of [`Default`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Which older logins a new one removes. Default: those from the same type of device.
    pub kick: KickPolicy,
    /// Links of one user at one time, at least 1, whatever `kick` allows; a login on top removes the oldest. Default 64. Every message
    /// to a user goes to all its links, so that without a bound one account could take the server for itself.
    pub links_per_user: usize,
    /// Bytes of content that a message may have. Default 256 KiB; with the rest of its entry it must fit one frame.
    pub max_content: usize,
    /// Entries of a page where the client asks for no number. Default 10, as the protocol says.
    pub default_page: usize,
    /// Most entries of a page. Default 500.
    pub max_page: usize,
    /// Bytes of a page, but for a single entry that is larger. Default 512 KiB: half a frame.
    pub page_bytes: usize,
    /// How long the authenticator, the router and the store may take for one login. Default 5 s: half the session's auth deadline.
    pub login_deadline: Duration,
    /// When to hint and to wake.
    pub delivery: DeliveryLimits,
    /// Batches and queue of the appends.
    pub group_commit: GroupCommitLimits,
    /// How long acknowledgements gather before they are stored. A crash loses them, which costs a hint. Default 1 s.
    pub ack_flush: Duration,
    /// How long a lease of a node number lasts; it is renewed three times as often. Default 10 s.
    pub node_lease: Duration,
    /// How long a node's routes hold without being renewed; they are renewed four times as often. A gate that cannot renew them sends its links to
    /// others after four fifths of it, so that users are never online where nobody finds them. Default 10 s.
    pub route_lease: Duration,
    /// Turns with stored messages that wait for their fan-out; the pushes of those on top are dropped, and the receivers find
    /// them at the delivery deadline. Default 4,096.
    pub fan_out_queue: usize,
    /// Bytes of messages that wait for their fan-out; those on top are dropped alike. Default 64 MiB.
    pub fan_out_bytes: usize,
    /// Bytes of content that a message in a room may have. Default 16 KiB: one that goes to ten thousand links is 160 MiB of traffic.
    pub max_room_content: usize,
    /// Bytes of what was said in rooms and waits for the bus; senders of what comes on top are told to try again. Default 64 MiB.
    pub room_bytes: usize,
    /// How long [`RoomPolicy::enter`](crate::ports::RoomPolicy::enter) may take. Default 5 s.
    pub room_deadline: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            kick: KickPolicy::default(),
            links_per_user: 64,
            max_content: 256 << 10,
            default_page: 10,
            max_page: 500,
            page_bytes: 512 << 10,
            login_deadline: Duration::from_secs(5),
            delivery: DeliveryLimits::default(),
            group_commit: GroupCommitLimits::default(),
            ack_flush: Duration::from_secs(1),
            node_lease: Duration::from_secs(10),
            route_lease: Duration::from_secs(10),
            fan_out_queue: 4_096,
            fan_out_bytes: 64 << 20,
            max_room_content: 16 << 10,
            room_bytes: 64 << 20,
            room_deadline: Duration::from_secs(5),
        }
    }
}
