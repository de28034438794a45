#![allow(clippy::unwrap_used)]

mod bench;
mod blocking;
mod logins;
mod reading;
mod rooms;
mod sending;
mod upkeep;
