//! The suite for [`Bus`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use im_proto::{CmdId, Suffix};

use super::case::cases;
use super::check::same;
use super::patience::within;
use super::{Case, Failure, Outcome, Report, case};
use crate::id::{ConnId, NodeId, RoomId};
use crate::router::{Bus, Delivery, Parcel, Subscription};
use crate::session::{KickReason, Push};

/// Opens the bus under test.
#[async_trait]
pub trait BusBench: Send + Sync + 'static {
    /// Opens a bus that nobody subscribed to. Called once. Its queues hold more than ten short pushes and less than 100 MiB.
    async fn open(&self) -> Arc<dyn Bus>;
}

/// Plays every case on a bench of its own.
pub async fn run_bus_suite<B: BusBench>(bench: impl Fn() -> B) -> Report {
    case::run(bus_cases(), || Box::new(bench()) as Box<dyn BusBench>).await
}

/// Every case, in the order of the trait's documentation.
pub fn bus_cases() -> Vec<Case<dyn BusBench>> {
    cases! {
        "Bus::publish" {
            a_parcel_reaches_its_node_alone: "A parcel reaches the node that it names and no other.",
            a_node_that_does_not_read_holds_up_nobody: "It does not wait for a slow node: what does not fit in its queue is dropped, pushes before kicks.",
            kicks_outlast_a_full_queue: "Pushes that are dropped take no kicks with them. If they end the subscription, kicks wait for the next one.",
        }
        "Bus::subscribe" {
            a_second_subscription_replaces_the_first: "A second subscription of the same node replaces the first, which ends.",
        }
    }
}

fn push(node: u16, conn: i64, body: Bytes) -> Delivery {
    let parcel = Parcel::Push(Push { cmd: CmdId::C2C_PUSH, body, suffix: Suffix::default() });
    Delivery { node: NodeId(node), conn: ConnId(conn), parcel }
}

fn room_push(node: u16, from: i64, body: Bytes) -> Delivery {
    let push = Push { cmd: CmdId::ROOM_PUSH, body, suffix: Suffix::default() };
    let parcel = Parcel::Room(RoomId::new("room").expect("four bytes are a name"), push);
    Delivery { node: NodeId(node), conn: ConnId(from), parcel }
}

fn kick(node: u16, conn: i64) -> Delivery {
    let parcel = Parcel::Kick { reason: KickReason::LoggedInElsewhere, retry_after: None };
    Delivery { node: NodeId(node), conn: ConnId(conn), parcel }
}

fn is_kick(delivery: &Delivery) -> bool {
    matches!(delivery.parcel, Parcel::Kick { .. })
}

/// How long a parcel may be on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// The next batch; `None` if the subscription ends.
async fn batch(subscription: &mut Subscription) -> Result<Option<Vec<Delivery>>, Failure> {
    within(PATIENCE, subscription.next()).await.ok_or(Failure::Late(PATIENCE))
}

/// The next `count` parcels, in any number of batches; fewer if the subscription ends, or no more come.
async fn next(subscription: &mut Subscription, count: usize) -> Vec<Delivery> {
    let mut parcels = Vec::new();
    while parcels.len() < count {
        match batch(subscription).await {
            Ok(Some(batch)) => parcels.extend(batch),
            Ok(None) | Err(_) => break,
        }
    }
    parcels
}

async fn a_parcel_reaches_its_node_alone(bench: &dyn BusBench) -> Outcome {
    let bus = bench.open().await;
    let (mut one, mut two) = (bus.subscribe(NodeId(1)).await?, bus.subscribe(NodeId(2)).await?);
    let body = Bytes::from_static(b"body");
    let (to_one, to_two) = (room_push(1, 20, body.clone()), room_push(2, 20, body.clone()));
    let batch = vec![
        push(1, 10, body.clone()),
        push(2, 20, body.clone()),
        to_one.clone(),
        to_two.clone(),
        kick(3, 30),
        push(1, 11, body.clone()),
    ];
    bus.publish(batch).await?;
    let expected = vec![push(1, 10, body.clone()), to_one, push(1, 11, body.clone())];
    same("what node 1 got", next(&mut one, 3).await, expected)?;
    same("what node 2 got", next(&mut two, 2).await, vec![push(2, 20, body), to_two])
}

async fn a_node_that_does_not_read_holds_up_nobody(bench: &dyn BusBench) -> Outcome {
    let bus = bench.open().await;
    let (_stalled, mut live) = (bus.subscribe(NodeId(1)).await?, bus.subscribe(NodeId(2)).await?);
    let body = Bytes::from(vec![7; 1 << 20]);
    for _ in 0..200 {
        bus.publish(vec![push(1, 10, body.clone())]).await?;
    }
    bus.publish(vec![push(2, 20, Bytes::new())]).await?;
    same("what the other node got", next(&mut live, 1).await, vec![push(2, 20, Bytes::new())])
}

async fn kicks_outlast_a_full_queue(bench: &dyn BusBench) -> Outcome {
    let bus = bench.open().await;
    let mut stalled = bus.subscribe(NodeId(1)).await?;
    bus.publish(vec![kick(1, 10)]).await?;
    let body = Bytes::from(vec![7; 1 << 20]);
    for _ in 0..200 {
        bus.publish(vec![push(1, 11, body.clone())]).await?;
    }
    bus.publish(vec![kick(1, 12)]).await?;
    let mut kicked = Vec::new();
    while kicked.len() < 2 {
        match batch(&mut stalled).await? {
            Some(batch) => kicked.extend(batch.into_iter().filter(is_kick)),
            None => stalled = bus.subscribe(NodeId(1)).await?,
        }
    }
    same("the kicks", kicked, vec![kick(1, 10), kick(1, 12)])
}

async fn a_second_subscription_replaces_the_first(bench: &dyn BusBench) -> Outcome {
    let bus = bench.open().await;
    let mut first = bus.subscribe(NodeId(1)).await?;
    let mut second = bus.subscribe(NodeId(1)).await?;
    same("what the first gets", batch(&mut first).await?, None)?;
    bus.publish(vec![push(1, 10, Bytes::new())]).await?;
    same("what the second gets", next(&mut second, 1).await, vec![push(1, 10, Bytes::new())])
}
