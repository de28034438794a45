//! `im-standalone store …` as a script sees it.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use im_core::id::{ClientMsgId, DeviceId, MsgId, Uid, Version};
use im_core::message::{ContentType, Message, SendKey, Target, TimelineId};
use im_core::storage::{CursorAck, Cursors as _, Nodes as _, Post, Timelines as _};
use im_core::time::Timestamp;
use im_proto::CmdId;
use im_store::sqlite::SqliteStore;
use im_test_servers::{MariaDb, Postgres};

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_im-standalone"));
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("IM_")) {
        command.env_remove(key);
    }
    command.env_remove("RUST_LOG").current_dir(dir).stdin(Stdio::null());
    command.arg("store").args(args);
    command
}

/// The exit code, standard output, and standard error.
fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(dir, args).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn uid(number: usize) -> Uid {
    Uid::new(&format!("user {}", number % 7)).unwrap()
}

fn post(number: usize) -> Post {
    let (from, to) = (uid(number), uid(number / 7 + number));
    let message = Message {
        msgid: MsgId(i64::try_from(number).unwrap()),
        kind: CmdId::C2C_SEND,
        from: from.clone(),
        to: Target::User(to.clone()),
        key: SendKey::Client(ClientMsgId::new(&format!("key {number}")).unwrap()),
        content_type: ContentType(0),
        content: vec![b'x'; 100].into(),
        sent_at: Timestamp(7),
    };
    let copy = (from != to).then_some(TimelineId::User(to));
    Post { message, home: TimelineId::User(from), copy }
}

/// A store of so many messages, a cursor and a node number.
fn fill(file: &Path, messages: usize) {
    append(file, 0..messages, "a");
}

#[tokio::main]
async fn append(file: &Path, messages: std::ops::Range<usize>, holder: &str) {
    let store = SqliteStore::open(file).await.unwrap();
    let messages: Vec<_> = messages.map(post).collect();
    for posts in messages.chunks(512) {
        for answer in store.append(posts.to_vec()).await {
            answer.unwrap();
        }
    }
    let (uid, device) = (uid(0), DeviceId::new("phone").unwrap());
    let ack = CursorAck { timeline: TimelineId::User(uid.clone()), uid, device, version: Version(1) };
    store.ack(vec![ack]).await.remove(0).unwrap();
    store.lease_node(holder, Timestamp(1), Duration::from_secs(1)).await.unwrap();
    store.close().await;
}

