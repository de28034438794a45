use im_proto::Seq;

/// A link's sequence numbers: from 1, and round again before the reserved ones. A number that is still in use is passed over.
#[derive(Debug)]
pub(super) struct Seqs {
    next: Seq,
}

impl Default for Seqs {
    fn default() -> Self {
        Self { next: Seq(1) }
    }
}

impl Seqs {
    /// The next number that is not `in_use`. Numbers in use are far fewer than there are, so there is one.
    pub(super) fn next(&mut self, in_use: impl Fn(Seq) -> bool) -> Seq {
        loop {
            let seq = self.next;
            let after = Seq(seq.0 + 1);
            self.next = if after.is_reserved() { Seq(1) } else { after };
            if !in_use(seq) {
                return seq;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_from_1() {
        let mut seqs = Seqs::default();
        assert_eq!([seqs.next(|_| false), seqs.next(|_| false)], [Seq(1), Seq(2)]);
    }

    #[test]
    fn numbers_go_round_before_the_reserved_ones_and_pass_over_those_in_use() {
        let mut seqs = Seqs { next: Seq(Seq::SIGNALLING.0 - 1) };
        let last = seqs.next(|_| false);
        assert!(!last.is_reserved());
        assert_eq!(seqs.next(|seq| seq == Seq(1)), Seq(2));
    }
}
