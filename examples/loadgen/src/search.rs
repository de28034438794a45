/// Looks for the highest rate that holds: doubles until one does not, then halves the gap until it is small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    next: f64,
    holds: Option<f64>,
    fails: Option<f64>,
}

/// A gap of this factor is small.
const CLOSE: f64 = 1.05;

/// Nothing holds more, and nothing less is looked for.
const MOST: f64 = 1e8;
const LEAST: f64 = 1.0;

impl Search {
    pub(crate) fn from(rate: f64) -> Self {
        Search { next: rate, holds: None, fails: None }
    }

    /// The rate to try next; `None` when there is nothing more to learn.
    pub(crate) fn next(&self) -> Option<f64> {
        let close = matches!((self.holds, self.fails), (Some(holds), Some(fails)) if fails / holds < CLOSE);
        (!close && (LEAST..=MOST).contains(&self.next)).then_some(self.next)
    }

    /// Whether that rate held.
    pub(crate) fn tell(&mut self, held: bool) {
        let side = if held { &mut self.holds } else { &mut self.fails };
        *side = Some(self.next);
        self.next = match (self.holds, self.fails) {
            (Some(holds), Some(fails)) => (holds * fails).sqrt(),
            (Some(holds), None) => holds * 2.0,
            (None, Some(fails)) => fails / 2.0,
            (None, None) => self.next,
        };
    }

    /// The highest rate that held.
    pub(crate) fn found(&self) -> Option<f64> {
        self.holds
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn find(from: f64, limit: f64) -> Option<f64> {
        let mut search = Search::from(from);
        for _ in 0..64 {
            let Some(rate) = search.next() else { return search.found() };
            search.tell(rate <= limit);
        }
        panic!("no end");
    }

    #[test]
    fn it_finds_the_limit_from_either_side() {
        for (from, limit) in [(1_000.0, 37_000.0), (1_000_000.0, 37_000.0), (37_000.0, 37_000.0)] {
            let found = find(from, limit).unwrap();
            assert!(found <= limit && found > limit / CLOSE, "{found}");
        }
    }

    #[test]
    fn where_no_rate_holds_none_is_found() {
        assert_eq!(find(1_000.0, 0.0), None);
    }
}
