use super::Answers;
use crate::storage::{StoreError, StoreErrorKind};

/// Tells the log when the store begins to fail and when it works again, once each: batches come by the thousands.
#[derive(Debug, Default)]
pub(super) struct Health {
    failing: bool,
}

/// What a batch showed that the one before it did not.
#[derive(Debug)]
enum Change<'a> {
    Fails(&'a StoreError),
    Works,
}

impl Health {
    pub(super) fn note(&mut self, answers: &Answers) {
        match self.change(answers) {
            Some(Change::Fails(failure)) => tracing::warn!(
                error = failure as &dyn std::error::Error,
                "the store takes no messages; clients are told to send them again"
            ),
            Some(Change::Works) => tracing::info!("the store takes messages again"),
            None => {}
        }
    }

    fn change<'a>(&mut self, answers: &'a Answers) -> Option<Change<'a>> {
        let of_store = |failure: &&StoreError| failure.kind() == StoreErrorKind::Unavailable;
        let failure = answers.iter().filter_map(|answer| answer.as_ref().err()).find(of_store);
        let was_failing = std::mem::replace(&mut self.failing, failure.is_some());
        match failure {
            Some(failure) if !was_failing => Some(Change::Fails(failure)),
            None if was_failing => Some(Change::Works),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: StoreErrorKind) -> Answers {
        vec![Err(StoreError::new(kind, "append"))]
    }

    #[test]
    fn a_store_that_fails_is_told_once_and_so_is_one_that_works_again() {
        let mut health = Health::default();
        assert!(health.change(&failed(StoreErrorKind::KeyReused)).is_none());
        assert!(matches!(health.change(&failed(StoreErrorKind::Unavailable)), Some(Change::Fails(_))));
        assert!(health.change(&failed(StoreErrorKind::Unavailable)).is_none());
        assert!(matches!(health.change(&failed(StoreErrorKind::KeyReused)), Some(Change::Works)));
        assert!(health.change(&failed(StoreErrorKind::KeyReused)).is_none());
    }
}