#[test]
fn a_copy_is_compared_and_a_second_look_finds_it_equal() {
    let dir = tempfile::tempdir().unwrap();
    fill(&dir.path().join("a.db"), 700);
    let counts = "users=7 groups=0 messages=700 entries=1295 content_bytes=70000 cursors=1 nodes=1";
    let (code, out, err) = run(dir.path(), &["copy", "sqlite:a.db", "sqlite:b.db"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let lines: Vec<_> = out.lines().map(|line| line.split(" seconds=").next().unwrap()).collect();
    assert_eq!(lines, [format!("copied {counts}"), format!("equal {counts}")]);
    assert_eq!(run(dir.path(), &["verify", "sqlite:a.db", "sqlite:b.db"]).0, Some(0));
    let stat = run(dir.path(), &["stat", "sqlite:b.db"]);
    assert_eq!((stat.0, stat.1), (Some(0), format!("{counts}\n")));
}

#[test]
fn a_copy_of_a_copy_in_another_kind_of_store_is_still_equal() {
    let dir = tempfile::tempdir().unwrap();
    fill(&dir.path().join("a.db"), 2_000);
    for stores in [["sqlite:a.db", "log:b"], ["log:b", "log:c"], ["log:c", "sqlite:d.db"]] {
        let (code, out, err) = run(dir.path(), &["copy", stores[0], stores[1]]);
        assert_eq!(code, Some(0), "{stores:?}: {out}{err}");
    }
    let (code, out, err) = run(dir.path(), &["verify", "sqlite:a.db", "sqlite:d.db"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let stat = |store| run(dir.path(), &["stat", store]).1;
    assert!(stat("log:b").starts_with("users=7 groups=0 messages=2000 "), "{}", stat("log:b"));
    assert_eq!(stat("log:b"), stat("sqlite:a.db"));
}

#[test]
fn a_difference_is_named_and_exits_3() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.db"), dir.path().join("b.db"));
    fill(&a, 70);
    assert_eq!(run(dir.path(), &["copy", "--no-verify", "sqlite:a.db", "sqlite:b.db"]).0, Some(0));
    append(&b, 70..71, "b");
    let (code, out, _) = run(dir.path(), &["verify", "sqlite:a.db", "sqlite:b.db"]);
    assert_eq!(code, Some(3), "{out}");
    for line in [
        "the timeline of user \"user 0\": 0 to 18 in the first store, 0 to 19 in the second",
        "the timeline of user \"user 0\": the entries differ from version 19 on",
        "70 messages in the first store, 71 in the second",
        "node unknown in the first store, 1 held by \"b\", epoch 1, until 1001 ms in the second",
    ] {
        assert!(out.lines().any(|came| came == line), "{line}\n{out}");
    }
}

#[test]
fn what_cannot_be_copied_is_named_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    fill(&dir.path().join("a.db"), 10);
    fill(&dir.path().join("full.db"), 10);
    assert_eq!(run(dir.path(), &["copy", "sqlite:a.db", "log:full"]).0, Some(0));
    std::fs::hard_link(dir.path().join("a.db"), dir.path().join("same.db")).unwrap();
    std::fs::write(dir.path().join("text.db"), "no database at all, but a text of some length").unwrap();
    let cases = [
        (["sqlite:a.db", "sqlite:./a.db"], 1, "are the same store"),
        (["sqlite:a.db", "sqlite:same.db"], 1, "are the same store"),
        (["sqlite:none.db", "sqlite:new.db"], 1, "there is no store at sqlite:none.db"),
        (["sqlite:a.db", "sqlite:full.db"], 1, "full.db holds a store already"),
        (["sqlite:a.db", "log:full"], 1, "full holds a store already"),
        (["log:full", "log:./full/"], 1, "are the same store"),
        (["log:.", "sqlite:new.db"], 1, "there is no store at log:."),
        (["sqlite:full", "sqlite:new.db"], 1, "there is no store at sqlite:full"),
        (["sqlite:text.db", "sqlite:new.db"], 1, "text.db is damaged or no database of this library"),
        (["sqlite:a.db", "sqlite:no-dir/new.db"], 1, "no-dir/new.db"),
        (["sqlite:a.db", "sqlite:"], 2, "expected log:DIR, sqlite:FILE, mysql:"),
        (["a.db", "sqlite:new.db"], 2, "expected log:DIR, sqlite:FILE, mysql:"),
    ];
    for (stores, expected, named) in cases {
        let (code, out, err) = run(dir.path(), &["copy", stores[0], stores[1]]);
        assert_eq!((code, out.as_str()), (Some(expected), ""), "{stores:?}: {err}");
        assert!(err.contains(named), "{stores:?}: {err}");
    }
    assert!(!dir.path().join("new.db").exists() && !dir.path().join("none.db").exists());
}

#[tokio::test]
async fn a_store_in_use_is_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path().join("a.db")).await.unwrap();
    let (code, _, err) = run(dir.path(), &["copy", "sqlite:a.db", "sqlite:b.db"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("another server is running on a.db"), "{err}");
    store.close().await;
}

#[test]
fn an_interrupted_copy_is_not_served_from_and_can_be_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    fill(&dir.path().join("a.db"), 30_000);
    interrupt_and_begin_again(dir.path(), "sqlite:b.db", "b.db-wal");
    interrupt_and_begin_again(dir.path(), "log:b", "b/unfinished-import");
}

