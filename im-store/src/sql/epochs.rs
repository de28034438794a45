use async_trait::async_trait;
use im_core::id::StoreEpoch;
use im_core::storage::{Epochs, StoreError};
use im_core::time::Timestamp;

use super::driver::{Row, Session, Value};
use super::statement::Text;
use super::tries::Tries;
use super::{Fault, SqlStore, nodes};

static EPOCH: Text = Text::new("SELECT s.epoch FROM store_state s WHERE s.id = 1");

static LOCKED: Text = Text::new("SELECT s.epoch FROM store_state s WHERE s.id = 1 FOR UPDATE");

static SET: Text = Text::new("UPDATE store_state SET epoch = ? WHERE id = 1");

#[async_trait]
impl Epochs for SqlStore {
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        let epoch = async {
            let mut session = self.pool.session().await?;
            let rows = session.select(&EPOCH, Vec::new()).await;
            held(&session.settle(rows)?)
        };
        self.within("epoch", epoch).await
    }

    async fn bump_epoch(&self, now: Timestamp) -> Result<StoreEpoch, StoreError> {
        self.within("bump_epoch", self.bump(now)).await
    }
}

impl SqlStore {
    async fn bump(&self, now: Timestamp) -> Result<StoreEpoch, Fault> {
        let mut tries = Tries::default();
        loop {
            let mut session = self.pool.begin().await?;
            let bumped = bump(&mut session, now).await;
            match session.end(bumped).await {
                Err(fault) if fault.is_conflict() => tries.wait(fault).await?,
                outcome => return outcome,
            }
        }
    }
}

async fn bump(session: &mut Session, now: Timestamp) -> Result<StoreEpoch, Fault> {
    let next = held(&session.select(&LOCKED, Vec::new()).await?)?.after(now);
    nodes::raise_floor(session, now).await?;
    session.execute(&SET, vec![Value::Int(next.0.into())]).await?;
    Ok(next)
}

fn held(rows: &[Row]) -> Result<StoreEpoch, Fault> {
    let epoch = rows.first().ok_or(Fault::BadRow("store_state.epoch"))?.int(0)?;
    i32::try_from(epoch).map(StoreEpoch).map_err(|_| Fault::BadRow("store_state.epoch"))
}
