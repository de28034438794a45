//! The transport suite over TCP.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used)]

mod suite;

use std::time::{Duration, Instant};

use im_core::id::Uid;
use im_core::logic::Outgoing;
use im_core::session::KickReason;
use im_proto::CmdId;
use im_proto::v1::{AuthRequest, AuthResponse, C2cPush, LogoutRequest};
use im_transport::{Server, ServerBuilder};
use suite::parts::{ECHO, eventually, server, session};
use suite::raw::credentials;
use suite::{Raw, Transport, log, login};
use tokio::net::TcpStream;

struct Tcp;

impl Transport for Tcp {
    fn listen(&self, builder: ServerBuilder) -> ServerBuilder {
        builder.tcp("127.0.0.1:0")
    }

    async fn connect(&self, server: &Server) -> Raw {
        let stream = TcpStream::connect(server.tcp_addr().unwrap()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Raw::new(stream)
    }
}

transport_suite!(Tcp);

#[tokio::test]
async fn code_of_the_servers_own_sends_to_its_clients_and_ends_their_logins() {
    let server = server().tcp("127.0.0.1:0").start().await.unwrap();
    let mut olga = login(&Tcp, &server, "olga", "phone").await;
    let [service, user] = ["service", "olga"].map(|name| Uid::new(name).unwrap());
    let sent = server.logic().send([Outgoing::new(service, user.clone(), "welcome")]).await;
    let push: C2cPush = olga.expect(CmdId::C2C_PUSH).await;
    assert_eq!((push.from.as_str(), &push.content[..]), ("service", &b"welcome"[..]));
    assert_eq!(push.msgid, sent[0].as_ref().unwrap().msgid.0);
    let online = server.logic().online(vec![user.clone()]).await.unwrap();
    assert_eq!(online[0].len(), 1);
    assert_eq!(server.logic().push(&user, ECHO, "now".into()).await, Ok(1));
    assert_eq!(&olga.next().await.unwrap().body[..], b"now");
    assert_eq!(server.logic().kick(&user, KickReason::Administrator).await, Ok(1));
    assert_eq!(olga.expect_kickout().await.reason, KickReason::Administrator.code());
    olga.expect_end().await;
}

/// A turn of the runtime that lasts, as one of thousands of logins does, keeps nobody from being accepted.
#[tokio::test]
async fn connections_are_accepted_while_the_runtime_is_busy() {
    let server = server().tcp("127.0.0.1:0").start().await.unwrap();
    let address = server.tcp_addr().unwrap();
    let links: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.connections() < links.len() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(server.connections(), links.len());
}

#[tokio::test]
async fn the_port_is_free_once_the_server_was_shut_down() {
    let first = server().tcp("127.0.0.1:0").start().await.unwrap();
    let address = first.tcp_addr().unwrap();
    first.shutdown().await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    let second = server().tcp(address.to_string()).start().await.unwrap();
    second.shutdown().await.unwrap();
}

/// The one line with both texts, which comes soon.
async fn line(what: &str, user: &str) -> String {
    line_after(0, what, user).await
}

/// The same, after so many lines of the log.
async fn line_after(count: usize, what: &str, text: &str) -> String {
    let of = || -> Vec<_> {
        log::lines_after(count, text).into_iter().filter(|line| line.contains(what)).collect()
    };
    eventually(what, async || of().len() == 1).await;
    of().remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_who_came_from_where_and_why_they_left() {
    log::keep();
    let server = server().tcp("127.0.0.1:0").start().await.unwrap();
    let stream = TcpStream::connect(server.tcp_addr().unwrap()).await.unwrap();
    let address = stream.local_addr().unwrap();
    let mut anna = Raw::new(stream);
    assert_eq!(anna.auth("anna", "phone").await.status, 0);
    let came = line("logged in", "anna").await;
    let who = format!("user=\"anna\" device=\"phone\" device_type=0 address={address} link=");
    assert!(came.starts_with(&format!("INFO logged in {who}")), "{came}");
    let link = came.rsplit_once("link=").unwrap().1;
    anna.ask(CmdId::LOGOUT, &LogoutRequest::default()).await;
    let went = line("left", "anna").await;
    assert!(went.starts_with(&format!("INFO left {who}{link} after=")), "{went}");
    assert!(went.ends_with("s why=\"logged out\""), "{went}");

    let mut ben = login(&Tcp, &server, "ben", "ben's first").await;
    let _newer = login(&Tcp, &server, "ben", "new").await;
    ben.expect_kickout().await;
    assert!(line("left", "ben's first").await.ends_with("why=\"kicked: logged in elsewhere\""));
    drop(login(&Tcp, &server, "cleo", "phone").await);
    assert!(line("left", "cleo").await.ends_with("why=\"the client closed the connection\""));
    let _dora = login(&Tcp, &server, "dora", "phone").await;
    server.shutdown().await.unwrap();
    assert!(line("left", "dora").await.ends_with("why=\"kicked: sent to another server\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_who_was_not_let_in_and_shows_no_token_and_no_line_of_a_clients_own() {
    log::keep();
    let limits = session(|limits| limits.auth_deadline = Duration::from_secs(2));
    let server = server().session_limits(limits).tcp("127.0.0.1:0").start().await.unwrap();
    let user = "erin\n2026-01-01T00:00:00Z  INFO logged in user=\"root\"\u{1b}[2J";
    let mut erin = Tcp.connect(&server).await;
    let auth = AuthRequest { token: "sesame".to_owned(), ..credentials(user, "phone") };
    erin.ask(CmdId::AUTH, &auth).await;
    erin.expect::<AuthResponse>(CmdId::AUTH).await;
    let refused = line("login refused", "erin").await;
    assert!(refused.starts_with("INFO login refused user=\"erin\\n2026"), "{refused}");
    assert!(refused.contains(" address=127.0.0.1:"), "{refused}");
    assert!(refused.ends_with("cause=\"not the user's name\""), "{refused}");
    assert!(!refused.contains(['\n', '\u{1b}']), "{refused}");
    assert!(log::lines("sesame").is_empty());

    let mut fred = Tcp.connect(&server).await;
    fred.ask(CmdId::AUTH, &credentials("panics", "fred's")).await;
    fred.expect::<AuthResponse>(CmdId::AUTH).await;
    let failed = line("login failed", "fred's").await;
    assert!(failed.starts_with("WARN") && failed.ends_with("cause=\"the login panicked\""), "{failed}");

    for (what, why) in [("early", "command 2000 before auth"), ("silent", "no auth in time")] {
        // Links of other tests had the same port before.
        let before = log::count();
        let stream = TcpStream::connect(server.tcp_addr().unwrap()).await.unwrap();
        let address = stream.local_addr().unwrap();
        let mut link = Raw::new(stream);
        if what == "early" {
            link.ask(ECHO, &AuthRequest::default()).await;
        }
        link.expect_end().await;
        // With what follows: a longer port may begin with the same digits.
        let closed = line_after(before, "closed without a login", &format!("address={address} link=")).await;
        assert!(closed.starts_with("INFO") && closed.ends_with(&format!("why=\"{why}\"")), "{closed}");
    }
}

/// How many of the lines are listed, and how many are counted.
fn listed(what: &str, users: &str) -> (usize, usize) {
    let listed = log::lines(users).iter().filter(|line| line.starts_with(&format!("INFO {what}"))).count();
    let counted = log::lines(&format!("INFO {what}, not listed count="));
    let counts = counted.iter().map(|line| line.rsplit_once('=').unwrap().1.parse::<usize>().unwrap());
    (listed, counts.sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_logins_is_a_few_lines_and_a_count_and_all_of_them_at_debug() {
    const FLOOD: usize = 300;
    log::keep();
    let server = server().tcp("127.0.0.1:0").start().await.unwrap();
    let began = Instant::now();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for number in 0..FLOOD {
        let mut link = Tcp.connect(&server).await;
        link.ask(CmdId::AUTH, &credentials(&format!("gail {number}"), "phone")).await;
        good.push(link);
        let mut link = Tcp.connect(&server).await;
        let auth = AuthRequest { uid: format!("hank {number}"), ..credentials("hank", "phone") };
        link.ask(CmdId::AUTH, &auth).await;
        bad.push(link);
    }
    for link in good.iter_mut().chain(&mut bad) {
        link.expect::<AuthResponse>(CmdId::AUTH).await;
    }
    for (what, users) in [("logged in", "\"gail "), ("login refused", "\"hank ")] {
        eventually(what, async || {
            let (listed, counted) = listed(what, users);
            listed + counted >= FLOOD
        })
        .await;
        let (listed, counted) = listed(what, users);
        let most = 20 * (usize::try_from(began.elapsed().as_secs()).unwrap() + 2);
        assert!(listed <= most && counted >= FLOOD - listed, "{what}: {listed} listed, {counted} counted");
        assert_eq!(log::lines(users).iter().filter(|line| line.contains(what)).count(), FLOOD);
    }
}