/// `sign` is a file that is there when the copy has begun.
fn interrupt_and_begin_again(dir: &Path, to: &str, sign: &str) {
    let args = ["copy", "sqlite:a.db", to];
    let mut copy = command(dir, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while !dir.join(sign).exists() {
        assert!(Instant::now() < until && copy.try_wait().unwrap().is_none(), "the copy does not begin");
    }
    let kill = format!("kill -s INT {}", copy.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let Output { status, stdout, stderr } = copy.wait_with_output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stdout), (Some(130), Vec::new()), "{said}");
    assert!(said.contains(&format!("interrupted. {to} is an unfinished copy")), "{said}");

    let serving = ["--store", to, "--tcp", "127.0.0.1:0"];
    let mut server = Command::new(env!("CARGO_BIN_EXE_im-standalone"));
    let server = server.args(serving).current_dir(dir).stdin(Stdio::null()).output().unwrap();
    assert_eq!((server.status.code(), server.stdout), (Some(1), Vec::new()));
    assert!(String::from_utf8_lossy(&server.stderr).contains("is an unfinished copy"));
    let (code, _, err) = run(dir, &args);
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn a_copy_without_room_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    fill(&dir.path().join("a.db"), 20_000);
    // No file may grow beyond 1 MiB; the signal that says so is ignored, so that writing fails instead.
    let shell = "trap '' XFSZ; ulimit -f 1024; exec \"$0\" store copy sqlite:a.db \"$1\"";
    for to in ["sqlite:b.db", "log:b"] {
        let output = Command::new("sh")
            .args(["-c", shell, env!("CARGO_BIN_EXE_im-standalone"), to])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()), "{said}");
        assert!(said.contains(&format!("{to} is an unfinished copy")), "{said}");
        assert!(said.contains("after making room"), "{said}");
        assert!(run(dir.path(), &["stat", to]).2.contains("is an unfinished copy"));
    }
}

#[test]
fn a_copy_goes_through_every_kind_of_store_and_stays_equal() {
    let dir = tempfile::tempdir().unwrap();
    fill(&dir.path().join("a.db"), 700);
    let (mariadb, postgres) = (MariaDb::shared().database("copy"), Postgres::shared().database("copy"));
    for [from, to] in [["sqlite:a.db", &mariadb], [&*mariadb, &postgres], [&*postgres, "log:b"]] {
        let (code, out, err) = run(dir.path(), &["copy", from, to]);
        assert_eq!(code, Some(0), "{from} {to}: {out}{err}");
        assert_eq!(out.lines().count(), 2, "{out}");
        assert_eq!(out.matches("users=7 groups=0 messages=700 entries=1295").count(), 2, "{out}");
    }
    let (code, out, _) = run(dir.path(), &["verify", "sqlite:a.db", "log:b"]);
    assert_eq!(code, Some(0), "{out}");
    let (code, _, err) = run(dir.path(), &["copy", "sqlite:a.db", &postgres]);
    assert_eq!(code, Some(1), "it is full");
    assert!(err.contains("copy into another, or drop its tables"), "{err}");
}

#[test]
fn a_database_that_is_read_only_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let database = Postgres::shared().database("read_only");
    assert_eq!(run(dir.path(), &["migrate", &database]).0, Some(0));
    let name = database.rsplit('/').next().unwrap();
    Postgres::shared().execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    let (code, out, err) = run(dir.path(), &["stat", &database]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn migrating_makes_the_tables_once_and_says_no_password() {
    let dir = tempfile::tempdir().unwrap();
    let database = Postgres::shared().database("migrate");
    for _ in 0..2 {
        let (code, out, err) = run(dir.path(), &["migrate", &database]);
        assert_eq!((code, out), (Some(0), format!("migrated store={database}\n")), "{err}");
    }
    let url = "postgres://im:opensesame@127.0.0.1:1/im";
    let (code, out, err) = run(dir.path(), &["migrate", url]);
    assert_eq!((code, out), (Some(1), String::new()));
    assert!(err.contains("cannot open the database") && !err.contains("opensesame"), "{err}");
}

#[test]
fn what_names_no_store_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let url = "redis://im:opensesame@127.0.0.1/im";
    for args in [&["stat", url][..], &["bump-epoch", url], &["copy", "log:a", url], &["verify", url, "log:a"]]
    {
        let (code, out, err) = run(dir.path(), args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}");
        assert!(err.contains("expected log:DIR") && !err.contains("opensesame"), "{args:?}: {err}");
    }
    let server = command(dir.path(), &["stat"]).env("IM_STORE", url).output().unwrap();
    let err = String::from_utf8(server.stderr).unwrap();
    assert_eq!(server.status.code(), Some(2));
    assert!(err.contains("--store") && !err.contains("opensesame"), "{err}");
}

