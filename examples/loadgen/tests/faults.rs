//! Servers that break a promise, and that the load generator must catch.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use im_proto::v1::{
    AuthRequest, AuthResponse, C2cPush, C2cRequest, C2cResponse, PullMsg, PullRequest, PullResponse,
};
use im_proto::{CmdId, Decoder, Frame, Seq};
use prost::Message;
use prost::bytes::{Bytes, BytesMut};
use serde_json::Value;

/// What is done to the message with this number.
const VICTIM: usize = 3;

#[derive(Clone, Copy)]
enum Fault {
    None,
    Lost,
    Doubled,
    Reordered,
    AckedTwice,
    /// Stored but not pushed, which is no fault: a push is a hint.
    NotPushed,
    /// Every user's first login is refused for now.
    Busy,
}

/// A server for one pair, without a store.
struct Broken {
    fault: Fault,
    receiver: Mutex<Option<TcpStream>>,
    /// The receiver's timeline, from version 1 on.
    timeline: Mutex<Vec<Bytes>>,
    /// Users that have tried to log in.
    seen: Mutex<BTreeSet<String>>,
}

impl Broken {
    /// Takes two links; where.
    fn serve(fault: Fault) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Arc::new(Broken {
            fault,
            receiver: Mutex::default(),
            timeline: Mutex::default(),
            seen: Mutex::default(),
        });
        std::thread::spawn(move || {
            for link in listener.incoming() {
                let server = server.clone();
                std::thread::spawn(move || server.link(link.unwrap()));
            }
        });
        address
    }

    fn link(&self, mut link: TcpStream) {
        let mut arrived = BytesMut::new();
        let mut contents = Vec::new();
        let mut piece = [0; 4_096];
        while let Ok(read @ 1..) = link.read(&mut piece) {
            arrived.extend_from_slice(&piece[..read]);
            while let Some(frame) = Decoder::default().decode(&mut arrived).unwrap() {
                self.answer(&mut link, &frame, &mut contents);
            }
        }
    }

    fn answer(&self, link: &mut TcpStream, frame: &Frame, contents: &mut Vec<Bytes>) {
        match frame.cmd {
            CmdId::AUTH => {
                let request = AuthRequest::decode(frame.body.clone()).unwrap();
                if request.uid.ends_with("-1") {
                    *self.receiver.lock().unwrap() = Some(link.try_clone().unwrap());
                }
                let first = self.seen.lock().unwrap().insert(request.uid);
                let refused = first && matches!(self.fault, Fault::Busy);
                let (status, err_code) = if refused { (-1, 7) } else { (0, 0) };
                write(
                    link,
                    frame.cmd,
                    frame.seq,
                    &AuthResponse { status, err_code, ..AuthResponse::default() },
                );
            }
            CmdId::C2C_SEND => {
                contents.push(C2cRequest::decode(frame.body.clone()).unwrap().content);
                self.store(link, frame, contents);
            }
            CmdId::PULL => {
                let offset = PullRequest::decode(frame.body.clone()).unwrap().offset;
                write(link, frame.cmd, frame.seq, &self.after(offset));
            }
            _ => {}
        }
    }

    fn store(&self, link: &mut TcpStream, frame: &Frame, contents: &[Bytes]) {
        let number = contents.len() - 1;
        let ack = C2cResponse { version: i64::try_from(number).unwrap() + 1, ..C2cResponse::default() };
        write(link, frame.cmd, frame.seq, &ack);
        let pushed: &[usize] = match (self.fault, number) {
            (Fault::Lost, VICTIM) => &[],
            (Fault::Doubled, VICTIM) => &[VICTIM, VICTIM],
            (Fault::Reordered, VICTIM) => &[],
            (Fault::Reordered, 4) => &[4, VICTIM],
            (Fault::AckedTwice, VICTIM) => {
                write(link, frame.cmd, frame.seq, &ack);
                &[VICTIM]
            }
            _ => &[number],
        };
        for number in pushed {
            self.push(*number, contents[*number].clone());
        }
    }

    fn after(&self, offset: i64) -> PullResponse {
        let message = |(content, version): (&Bytes, i64)| PullMsg {
            content: content.clone(),
            version,
            ..PullMsg::default()
        };
        let timeline = self.timeline.lock().unwrap();
        let head = i64::try_from(timeline.len()).unwrap();
        let msgs = timeline.iter().zip(1..).filter(|(_, version)| *version > offset).map(message).collect();
        PullResponse { msgs, next_offset: head, head, ..PullResponse::default() }
    }

    fn push(&self, number: usize, content: Bytes) {
        let mut timeline = self.timeline.lock().unwrap();
        timeline.push(content.clone());
        if matches!(self.fault, Fault::NotPushed) && number == VICTIM {
            return;
        }
        let version = i64::try_from(timeline.len()).unwrap();
        let push = C2cPush { content, version, ..C2cPush::default() };
        write(self.receiver.lock().unwrap().as_mut().unwrap(), CmdId::C2C_PUSH, Seq::PUSH, &push);
    }
}

