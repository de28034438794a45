//! Of logins that conflict one survives, wherever they raced.

use std::collections::BTreeSet;

use super::{Broken, Invariant};
use crate::testing::sim::history::Ending;

pub(super) struct OneLogin;

impl Invariant for OneLogin {
    fn name(&self) -> &'static str {
        "one_login"
    }

    fn end(&self, ending: &Ending) -> Result<(), Broken> {
        let mut seen = BTreeSet::new();
        match ending.logins.iter().find(|login| !seen.insert(*login)) {
            Some((uid, what)) => Err(format!("{uid} has two links that conflict: {what}")),
            None => Ok(()),
        }
    }
}
