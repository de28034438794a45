use std::time::Duration;

use super::dice::Dice;
use super::outside::BusRates;
use super::store::StoreRates;
use crate::id::Uid;
use crate::router::KickPolicy;

/// What a seed's world is like and how badly it is treated. Never smaller than 2 servers, 8 users, 16 devices and 300 messages.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) servers: usize,
    pub(super) shards: usize,
    pub(super) users: usize,
    /// Users with a third device, of the type of their first.
    pub(super) twins: usize,
    pub(super) messages: u64,
    /// How long things go wrong.
    pub(super) chaos: Duration,
    /// When the store is saved, and when it is restored from that, if it is.
    pub(super) restore: Option<(Duration, Duration)>,
    pub(super) kick: KickPolicy,
    pub(super) store: StoreRates,
    pub(super) bus: BusRates,
    /// The longest time between two faults.
    pub(super) fault_every: u64,
    /// Connections that are refused, in a thousand.
    pub(super) refused: u64,
    pub(super) node_lease: Duration,
    pub(super) requests_in_flight: u32,
}

impl Scenario {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let policies = [KickPolicy::SameDevice, KickPolicy::Never];
        let kick = if dice.happens(750) { KickPolicy::SameDeviceType } else { policies[dice.index(2)] };
        let restore = dice.happens(120).then(|| {
            let backup = dice.millis(1_500, 8_000);
            (backup, backup + dice.millis(500, 6_000))
        });
        Self {
            restore,
            servers: dice.index(2) + 2,
            shards: dice.index(2) + 1,
            users: dice.index(3) + 8,
            twins: dice.index(3) + 2,
            messages: dice.between(300, 340),
            chaos: dice.millis(15_000, 30_000),
            kick,
            store: StoreRates {
                before: dice.between(0, 60),
                after: dice.between(0, 60),
                part: dice.between(0, 120),
                slow: dice.between(0, 60),
            },
            bus: BusRates {
                lost: dice.between(0, 250),
                doubled: dice.between(0, 100),
                slow: dice.between(0, 300),
            },
            fault_every: dice.between(150, 700),
            refused: dice.between(0, 150),
            node_lease: Duration::from_secs(dice.between(3, 10)),
            requests_in_flight: if dice.happens(300) { 4 } else { 1_024 },
        }
    }

    /// Who lives there.
    pub(super) fn uids(&self) -> Vec<Uid> {
        (0..self.users).filter_map(|user| Uid::new(&format!("user{user}")).ok()).collect()
    }
}
