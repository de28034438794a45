//! Which hashes the tables may have: nearly every send key is new, and is known to be without a look at the disk.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits for each hash, at the least. One in a hundred that are not there is looked for.
const BITS: usize = 12;

/// Words of a block: one cache line.
const WORDS: usize = 8;

/// Bits that stand for a hash, all in one block.
const MARKS: u32 = 5;

/// A Bloom filter in blocks. It may be added to and asked at the same time.
#[derive(Debug)]
pub(in crate::log) struct Filter {
    words: Box<[AtomicU64]>,
    capacity: usize,
}

impl Filter {
    /// A filter for so many hashes.
    pub(in crate::log) fn new(capacity: usize) -> Self {
        let blocks = (capacity * BITS).div_ceil(WORDS * 64).max(1);
        let words = (0..blocks * WORDS).map(|_| AtomicU64::new(0)).collect();
        Self { words, capacity }
    }

    /// How many hashes it is made for.
    pub(in crate::log) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(in crate::log) fn insert(&self, hash: u64) {
        let block = self.block(hash);
        for (word, bit) in marks(hash) {
            block[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// `false` means: it was not inserted.
    pub(in crate::log) fn may_have(&self, hash: u64) -> bool {
        let block = self.block(hash);
        marks(hash).all(|(word, bit)| block[word].load(Ordering::Relaxed) & bit != 0)
    }

    fn block(&self, hash: u64) -> &[AtomicU64] {
        let blocks = (self.words.len() / WORDS) as u128;
        // Less than `blocks`: the hash as a fraction of all.
        let block = usize::try_from((u128::from(hash) * blocks) >> 64).unwrap_or(0);
        &self.words[block * WORDS..(block + 1) * WORDS]
    }
}

/// The words of a block and their bits that stand for a hash.
fn marks(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    // The block is chosen by the high bits; these have to be others.
    let mixed = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..MARKS).map(move |mark| {
        let nine = mixed >> (64 - 9 * (mark + 1));
        ((nine & 0x7) as usize, 1 << ((nine >> 3) & 0x3F))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        let n = n.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (n ^ (n >> 29)).wrapping_mul(0x94D0_49BB_1331_11EB)
    }

    #[test]
    fn what_was_inserted_is_there_and_little_else() {
        let filter = Filter::new(10_000);
        (0..10_000).for_each(|n| filter.insert(hash(n)));
        assert!((0..10_000).all(|n| filter.may_have(hash(n))));
        let wrong = (10_000..110_000).filter(|n| filter.may_have(hash(*n))).count();
        assert!(wrong < 2_000, "{wrong} of 100,000");
    }
}
