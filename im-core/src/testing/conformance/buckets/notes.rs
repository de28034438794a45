//! What a database notes beside its rows: the map, its place among several, numbers of moves.

use super::*;

pub(super) async fn a_map_follows_the_one_before(bench: &dyn BucketsBench) -> Outcome {
    let [store, _] = bench.open().await;
    let map = |version, byte| StoredMap { version, bytes: vec![byte, 0, 255] };
    same("no map", store.bucket_map().await?, None)?;
    let mut put = Vec::new();
    for next in [map(2, 0), map(1, 1), map(1, 2), map(3, 3), map(2, 4)] {
        put.push(store.put_bucket_map(next).await?);
    }
    same("which were stored", put, vec![false, true, false, false, true])?;
    drop(store);
    let [store, _] = bench.reopen().await;
    same("the map", store.bucket_map().await?, Some(map(2, 4)))
}

pub(super) async fn a_database_stays_which_it_is(bench: &dyn BucketsBench) -> Outcome {
    let [store, other] = bench.open().await;
    let member = |set, place| Member { set: SetId(set), place };
    same("nobody has said so", store.member().await?, None)?;
    same("noted", store.join(member(-7, 3)).await?, member(-7, 3))?;
    same("as another", store.join(member(8, 3)).await?, member(-7, 3))?;
    same("at another place", store.join(member(-7, 4)).await?, member(-7, 3))?;
    drop((store, other));
    let [store, other] = bench.reopen().await;
    same("which it is", store.member().await?, Some(member(-7, 3)))?;
    same("which the other is", other.member().await?, None)
}

pub(super) async fn timelines_are_shown(bench: &dyn BucketsBench) -> Outcome {
    let [store, _] = bench.open().await;
    same("of nothing", store.some_timelines(9).await?, Vec::new())?;
    // Bob is named, and has no timeline here.
    let half = Part::Home { post: direct("alice", "bob", 1), taken: false };
    only(store.append_parts(vec![half]).await)??;
    same("one", store.some_timelines(9).await?, vec![user("alice")])?;
    append_one(&*store, &direct("carol", "dave", 2)).await??;
    let mut shown = store.some_timelines(9).await?;
    shown.sort();
    same("all", shown, vec![user("alice"), user("carol"), user("dave")])?;
    same("not more than asked for", store.some_timelines(2).await?.len(), 2)
}

pub(super) async fn what_is_elsewhere_is_not_shown(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    append_all(&*source, &[direct("alice", "bob", 1)]).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    copy(&*source, &*destination, id).await?;
    same("what arrives", destination.some_timelines(9).await?, Vec::new())?;
    switch(&*source, &*destination, id).await?;
    same("who stays", source.some_timelines(9).await?, vec![user("bob")])?;
    same("who came", destination.some_timelines(9).await?, vec![user("alice")])
}

pub(super) async fn numbers_of_moves_ascend(bench: &dyn BucketsBench) -> Outcome {
    let [store, _] = bench.open().await;
    let (first, second) = (store.next_move().await?, store.next_move().await?);
    drop(store);
    let [store, _] = bench.reopen().await;
    let third = store.next_move().await?;
    same("whether they ascend", first < second && second < third, true)
}
