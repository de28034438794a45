// The guide's code blocks are this crate's doctests, so that they compile and hold.
#![doc = include_str!("../../../docs/adapters.md")]
