use std::collections::BTreeMap;

use futures::future::join_all;
use im_core::storage::{StoreError, StoreErrorKind};

/// Asks each database its questions, all at the same time, and puts the answers in the order of the questions.
pub(super) async fn scatter<Q, A, F>(
    operation: &'static str,
    questions: impl IntoIterator<Item = (usize, Q)>,
    ask: impl Fn(usize, Vec<Q>) -> F,
) -> Vec<Result<A, StoreError>>
where
    F: Future<Output = Result<Vec<A>, StoreError>>,
{
    let asked = async |database, questions: Vec<Q>| {
        let count = questions.len();
        each(ask(database, questions), count).await
    };
    scatter_each(operation, questions, asked).await
}

/// Gives each of so many questions its answer, or the one error of all.
pub(super) async fn each<A>(
    call: impl Future<Output = Result<Vec<A>, StoreError>>,
    count: usize,
) -> Vec<Result<A, StoreError>> {
    match call.await {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(error) => std::iter::repeat_with(|| Err(error.clone())).take(count).collect(),
    }
}

/// The same for a call that answers each question by itself.
pub(super) async fn scatter_each<Q, A, F>(
    operation: &'static str,
    questions: impl IntoIterator<Item = (usize, Q)>,
    ask: impl Fn(usize, Vec<Q>) -> F,
) -> Vec<Result<A, StoreError>>
where
    F: Future<Output = Vec<Result<A, StoreError>>>,
{
    let mut calls: BTreeMap<usize, (Vec<usize>, Vec<Q>)> = BTreeMap::new();
    let mut count = 0;
    for (place, (database, question)) in questions.into_iter().enumerate() {
        let (places, asked) = calls.entry(database).or_default();
        places.push(place);
        asked.push(question);
        count = place + 1;
    }
    let calls = calls.into_iter().map(|(database, (places, asked))| {
        let answers = ask(database, asked);
        async move { (places, answers.await) }
    });
    // A database that answers less than it was asked is broken.
    let missing = || Err(StoreError::new(StoreErrorKind::Corrupt, operation));
    let mut answers: Vec<_> = std::iter::repeat_with(missing).take(count).collect();
    for (places, given) in join_all(calls).await {
        for (place, answer) in places.into_iter().zip(given) {
            answers[place] = answer;
        }
    }
    answers
}
