use futures::future::BoxFuture;

use super::{Failed, Failure, Outcome, Report};

/// One scenario, and the line of the contract that it tries.
pub struct Case<B: ?Sized + 'static> {
    /// The scenario as a sentence.
    pub name: &'static str,
    /// The trait and the method whose contract it is.
    pub method: &'static str,
    /// The contract's words, quoted from the method's documentation.
    pub contract: &'static str,
    /// Plays the scenario on a bench that nothing else has used.
    pub run: for<'a> fn(&'a B) -> BoxFuture<'a, Outcome>,
}

/// Plays every case on a bench of its own.
pub(super) async fn run<B: ?Sized>(cases: Vec<Case<B>>, bench: impl Fn() -> Box<B>) -> Report {
    let mut report = Report::default();
    for case in cases {
        let bench = bench();
        let outcome = (case.run)(&bench).await;
        report.cases += 1;
        if let Err(failure) = outcome {
            let Case { name, method, contract, .. } = case;
            let list = match failure {
                Failure::NotTried(_) => &mut report.not_tried,
                _ => &mut report.failed,
            };
            list.push(Failed { name, method, contract, failure });
        }
    }
    report
}

/// A table of cases: under each method the functions that play its scenarios and the contract's words.
macro_rules! cases {
    ($($method:literal { $($run:ident: $contract:literal,)+ })+) => {
        vec![$($($crate::testing::conformance::Case {
            name: stringify!($run),
            method: $method,
            contract: $contract,
            run: |bench| Box::pin($run(bench)),
        },)+)+]
    };
}
pub(super) use cases;
