//! Marks, pages, and what a bucket's rows are where they come to.

use super::*;

pub(super) async fn a_mark_is_before_what_is_pending(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    append_one(&*source, &direct("alice", "alice", 1)).await??;
    let half = Part::Home { post: direct("alice", "bob", 2), taken: false };
    only(source.append_parts(vec![half]).await)??;
    append_one(&*source, &direct("alice", "alice", 3)).await??;
    let until = source.mark(id).await?;
    let rows = pages(&*source, id, CopyOut::Posts { after: Mark(0), until }).await?;
    same("what is copied", msgids(&rows), vec![1])?;
    let intents = source.intents(Pending::Of(vec![uid("alice")]), 9).await?;
    source.settle(intents.iter().map(|intent| (intent.id, Version(1))).collect()).await?;
    let rest = CopyOut::Posts { after: until, until: source.mark(id).await? };
    same("what is copied then", msgids(&pages(&*source, id, rest).await?), vec![2, 3])
}

fn msgids(rows: &[MovedRow]) -> Vec<i64> {
    let msgid = |row: &MovedRow| match row {
        MovedRow::Post(post) => Some(post.message.msgid.0),
        _ => None,
    };
    rows.iter().filter_map(msgid).collect()
}

pub(super) async fn pages_give_everything_once(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let posts = filled(&*source).await?;
    append_one(&*source, &direct("carol", "dave", 500)).await??;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    let until = source.mark(id).await?;
    let rows = pages(&*source, id, CopyOut::Posts { after: Mark(0), until }).await?;
    let concern_alice = |post: &&Post| {
        let alice = user("alice");
        post.message.from == uid("alice") || post.home == alice || post.copy == Some(alice)
    };
    let expected: Vec<_> = posts.iter().filter(concern_alice).map(|post| post.message.msgid.0).collect();
    same("what is given", msgids(&rows), expected)
}

pub(super) async fn marks_ascend(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    let mut marks = vec![source.mark(id).await?];
    for n in 1..5 {
        append_one(&*source, &direct("alice", "bob", n)).await??;
        append_one(&*source, &direct("carol", "dave", 10 + n)).await??;
        marks.push(source.mark(id).await?);
    }
    marks.push(source.fence(id, LEASE).await?);
    same("whether they ascend", marks.is_sorted() && marks[0] < marks[4], true)?;
    same("the mark behind the fence", marks[5], marks[4])
}

pub(super) async fn all_cursors_are_given(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let names = ["ann", "ben", "cid", "dan", "eve", "fay", "gil"];
    for name in names {
        only(source.ack(vec![ack(name, group(7), 1)]).await)??;
    }
    let id = begin(bench, &*source, &*destination, &[group(7)]).await?;
    let rows = pages(&*source, id, CopyOut::Cursors { changed: false, after: None }).await?;
    let whose = rows.iter().filter_map(|row| match row {
        MovedRow::Cursor(ack) => Some(ack.uid.as_str().to_owned()),
        _ => None,
    });
    let mut whose: Vec<_> = whose.collect();
    whose.sort_unstable();
    same(
        "whose cursors",
        whose,
        ["ann", "ben", "bob", "cid", "dan", "eve", "fay", "gil"].map(str::to_owned).to_vec(),
    )
}

pub(super) async fn changed_cursors_are_noted(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice"), group(7)]).await?;
    let cursors = |changed| CopyOut::Cursors { changed, after: None };
    same("changed", pages(&*source, id, cursors(true)).await?, Vec::new())?;
    only(source.ack(vec![ack("bob", group(7), 4)]).await)??;
    let changed = vec![MovedRow::Cursor(ack("bob", group(7), 4))];
    same("changed", pages(&*source, id, cursors(true)).await?, changed)
}

/// What a store says of an owner.
async fn seen(store: &dyn Shard, name: &str) -> Result<String, Failure> {
    let timeline = user(name);
    let entries = entries(store, timeline.clone()).await?;
    let head = store.heads(vec![timeline.clone()]).await?;
    let conversations = store.conversations(&uid(name), None, 100).await?;
    let cursors = store.cursors(vec![(uid(name), timeline)]).await?;
    Ok(format!("{entries:?} {head:?} {conversations:?} {cursors:?}"))
}

/// What it says of the sends of somebody.
async fn found(store: &dyn Shard, posts: &[Post], name: &str) -> Result<String, Failure> {
    let own = posts.iter().filter(|post| post.message.from == uid(name));
    let keys = own.map(|post| (post.message.from.clone(), post.message.key.clone())).collect();
    Ok(format!("{:?}", store.find(keys).await?))
}

pub(super) async fn what_moved_answers_as_before(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let posts = filled(&*source).await?;
    let before = (seen(&*source, "alice").await?, found(&*source, &posts, "alice").await?);
    moved(bench, &*source, &*destination, &[user("alice")]).await?;
    drop((source, destination));
    let [_source, destination] = bench.reopen().await;
    let after = (seen(&*destination, "alice").await?, found(&*destination, &posts, "alice").await?);
    same("what is said of alice", after, before)?;
    let note = direct("alice", "alice", 5);
    let again = append_one(&*destination, &resent(&note, 77)).await??;
    same("a repeat", again, repeated(&note, 3, None))?;
    let next = append_one(&*destination, &direct("alice", "alice", 800)).await??;
    same("the next version", next.home, Version(13))
}

