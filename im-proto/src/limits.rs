//! How large things on the wire may be.

/// The largest frame, header and body together, that anyone accepts: 1 MiB, the protocol's bound.
pub const MAX_FRAME: usize = 1024 * 1024;

/// The longest user id, in bytes.
pub const MAX_UID_LEN: usize = 64;

/// The longest `client_msg_id`, in bytes.
pub const MAX_CLIENT_MSG_ID_LEN: usize = 64;

/// The longest device id, in bytes.
pub const MAX_DEVICE_ID_LEN: usize = 64;

/// The longest name of a room, in bytes.
pub const MAX_ROOM_ID_LEN: usize = 64;

/// What a reader accepts. It can be stricter than the protocol, never laxer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    max_frame: usize,
}

impl Limits {
    /// Accepts frames of up to `max_frame` bytes, header and body together.
    ///
    /// The value is clamped: above [`MAX_FRAME`] it becomes `MAX_FRAME`, because a peer may rely on
    /// the protocol's bound, and below [`HEADER_LEN`](crate::HEADER_LEN) it becomes `HEADER_LEN`,
    /// because a limit that no frame can meet is no limit but a mistake.
    pub const fn new(max_frame: usize) -> Self {
        let max_frame = if max_frame > MAX_FRAME { MAX_FRAME } else { max_frame };
        let max_frame = if max_frame < crate::HEADER_LEN { crate::HEADER_LEN } else { max_frame };
        Limits { max_frame }
    }

    /// The largest accepted frame in bytes, header and body together.
    pub const fn max_frame(&self) -> usize {
        self.max_frame
    }
}

impl Default for Limits {
    /// The protocol's own bound, [`MAX_FRAME`].
    fn default() -> Self {
        Limits::new(MAX_FRAME)
    }
}
