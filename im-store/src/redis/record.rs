use im_core::id::{ConnId, DeviceId, DeviceType, LoginEpoch, NodeId, Uid};
use im_core::router::Route;
use im_core::time::Timestamp;

/// A link as it is kept.
pub(super) struct Record {
    pub(super) route: Route,
    pub(super) life: i64,
    /// When its gate last spoke of it, in microseconds of Redis' clock.
    pub(super) seen: u64,
}

impl Record {
    /// `None` for what these scripts did not write.
    pub(super) fn parse(uid: &Uid, conn: &str, value: &str) -> Option<Self> {
        let mut parts = value.splitn(7, ' ');
        let mut next = || parts.next();
        let epoch = LoginEpoch(next()?.parse().ok()?);
        let node = NodeId(next()?.parse().ok()?);
        let life = next()?.parse().ok()?;
        let device_type = DeviceType(next()?.parse().ok()?);
        let since = Timestamp(next()?.parse().ok()?);
        let seen = next()?.parse().ok()?;
        let device = DeviceId::new(next()?).ok()?;
        let conn = ConnId(conn.parse().ok()?);
        let route = Route { uid: uid.clone(), device, device_type, conn, node, epoch, since };
        Some(Self { route, life, seen })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_device_may_have_any_name() {
        let uid = Uid::new("bob").unwrap();
        let record = Record::parse(&uid, "7", "12 3 -4 5 -6 7 a phone, \n of bob's").unwrap();
        assert_eq!(record.route.device.as_str(), "a phone, \n of bob's");
        assert_eq!((record.route.epoch, record.life, record.seen), (LoginEpoch(12), -4, 7));
        assert_eq!(Record::parse(&uid, "7", "12 3 4 5 6 7 ").unwrap().route.device.as_str(), "");
    }

    #[test]
    fn what_is_no_record_is_none() {
        let uid = Uid::new("bob").unwrap();
        for (conn, value) in [("x", "1 2 3 4 5 6 d"), ("7", ""), ("7", "1 2 3"), ("7", "1 99999 3 4 5 6 d")] {
            assert!(Record::parse(&uid, conn, value).is_none(), "{conn} {value}");
        }
    }
}
