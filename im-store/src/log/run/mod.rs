//! The index on the disk: tables that are written once, in order, and never changed.
//!
//! A checkpoint writes what happened since the last one as a new table; now and then several of them are merged into one. A table has rows, sorted
//! by key, in blocks with checksums, and the hashes of send keys, sorted, in pages with checksums. What a block or a page begins with is kept
//! in memory, so that a look-up reads one of them.
//!
//! | key | value |
//! |---|---|
//! | `O` owner | the timeline's head, its greatest msgid, and the owner's name in the first table that has it |
//! | `C` owner, version | up to 512 entries from that version on: places in the log and msgids |
//! | `R` owner | which msgids each `C` row of the owner has, if there are several |
//! | `V` owner, peer | what moved in a conversation |
//! | `U` user, timeline, device | a cursor |
//! | `N` node | a lease |

mod filter;
mod keys;
mod merge;
mod rows;
mod table;

pub(super) use filter::Filter;

pub(super) use merge::merge;
pub(super) use rows::{CHUNK, Chunk, OwnerRow, Ranges, parse_moved, put_moved, sub_key};
pub(super) use table::{Table, TableWriter};

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Kind {
    Chunk = b'C',
    Node = b'N',
    Owner = b'O',
    Ranges = b'R',
    Cursor = b'U',
    Conversation = b'V',
}
