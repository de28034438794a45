//! Who may be asked for a bucket while it moves, and afterwards.

use super::*;

pub(super) async fn what_is_gone_is_refused(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    moved(bench, &*source, &*destination, &[user("alice")]).await?;
    is_elsewhere(&*source).await
}

pub(super) async fn what_arrives_is_refused(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    is_elsewhere(&*destination).await?;
    copy(&*source, &*destination, id).await?;
    is_elsewhere(&*destination).await
}

pub(super) async fn what_leaves_is_served(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    append_one(&*source, &direct("alice", "bob", 100)).await??;
    append_one(&*source, &direct("bob", "alice", 101)).await??;
    only(source.ack(vec![ack("alice", user("alice"), 4)]).await)??;
    same("entries", entries(&*source, user("alice")).await?.len(), 14)?;
    let rows = source.moving_buckets().await?;
    let rows: Vec<_> = rows.into_iter().map(|row| (row.bucket, row.state, row.id, row.to)).collect();
    same("the list", rows, vec![(Bucket::of(&user("alice")), BucketState::Leaving, id, 1)])
}

pub(super) async fn other_buckets_are_served(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    moved(bench, &*source, &*destination, &[user("alice")]).await?;
    for store in [&source, &destination] {
        append_one(&**store, &direct("carol", "dave", 500)).await??;
        same("dave's", entries(&**store, user("dave")).await?.len(), 1)?;
    }
    Ok(())
}

pub(super) async fn a_later_move_takes_over(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let names = [user("alice")];
    let early = begin(bench, &*source, &*destination, &names).await?;
    copy(&*source, &*destination, early).await?;
    source.fence(early, LEASE).await?;
    let late = begin(bench, &*source, &*destination, &names).await?;
    refused("release", source.release(early).await, StoreErrorKind::LeaseLost)?;
    refused("fence", source.fence(early, LEASE).await, StoreErrorKind::LeaseLost)?;
    refused("mark", source.mark(early).await, StoreErrorKind::LeaseLost)?;
    let rows = vec![MovedRow::Cursor(ack("alice", user("alice"), 1))];
    refused("copy_in", destination.copy_in(early, rows).await, StoreErrorKind::LeaseLost)?;
    let buckets = of(&names);
    refused("depart", source.depart(early, buckets.clone(), 1).await, StoreErrorKind::LeaseLost)?;
    refused("arrive", destination.arrive(early, buckets, 1).await, StoreErrorKind::LeaseLost)?;
    copy(&*source, &*destination, late).await?;
    switch(&*source, &*destination, late).await?;
    let buckets = of(&names);
    refused("arrive", destination.arrive(early, buckets, 1).await, StoreErrorKind::LeaseLost)
}

pub(super) async fn a_move_that_loses_a_bucket_is_over(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let early = begin(bench, &*source, &*destination, &[user("alice"), user("bob")]).await?;
    copy(&*source, &*destination, early).await?;
    source.fence(early, LEASE).await?;
    let names = [user("alice")];
    let late = begin(bench, &*source, &*destination, &names).await?;
    refused("mark", source.mark(early).await, StoreErrorKind::LeaseLost)?;
    refused("fence", source.fence(early, LEASE).await, StoreErrorKind::LeaseLost)?;
    refused("unfence", source.unfence(early).await, StoreErrorKind::LeaseLost)?;
    refused("release", source.release(early).await, StoreErrorKind::LeaseLost)?;
    let taken = vec![MovedRow::Cursor(ack("alice", user("alice"), 1))];
    refused("copy_in", destination.copy_in(early, taken).await, StoreErrorKind::LeaseLost)?;
    append_one(&*source, &direct("alice", "bob", 100)).await??;
    let leaving = source.moving_buckets().await?;
    let leaving: Vec<_> = leaving.into_iter().map(|row| (row.bucket, row.state, row.id)).collect();
    same("what leaves", leaving, vec![(Bucket::of(&user("alice")), BucketState::Leaving, late)])?;
    copy(&*source, &*destination, late).await?;
    switch(&*source, &*destination, late).await?;
    is_elsewhere(&*source).await
}
