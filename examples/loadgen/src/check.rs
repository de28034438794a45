use std::collections::BTreeSet;

/// Whether one stream of numbered messages arrived as it was sent: each once, in order.
#[derive(Debug, Default)]
pub(crate) struct OrderCheck {
    /// The number that is due.
    next: u64,
    /// Numbers that were passed over.
    missing: BTreeSet<u64>,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
}

impl OrderCheck {
    /// Takes the number of the message that arrived; whether it is a new one.
    pub(crate) fn arrived(&mut self, number: u64) -> bool {
        if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
            return true;
        }
        let late = self.missing.remove(&number);
        if late {
            self.reordered += 1;
        } else {
            self.duplicated += 1;
        }
        late
    }

    /// Messages that arrived, doubles not counted.
    pub(crate) fn count(&self) -> u64 {
        self.next - u64::try_from(self.missing.len()).unwrap_or(u64::MAX)
    }

    /// How many of `sent` messages did not arrive.
    pub(crate) fn lost(&self, sent: u64) -> u64 {
        sent.saturating_sub(self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: &[u64]) -> OrderCheck {
        let mut check = OrderCheck::default();
        for number in numbers {
            check.arrived(*number);
        }
        check
    }

    fn verdict(numbers: &[u64], sent: u64) -> (u64, u64, u64) {
        let check = after(numbers);
        (check.lost(sent), check.duplicated, check.reordered)
    }

    #[test]
    fn a_stream_in_order_has_no_fault() {
        assert_eq!(verdict(&[0, 1, 2], 3), (0, 0, 0));
    }

    #[test]
    fn what_never_came_is_lost() {
        assert_eq!(verdict(&[0, 2], 5), (3, 0, 0));
        assert_eq!(verdict(&[], 2), (2, 0, 0));
    }

    #[test]
    fn what_came_twice_is_doubled() {
        assert_eq!(verdict(&[0, 1, 1, 0], 2), (0, 2, 0));
    }

    #[test]
    fn what_came_after_a_later_one_is_reordered_and_not_lost() {
        assert_eq!(verdict(&[1, 0, 2], 3), (0, 0, 1));
        assert_eq!(verdict(&[1, 0, 0], 2), (0, 1, 1));
    }
}
