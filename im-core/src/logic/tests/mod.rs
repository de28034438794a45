#![allow(clippy::unwrap_used)]

mod bench;
mod logins;
mod reading;
mod sending;
mod upkeep;
