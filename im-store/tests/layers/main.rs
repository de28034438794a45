//! The layers that go over any store: the conformance suite through each, and what each is for.
#![allow(clippy::unwrap_used, missing_docs)]

mod bench;
mod flaky;
#[cfg(feature = "metrics")]
mod metrics;
#[path = "../sqlite/posts.rs"]
#[allow(dead_code)]
mod posts;
mod retry;
mod timeout;
