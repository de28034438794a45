use async_trait::async_trait;

use super::StoreError;
use crate::id::Uid;

/// One user hears nothing from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block {
    /// Who hears nothing.
    pub owner: Uid,
    /// From whom.
    pub other: Uid,
}

/// Whom users have blocked. It shares no transaction with the [`Store`](super::Store): a block takes effect for what is sent after it, and takes nothing
/// back.
///
/// A cache may stand before it. That one says how old its answers to [`blocked`](Self::blocked) may be.
#[async_trait]
pub trait Blocklist: Send + Sync + 'static {
    /// Blocks.
    ///
    /// # Contract
    /// - A block is one way: the other's own list does not change.
    /// - What is blocked already stays so.
    /// - Durable when answered `Ok`, like an append.
    ///
    /// # Cancel safety
    /// Dropping the future, and a failure, leave each block made or not. Repeating is harmless.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn block(&self, blocks: Vec<Block>) -> Result<(), StoreError>;

    /// Takes blocks back.
    ///
    /// # Contract
    /// - What is not blocked is passed over.
    /// - Durable when answered `Ok`, like an append.
    ///
    /// # Cancel safety
    /// Dropping the future, and a failure, leave each block taken back or not. Repeating is harmless.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn unblock(&self, blocks: Vec<Block>) -> Result<(), StoreError>;

    /// Which of these blocks there are.
    ///
    /// # Contract
    /// - One answer for each, in order.
    /// - What `block` and `unblock` answered before this call began is seen by it.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn blocked(&self, blocks: Vec<Block>) -> Result<Vec<bool>, StoreError>;

    /// Whom a user has blocked, a page at a time.
    ///
    /// # Contract
    /// - In the order of the names' bytes.
    /// - At most `limit` of them, those after `after` if that is given: the way to page. 0 asks for none.
    /// - What `block` and `unblock` answered before this call began is seen by it, also where a cache stands before the list.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    async fn list_blocked(
        &self,
        owner: &Uid,
        after: Option<&Uid>,
        limit: usize,
    ) -> Result<Vec<Uid>, StoreError>;
}
