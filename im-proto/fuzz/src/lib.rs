//! The bodies of the fuzz targets, one module each. A body is `fn run(input: &[u8])` that panics when a
//! promise is broken.
//!
//! The modules name no crate but the ones under test, so that a test of the workspace can include them
//! by path and feed them from [`generate`] on a stable compiler.

pub mod frames;
pub mod generate;
pub mod messages;
