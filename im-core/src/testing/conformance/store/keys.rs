use im_proto::{CmdId, Seq};

use super::StoreBench;
use super::fixture::{
    NAMES, append_all, append_one, direct, numbered, outline, placed, repeated, resent, to_group, uid, user,
};
use crate::id::{ConnId, MsgId, Uid, Version};
use crate::message::{ContentType, SendKey, Target};
use crate::storage::{Found, Post, StoreErrorKind};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::{refused, same};
use crate::testing::conformance::{Case, Outcome};

pub(super) fn cases() -> Vec<Case<dyn StoreBench>> {
    cases! {
        "Timelines::append" {
            a_repeat_is_answered_with_the_first_placement: "With the same [`Message::digest`] it is answered with the first placement and `repeated`",
            a_repeat_after_a_restart_is_recognised: "With the same [`Message::digest`] it is answered with the first placement and `repeated`",
            a_repeat_takes_no_version: "A repeat takes no version.",
            a_repeat_inside_one_batch_is_recognised: "This holds inside one batch too.",
            a_key_reused_inside_one_batch_is_refused: "This holds inside one batch too.",
            another_target_type_or_content_is_another_send: "with another digest it is [`KeyReused`]",
            a_key_reused_after_a_restart_is_refused: "with another digest it is [`KeyReused`]",
            keys_of_two_senders_do_not_meet: "A post whose key (sender, [`Message::key`]) is known is a repeat.",
            strange_keys_are_told_apart: "A post whose key (sender, [`Message::key`]) is known is a repeat.",
            keys_of_links_are_keys: "A post whose key (sender, [`Message::key`]) is known is a repeat.",
            a_repeat_in_a_group_is_recognised: "A post whose key (sender, [`Message::key`]) is known is a repeat.",
        }
        "Timelines::find" {
            keys_are_found_in_the_order_asked: "One answer for each (sender, key), in order; `None` if no such send is stored.",
            keys_are_found_after_a_restart: "Keys are remembered for at least 30 days.",
        }
        "Timelines::locate" {
            messages_are_located_in_both_timelines: "One answer for each pair, in order; `None` if the timeline does not hold the message.",
            messages_are_located_after_a_restart: "One answer for each pair, in order; `None` if the timeline does not hold the message.",
        }
    }
}

async fn a_repeat_is_answered_with_the_first_placement(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let post = direct("alice", "bob", 2);
    append_all(&*store, &[direct("carol", "bob", 1), post.clone()]).await?;
    let again = append_one(&*store, &post).await??;
    same("the same post again", again, repeated(&post, 1, Some(2)))?;
    let again = append_one(&*store, &resent(&post, 99)).await??;
    same("the send under another msgid", again, repeated(&post, 1, Some(2)))
}

async fn a_repeat_after_a_restart_is_recognised(bench: &dyn StoreBench) -> Outcome {
    let post = direct("alice", "bob", 1);
    append_all(&*bench.open().await, std::slice::from_ref(&post)).await?;
    let store = bench.reopen().await;
    let again = append_one(&*store, &resent(&post, 99)).await??;
    same("the send after a restart", again, repeated(&post, 1, Some(1)))
}

async fn a_repeat_takes_no_version(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let post = direct("alice", "bob", 1);
    let batch = [post.clone(), resent(&post, 98), direct("alice", "bob", 2), resent(&post, 99)];
    append_all(&*store, &batch).await?;
    append_all(&*store, &batch).await?;
    for name in ["alice", "bob"] {
        same(format!("{name}'s timeline"), outline(&*store, user(name)).await?, numbered([1, 2]))?;
    }
    Ok(())
}

async fn a_repeat_inside_one_batch_is_recognised(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let post = direct("alice", "bob", 1);
    let answers = append_all(&*store, &[post.clone(), resent(&post, 9), post.clone()]).await?;
    let (first, again) = (placed(&post, 1, Some(1)), repeated(&post, 1, Some(1)));
    same("the answers", answers, vec![first, again.clone(), again])
}

async fn a_key_reused_inside_one_batch_is_refused(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let first = direct("alice", "bob", 1);
    let other = Post { message: with_key(direct("alice", "bob", 2), &first), ..first.clone() };
    let mut answers = store.append(vec![first, other]).await;
    same("the number of answers", answers.len(), 2)?;
    refused("the second use of the key", answers.remove(1), StoreErrorKind::KeyReused)?;
    same("bob's timeline", outline(&*store, user("bob")).await?, numbered([1]))
}

async fn another_target_type_or_content_is_another_send(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let first = direct("alice", "bob", 1);
    append_all(&*store, std::slice::from_ref(&first)).await?;
    let mut target = resent(&first, 2);
    target.message.to = Target::User(uid("carol"));
    target.copy = Some(user("carol"));
    let mut content_type = resent(&first, 3);
    content_type.message.content_type = ContentType(1_000);
    let mut content = resent(&first, 4);
    content.message.content = bytes::Bytes::from_static(b"something else");
    for (what, post) in [("target", target), ("content type", content_type), ("content", content)] {
        let what = format!("another {what} under the key");
        refused(what, append_one(&*store, &post).await?, StoreErrorKind::KeyReused)?;
    }
    same("carol's timeline", outline(&*store, user("carol")).await?, Vec::new())?;
    same("alice's timeline", outline(&*store, user("alice")).await?, numbered([1]))
}

async fn a_key_reused_after_a_restart_is_refused(bench: &dyn StoreBench) -> Outcome {
    let first = direct("alice", "bob", 1);
    append_all(&*bench.open().await, std::slice::from_ref(&first)).await?;
    let other = Post { message: with_key(direct("alice", "bob", 2), &first), ..first.clone() };
    let store = bench.reopen().await;
    refused("a key of before the restart", append_one(&*store, &other).await?, StoreErrorKind::KeyReused)
}

