//! The SQL servers: what is committed survives a SIGKILL, and the server does not survive its process.

use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use im_test_servers::{MariaDb, Postgres};
use sqlx::{Connection, MySqlConnection, PgConnection};

/// The same tests for both servers: TEST MODULE, SERVER, CONNECTION.
macro_rules! tests {
    ($module:ident, $server:ident, $connection:ident) => {
        mod $module {
            use super::*;

            async fn numbers(url: &str) -> Vec<i32> {
                let mut connection = $connection::connect(url).await.expect("a connection");
                sqlx::query_scalar("SELECT n FROM numbers ORDER BY n")
                    .fetch_all(&mut connection)
                    .await
                    .expect("the numbers")
            }

            /// `None` where there is no such table yet.
            async fn try_numbers(url: &str) -> Option<Vec<i32>> {
                let mut connection = $connection::connect(url).await.ok()?;
                sqlx::query_scalar("SELECT n FROM numbers ORDER BY n").fetch_all(&mut connection).await.ok()
            }

            async fn run(url: &str, statement: &'static str) {
                let mut connection = $connection::connect(url).await.expect("a connection");
                sqlx::query(statement).execute(&mut connection).await.expect(statement);
            }

            #[tokio::test]
            async fn databases_of_one_name_are_two() {
                let server = $server::shared();
                let (one, other) = (server.database("same"), server.database("same"));
                run(&one, "CREATE TABLE numbers (n INT)").await;
                run(&other, "CREATE TABLE numbers (n INT)").await;
                run(&one, "INSERT INTO numbers VALUES (1)").await;
                assert_eq!((numbers(&one).await, numbers(&other).await), (vec![1], vec![]));
            }

            #[tokio::test]
            async fn what_was_committed_survives_a_kill_and_a_stop() {
                let server = $server::start();
                let url = server.database("killed");
                run(&url, "CREATE TABLE numbers (n INT)").await;
                run(&url, "INSERT INTO numbers VALUES (1)").await;
                let mut open = $connection::connect(&url).await.expect("a connection");
                server.kill();
                assert!(sqlx::query("SELECT 1").execute(&mut open).await.is_err());
                assert!($connection::connect(&url).await.is_err());
                server.kill();
                server.restart();
                run(&url, "INSERT INTO numbers VALUES (2)").await;
                server.stop();
                assert!($connection::connect(&url).await.is_err());
                server.restart();
                server.restart();
                assert_eq!(numbers(&url).await, [1, 2]);
            }

            #[tokio::test]
            async fn a_replica_follows_pauses_and_comes_back() {
                let server = $server::start();
                let url = server.database("followed");
                run(&url, "CREATE TABLE numbers (n INT)").await;
                run(&url, "INSERT INTO numbers VALUES (1)").await;
                let replica = server.replica();
                let copy = replica.same_database(&url);
                let follow = async |expected: &[i32]| {
                    let asked = Instant::now();
                    while try_numbers(&copy).await.is_none_or(|numbers| numbers != expected) {
                        assert!(asked.elapsed() < Duration::from_secs(30), "the replica does not follow");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                follow(&[1]).await;
                replica.pause_replay();
                run(&url, "INSERT INTO numbers VALUES (2)").await;
                tokio::time::sleep(Duration::from_millis(300)).await;
                assert_eq!(numbers(&copy).await, [1]);
                replica.resume_replay();
                follow(&[1, 2]).await;
                replica.kill();
                run(&url, "INSERT INTO numbers VALUES (3)").await;
                replica.restart();
                follow(&[1, 2, 3]).await;
                server.kill();
                assert_eq!(numbers(&copy).await, [1, 2, 3]);
                server.restart();
                run(&url, "INSERT INTO numbers VALUES (4)").await;
                follow(&[1, 2, 3, 4]).await;
            }

            #[test]
            fn a_dropped_server_is_gone() {
                let server = $server::start();
                let port = server.port();
                drop(server);
                assert!(!answers(port));
            }

            #[test]
            fn a_server_outlives_the_thread_that_started_it() {
                let server = std::thread::spawn($server::start).join().expect("a server");
                // A signal that the thread's end had sent would have come by the time that the next server is there.
                drop($server::start());
                server.execute("CREATE DATABASE again");
            }
        }
    };
}

tests!(mariadb, MariaDb, MySqlConnection);
tests!(postgres, Postgres, PgConnection);

#[test]
fn servers_end_with_the_process_that_started_them() {
    let output = Command::new(env!("CARGO_BIN_EXE_abandon")).output().expect("the program that aborts");
    assert!(!output.status.success());
    let ports = String::from_utf8(output.stdout).expect("ports");
    let ports: Vec<u16> = ports.lines().map(|port| port.parse().expect("a port")).collect();
    assert_eq!(ports.len(), 2, "{}", String::from_utf8_lossy(&output.stderr));
    let ended = Instant::now();
    while ports.iter().any(|&port| answers(port)) {
        assert!(ended.elapsed() < Duration::from_secs(10), "a server outlives its process");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn answers(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
