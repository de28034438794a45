use im_core::ports::Clock as _;
use im_transport::clock::SystemClock;

use super::failure::Failure;
use super::location::Location;
use crate::output;

/// Begins another epoch of a store.
pub(super) async fn run(location: &Location) -> Result<(), Failure> {
    if !location.is_there() {
        return Err(Failure::Missing(location.clone()));
    }
    let opened = location.serve().await?;
    let store = opened.shared();
    let before = store.epoch().await.map_err(Failure::Read)?;
    let after = store.bump_epoch(SystemClock::new().now()).await.map_err(Failure::Write)?;
    drop(store);
    opened.close().await;
    output::line(&format!("epoch {before} -> {after}"))?;
    Ok(())
}
