//! Rows of another store, at the versions that they name.

use im_core::storage::{CursorAck, HeldNode, Misfit, Place, Post, StoreError, StoreErrorKind, StoredPost};

use super::nodes::NodeRow;
use super::plan::Planner;
use super::record::Past;
use super::{Fault, owners};

/// Rows for the writer, by kind.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) posts: Vec<StoredPost>,
    pub(super) cursors: Vec<CursorAck>,
    pub(super) nodes: Vec<HeldNode>,
}

impl Planner<'_> {
    /// Decides rows to import. The first that does not fit ends it.
    pub(super) fn import(&mut self, rows: Rows) -> Result<(), StoreError> {
        for post in rows.posts {
            self.import_post(post).map_err(|fault| fault.into_error("import"))??;
        }
        for ack in rows.cursors {
            self.import_cursor(ack)?;
        }
        rows.nodes.into_iter().try_for_each(|held| self.import_node(held))
    }

    fn import_post(&mut self, stored: StoredPost) -> Result<Result<(), StoreError>, Fault> {
        let StoredPost { message, digest, withdrawn_at, home, copy } = stored;
        let first_digest = Some(digest).filter(|digest| *digest != message.digest());
        for place in [Some(&home), copy.as_ref()].into_iter().flatten() {
            let Place { timeline, version } = place;
            let head =
                self.known_owner(timeline).map_or(owners::Head::EMPTY, |owner| self.head(owner)).version;
            if *version != head.next() {
                let (timeline, came) = (timeline.clone(), *version);
                return Ok(Err(Misfit::Version { timeline, head, came }.into()));
            }
            if self.stands(timeline, message.msgid)? {
                return Ok(Err(Misfit::Twice("msgid").into()));
            }
        }
        let key = self.hasher.hash(&message.from, &message.key);
        let post = Post { message, home: home.timeline, copy: copy.map(|copy| copy.timeline) };
        if self.known(key, &post)?.is_some() {
            return Ok(Err(Misfit::Twice("send key").into()));
        }
        self.place(&post, post.copy.as_ref(), key, Past { first_digest, withdrawn_at });
        Ok(Ok(()))
    }

    fn import_cursor(&mut self, ack: CursorAck) -> Result<(), StoreError> {
        let (timeline, cursor) = (ack.timeline.clone(), ack.version);
        let Err(failed) = self.ack(ack) else { return Ok(()) };
        if failed.kind() != StoreErrorKind::AheadOfHead {
            return Err(failed);
        }
        let head = self.known_owner(&timeline).map_or(owners::Head::EMPTY, |owner| self.head(owner)).version;
        Err(Misfit::Ahead { timeline, head, cursor }.into())
    }

    fn import_node(&mut self, held: HeldNode) -> Result<(), StoreError> {
        let (node, row) = NodeRow::of(held);
        if self.nodes().contains_key(&node) {
            return Err(Misfit::Twice("node number").into());
        }
        self.put_lease(node, row);
        Ok(())
    }
}