#[test]
fn a_store_that_is_not_named_is_the_server_s() {
    let dir = tempfile::tempdir().unwrap();
    fill(&dir.path().join("a.db"), 70);
    std::fs::create_dir(dir.path().join("im-data")).unwrap();
    assert_eq!(run(dir.path(), &["copy", "--no-verify", "sqlite:a.db", "log:im-data/store"]).0, Some(0));
    let (_, expected, _) = run(dir.path(), &["stat", "sqlite:a.db"]);
    let stat = |key: &str, value: &str| {
        let stat = command(dir.path(), &["stat"]).env(key, value).output().unwrap();
        String::from_utf8(stat.stdout).unwrap()
    };
    assert_eq!(stat("IM_DATA", "im-data"), expected);
    assert_eq!(stat("IM_STORE", "sqlite:a.db"), expected);
    std::fs::write(dir.path().join("im.toml"), "store = \"sqlite:a.db\"").unwrap();
    assert_eq!(stat("IM_CONFIG", "im.toml"), expected);
    assert!(run(dir.path(), &["bump-epoch"]).1.starts_with("epoch 0 -> "));
    let (code, _, err) = run(dir.path(), &["stat", "--data", "none"]);
    assert!(code == Some(1) && err.contains("there is no store at log:none/store"), "{err}");
}

#[test]
fn a_copy_to_a_database_that_is_not_there_names_it_and_ends_when_it_is_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    fill(&dir.path().join("a.db"), 1);
    let args = ["copy", "sqlite:a.db", "mysql://im:opensesame@127.0.0.1:1/im"];
    let mut waiting = command(dir.path(), &args).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let began = Instant::now();
    assert!(Command::new("kill").arg(waiting.id().to_string()).status().unwrap().success());
    assert_eq!(waiting.wait().unwrap().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let (code, out, err) = run(dir.path(), &args);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.contains("cannot open mysql://im@127.0.0.1:1/im: ") && err.matches("refused").count() == 1,
        "{err}"
    );
}

/// The epochs of the contract line.
fn epochs(line: &str) -> (i32, i32) {
    let (before, after) = line.trim_end().strip_prefix("epoch ").unwrap().split_once(" -> ").unwrap();
    (before.parse().unwrap(), after.parse().unwrap())
}

#[test]
fn an_epoch_is_raised_in_every_kind_of_store() {
    let dir = tempfile::tempdir().unwrap();
    fill(&dir.path().join("a.db"), 70);
    let (mariadb, postgres) = (MariaDb::shared().database("epoch"), Postgres::shared().database("epoch"));
    for store in ["log:a", &mariadb, &postgres] {
        assert_eq!(run(dir.path(), &["copy", "--no-verify", "sqlite:a.db", store]).0, Some(0));
    }
    let second = MariaDb::shared().database("second");
    std::fs::write(dir.path().join("one.toml"), format!("databases = [\"sqlite:b.db\", {second:?}]"))
        .unwrap();
    for store in ["sqlite:a.db", "log:a", &mariadb, &postgres, "sharded:one.toml"] {
        let mut last = 0;
        for _ in 0..2 {
            let (code, out, err) = run(dir.path(), &["bump-epoch", store]);
            assert_eq!(code, Some(0), "{store}: {err}");
            let (before, after) = epochs(&out);
            assert_eq!(before, last, "{store}");
            assert!(after > before, "{store}");
            last = after;
        }
    }
    assert_eq!(run(dir.path(), &["stat", "sqlite:a.db"]).1, run(dir.path(), &["stat", "log:a"]).1);
}

