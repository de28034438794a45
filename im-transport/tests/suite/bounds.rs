//! What a link may cost, in time and memory.

use std::time::{Duration, Instant};

use im_proto::v1::{ErrorResponse, PullRequest};
use im_proto::{CmdId, Seq};

use super::parts::{ECHO, PANICS, eventually, gate, server, session};
use super::raw::{credentials, encoded};
use super::{Transport, login, start};

pub async fn links_that_never_speak_are_closed_at_the_auth_deadline(transport: &impl Transport) {
    let limits = session(|limits| limits.auth_deadline = Duration::from_millis(1_500));
    let server = start(transport, server().session_limits(limits)).await;
    let mut alice = login(transport, &server, "alice", "phone").await;
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(transport.connect(&server).await);
    }
    eventually("all are links", async || server.connections() == 1_001).await;
    assert_eq!(alice.say("alice", "among many").await.version, 1);
    for mut link in silent {
        link.expect_end().await;
    }
    eventually("only alice is left", async || server.connections() == 1).await;
    assert_eq!(alice.say("alice", "alone").await.version, 2);
}

pub async fn half_a_frame_does_not_put_off_the_auth_deadline(transport: &impl Transport) {
    let limits = session(|limits| limits.auth_deadline = Duration::from_millis(300));
    let server = start(transport, server().session_limits(limits)).await;
    let mut link = transport.connect(&server).await;
    let started = Instant::now();
    let auth = encoded(CmdId::AUTH, Seq(1), &credentials("alice", "phone"));
    for byte in &auth[..8] {
        link.try_write(&[*byte]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    link.expect_end().await;
    assert!(started.elapsed() < Duration::from_secs(2));
}

pub async fn a_silent_client_is_closed_at_the_idle_limit(transport: &impl Transport) {
    let limits = session(|limits| limits.idle = Duration::from_millis(400));
    let server = start(transport, server().session_limits(limits)).await;
    let mut link = login(transport, &server, "alice", "phone").await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        link.frame(CmdId::NOOP, Seq::NOOP, b"").await;
        assert_eq!(link.next().await.unwrap().cmd, CmdId::NOOP);
    }
    let silent_since = Instant::now();
    link.expect_end().await;
    assert!(silent_since.elapsed() >= Duration::from_millis(350));
}

pub async fn a_full_gate_refuses_and_takes_again_when_a_link_goes(transport: &impl Transport) {
    let server = start(transport, server().gate_limits(gate(|limits| limits.max_connections = 2))).await;
    let first = login(transport, &server, "alice", "phone").await;
    let _second = login(transport, &server, "bob", "phone").await;
    transport.connect(&server).await.expect_end().await;
    drop(first);
    eventually("there is room", async || server.connections() == 1).await;
    login(transport, &server, "carol", "phone").await;
}

pub async fn one_address_gets_so_many_links_and_no_more(transport: &impl Transport) {
    let limits = gate(|limits| limits.max_connections_per_address = 1);
    let server = start(transport, server().gate_limits(limits)).await;
    let _first = login(transport, &server, "alice", "phone").await;
    transport.connect(&server).await.expect_end().await;
}

pub async fn a_reader_of_nothing_is_cut_while_others_chat(transport: &impl Transport) {
    let limits = gate(|limits| limits.outbound_budget = 256 << 10);
    let server = start(transport, server().gate_limits(limits)).await;
    let mut alice = login(transport, &server, "alice", "phone").await;
    let mut bob = login(transport, &server, "bob", "phone").await;
    let _deaf = login(transport, &server, "deaf", "phone").await;
    let text = "x".repeat(200 << 10);
    let mut sent = 0;
    while server.connections() == 3 {
        assert!(sent < 500, "100 MB wait for a reader of nothing");
        assert_eq!(alice.say("deaf", &text).await.err_code, 0);
        bob.say("bob", "meanwhile").await;
        sent += 1;
    }
    assert_eq!(alice.say("bob", "gone").await.err_code, 0);
}

pub async fn a_reader_of_nothing_that_asks_for_pages_is_cut_in_bounded_memory(transport: &impl Transport) {
    let limits = gate(|limits| limits.write_stall = Duration::from_secs(1));
    let server = start(transport, server().gate_limits(limits)).await;
    let mut deaf = login(transport, &server, "deaf", "phone").await;
    let text = "x".repeat(200 << 10);
    for _ in 0..3 {
        assert_eq!(deaf.say("deaf", &text).await.err_code, 0);
    }
    let before = resident_bytes();
    // Ten thousand pages of half a mebibyte.
    let pull = encoded(CmdId::PULL, Seq(9), &PullRequest { limit: 3, ..PullRequest::default() });
    let pulls = pull.repeat(10_000);
    deaf.try_write_for(&pulls, Duration::from_millis(500)).await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 128 << 20, "{grown} bytes for one link");
    eventually("it is cut", async || server.connections() == 0).await;
}

