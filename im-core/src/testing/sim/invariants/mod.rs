//! The promises, one file each. An invariant is told what happens as it happens, and looks at everything when the world has come to rest.

mod bad_input;
mod no_duplicate;
mod no_loss;
mod one_login;
mod order;
mod rooms;
mod versions;

use super::history::{Ending, Seen};

/// What broke, in words.
pub(super) type Broken = String;

/// A promise.
pub(super) trait Invariant {
    /// Its file's name.
    fn name(&self) -> &'static str;

    /// Looks at what happened.
    fn see(&mut self, _: &Seen<'_>) -> Result<(), Broken> {
        Ok(())
    }

    /// Looks at how everything ended.
    fn end(&self, ending: &Ending) -> Result<(), Broken>;
}

/// All of them.
pub(super) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<no_duplicate::NoDuplicate>::default(),
        Box::<order::Order>::default(),
        Box::<versions::Versions>::default(),
        Box::new(no_loss::NoLoss),
        Box::new(bad_input::BadInput),
        Box::new(one_login::OneLogin),
        Box::<rooms::Rooms>::default(),
    ]
}
