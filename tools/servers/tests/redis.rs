//! The Redis servers: alone, watched by a Sentinel, and as a cluster.

use std::net::TcpStream;

use im_test_servers::{Redis, RedisCluster, RedisSentinel};

#[test]
fn a_killed_server_comes_back_empty_at_its_port() {
    let server = Redis::start();
    server.run("SET key value");
    assert_eq!(server.run("GET key"), "value");
    server.kill();
    server.restart();
    assert_eq!(server.run("GET key"), "");
    server.run("SET key value");
    server.flush();
    assert_eq!(server.run("GET key"), "");
}

#[test]
fn a_replica_takes_over_without_what_it_missed() {
    let group = RedisSentinel::start();
    group.master().run("SET early 1");
    group.catch_up();
    group.part();
    group.master().run("SET late 1");
    let before = group.master().port();
    group.fail_over();
    assert_ne!(group.master().port(), before);
    assert_eq!(
        (group.master().run("GET early"), group.master().run("GET late")),
        ("1".into(), String::new())
    );
}

#[test]
fn a_sentinel_ends_with_its_group() {
    let group = RedisSentinel::start();
    let url = group.url();
    let address = url.split(['/', '@']).nth(2).expect("a URL has a host").to_owned();
    drop(TcpStream::connect(&address).expect("a Sentinel"));
    drop(group);
    assert!(
        TcpStream::connect(&address).is_err(),
        "one that is left reconfigures whoever gets its servers' ports"
    );
}

#[test]
fn a_cluster_serves_every_slot() {
    let cluster = RedisCluster::start();
    for server in cluster.servers() {
        assert!(server.run("CLUSTER INFO").contains("cluster_slots_ok:16384"));
    }
}
