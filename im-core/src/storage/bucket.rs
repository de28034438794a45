use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::id::Uid;
use crate::message::TimelineId;

/// One of the [`COUNT`](Self::COUNT) parts that owners are spread over. A sharded store keeps a part in one database, and moves it as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(u16);

impl Bucket {
    /// How many there are. It never changes: what is stored stands where it says.
    pub const COUNT: u16 = 4_096;

    /// The bucket with this number; `None` from [`COUNT`](Self::COUNT) up.
    pub fn new(number: u16) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// Every bucket, in order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// The bucket of a timeline's owner: SipHash-1-3 with a zero key of `u` and the uid, or of `g` and the group's number in eight bytes,
    /// big-endian; of that the lowest twelve bits.
    pub fn of(timeline: &TimelineId) -> Self {
        let mut hasher = SipHasher13::new();
        match timeline {
            TimelineId::User(uid) => return Self::of_user(uid),
            TimelineId::Group(group) => {
                hasher.write(b"g");
                hasher.write(&group.0.to_be_bytes());
            }
        }
        Self::from_hash(hasher.finish())
    }

    /// The bucket of a user's timeline, and of the keys of what the user sends.
    pub fn of_user(uid: &Uid) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(b"u");
        hasher.write(uid.as_str().as_bytes());
        Self::from_hash(hasher.finish())
    }

    /// Its number, below [`COUNT`](Self::COUNT).
    pub fn number(self) -> u16 {
        self.0
    }

    fn from_hash(hash: u64) -> Self {
        let [.., high, low] = hash.to_be_bytes();
        Self(u16::from_be_bytes([high, low]) % Self::COUNT)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::id::GroupId;

    #[test]
    fn a_bucket_is_the_same_in_every_build_because_it_says_where_things_are() {
        let users = ["alice", "bob", "🦀"].map(|name| Bucket::of_user(&Uid::new(name).unwrap()).number());
        let group = Bucket::of(&TimelineId::Group(GroupId(7))).number();
        assert_eq!((users, group), ([2201, 2623, 1088], 1930));
    }

    #[test]
    fn owners_are_spread_evenly() {
        let mut counts = vec![0_u32; usize::from(Bucket::COUNT)];
        for n in 0..40 * u32::from(Bucket::COUNT) {
            let bucket = Bucket::of_user(&Uid::new(&format!("user {n}")).unwrap());
            counts[usize::from(bucket.number())] += 1;
        }
        assert!(counts.iter().all(|count| (10..90).contains(count)), "{counts:?}");
    }

    #[test]
    fn there_are_as_many_as_numbers() {
        assert_eq!(
            Bucket::all().map(|bucket| Bucket::new(bucket.number())).filter(Option::is_some).count(),
            4_096
        );
        assert_eq!(Bucket::new(4_096), None);
    }
}
