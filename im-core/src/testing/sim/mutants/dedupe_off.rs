//! Without dedupe a send whose ack was lost is stored again.

use crate::memory::State;
use crate::storage::{Placed, Post, StoreError};

pub(super) fn place(state: &mut State, post: Post) -> Result<Placed, StoreError> {
    state.check_msgid(&post)?;
    Ok(state.place(post))
}
