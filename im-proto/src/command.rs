//! What a frame is about: its command and its sequence number.

use std::fmt;

/// A frame's command. Numbers that this crate does not know pass through unchanged, so that an
/// integrator can register commands of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CmdId(pub u32);

/// Declares the known commands once: as constants and as names.
macro_rules! commands {
    ($($(#[$doc:meta])* $constant:ident = $number:literal $name:literal,)*) => {
        impl CmdId {
            $($(#[$doc])* pub const $constant: CmdId = CmdId($number);)*

            /// Every command that this crate knows, in ascending order.
            pub const ALL: &[CmdId] = &[$(CmdId::$constant,)*];

            /// The command's name in the protocol's description, or `None` if it is not one of
            /// this crate's.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(CmdId::$constant => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    /// Keep-alive, with [`Seq::NOOP`]; echoed by the server.
    NOOP = 6 "noop",
    /// The mobile network's signalling keep-alive, with [`Seq::SIGNALLING`].
    SIGNALLING = 243 "signalling",
    /// [`AuthRequest`](crate::v1::AuthRequest): the first command on a link.
    AUTH = 1001 "auth",
    /// [`LogoutRequest`](crate::v1::LogoutRequest).
    LOGOUT = 1002 "logout",
    /// [`Kickout`](crate::v1::Kickout), a push after which the link closes.
    KICKOUT = 1003 "kickout",
    /// [`C2sRequest`](crate::v1::C2sRequest): to a business server.
    C2S = 1004 "c2s",
    /// [`S2cPush`](crate::v1::S2cPush), a push from a business server.
    S2C = 1005 "s2c",
    /// [`C2cRequest`](crate::v1::C2cRequest): a message to one user.
    C2C_SEND = 1006 "c2c_send",
    /// [`C2cPush`](crate::v1::C2cPush), a push of a user's message.
    C2C_PUSH = 1007 "c2c_push",
    /// [`C2gRequest`](crate::v1::C2gRequest): a message to a group.
    C2G_SEND = 1008 "c2g_send",
    /// [`C2gPush`](crate::v1::C2gPush), a push of a group's message.
    C2G_PUSH = 1009 "c2g_push",
    /// [`PullRequest`](crate::v1::PullRequest): what is new for this device.
    PULL = 1010 "pull",
    /// [`CtrlRequest`](crate::v1::CtrlRequest): a control action.
    CTRL_SEND = 1011 "ctrl_send",
    /// [`CtrlPush`](crate::v1::CtrlPush), a push of a control action.
    CTRL_PUSH = 1012 "ctrl_push",
    /// [`PushAck`](crate::v1::PushAck): what this device holds; has no reply.
    PUSH_ACK = 1013 "push_ack",
    /// [`SyncRequest`](crate::v1::SyncRequest): a range of a timeline.
    SYNC = 1014 "sync",
    /// [`RoomJoinRequest`](crate::v1::RoomJoinRequest): enter a room with this link.
    ROOM_JOIN = 1015 "room_join",
    /// [`RoomLeaveRequest`](crate::v1::RoomLeaveRequest): leave a room.
    ROOM_LEAVE = 1016 "room_leave",
    /// [`RoomSendRequest`](crate::v1::RoomSendRequest): a message to all links in a room.
    ROOM_SEND = 1017 "room_send",
    /// [`RoomPush`](crate::v1::RoomPush), a push of what was said in a room.
    ROOM_PUSH = 1018 "room_push",
}

impl fmt::Display for CmdId {
    /// `c2c_send(1006)` for a known command, `cmd(2000)` for another.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name().unwrap_or("cmd"), self.0)
    }
}

/// A frame's sequence number: chosen by the client from 1, echoed by the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u32);

impl Seq {
    /// Marks a push by the server, and a client's acknowledgement that wants no reply.
    pub const PUSH: Seq = Seq(0);
    /// Reserved by Mars for [`CmdId::NOOP`].
    pub const NOOP: Seq = Seq(0xFFFF_FFFF);
    /// Reserved by Mars for its identify check.
    pub const IDENTIFY: Seq = Seq(0xFFFF_FFFE);
    /// Reserved by Mars for [`CmdId::SIGNALLING`].
    pub const SIGNALLING: Seq = Seq(0xFFFF_FFFD);

    /// Whether Mars keeps this number for one command of its own: [`NOOP`](Self::NOOP),
    /// [`IDENTIFY`](Self::IDENTIFY) or [`SIGNALLING`](Self::SIGNALLING). 0 is not among them.
    pub const fn is_reserved(self) -> bool {
        self.0 >= Self::SIGNALLING.0
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Seq::NOOP => f.write_str("noop"),
            Seq::IDENTIFY => f.write_str("identify"),
            Seq::SIGNALLING => f.write_str("signalling"),
            Seq(number) => number.fmt(f),
        }
    }
}
