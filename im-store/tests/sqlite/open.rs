//! Opening says what is wrong.

use std::fs;
use std::path::Path;

use im_core::storage::{Buckets, Member, Read, SetId, StoreErrorKind, StoredMap, Timelines};
use im_store::sqlite::{OpenError, SqliteOptions, SqliteStore};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::posts::{direct, user};

/// A closed database with 2,000 posts.
async fn filled(path: &Path) {
    let store = SqliteStore::open(path).await.unwrap();
    let posts = (1..=2_000).map(|n| direct("alice", "bob", n, 200)).collect();
    store.append(posts).await.remove(0).unwrap();
    store.close().await;
}

async fn run(path: &Path, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_second_server_on_the_same_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    let first = SqliteStore::open(&path).await.unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("another server is running on {}", path.display()));
    drop(first);
    SqliteStore::open(&path).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_database_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    let store = SqliteStore::open(&path).await.unwrap();
    store.append(vec![direct("alice", "bob", 1, 10)]).await.remove(0).unwrap();
    for file in ["im.db", "im.db-wal"] {
        let mode = fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} has mode {mode:o}");
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_io_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = SqliteStore::open(dir.path().join("nowhere/im.db")).await.unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_of_other_bytes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    fs::write(&path, [0xA5; 10_000]).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_truncated_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    filled(&path).await;
    let length = fs::metadata(&path).unwrap().len();
    for part in [length / 2, length - 4096, 4096, 100] {
        fs::File::options().write(true).open(&path).unwrap().set_len(part).unwrap();
        let error = SqliteStore::open(&path).await.unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{part} of {length} bytes: {error:?}");
    }
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    run(&path, "CREATE TABLE messages (text TEXT)").await;
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    filled(&path).await;
    run(
        &path,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'of the future', true, x'00', 0)",
    )
    .await;
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { schema: 99, .. }), "{error:?}");
    let told = format!("this program is older than {}: its tables (schema 99)", path.display());
    assert!(
        error.to_string().starts_with(&told) && error.to_string().ends_with("Upgrade the program"),
        "{error}"
    );
}

#[tokio::test]
async fn pages_that_rot_give_errors_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    filled(&path).await;
    let sound = fs::read(&path).unwrap();
    let mut corrupt = 0;
    for page in 1..sound.len() / 4096 {
        let mut rotten = sound.clone();
        rotten[page * 4096..page * 4096 + 64].fill(0xFF);
        // The log of the database that was here before belongs to that one.
        for log in ["im.db-wal", "im.db-shm"] {
            let _ = fs::remove_file(dir.path().join(log));
        }
        fs::write(&path, rotten).unwrap();
        let store = match SqliteStore::open(&path).await {
            Ok(store) => store,
            Err(error) => {
                assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
                continue;
            }
        };
        let whole = Read {
            timeline: user("bob"),
            after: Default::default(),
            until: None,
            limit: 10_000,
            max_bytes: usize::MAX,
            least: None,
        };
        let read = store.read(vec![whole]).await.remove(0).map(|page| page.entries.len());
        match read.map_err(|error| error.kind()) {
            Ok(entries) => assert!(entries <= 2_000),
            Err(kind) => {
                assert_eq!(kind, StoreErrorKind::Corrupt);
                corrupt += 1;
            }
        }
        let _ = store.append(vec![direct("alice", "bob", 9_999, 10)]).await;
        store.close().await;
    }
    assert!(corrupt > 0, "no rotten page was noticed");
}

#[tokio::test]
async fn one_of_several_databases_does_not_open_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("im.db");
    let map = StoredMap { version: 1, bytes: vec![7] };
    SqliteStore::open(&path).await.unwrap().put_bucket_map(map).await.unwrap();
    let refused = SqliteStore::open(&path).await;
    assert!(matches!(refused, Err(OpenError::OneOfSeveral { place: 0, .. })), "who has the map: {refused:?}");
    let store = SqliteOptions::new(&path).one_of_several().open().await.unwrap();
    store.join(Member { set: SetId(5), place: 2 }).await.unwrap();
    store.close().await;
    let refused = SqliteStore::open(&path).await;
    assert!(matches!(refused, Err(OpenError::OneOfSeveral { place: 2, .. })), "{refused:?}");
    let refused = SqliteOptions::new(&path).import().await;
    assert!(
        matches!(refused, Err(OpenError::OneOfSeveral { place: 2, .. })),
        "a whole store does not belong there: {refused:?}"
    );
    SqliteOptions::new(&path).one_of_several().open().await.unwrap();
}
