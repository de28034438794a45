//! The use-cases, one file each, over the traits alone.
//!
//! [`Logic`] is what a gate calls: [`login`](Logic::login) once a link, [`serve`](Logic::serve) once a turn with all that its links
//! asked. Requests of one turn are sorted by command and each use-case is called once with a slice of them, so that a turn costs one append and
//! one fan-out however many messages it brought.
//!
//! The way of a direct message: [`Logic::serve`] → `c2c::posts` → [`GroupCommit::append`](group_commit::GroupCommit::append) →
//! [`Timelines::append`](crate::storage::Timelines::append) → `c2c::replies` → [`fanout::plan`](crate::fanout::plan) →
//! [`Bus::publish`](crate::router::Bus::publish).

pub mod group_commit;
