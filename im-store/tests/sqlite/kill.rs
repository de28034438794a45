//! A process that appends is killed at moments that nothing chose. What it acknowledged has to be there afterwards.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use im_core::id::{MsgId, Version};
use im_core::storage::{Placed, Timelines};

use crate::bench::{Subject, open_subject};
use crate::posts::{assert_sound, direct, entries, user};

const KILLS: i64 = 10;
const WRITERS: i64 = 4;
const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "eve"];

/// Set for the process that appends: the database, and the first msgid that it may use.
const DATABASE: &str = "IM_STORE_KILL_DATABASE";
const FIRST_MSGID: &str = "IM_STORE_KILL_FIRST_MSGID";

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    let mut acked: Vec<Ack> = Vec::new();
    for round in 0..KILLS {
        let first = acked.len();
        acked.extend(append_until_killed(&path, round));
        assert!(acked.len() > first, "round {round} acknowledged nothing before the kill");

        let store = open_subject(&path).await;
        assert_stored(&store, &acked).await;
        for name in NAMES {
            assert_sound(&store, name).await;
        }
        store.close().await;
    }
}

/// Every message stands where its ack said, in both timelines, and the newest are found there by their msgids.
async fn assert_stored(store: &Subject, acked: &[Ack]) {
    let mut places = HashMap::new();
    for name in NAMES {
        let entries = entries(store, name).await;
        places.extend(entries.into_iter().map(|entry| ((name, entry.message.msgid), entry.version)));
    }
    for ack in acked {
        assert_eq!(places.get(&(ack.from.as_str(), ack.msgid)), Some(&ack.home), "home of {}", ack.msgid);
        assert_eq!(places.get(&(ack.to.as_str(), ack.msgid)), Some(&ack.copy), "copy of {}", ack.msgid);
    }
    let newest = &acked[acked.len().saturating_sub(200)..];
    let found = store.locate(newest.iter().map(|ack| (user(&ack.to), ack.msgid)).collect()).await.unwrap();
    assert!(found.into_iter().eq(newest.iter().map(|ack| Some(ack.copy))));
}

/// What the process said before it died.
struct Ack {
    msgid: MsgId,
    from: String,
    to: String,
    home: Version,
    copy: Version,
}

impl Ack {
    /// `None` for a line that is none, or not whole.
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.strip_prefix("ack ")?.strip_suffix(" .")?.split(' ').collect();
        let [msgid, from, to, home, copy] = words[..] else { return None };
        let number = |word: &str| word.parse().ok();
        Some(Self {
            msgid: MsgId(number(msgid)?),
            from: from.to_owned(),
            to: to.to_owned(),
            home: Version(number(home)?),
            copy: Version(number(copy)?),
        })
    }
}

fn append_until_killed(path: &Path, round: i64) -> Vec<Ack> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::appends_if_told_to", "--nocapture", "--test-threads=1"])
        .env(DATABASE, path)
        .env(FIRST_MSGID, (round * 1_000_000 + 1).to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    // Some kills come in the first batches, some after a checkpoint of the log.
    let delay = Duration::from_millis(u64::try_from(round * round * 13 + 3).unwrap());
    let (sender, acks) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = Ack::parse(&line).map(|ack| sender.send(ack));
        }
    });
    let first = acks.recv_timeout(Duration::from_secs(30)).expect("the process appends");
    kill_after(&mut child, delay);
    reader.join().unwrap();
    std::iter::once(first).chain(acks.try_iter()).collect()
}

fn kill_after(child: &mut Child, delay: Duration) {
    let start = Instant::now();
    while start.elapsed() < delay {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Does nothing in an ordinary test run.
#[tokio::test(flavor = "multi_thread")]
async fn appends_if_told_to() {
    let (Ok(path), Ok(first)) = (std::env::var(DATABASE), std::env::var(FIRST_MSGID)) else { return };
    let store = open_subject(path.as_ref()).await;
    let first: i64 = first.parse().unwrap();
    let writers = (0..WRITERS).map(|writer| write_forever(&store, first + writer));
    futures::future::join_all(writers).await;
}

/// The writers' msgids are interleaved, as those of several servers are.
async fn write_forever(store: &Subject, first: i64) {
    let mut next = 0;
    for size in [1, 3, 70, 20].into_iter().cycle() {
        let pairs = (next..next + size)
            .map(|n| (first + n * WRITERS, NAMES[index(n, 5)], NAMES[index(n / 5 * 3 + n + 1, 5)]));
        let pairs: Vec<_> = pairs.filter(|(_, from, to)| from != to).collect();
        next += size;
        let posts = pairs.iter().map(|(n, from, to)| direct(from, to, *n, 200)).collect();
        let placed = store.append(posts).await;
        let mut lines = String::new();
        for ((_, from, to), placed) in pairs.iter().zip(placed) {
            let Placed { msgid, home, copy, .. } = placed.unwrap();
            lines += &format!("ack {msgid} {from} {to} {home} {} .\n", copy.unwrap());
        }
        std::io::stdout().write_all(lines.as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
    }
}

fn index(n: i64, of: i64) -> usize {
    usize::try_from(n.rem_euclid(of)).unwrap()
}
