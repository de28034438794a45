//! Fences, and how a bucket is given away.

use super::*;

pub(super) async fn a_fence_keeps_writes_out_and_lets_reads_in(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    let half = Part::Home { post: direct("alice", "zoe", 300), taken: false };
    only(source.append_parts(vec![half]).await)??;
    source.fence(id, LEASE).await?;
    is_moved("append", append_one(&*source, &direct("alice", "zoe", 901)).await?)?;
    is_moved("append to", append_one(&*source, &direct("zoe", "alice", 902)).await?)?;
    is_moved("ack", only(source.ack(vec![ack("alice", user("alice"), 1)]).await)?)?;
    append_one(&*source, &direct("bob", "bob", 903)).await??;
    same("entries", entries(&*source, user("alice")).await?.len(), 13)?;
    let intents = source.intents(Pending::Of(vec![uid("alice")]), 9).await?;
    source.settle(intents.iter().map(|intent| (intent.id, Version(1))).collect()).await?;
    same("intents", source.intents(Pending::Of(vec![uid("alice")]), 9).await?, Vec::new())
}

pub(super) async fn writes_have_ended_when_a_fence_is_answered(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    append_one(&*source, &direct("alice", "bob", 1)).await??;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    let appends = (0..20).map(|n| source.append(vec![direct("alice", "bob", 10 + n)]));
    let after_fence = async {
        source.fence(id, LEASE).await?;
        source.heads(vec![user("alice")]).await
    };
    let (answers, heads) = futures::join!(futures::future::join_all(appends), after_fence);
    let head = heads?.first().map(|head| head.head).unwrap_or_default();
    let stored = answers.iter().flatten().filter(|answer| answer.is_ok()).count();
    let stored = i64::try_from(stored).unwrap_or(i64::MAX);
    same("the head when the fence was answered", head, Version(1 + stored))?;
    same("the head now", source.heads(vec![user("alice")]).await?.first().map(|now| now.head), Some(head))
}

pub(super) async fn a_fence_that_is_over_is_listed_as_leaving(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    source.fence(id, Duration::from_millis(300)).await?;
    let fenced = source.moving_buckets().await?;
    bench.wait(Duration::from_millis(600)).await;
    let over = source.moving_buckets().await?;
    let states = fenced.iter().chain(&over).map(|row| row.state).collect();
    same("the lists", states, vec![BucketState::Fenced, BucketState::Leaving])
}

pub(super) async fn a_fence_ends_by_itself(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    source.fence(id, Duration::from_millis(300)).await?;
    is_moved("append", append_one(&*source, &direct("alice", "alice", 1)).await?)?;
    bench.wait(Duration::from_millis(600)).await;
    append_one(&*source, &direct("alice", "alice", 1)).await??;
    refused("release", source.release(id).await, StoreErrorKind::LeaseLost)
}

pub(super) async fn a_fence_can_be_taken_away(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    source.unfence(id).await?;
    source.fence(id, LEASE).await?;
    source.unfence(id).await?;
    append_one(&*source, &direct("alice", "alice", 1)).await??;
    refused("release", source.release(id).await, StoreErrorKind::LeaseLost)
}

pub(super) async fn only_what_is_fenced_is_given_away(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    refused("release", source.release(id).await, StoreErrorKind::LeaseLost)?;
    let half = Part::Home { post: direct("alice", "zoe", 300), taken: false };
    only(source.append_parts(vec![half]).await)??;
    source.fence(id, LEASE).await?;
    refused("release", source.release(id).await, StoreErrorKind::Unavailable)?;
    let intents = source.intents(Pending::Of(vec![uid("alice")]), 9).await?;
    source.settle(intents.iter().map(|intent| (intent.id, Version(1))).collect()).await?;
    source.release(id).await?;
    source.release(id).await?;
    is_moved("depart", source.depart(MoveId(id.0 + 1), of(&[user("alice")]), 1).await)
}

pub(super) async fn a_release_stays(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = moved(bench, &*source, &*destination, &[user("alice")]).await?;
    drop((source, destination));
    let [source, destination] = bench.reopen().await;
    let states: Vec<_> = source.moving_buckets().await?.iter().map(|row| (row.state, row.id)).collect();
    same("the source", states, vec![(BucketState::Gone, id)])?;
    same("the destination", destination.moving_buckets().await?, Vec::new())?;
    is_elsewhere(&*source).await
}

pub(super) async fn to_own_again_changes_nothing(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let names = [user("alice")];
    let id = moved(bench, &*source, &*destination, &names).await?;
    destination.own(id).await?;
    append_one(&*destination, &direct("alice", "alice", 700)).await??;
    moved(bench, &*destination, &*source, &names).await?;
    destination.own(id).await?;
    is_elsewhere(&*destination).await?;
    same("entries", entries(&*source, user("alice")).await?.len(), 13)
}
