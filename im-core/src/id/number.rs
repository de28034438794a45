use std::fmt;

use crate::time::Timestamp;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_id! {
    /// A group: a positive number.
    GroupId(i64)
}
number_id! {
    /// A stored message, unique in the whole system and ordered by time, roughly. Only [`Version`]s order exactly.
    MsgId(i64)
}
number_id! {
    /// One link, unique in the whole system and never used again. Its order says nothing.
    ConnId(i64)
}
number_id! {
    /// One server process, leased from the store: 0 to [`NodeId::MAX`].
    NodeId(u16)
}
number_id! {
    /// A place in one timeline. The first entry has version 1, each next one the next number; 0 is before the first.
    Version(i64)
}
number_id! {
    /// The order of logins of one user, given by the router. The greater survives a conflict.
    LoginEpoch(u64)
}
number_id! {
    /// Under which promise the versions of a store were given: see [`Epochs`](crate::storage::Epochs). A new store's is 0.
    StoreEpoch(i32)
}
number_id! {
    /// What kind of device a link serves. See the constants; other numbers are allowed and compared as they are.
    DeviceType(i32)
}

impl NodeId {
    /// The greatest node number: ten bits of every [`MsgId`] name the node that made it.
    pub const MAX: Self = Self(1023);

    /// No server's number. Where a store keeps what it knows of numbers, this one stands for the floor of all leases: see
    /// [`bump_epoch`](crate::storage::Epochs::bump_epoch).
    pub const FLOOR: Self = Self(1024);
}

impl StoreEpoch {
    /// 2020-01-01 00:00 UTC, in milliseconds since 1970.
    const BEGIN_MS: i64 = 1_577_836_800_000;

    /// The next epoch, begun at `now`: the seconds since 2020, or this one plus one if that is greater. By the time in it, a store that is
    /// restored from one backup twice does not get the same epoch twice. The numbers last until 2088.
    #[must_use]
    pub fn after(self, now: Timestamp) -> Self {
        let seconds = now.0.saturating_sub(Self::BEGIN_MS).max(0) / 1_000;
        let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
        Self(seconds.max(self.0.saturating_add(1)))
    }
}

impl Version {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// The version after this one. Saturates: no timeline gets as far, but a client may say that it did.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl DeviceType {
    /// The client did not say.
    pub const UNSPECIFIED: Self = Self(0);
    /// An Android phone.
    pub const ANDROID: Self = Self(1);
    /// An iPhone.
    pub const IOS: Self = Self(2);
    /// A desktop program.
    pub const DESKTOP: Self = Self(3);
    /// A web page.
    pub const WEB: Self = Self(4);
    /// A mini-program inside another app.
    pub const MINI_PROGRAM: Self = Self(5);
    /// A tablet.
    pub const TABLET: Self = Self(6);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_follows_the_clock_and_never_stands_still() {
        let noon = Timestamp(StoreEpoch::BEGIN_MS + 5_999);
        assert_eq!(StoreEpoch(0).after(noon), StoreEpoch(5));
        assert_eq!(StoreEpoch(5).after(noon), StoreEpoch(6));
        assert_eq!(StoreEpoch(7).after(Timestamp(0)), StoreEpoch(8), "a clock that was never set");
        assert_eq!(StoreEpoch(0).after(Timestamp(i64::MAX)), StoreEpoch(i32::MAX));
    }
}
