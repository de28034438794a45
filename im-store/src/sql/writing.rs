//! How a transaction begins that writes to timelines: what it locks, in which order, and how.
//!
//! First come the rows of owners whose versions it gives, in the order of their names, so that nobody waits for another in a circle. Then it sees to it that the
//! buckets to which it writes stay as they are until it ends. In MySQL it takes shares of their rows' locks, in the order of their numbers. PostgreSQL would write
//! such a lock to its log; there everybody shares a lock of the table `bucket_map`, and [who changes a bucket](super::buckets) has it alone for a moment.

use std::collections::BTreeSet;

use super::Fault;
use super::driver::{Column, Row, Session};
use super::lookup::{self, Owners};
use super::ownership::{Ownership, SHARED, STAYING};
use super::statement::{Both, Keyed};

/// Rows are locked in the order in which they are found: in the index for MySQL, sorted for PostgreSQL. The columns 4 and 5 are the bucket and its state.
static OWNERS: Keyed = Keyed::new(
    Both {
        mysql: "SELECT o.name, o.id, o.floor, o.head FROM owners o FORCE INDEX (owners_name) WHERE {keys} \
                ORDER BY o.name FOR UPDATE",
        postgres: "SELECT o.name, o.id, o.floor, o.head, b.bucket, b.state FROM owners o \
                   LEFT JOIN buckets b ON b.bucket = o.bucket WHERE {keys} \
                   ORDER BY o.name FOR UPDATE OF o",
    },
    &["o.name"],
);

/// Begins a transaction: the rows of the owners of these names, those that there are, locked until it ends, and who of these buckets' owners may be written to, which
/// stays so until it ends.
///
/// # Errors
/// `FencesOver` if fences have to be ended first.
pub(super) async fn begin(
    session: &mut Session,
    mut names: Vec<Vec<u8>>,
    buckets: BTreeSet<i64>,
) -> Result<(Owners, Ownership), Fault> {
    names.sort_unstable();
    let names = Column::Blobs(names);
    let shares = session.begin_sharing().await?;
    let owners = session.find(&OWNERS, vec![names]).await?;
    let buckets = match shares {
        true => session.find(&STAYING, vec![Column::ints(doubtful(&owners, buckets)?.into_iter())]).await?,
        false => session.find(&SHARED, vec![Column::ints(buckets.into_iter())]).await?,
    };
    let owners = owners.iter().map(lookup::owner).collect::<Result<_, _>>()?;
    Ok((owners, Ownership::of(&buckets)?))
}

/// The buckets of which no owner's row says that they simply belong here.
fn doubtful(owners: &[Row], mut buckets: BTreeSet<i64>) -> Result<BTreeSet<i64>, Fault> {
    for owner in owners {
        if let (Some(bucket), Some(0)) = (owner.maybe_int(4)?, owner.maybe_int(5)?) {
            buckets.remove(&bucket);
        }
    }
    Ok(buckets)
}
