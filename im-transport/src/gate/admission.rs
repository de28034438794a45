use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::GateLimits;

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The gate has [`GateLimits::max_connections`] links.
    #[error("the gate is full")]
    Full,
    /// The address has [`GateLimits::max_connections_per_address`] links.
    #[error("too many links from one address")]
    Address,
    /// The server has stopped, or has used up the ids for links of its node's lease: see [`Logic::next_conn`](im_core::logic::Logic::next_conn).
    #[error("no ids for new links now")]
    NoIds,
}

/// Counts links, in all and by address.
#[derive(Debug)]
pub(crate) struct Admission {
    total: usize,
    each: usize,
    links: Mutex<Links>,
}

#[derive(Debug, Default)]
struct Links {
    total: usize,
    by_address: HashMap<Ipv6Addr, usize>,
}

impl Admission {
    pub(crate) fn new(limits: &GateLimits) -> Arc<Self> {
        Arc::new(Self {
            total: limits.max_connections,
            each: limits.max_connections_per_address,
            links: Mutex::default(),
        })
    }

    /// Counts one more link from an address, until the permit is dropped.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Refusal> {
        let address = subscriber(address);
        let mut links = self.lock();
        if links.total >= self.total {
            return Err(Refusal::Full);
        }
        let count = links.by_address.entry(address).or_default();
        if *count >= self.each {
            return Err(Refusal::Address);
        }
        *count += 1;
        links.total += 1;
        Ok(Permit { admission: self.clone(), address })
    }

    /// Links now.
    pub(crate) fn count(&self) -> usize {
        self.lock().total
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to be a link. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    address: Ipv6Addr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut links = self.admission.lock();
        links.total -= 1;
        if let Some(count) = links.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                links.by_address.remove(&self.address);
            }
        }
    }
}

/// What stands for one subscriber: an IPv4 address, or the first half of an IPv6 one.
fn subscriber(address: IpAddr) -> Ipv6Addr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn admission(total: usize, each: usize) -> Arc<Admission> {
        let limits =
            GateLimits { max_connections: total, max_connections_per_address: each, ..GateLimits::default() };
        Admission::new(&limits)
    }

    #[test]
    fn a_link_that_goes_makes_room() {
        let admission = admission(1, 1);
        let permit = admission.admit("10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(admission.admit("10.0.0.2".parse().unwrap()).unwrap_err(), Refusal::Full);
        drop(permit);
        assert!(admission.admit("10.0.0.2".parse().unwrap()).is_ok());
        assert_eq!(admission.count(), 0);
        assert!(admission.lock().by_address.is_empty());
    }

    #[test]
    fn one_address_is_bounded_and_a_v6_subscriber_is_its_network() {
        let admission = admission(9, 1);
        let _v4 = admission.admit("10.0.0.1".parse().unwrap()).unwrap();
        let mapped = admission.admit("::ffff:10.0.0.1".parse().unwrap());
        assert_eq!(mapped.unwrap_err(), Refusal::Address);
        let _v6 = admission.admit("2001:db8:0:1::1".parse().unwrap()).unwrap();
        assert!(admission.admit("2001:db8:0:1::2".parse().unwrap()).is_err());
        assert!(admission.admit("2001:db8:0:2::1".parse().unwrap()).is_ok());
    }
}
