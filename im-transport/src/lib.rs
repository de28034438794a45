//! im-transport

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod clock;
#[cfg(feature = "server")]
pub mod gate;
#[cfg(feature = "jwt")]
pub mod jwt;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
mod tcp;

#[cfg(feature = "server")]
pub use server::{Server, ServerBuilder, ServerError};