pub(super) async fn rows_that_come_again_change_nothing(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let posts = filled(&*source).await?;
    let names = [user("alice"), group(7)];
    let before = (seen(&*source, "alice").await?, found(&*source, &posts, "alice").await?);
    let id = begin(bench, &*source, &*destination, &names).await?;
    for _ in 0..2 {
        copy(&*source, &*destination, id).await?;
    }
    switch(&*source, &*destination, id).await?;
    let after = (seen(&*destination, "alice").await?, found(&*destination, &posts, "alice").await?);
    same("what is said of alice", after, before)
}

pub(super) async fn a_hole_is_refused(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice")]).await?;
    let until = source.mark(id).await?;
    let mut rows = pages(&*source, id, CopyOut::Posts { after: Mark(0), until }).await?;
    rows.remove(1);
    refused("a hole", destination.copy_in(id, rows).await, StoreErrorKind::Corrupt)?;
    same("what was stored", destination.tally(id).await?.heads, 0)
}

pub(super) async fn what_is_missing_shows_in_the_tally(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    filled(&*source).await?;
    let id = begin(bench, &*source, &*destination, &[user("alice"), group(7)]).await?;
    let until = source.mark(id).await?;
    let mut posts = pages(&*source, id, CopyOut::Posts { after: Mark(0), until }).await?;
    let cursors = pages(&*source, id, CopyOut::Cursors { changed: false, after: None }).await?;
    let last: Vec<_> = posts.pop().into_iter().collect();
    let mut less = cursors.clone();
    let mut furthest: Vec<_> = less.pop().into_iter().collect();
    for row in &mut furthest {
        if let MovedRow::Cursor(ack) = row {
            ack.version = Version(ack.version.0 - 1);
        }
    }
    let differs = async |what: &str| {
        let (here, there) = (source.tally(id).await?, destination.tally(id).await?);
        same(what, here == there, false)
    };
    for (rows, lacks) in
        [(posts, "an entry and cursors"), (less, "an entry and a cursor"), (cursors, "an entry")]
    {
        destination.copy_in(id, rows).await?;
        differs(lacks).await?;
    }
    destination.copy_in(id, last.clone()).await?;
    same("the tallies", destination.tally(id).await?, source.tally(id).await?)?;
    clear(bench, &*destination, id).await?;
    copy_but_cursors(&*source, &*destination, id).await?;
    differs("cursors").await?;
    let mut nearly = pages(&*source, id, CopyOut::Cursors { changed: false, after: None }).await?;
    nearly.pop();
    destination.copy_in(id, nearly).await?;
    differs("a cursor").await?;
    destination.copy_in(id, furthest).await?;
    differs("a cursor's last step").await
}

async fn copy_but_cursors(source: &dyn Shard, destination: &dyn Shard, id: MoveId) -> Outcome {
    let until = source.mark(id).await?;
    let rows = pages(source, id, CopyOut::Posts { after: Mark(0), until }).await?;
    Ok(destination.copy_in(id, rows).await?)
}

pub(super) async fn halves_of_who_stays_are_left(bench: &dyn BucketsBench) -> Outcome {
    let [source, destination] = bench.open().await;
    let posts = filled(&*source).await?;
    let outline = entries(&*source, group(7)).await?;
    let before = (seen(&*source, "bob").await?, found(&*source, &posts, "bob").await?);
    let id = moved(bench, &*source, &*destination, &[user("alice")]).await?;
    clear(bench, &*source, id).await?;
    let after = (seen(&*source, "bob").await?, found(&*source, &posts, "bob").await?);
    same("what is said of bob", after, before.clone())?;
    same("the group", entries(&*source, group(7)).await?, outline)?;
    let id = moved(bench, &*source, &*destination, &[group(7)]).await?;
    clear(bench, &*source, id).await?;
    let after = (seen(&*source, "bob").await?, found(&*source, &posts, "bob").await?);
    same("what is said of bob, without the group", after, before)
}

pub(super) async fn a_bucket_moves_there_and_back(bench: &dyn BucketsBench) -> Outcome {
    let [one, other] = bench.open().await;
    let posts = filled(&*one).await?;
    let (alice, bob) = (seen(&*one, "alice").await?, seen(&*one, "bob").await?);
    let (alice_sent, bob_sent) = (found(&*one, &posts, "alice").await?, found(&*one, &posts, "bob").await?);
    let outline = entries(&*one, group(7)).await?;
    for names in
        [vec![user("alice")], vec![group(7), user("bob")], vec![user("alice"), group(7), user("bob")]]
    {
        moved(bench, &*one, &*other, &names).await?;
        same(
            "alice's",
            (seen_in(&one, &other, "alice", &names, &posts)).await?,
            (alice.clone(), alice_sent.clone()),
        )?;
        moved(bench, &*other, &*one, &names).await?;
        same("alice", seen(&*one, "alice").await?, alice.clone())?;
        same("bob", seen(&*one, "bob").await?, bob.clone())?;
        same("what alice sent", found(&*one, &posts, "alice").await?, alice_sent.clone())?;
        same("what bob sent", found(&*one, &posts, "bob").await?, bob_sent.clone())?;
        same("the group", entries(&*one, group(7)).await?, outline.clone())?;
    }
    Ok(())
}

async fn seen_in(
    one: &Arc<dyn Shard>,
    other: &Arc<dyn Shard>,
    name: &str,
    moved: &[TimelineId],
    posts: &[Post],
) -> Result<(String, String), Failure> {
    let store = if moved.contains(&user(name)) { other } else { one };
    Ok((seen(&**store, name).await?, found(&**store, posts, name).await?))
}
