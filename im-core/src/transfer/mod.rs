//! Copying a store into an empty one of any other kind, and comparing two.
//!
//! [`copy`] moves rows from an [`Export`](crate::storage::Export) to an [`Import`](crate::storage::Import), a page at a time. [`verify`] then asks both
//! stores the questions that a server asks, about everything that either of them exports, and says where the answers differ; it knows
//! nothing of how the copy was made. [`count`] says how much there is. All hold a few pages, whatever the stores' size.
//! A page is thousands of look-ups in one call: open the stores with a deadline for that, minutes rather than seconds.
//!
//! ```
//! use std::sync::Arc;
//! use im_core::memory::{MemoryImport, MemoryStore};
//! use im_core::transfer::{PageLimits, copy, verify};
//! # futures::executor::block_on(async {
//! let (from, to) = (MemoryStore::default(), Arc::new(MemoryStore::default()));
//! let import = Box::new(MemoryImport::new(to.clone())?);
//! copy(&from, import, PageLimits::default(), &mut |_| ()).await?;
//! let found = verify(&from, &*to, PageLimits::default(), &mut |_| ()).await?;
//! assert!(found.is_equal(), "{found}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod copy;
mod counts;
mod difference;
mod pages;
mod verify;

pub use copy::{CopyError, copy};
pub use counts::Counts;
pub use difference::{Comparison, Difference};
pub use pages::{PageLimits, count};
pub use verify::{Side, VerifyError, verify};
