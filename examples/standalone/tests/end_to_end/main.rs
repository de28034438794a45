//! Server and chat client as processes: what a user sees.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod kill;
mod links;
mod programs;
mod restored;
mod sharded;
mod stops;
mod streams;
mod two;
mod walk_through;
