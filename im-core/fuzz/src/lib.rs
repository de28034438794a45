//! The body of the fuzz target: `fn run(input: &[u8])` that panics when a promise is broken. A test of the workspace
//! includes it by path and feeds it on a stable compiler.

pub mod session;