async fn keys_of_two_senders_do_not_meet(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let first = direct("alice", "carol", 1);
    let mut second = direct("bob", "carol", 2);
    second.message.key = first.message.key.clone();
    let answers = append_all(&*store, &[first.clone(), second.clone()]).await?;
    same("the answers", answers, vec![placed(&first, 1, Some(1)), placed(&second, 1, Some(2))])
}

async fn keys_of_links_are_keys(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let on = |conn, cmd, seq, msgid| {
        let mut post = direct("alice", "bob", msgid);
        post.message.key = SendKey::Link(ConnId(conn), cmd, Seq(seq));
        post
    };
    let posts = [
        on(1, CmdId::C2C_SEND, 1, 1),
        on(1, CmdId::C2C_SEND, u32::MAX, 2),
        on(1, CmdId::CTRL_SEND, 1, 3),
        on(i64::MIN, CmdId::C2C_SEND, 1, 4),
        on(i64::MAX, CmdId::C2C_SEND, 1, 5),
    ];
    append_all(&*store, &posts).await?;
    let again =
        append_all(&*store, &posts.clone().map(|post| resent(&post, post.message.msgid.0 + 50))).await?;
    let expected: Vec<_> = (1..).zip(&posts).map(|(n, post)| repeated(post, n, Some(n))).collect();
    same("the sends again", again, expected)?;
    let stored = super::fixture::entries(&*store, user("bob")).await?;
    let keys: Vec<_> = stored.into_iter().map(|entry| entry.message.key).collect();
    same("the keys as read", keys, posts.map(|post| post.message.key).to_vec())
}

async fn a_repeat_in_a_group_is_recognised(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let post = to_group("alice", 7, 1);
    append_all(&*store, &[to_group("bob", 7, 2), post.clone()]).await?;
    same("the send again", append_one(&*store, &resent(&post, 99)).await??, repeated(&post, 2, None))
}

async fn keys_are_found_in_the_order_asked(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let (first, second) = (direct("alice", "bob", 1), direct("bob", "bob", 2));
    append_all(&*store, &[first.clone(), second.clone()]).await?;
    let questions =
        vec![key_of(&second), (uid("alice"), second.message.key.clone()), key_of(&first), key_of(&second)];
    let answers = store.find(questions).await?;
    let first = Found { digest: first.message.digest(), placed: repeated(&first, 1, Some(1)) };
    let second = Found { digest: second.message.digest(), placed: repeated(&second, 2, None) };
    same("what was found", answers, vec![Some(second.clone()), None, Some(first), Some(second)])?;
    same("nothing asked", store.find(Vec::new()).await?, Vec::new())
}

async fn keys_are_found_after_a_restart(bench: &dyn StoreBench) -> Outcome {
    let posts: Vec<_> = (1..=300).map(|n| direct("alice", "bob", n)).collect();
    append_all(&*bench.open().await, &posts).await?;
    let store = bench.reopen().await;
    let found = store.find(posts.iter().map(key_of).collect()).await?;
    let expected = (1..)
        .zip(&posts)
        .map(|(n, post)| Some(Found { digest: post.message.digest(), placed: repeated(post, n, Some(n)) }));
    same("what was found", found, expected.collect())
}

async fn messages_are_located_in_both_timelines(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    append_all(&*store, &[direct("zoe", "bob", 1), direct("alice", "bob", 2), to_group("bob", 7, 3)]).await?;
    let questions = [
        (user("bob"), 2),
        (user("alice"), 2),
        (user("alice"), 1),
        (user("nobody"), 1),
        (super::fixture::group(7), 3),
        (user("bob"), 3),
        (user("bob"), i64::MIN),
    ];
    let answers = store.locate(questions.map(|(timeline, msgid)| (timeline, MsgId(msgid))).to_vec()).await?;
    let expected = [Some(2), Some(1), None, None, Some(1), None, None];
    same("the versions", answers, expected.map(|version| version.map(Version)).to_vec())?;
    same("nothing asked", store.locate(Vec::new()).await?, Vec::new())
}

async fn messages_are_located_after_a_restart(bench: &dyn StoreBench) -> Outcome {
    let posts: Vec<_> = (1..=300).map(|n| direct("alice", "bob", n)).collect();
    append_all(&*bench.open().await, &posts).await?;
    let store = bench.reopen().await;
    let answers = store.locate((1..=300).map(|n| (user("bob"), MsgId(n))).collect()).await?;
    same("the versions", answers, (1..=300).map(|n| Some(Version(n))).collect())
}

fn key_of(post: &Post) -> (Uid, SendKey) {
    (post.message.from.clone(), post.message.key.clone())
}

/// `post`'s message under the key of `other`.
fn with_key(post: Post, other: &Post) -> crate::message::Message {
    crate::message::Message { key: other.message.key.clone(), ..post.message }
}

async fn strange_keys_are_told_apart(bench: &dyn StoreBench) -> Outcome {
    let store = bench.open().await;
    let posts: Vec<_> = (1..)
        .zip(NAMES)
        .map(|(n, name)| {
            let mut post = direct("alice", "bob", n);
            post.message.key = super::fixture::key(name);
            post
        })
        .collect();
    append_all(&*store, &posts).await?;
    for (n, post) in (1..).zip(&posts) {
        let again = append_one(&*store, &resent(post, 100 + n)).await??;
        same(format!("the repeat of {:?}", post.message.key), again, repeated(post, n, Some(n)))?;
    }
    Ok(())
}
