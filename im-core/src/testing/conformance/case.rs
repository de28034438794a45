use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::patience::within;
use super::{Failed, Failure, Outcome, Report};

/// How long a case may take: many times what the slowest takes over a busy database server.
const LONGEST: Duration = Duration::from_secs(300);

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
        let outcome = play((case.run)(&bench)).await;
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

/// What a case comes to, also if it panics or does not end.
async fn play(case: BoxFuture<'_, Outcome>) -> Outcome {
    // A bench is used for one case, so nobody sees what a panic left.
    match within(LONGEST, AssertUnwindSafe(case).catch_unwind()).await {
        Some(Ok(outcome)) => outcome,
        Some(Err(panic)) => Err(Failure::Panicked(words(&*panic))),
        None => Err(Failure::Late(LONGEST)),
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words").to_owned()
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

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_case_that_panics_has_failed_and_the_next_one_is_played() {
        let panics = Case {
            name: "first",
            method: "M::m",
            contract: "",
            run: |_| Box::pin(async { panic!("no {}", 1) }),
        };
        let passes =
            Case { name: "second", method: "M::m", contract: "", run: |_| Box::pin(async { Ok(()) }) };
        let report = block_on(run(vec![panics, passes], || Box::new(())));
        assert_eq!((report.cases, report.failed.len()), (2, 1), "{report}");
        assert!(report.to_string().contains("case first failed: panicked: no 1\n"), "{report}");
    }
}