pub async fn pages_asked_for_on_end_come_one_by_one_to_a_slow_reader(transport: &impl Transport) {
    let limits = gate(|limits| limits.outbound_budget = 256 << 10);
    let server = start(transport, server().gate_limits(limits)).await;
    let mut slow = login(transport, &server, "slow-reader", "phone").await;
    let text = "x".repeat(200 << 10);
    for _ in 0..3 {
        assert_eq!(slow.say("slow-reader", &text).await.err_code, 0);
    }
    for seq in 10..50 {
        slow.send(CmdId::PULL, Seq(seq), &PullRequest { limit: 3, ..PullRequest::default() }).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for seq in 10..50 {
        let frame = slow.next().await.expect("the link is open");
        assert_eq!((frame.cmd, frame.seq), (CmdId::PULL, Seq(seq)));
    }
}

pub async fn a_flooding_link_does_not_starve_another(transport: &impl Transport) {
    let server = start(transport, server().shards(1)).await;
    let mut flood = login(transport, &server, "flood", "phone").await;
    let mut alice = login(transport, &server, "alice", "phone").await;
    let burst = encoded(ECHO, Seq(9), &credentials("noise", "")).repeat(20_000);
    let flooding = async {
        // It reads nothing meanwhile, so the server stops reading it at some point.
        flood.try_write_for(&burst, Duration::from_secs(1)).await;
    };
    let chatting = async {
        let mut worst = Duration::ZERO;
        for number in 0..50 {
            let started = Instant::now();
            assert_eq!(alice.say("alice", &number.to_string()).await.err_code, 0);
            worst = worst.max(started.elapsed());
        }
        worst
    };
    let ((), worst) = futures::join!(flooding, chatting);
    assert!(worst < Duration::from_secs(1), "{worst:?}");
}

pub async fn incomplete_frames_are_bounded_over_all_links(transport: &impl Transport) {
    let limits = gate(|limits| limits.shard_partial_frames = 3 << 20);
    let server = start(transport, server().shards(1).gate_limits(limits)).await;
    let mut alice = login(transport, &server, "alice", "phone").await;
    let mut halves = Vec::new();
    // Announces 1,000,000 bytes and brings most of them.
    let mut half = encoded(ECHO, Seq(9), &credentials("", ""));
    half[16..20].copy_from_slice(&1_000_000_u32.to_be_bytes());
    half.resize(900 << 10, 0);
    for number in 0..6 {
        let mut link = login(transport, &server, &format!("user{number}"), "phone").await;
        link.try_write(&half).await;
        halves.push(link);
    }
    eventually("some are cut", async || server.connections() == 4).await;
    let body = vec![1; 600 << 10];
    drop(halves);
    eventually("alice is left", async || server.connections() == 1).await;
    alice.frame(ECHO, Seq(3), &body).await;
    assert_eq!(alice.next().await.unwrap().body, body);
}

pub async fn links_without_a_login_leave_room_for_the_frames_of_others(transport: &impl Transport) {
    let limits = gate(|limits| limits.shard_partial_frames = 64 << 10);
    let server = start(transport, server().shards(1).gate_limits(limits)).await;
    let mut alice = login(transport, &server, "alice", "phone").await;
    let mut strangers = Vec::new();
    for _ in 0..20 {
        let mut link = transport.connect(&server).await;
        let mut half = encoded(CmdId::AUTH, Seq(1), &credentials("stranger", "phone"));
        half[16..20].copy_from_slice(&8_000_u32.to_be_bytes());
        half.resize(7 << 10, 0);
        link.try_write(&half).await;
        strangers.push(link);
    }
    eventually("some are cut", async || server.connections() <= 6).await;
    let body = vec![1; 24 << 10];
    let whole = encoded(ECHO, Seq(3), &PullRequest::default());
    let mut frame = [&whole[..16], &24_576_u32.to_be_bytes()[..], &body[..]].concat();
    let rest = frame.split_off(20 << 10);
    alice.write(&frame).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    alice.write(&rest).await;
    assert_eq!(alice.next().await.expect("the link is open").body, body);
}

pub async fn slow_readers_are_bounded_over_all_links(transport: &impl Transport) {
    let limits = gate(|limits| limits.shard_outbound = 1 << 20);
    let server = start(transport, server().shards(1).gate_limits(limits)).await;
    let mut alice = login(transport, &server, "alice", "phone").await;
    let mut deaf = Vec::new();
    let text = "x".repeat(170 << 10);
    // Half a megabyte each: more than the kernel's buffers of a link may hold, which grow to 36 MiB where it remembers a fast path.
    let pulls = encoded(CmdId::PULL, Seq(9), &PullRequest { limit: 3, ..PullRequest::default() }).repeat(150);
    for number in 0..6 {
        let name = format!("deaf{number}");
        let mut link = login(transport, &server, &name, "phone").await;
        for _ in 0..3 {
            assert_eq!(link.say(&name, &text).await.err_code, 0);
        }
        link.try_write(&pulls).await;
        deaf.push(link);
    }
    eventually("most are cut", async || server.connections() <= 4).await;
    assert_eq!(alice.say("alice", "still here").await.err_code, 0);
}

pub async fn a_flood_of_links_without_a_login_keeps_no_login_waiting(transport: &impl Transport) {
    let server = start(transport, server().shards(1)).await;
    let noops = encoded(CmdId::NOOP, Seq::NOOP, &PullRequest::default()).repeat(100_000);
    let mut floods = Vec::new();
    for _ in 0..100 {
        let mut link = transport.connect(&server).await;
        link.try_write_for(&noops, Duration::from_millis(5)).await;
        floods.push(link);
    }
    let started = Instant::now();
    login(transport, &server, "alice", "phone").await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

pub async fn a_handler_that_panics_costs_nobody_else_an_answer(transport: &impl Transport) {
    let server = start(transport, server().shards(1)).await;
    let mut alice = login(transport, &server, "alice", "phone").await;
    let mut bob = login(transport, &server, "bob", "phone").await;
    alice.frame(PANICS, Seq(3), b"").await;
    transport.connect(&server).await.auth("panics", "phone").await;
    assert_eq!(bob.say("alice", "still here").await.err_code, 0);
    assert_eq!(alice.expect::<ErrorResponse>(PANICS).await.err_code, 7);
    assert_eq!(alice.next().await.unwrap().cmd, CmdId::C2C_PUSH);
}

/// What this process has in memory.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or_default() << 10
}
