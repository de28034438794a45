use super::Route;

/// Which older logins a new login of the same user removes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KickPolicy {
    /// Those from the same type of device, as phones do. Unspecified types are one type.
    #[default]
    SameDeviceType,
    /// Those from the same device id.
    SameDevice,
    /// All of them.
    OnePerUser,
    /// The oldest, so that at most this many remain (at least 1), and those from the same device id.
    AtMost(usize),
    /// None.
    Never,
}

impl KickPolicy {
    /// Takes what the login `new` removes out of `routes`: all of them its user's, older, and in order of epoch, as is what it returns.
    pub fn evict(self, routes: &mut Vec<Route>, new: &Route) -> Vec<Route> {
        let same_device = |old: &mut Route| old.device == new.device;
        match self {
            Self::SameDeviceType => routes.extract_if(.., |old| old.device_type == new.device_type).collect(),
            Self::SameDevice => routes.extract_if(.., same_device).collect(),
            Self::OnePerUser => std::mem::take(routes),
            Self::AtMost(most) => {
                let mut evicted: Vec<_> = routes.extract_if(.., same_device).collect();
                let surplus = (routes.len() + 1).saturating_sub(most.max(1));
                evicted.extend(routes.drain(..surplus));
                evicted.sort_by_key(|route| route.epoch);
                evicted
            }
            Self::Never => Vec::new(),
        }
    }

    /// Puts a link that a gate holds back among its user's routes, which are in order of epoch, and takes out the older ones that it
    /// removes. `None` if it is a newer login that removes `link`: then nothing changes.
    pub fn restore(self, routes: &mut Vec<Route>, link: Route) -> Option<Vec<Route>> {
        let at = routes.partition_point(|old| old.epoch < link.epoch);
        let mut newer = routes.split_off(at);
        let restored = (!self.removes(&newer, &link)).then(|| {
            let evicted = self.beside(newer.len()).evict(routes, &link);
            routes.push(link);
            evicted
        });
        routes.append(&mut newer);
        restored
    }

    /// Whether one of the `newer` logins removes `old`, or all of them together do.
    fn removes(self, newer: &[Route], old: &Route) -> bool {
        let same_device = || newer.iter().any(|route| route.device == old.device);
        match self {
            Self::SameDeviceType => newer.iter().any(|route| route.device_type == old.device_type),
            Self::SameDevice => same_device(),
            Self::OnePerUser => !newer.is_empty(),
            Self::AtMost(most) => same_device() || newer.len() >= most.max(1),
            Self::Never => false,
        }
    }

    /// The policy for older logins where `newer` ones stay anyway.
    fn beside(self, newer: usize) -> Self {
        match self {
            Self::AtMost(most) => Self::AtMost(most.saturating_sub(newer)),
            other => other,
        }
    }
}
