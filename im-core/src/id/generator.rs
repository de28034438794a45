use std::sync::atomic::{AtomicI64, Ordering};

use super::{MsgId, NodeId};
use crate::time::Timestamp;

const SEQUENCE_BITS: u32 = 11;
const NODE_BITS: u32 = 10;

/// The last id of a generator that gives no more: no lease ends later.
const CLOSED: i64 = i64::MAX;

/// No id may be made until the lease is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node's id lease has run out; it is renewed in the background")]
pub struct IdsExhausted;

/// Makes [`MsgId`]s: 42 bits of milliseconds since 1970, which last until 2109, 10 bits of node, 11 bits of sequence, in the manner of
/// Snowflake. 2,048 ids a millisecond; more in one millisecond take the next one's.
///
/// Ids of one generator strictly increase. They never repeat and never go backwards across restarts, because every id's
/// time lies inside a lease that the store made durable first: from the lease's start to its end, and the next holder
/// of the node number starts where this lease ends. A clock that stands still or steps back only lets the generator run
/// ahead of it, at most to the lease's end. One that is always given the time 0 does not follow the clock at all, and uses 2,048
/// ids for each millisecond of its lease.
///
/// Safe to share between threads; [`next`](Self::next) is one atomic operation.
#[derive(Debug)]
pub struct MsgIds {
    node: NodeId,
    /// The last id given, without its node bits.
    last: AtomicI64,
    /// The first id, without its node bits, that the lease does not cover.
    end: AtomicI64,
}

impl MsgIds {
    /// A generator for `node` whose ids' times are at least `from` and less than `until`.
    ///
    /// # Panics
    /// If `node` is greater than [`NodeId::MAX`].
    pub fn new(node: NodeId, from: Timestamp, until: Timestamp) -> Self {
        assert!(node <= NodeId::MAX, "a node number has ten bits");
        Self { node, last: AtomicI64::new(at(from) - 1), end: AtomicI64::new(at(until)) }
    }

    /// The node whose number is in every id.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The time of the newest id: the clock that a lease has to stay ahead of, since it may have run ahead of the wall's.
    pub fn time(&self) -> Timestamp {
        Timestamp(self.last.load(Ordering::Acquire) >> SEQUENCE_BITS)
    }

    /// Moves the lease's end. It never moves backwards.
    pub fn extend(&self, until: Timestamp) {
        self.end.fetch_max(at(until), Ordering::AcqRel);
    }

    /// Gives no more ids, and tells the first moment after all that it gave: where the lease may end.
    ///
    /// Whatever asks for an id at the same time gets one from before that moment, or none.
    pub fn close(&self) -> Timestamp {
        let last = self.last.swap(CLOSED, Ordering::AcqRel);
        Timestamp((last >> SEQUENCE_BITS).saturating_add(1))
    }

    /// The next id, with the time `now` if the generator has not run ahead of it.
    ///
    /// # Errors
    /// [`IdsExhausted`] if the lease's end was reached, or the generator was [closed](Self::close).
    pub fn next(&self, now: Timestamp) -> Result<MsgId, IdsExhausted> {
        let end = self.end.load(Ordering::Acquire);
        let step = |last: i64| Some(last.saturating_add(1).max(at(now))).filter(|next| *next < end);
        let last =
            self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, step).map_err(|_| IdsExhausted)?;
        Ok(self.compose((last + 1).max(at(now))))
    }

    fn compose(&self, logical: i64) -> MsgId {
        let sequence = logical & ((1 << SEQUENCE_BITS) - 1);
        let millis = logical >> SEQUENCE_BITS;
        MsgId(millis << (SEQUENCE_BITS + NODE_BITS) | i64::from(self.node.0) << SEQUENCE_BITS | sequence)
    }
}

/// The first id of a millisecond, without its node bits.
fn at(time: Timestamp) -> i64 {
    time.0.max(0) << SEQUENCE_BITS
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_when_the_clock_steps_back() {
        let ids = MsgIds::new(NodeId(3), Timestamp(1_000), Timestamp(9_000));
        let first = ids.next(Timestamp(5_000)).unwrap();
        let second = ids.next(Timestamp(2_000)).unwrap();
        assert!(second > first);
    }

    #[test]
    fn the_generators_time_is_its_newest_ids_and_does_not_step_back() {
        let ids = MsgIds::new(NodeId(3), Timestamp(1_000), Timestamp(9_000));
        ids.next(Timestamp(5_000)).unwrap();
        ids.next(Timestamp(2_000)).unwrap();
        assert_eq!(ids.time(), Timestamp(5_000));
    }

    #[test]
    fn a_lease_that_ran_out_gives_no_id_until_it_is_extended() {
        let ids = MsgIds::new(NodeId(0), Timestamp(10), Timestamp(20));
        assert_eq!(ids.next(Timestamp(20)), Err(IdsExhausted));
        ids.extend(Timestamp(30));
        assert!(ids.next(Timestamp(20)).is_ok());
    }

    #[test]
    fn a_generator_that_is_closed_tells_where_its_ids_end_and_gives_no_more() {
        let ids = MsgIds::new(NodeId(3), Timestamp(1_000), Timestamp(9_000));
        ids.next(Timestamp(5_000)).unwrap();
        assert_eq!(ids.close(), Timestamp(5_001));
        ids.extend(Timestamp(i64::MAX >> SEQUENCE_BITS));
        assert_eq!(ids.next(Timestamp(5_002)), Err(IdsExhausted));
        let unused = MsgIds::new(NodeId(3), Timestamp(1_000), Timestamp(9_000));
        assert_eq!(unused.close(), Timestamp(1_000));
    }

    #[test]
    fn the_next_holder_of_a_node_starts_above_every_id_of_the_last() {
        let old = MsgIds::new(NodeId(7), Timestamp(0), Timestamp(100));
        let last = old.next(Timestamp(99)).unwrap();
        let new = MsgIds::new(NodeId(7), Timestamp(100), Timestamp(200));
        assert!(new.next(Timestamp(5)).unwrap() > last);
    }

    #[test]
    fn a_millisecond_that_overflows_runs_into_the_next() {
        let ids = MsgIds::new(NodeId(1), Timestamp(0), Timestamp(1_000));
        let made: Vec<_> = (0..10_000).map(|_| ids.next(Timestamp(1)).unwrap()).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
