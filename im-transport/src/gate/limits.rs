use std::time::Duration;

/// What a gate takes on. Change what you need of [`Default`].
///
/// With `c` links that read nothing, a gate holds at most `c × outbound_budget` bytes for them, and that only until
/// `write_stall` has passed; however many they are and whatever they take, no more than `shard_outbound` a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateLimits {
    /// Links at one time. Default 100,000: some 400 MiB of idle links, kernel not counted.
    pub max_connections: usize,
    /// Links at one time from one IPv4 address or one IPv6 /64, which is what one subscriber gets. Default 10,000, because
    /// whole companies and mobile networks sit behind one address.
    pub max_connections_per_address: usize,
    /// The largest frame before auth, header and body, in bytes. Default 8 KiB: decoding an auth body can take 24 times its size.
    pub max_frame_before_auth: usize,
    /// The largest frame after auth, in bytes. Default and most 1 MiB, the protocol's bound.
    pub max_frame: usize,
    /// Links that one turn reads. Default 256.
    pub links_per_turn: usize,
    /// Members of rooms that one turn gives what was said; the rest waits for the next turn. Default 4,096: some 10 ms.
    pub members_per_turn: usize,
    /// Frames of one link in one turn; the rest waits for its next turn. Default 128.
    pub frames_per_link: usize,
    /// Bytes of one link in one turn, give or take one read of 64 KiB. Default 256 KiB.
    pub bytes_per_link: usize,
    /// Bytes of frames of one shard's links that are not complete yet. The link whose frame grows beyond is cut; one without a login
    /// at half of it, so that connections which anyone may open leave the others room. Default 64 MiB.
    pub shard_partial_frames: usize,
    /// Bytes that wait to be written to one link. A frame that comes on top cuts the link. Default 1 MiB.
    pub outbound_budget: usize,
    /// Bytes that wait to be written to one link beyond which it gets nothing of rooms: it is told how much it missed. Default 256 KiB, so that
    /// rooms alone never cut a link.
    pub room_backlog: usize,
    /// Bytes that wait to be written to all links of one shard. Beyond, those that have not taken everything for the longest time are
    /// cut: taking a byte now and then saves no one. Default 256 MiB.
    pub shard_outbound: usize,
    /// Above this many bytes waiting to be written a link is not read. Default 64 KiB.
    pub outbound_low_water: usize,
    /// Bytes of requests of one shard without an answer; at so many, none of its links is read. Default 16 MiB.
    pub shard_bytes_in_flight: usize,
    /// What a request for a page of messages counts among those bytes, for the sake of its answer. Default 512 KiB, the use-cases'
    /// default for the largest page.
    pub page_weight: usize,
    /// Logins of one shard without an answer. Those on top are told to try again. Default 32,768: after a restart everybody comes at once,
    /// and some 2 KiB for each that waits are cheaper than having them come twice.
    pub shard_logins: usize,
    /// Bytes of pushes that wait for one shard; the oldest on top are dropped, and their receivers find the gap. As many again of what was said in rooms. Default 32 MiB.
    pub shard_mailbox: usize,
    /// A link with bytes to write that takes none for this long is cut. Default 30 s.
    pub write_stall: Duration,
    /// What a link that is closed gets to take its last bytes. Default 2 s.
    pub linger: Duration,
    /// How often a shard tells the router which logins it holds, and learns which of them a newer one removed without the kick arriving.
    /// Default 10 s.
    pub audit: Duration,
    /// What all links get together when the server stops. Default 10 s.
    pub drain: Duration,
    /// Clients of a server that stops are told to come back after a random time up to this. Default 5 s.
    pub retry_jitter: Duration,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_connections_per_address: 10_000,
            max_frame_before_auth: 8 << 10,
            max_frame: im_proto::MAX_FRAME,
            links_per_turn: 256,
            members_per_turn: 4_096,
            frames_per_link: 128,
            bytes_per_link: 256 << 10,
            shard_partial_frames: 64 << 20,
            outbound_budget: 1 << 20,
            room_backlog: 256 << 10,
            shard_outbound: 256 << 20,
            outbound_low_water: 64 << 10,
            shard_bytes_in_flight: 16 << 20,
            page_weight: 512 << 10,
            shard_logins: 32_768,
            shard_mailbox: 32 << 20,
            write_stall: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            audit: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            retry_jitter: Duration::from_secs(5),
        }
    }
}
