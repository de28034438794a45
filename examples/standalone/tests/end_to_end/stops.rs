//! A server that is stopped, with SIGTERM, while clients send.

use std::ops::Range;
use std::thread;
use std::time::Duration;

use im_proto::CmdId;
use im_proto::v1::{C2cRequest, C2cResponse};
use im_test_servers::MariaDb;
use prost::Message as _;

use super::kill::{Sender, TEXT, received_of, text};
use super::links::Link;
use super::programs::{Server, free_port, token};

/// What a server gets to send its clients away.
const DRAIN: Duration = Duration::from_secs(10);

/// One more than the last sequence number of a round.
const SENDS: u32 = 4_000;

#[test]
fn clients_go_on_at_the_restarted_server_and_every_text_comes_once() {
    clients_go_on_over("log");
}

#[test]
fn clients_go_on_at_the_restarted_server_over_mariadb_too() {
    clients_go_on_over(&MariaDb::shared().database("stops"));
}

#[test]
fn what_a_server_has_stored_when_it_ends_it_has_answered() {
    stored_is_answered_over("log");
}

#[test]
fn what_a_server_has_stored_when_it_ends_it_has_answered_over_mariadb_too() {
    stored_is_answered_over(&MariaDb::shared().database("stops"));
}

fn clients_go_on_over(store: &str) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &format!("127.0.0.1:{}", free_port()), store);
    let address = server.address.clone();
    let users = ["alice", "carol", "dave"];
    let (there, of) = (data.clone(), address.clone());
    let online = thread::spawn(move || received_of(users.len(), &there, &of, "bob", ["phone", "1"]));
    let mut senders = users.map(|user| Sender::start_as(user, &data, &address, "bob", 64));
    for acks in [100, 300, 500] {
        senders[0].wait_for(acks);
        stop(server);
        server = Server::start(&data, &address, store);
    }
    senders.into_iter().for_each(Sender::finish);
    let heard = online.join().unwrap();
    for user in users {
        let of_user = heard.iter().filter(|line| text(line, "from") == user).map(|line| text(line, "text"));
        assert_eq!(of_user.collect::<Vec<_>>(), TEXT.lines().collect::<Vec<_>>(), "{user}");
    }
    stop(server);
}

fn stored_is_answered_over(store: &str) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let mut server = Server::start(data, &format!("127.0.0.1:{}", free_port()), store);
    let (address, alice) = (server.address.clone(), token(data, "alice"));
    let mut stored = 0;
    for round in 0..5 {
        let mut link = Link::ask(&address, "alice", &alice);
        assert_eq!(link.head(), stored);
        let answers = thread::scope(|scope| {
            send(&mut link, round, 2..SENDS / 2);
            scope.spawn(|| stop(server));
            send(&mut link, round, SENDS / 2..SENDS);
            let answers = link.answers(CmdId::C2C_SEND);
            drop(link);
            answers
        });
        println!("round {round}: {} of {} sends were answered", answers.len(), SENDS - 2);
        for (seq, (answered, body)) in (2..).zip(answers) {
            let answer = C2cResponse::decode(&body[..]).unwrap();
            stored += 1;
            assert_eq!((answered, answer.err_code, answer.version), (seq, 0, stored));
        }
        server = Server::start(data, &address, store);
    }
    assert_eq!(Link::ask(&address, "alice", &alice).head(), stored);
    stop(server);
}

/// Messages to bob under these sequence numbers, one behind the other.
fn send(link: &mut Link, round: u32, seqs: Range<u32>) {
    for seq in seqs {
        let client_msg_id = format!("{round}-{seq}");
        let (to, content) = ("bob".to_owned(), client_msg_id.clone().into());
        link.say(CmdId::C2C_SEND, seq, &C2cRequest { to, content, client_msg_id, ..C2cRequest::default() });
    }
}

fn stop(server: Server) {
    let (code, took) = server.terminate();
    println!("ended after {took:?}");
    assert_eq!(code, Some(0));
    assert!(took < DRAIN, "it takes {took:?}");
}
