//! `store buckets` and `store move`: which of several databases keeps which buckets, and how that is changed while servers run.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use im_core::storage::Bucket;
use im_store::layer::sharding::{BucketMap, MoveLimits, MoveReport, MoveStep, Mover};
use im_transport::clock::SystemClock;

use super::failure::Failure;
use super::interrupts::Interrupts;
use super::location::{Location, Opened};
use super::sharded::Sharded;
use crate::output;

/// Steps that come often are told so often.
const TOLD: Duration = Duration::from_secs(1);

/// Bucket numbers and ranges of them, as in `0-63,100`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Buckets(Vec<Bucket>);

/// What no buckets are called.
#[derive(Debug, thiserror::Error)]
#[error("expected bucket numbers from 0 to 4095, or ranges of them, as in 0-63,100")]
pub(super) struct NoSuchBuckets;

impl FromStr for Buckets {
    type Err = NoSuchBuckets;

    fn from_str(text: &str) -> Result<Self, NoSuchBuckets> {
        let mut found = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse().ok().and_then(Bucket::new).ok_or(NoSuchBuckets);
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return Err(NoSuchBuckets);
            }
            found.extend(Bucket::all().filter(|bucket| (first..=last).contains(bucket)));
        }
        found.sort_unstable();
        found.dedup();
        Ok(Self(found))
    }
}

/// The same way: adjacent ones as ranges.
impl fmt::Display for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let follows = |one: &Bucket, next: &Bucket| one.number() + 1 == next.number();
        for (place, run) in self.0.chunk_by(follows).enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match run {
                [first, .., last] => write!(f, "{comma}{}-{}", first.number(), last.number())?,
                [only] => write!(f, "{comma}{}", only.number())?,
                [] => {}
            }
        }
        Ok(())
    }
}

/// Prints a line for each database.
pub(super) async fn list(location: &Location) -> Result<(), Failure> {
    let sharded = open(location).await?;
    let map = sharded.store().map();
    for (place, name) in sharded.names().iter().enumerate() {
        let buckets = kept(&map, place);
        output::line(&format!("database={place} buckets={} {buckets} {name}", buckets.0.len()))?;
    }
    sharded.close().await;
    Ok(())
}

fn kept(map: &BucketMap, place: usize) -> Buckets {
    Buckets(Bucket::all().filter(|bucket| map.database(*bucket) == place).collect())
}

/// Moves buckets. Interrupted, it leaves each where it was or where it is to be.
pub(super) async fn relocate(
    location: &Location,
    buckets: &Buckets,
    to: usize,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    let sharded = interrupts.within(open(location)).await??;
    let places = sharded.names().len();
    if to >= places {
        sharded.close().await;
        return Err(Failure::NoSuchPlace(location.clone(), places, to));
    }
    let mover = Mover::new(sharded.store().clone(), Arc::new(SystemClock::new()), MoveLimits::default());
    let moved = interrupts.stop(mover.move_buckets(&buckets.0, to, teller())).await;
    // One that was cut off is closed with the process: its databases may be out of reach.
    if moved.is_some() {
        interrupts.within(sharded.close()).await?;
    }
    let report = moved.ok_or(Failure::MoveInterrupted)?.map_err(Failure::Move)?;
    output::line(&words(&report))?;
    Ok(())
}

/// Tells of steps in the log.
fn teller() -> impl FnMut(MoveStep) {
    let mut last: Option<Instant> = None;
    move |step| {
        let often = matches!(step, MoveStep::Indexing | MoveStep::Clearing | MoveStep::Copying { .. });
        if !often || last.is_none_or(|last| last.elapsed() >= TOLD) {
            tracing::info!("{step}");
            last = Some(Instant::now());
        }
    }
}

fn words(report: &MoveReport) -> String {
    format!(
        "moved buckets={} timelines={} rows={} fences={} longest_fence_ms={}",
        report.buckets,
        report.timelines,
        report.rows,
        report.fences,
        report.longest_fence.as_millis()
    )
}

async fn open(location: &Location) -> Result<Sharded, Failure> {
    if !location.is_there() {
        return Err(Failure::Missing(location.clone()));
    }
    match location.serve().await? {
        Opened::Sharded(sharded) => Ok(sharded),
        Opened::Single(single) => {
            single.close().await;
            Err(Failure::One(location.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_numbers_and_ranges() {
        for (text, count, shown) in
            [("0", 1, "0"), ("0-4095", 4_096, "0-4095"), ("7,5, 6", 3, "5-7"), ("1-3,2-4,9", 5, "1-4,9")]
        {
            let buckets: Buckets = text.parse().expect(text);
            assert_eq!((buckets.0.len(), buckets.to_string()), (count, shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_bucket_is_told() {
        for text in ["", "-", "1-", "3-1", "4096", "0-4096", "1,,2", "x", "-1"] {
            assert!(text.parse::<Buckets>().is_err(), "{text:?}");
        }
    }
}