#[tokio::test]
async fn an_epoch_is_not_raised_where_nothing_is_or_a_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = run(dir.path(), &["bump-epoch", "sqlite:none.db"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("there is no store at sqlite:none.db"), "{err}");
    assert!(!dir.path().join("none.db").exists());
    let store = SqliteStore::open(dir.path().join("a.db")).await.unwrap();
    let (code, _, err) = run(dir.path(), &["bump-epoch", "sqlite:a.db"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("another server is running on a.db"), "{err}");
    store.close().await;
}

#[test]
fn several_databases_are_migrated_and_neither_copied_nor_read_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("im.toml");
    std::fs::write(&file, "databases = [\"sqlite:a.db\", \"sqlite:b.db\"]").unwrap();
    let (code, out, err) = run(dir.path(), &["migrate", "sharded:im.toml"]);
    assert_eq!((code, out.as_str()), (Some(0), "migrated store=sharded:im.toml\n"), "{err}");
    assert!(dir.path().join("a.db").exists() && dir.path().join("b.db").exists());
    for args in [
        &["stat", "sharded:im.toml"][..],
        &["copy", "sharded:im.toml", "log:new"],
        &["copy", "sqlite:a.db", "sharded:im.toml"],
        &["verify", "sqlite:a.db", "sharded:im.toml"],
    ] {
        let (code, out, err) = run(dir.path(), args);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}");
        assert!(err.contains("sharded:im.toml is several databases"), "{args:?}: {err}");
    }
    assert!(!dir.path().join("new").exists());
    for (text, named) in [
        (
            "databases = [\"sqlite:a.db\", \"sqlite:./a.db\"]",
            "databases.1: is the same database as databases.0",
        ),
        ("databases = [\"mysql://im:opensesame@127.0.0.1:1/im\"]", "cannot open mysql://im@127.0.0.1:1/im"),
        ("databases = \"mysql://im:opensesame@db/im\"", "databases: expected a sequence"),
    ] {
        std::fs::write(&file, text).unwrap();
        let (code, _, err) = run(dir.path(), &["migrate", "sharded:im.toml"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(err.contains(named) && !err.contains("opensesame"), "{text}: {err}");
    }
}

#[test]
fn buckets_move_between_several_databases_and_their_order_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let names = |file, databases| std::fs::write(dir.path().join(file), databases).unwrap();
    names("im.toml", "databases = [\"sqlite:a.db\", \"sqlite:b.db\"]");
    names("swapped.toml", "databases = [\"sqlite:b.db\", \"sqlite:a.db\"]");
    let moved = run(dir.path(), &["move", "sharded:im.toml", "--to", "1", "--buckets", "0-10,2047"]);
    assert!(moved.0 == Some(0) && moved.1.starts_with("moved buckets=12 timelines=0 rows=0 "), "{moved:?}");
    let (code, out, err) = run(dir.path(), &["buckets", "sharded:im.toml"]);
    let expected = "database=0 buckets=2036 11-2046 sqlite:a.db\n\
                    database=1 buckets=2060 0-10,2047-4095 sqlite:b.db\n";
    assert_eq!((code, out.as_str()), (Some(0), expected), "{err}");
    assert_eq!(run(dir.path(), &["migrate", "sqlite:alone.db"]).0, Some(0));
    for (args, named) in [
        (&["move", "sharded:im.toml", "--to", "2", "--buckets", "1"][..], "there is no 2"),
        (&["move", "sqlite:alone.db", "--to", "1", "--buckets", "1"], "sqlite:alone.db is one database"),
        (&["buckets", "sharded:none.toml"], "there is no store at sharded:none.toml"),
        (&["buckets", "sharded:swapped.toml"], "database 1 keeps the map, so it has to be the first"),
    ] {
        let (code, out, err) = run(dir.path(), args);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}");
        assert!(err.contains(named), "{args:?}: {err}");
    }
    assert_eq!(run(dir.path(), &["buckets", "sharded:im.toml"]).1, expected);
}

