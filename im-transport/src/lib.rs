//! im-transport
#[cfg(feature = "client")]
pub mod client;
