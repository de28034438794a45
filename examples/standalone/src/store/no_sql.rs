//! In the place of `sql`, where no kind of database server is built in. Names of databases are refused where they are read, so
//! that nobody comes here.

use std::time::Duration;

use im_core::storage::Import;

use super::location::{Location, OpenError, Single};
use crate::built::NotBuilt;

pub(super) async fn serve(name: &Location, _url: &str) -> Result<Single, OpenError> {
    Err(missing(name))
}

pub(super) async fn serve_member(name: &Location, _url: &str) -> Result<Single, OpenError> {
    Err(missing(name))
}

pub(super) async fn open(name: &Location, _url: &str, _deadline: Duration) -> Result<Single, OpenError> {
    Err(missing(name))
}

pub(super) async fn import(name: &Location, _url: &str) -> Result<Box<dyn Import>, OpenError> {
    Err(missing(name))
}

fn missing(name: &Location) -> OpenError {
    OpenError::NotBuilt(name.clone(), NotBuilt("full"))
}