/// The other end may have given up.
fn write(link: &mut TcpStream, cmd: CmdId, seq: Seq, body: &impl Message) {
    let mut bytes = BytesMut::new();
    Frame { client_version: 1, cmd, seq, body: body.encode_to_vec().into() }.encode(&mut bytes);
    let _ = link.write_all(&bytes);
}

/// A short run of one pair, that no loud neighbour can void.
const RUN: &str = "c2c --pairs 1 --window 8 --rounds 1 --seconds 0.5 --warmup 0 --json \
    --no-floor --no-raise --no-pin --max-others 1000000 --max-drift 1000000 --min-sent 0";

/// Runs one pair against a server with this fault: the exit code, what was said, and the report.
fn run(fault: Fault) -> (Option<i32>, String, Value) {
    run_with(RUN, fault)
}

fn run_with(scenario: &str, fault: Fault) -> (Option<i32>, String, Value) {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "00".repeat(32)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_im-loadgen"));
    command
        .args(scenario.split_whitespace())
        .args(["--server", &Broken::serve(fault), "--token-secret"])
        .arg(&secret);
    let output = command.output().unwrap();
    // Where the fault shows early, there is none.
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), report)
}

fn assert_caught(fault: Fault, said: &str) {
    let (code, stderr, _) = run(fault);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(said), "{stderr}");
}

#[test]
fn a_server_that_keeps_its_promises_is_at_no_fault() {
    let (code, stderr, _) = run(Fault::None);
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn a_message_that_is_not_pushed_is_pulled_and_not_lost() {
    let (code, stderr, report) = run(Fault::NotPushed);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!((&report["lost"], &report["reordered"]), (&Value::from(0), &Value::from(0)));
    assert!(report["notes"][0]["pulled"].as_u64().unwrap() >= 1, "{report}");
}

#[test]
fn a_lost_message_is_caught() {
    assert_caught(Fault::Lost, "1 messages lost, 0 doubled, 0 reordered");
}

#[test]
fn a_doubled_message_is_caught() {
    assert_caught(Fault::Doubled, "0 messages lost, 1 doubled, 0 reordered");
}

#[test]
fn a_reordered_message_is_caught() {
    assert_caught(Fault::Reordered, "0 messages lost, 0 doubled, 1 reordered");
}

#[test]
fn a_second_ack_is_caught() {
    assert_caught(Fault::AckedTwice, "an ack for sequence number 5, which waits for none");
}

#[test]
fn a_refused_login_is_tried_again_and_counted_against_the_server() {
    let storm =
        "storm --links 20 --waves 1 --rounds 1 --json --no-floor --no-raise --no-pin --max-others 1000000";
    let (code, stderr, report) = run_with(storm, Fault::Busy);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("20 logins failed at first"), "{stderr}");
    assert_eq!(report["void"][0]["why"], "20 logins failed at first");
}