#[test]
fn one_of_several_databases_is_neither_served_alone_nor_at_another_place() {
    let dir = tempfile::tempdir().unwrap();
    let names = |file, databases| std::fs::write(dir.path().join(file), databases).unwrap();
    names("im.toml", "databases = [\"sqlite:a.db\", \"sqlite:b.db\", \"sqlite:c.db\"]");
    assert_eq!(run(dir.path(), &["migrate", "sharded:im.toml"]).0, Some(0));
    for (database, place) in [("sqlite:a.db", 0), ("sqlite:c.db", 2)] {
        for args in [&["migrate", database][..], &["bump-epoch", database]] {
            let (code, out, err) = run(dir.path(), args);
            assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}");
            let told = format!(
                "{database} is one of several databases that keep one store together, the one with place {place}"
            );
            assert!(err.contains(&told) && err.contains("sharded:FILE"), "{err}");
        }
        assert_eq!(run(dir.path(), &["stat", database]).0, Some(0), "who only reads may");
    }
    names("first_lost.toml", "databases = [\"sqlite:b.db\", \"sqlite:c.db\"]");
    names("swapped.toml", "databases = [\"sqlite:a.db\", \"sqlite:c.db\", \"sqlite:b.db\"]");
    for (store, told) in [
        ("sharded:first_lost.toml", "database 0 has been database 1 before"),
        ("sharded:swapped.toml", "database 1 has been database 2 before"),
    ] {
        let (code, _, err) = run(dir.path(), &["migrate", store]);
        assert_eq!(code, Some(1));
        assert!(err.contains(told), "{err}");
    }
    assert_eq!(run(dir.path(), &["migrate", "sharded:im.toml"]).0, Some(0));
}

#[test]
fn a_database_in_use_is_not_shared_with_another_at_once() {
    let dir = tempfile::tempdir().unwrap();
    fill(&dir.path().join("a.db"), 50);
    let list = |databases| std::fs::write(dir.path().join("im.toml"), databases).unwrap();
    let both = "databases = [\"sqlite:a.db\", \"sqlite:b.db\"]";
    list(both);
    let (code, _, err) = run(dir.path(), &["migrate", "sharded:im.toml"]);
    assert!(
        code == Some(1) && err.contains("database 0 holds users or groups whose place is in another one"),
        "{err}"
    );
    for databases in ["databases = [\"sqlite:a.db\"]", both] {
        list(databases);
        let (code, _, err) = run(dir.path(), &["migrate", "sharded:im.toml"]);
        assert_eq!(code, Some(0), "{err}");
    }
}

#[test]
fn a_store_is_named_where_nobody_sees_its_password() {
    let dir = tempfile::tempdir().unwrap();
    fill(&dir.path().join("a.db"), 40);
    let there = Postgres::shared().database("elsewhere");
    std::fs::write(dir.path().join("to"), format!("{there}\n")).unwrap();
    let mut copy = command(dir.path(), &["copy", "env:IM_FROM", "file:to"]);
    let copied = copy.env("IM_FROM", "sqlite:a.db").output().unwrap();
    assert!(copied.status.success(), "{copied:?}");
    let verified =
        command(dir.path(), &["verify", "file:to", "env:FROM"]).env("FROM", "sqlite:a.db").output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    std::fs::write(dir.path().join("broken"), "myqsl://im:opensesame@db/im").unwrap();
    for (name, told) in [
        ("env:IM_NO_SUCH", "the environment variable IM_NO_SUCH is not set"),
        ("file:none", "cannot read the file none: No such file or directory"),
        ("file:broken", "expected log:DIR"),
    ] {
        let (code, _, err) = run(dir.path(), &["stat", name]);
        assert_eq!(code, Some(2), "{name}: {err}");
        assert!(err.contains(told) && !err.contains("opensesame"), "{name}: {err}");
    }
    std::fs::write(dir.path().join("im.toml"), "databases = [\"env:ONE\", \"env:OTHER\"]").unwrap();
    let mut migrate = command(dir.path(), &["migrate", "sharded:im.toml"]);
    let other = Postgres::shared().database("elsewhere");
    let migrated = migrate.env("ONE", "sqlite:one.db").env("OTHER", other).output().unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    let (code, _, err) = run(dir.path(), &["migrate", "sharded:im.toml"]);
    assert!(
        code == Some(1) && err.contains("databases.0: the environment variable ONE is not set (in im.toml)"),
        "{err}"
    );
}
