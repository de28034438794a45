use im_proto::v1::{AuthRequest, PullRequest, PushAck, RoomJoinRequest};
use im_proto::{CmdId, Seq};
use prost::Message as _;

use super::fields::{Fields, Value};
use super::{Frame, put};
use crate::fault::Fault;

/// How bodies are written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The protocol's.
    Im,
    /// The floors': a login is a link's number, a message its content, an ack is empty.
    Floor,
}

/// That a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    /// Its version in the sender's timeline; the floors have none.
    pub(crate) version: Option<i64>,
}

/// A message in its receiver's timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept<'a> {
    /// Its version there; the floors have none.
    pub(crate) version: Option<i64>,
    pub(crate) content: &'a [u8],
}

/// An answer to a pull, but for its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) next_offset: i64,
    pub(crate) head: i64,
    pub(crate) messages: u64,
}

impl Dialect {
    /// The first frame of a link.
    pub(crate) fn login(self, number: u32, uid: &str, token: &str, device: &str) -> Vec<u8> {
        let body = match self {
            Dialect::Floor => number.to_be_bytes().to_vec(),
            Dialect::Im => AuthRequest {
                token: token.to_owned(),
                uid: uid.to_owned(),
                device_id: device.to_owned(),
                device_type: 3,
                ..AuthRequest::default()
            }
            .encode_to_vec(),
        };
        let mut frame = Vec::with_capacity(body.len() + 20);
        put(&mut frame, CmdId::AUTH, Seq(1), &body);
        frame
    }

    /// The head of the user's timeline, from the answer to [`login`](Self::login).
    pub(crate) fn logged_in(self, frame: &Frame<'_>) -> Result<i64, Fault> {
        expect_cmd(frame, CmdId::AUTH)?;
        let (mut status, mut code, mut head) = (0, 0, 0);
        for_each(frame, |number, value| match (number, value) {
            (1, Value::Number(value)) => status = value,
            (2, Value::Number(value)) => code = value,
            (10, Value::Number(value)) => head = value,
            _ => {}
        })?;
        match status {
            0 => Ok(head),
            // Refused token.
            _ if code == 2 => Err(Fault::Product(
                "a login was refused with error 2: are the server's tokens signed with that secret?"
                    .to_owned(),
            )),
            _ => Err(Fault::Product(format!("a login was refused with error {code}"))),
        }
    }

    pub(crate) fn ack(self, frame: &Frame<'_>) -> Result<Ack, Fault> {
        if self == Dialect::Floor {
            return Ok(Ack { version: None });
        }
        let (mut version, mut code) = (0, 0);
        for_each(frame, |number, value| match (number, value) {
            (10, Value::Number(value)) => version = value,
            (14, Value::Number(value)) => code = value,
            _ => {}
        })?;
        no_error(code, "a message")?;
        Ok(Ack { version: Some(version) })
    }

    pub(crate) fn pushed<'a>(self, frame: &Frame<'a>) -> Result<Kept<'a>, Fault> {
        match self {
            Dialect::Floor => Ok(Kept { version: None, content: frame.body }),
            Dialect::Im => kept(frame.body, 2).ok_or_else(|| garbled(frame)),
        }
    }

    /// What was said in a room. That something was not is the server's fault: nobody here reads slowly.
    pub(crate) fn said<'a>(self, frame: &Frame<'a>) -> Result<&'a [u8], Fault> {
        if self == Dialect::Floor {
            return Ok(frame.body);
        }
        let (mut content, mut missed) = (&[][..], 0);
        for_each(frame, |number, value| match (number, value) {
            (3, Value::Bytes(bytes)) => content = bytes,
            (10, Value::Number(value)) => missed = value,
            _ => {}
        })?;
        match missed {
            0 => Ok(content),
            _ => Err(Fault::Product(format!("{missed} messages of a room were left out"))),
        }
    }

    /// That a request was not refused.
    pub(crate) fn answered(self, frame: &Frame<'_>, what: &str) -> Result<(), Fault> {
        let mut code = 0;
        if self == Dialect::Im {
            for_each(frame, |number, value| {
                if let (14, Value::Number(value)) = (number, value) {
                    code = value;
                }
            })?;
        }
        no_error(code, what)
    }

    /// Hands each message of a pull's answer to `each`.
    pub(crate) fn pulled<'a>(
        self,
        frame: &Frame<'a>,
        mut each: impl FnMut(Kept<'a>) -> Result<(), Fault>,
    ) -> Result<Page, Fault> {
        let mut page = Page { next_offset: 0, head: 0, messages: 0 };
        let mut code = 0;
        let mut fields = Fields::of(frame.body);
        for (number, value) in &mut fields {
            match (number, value) {
                (1, Value::Bytes(message)) => {
                    page.messages += 1;
                    each(kept(message, 3).ok_or_else(|| garbled(frame))?)?;
                }
                (10, Value::Number(value)) => page.next_offset = value,
                (12, Value::Number(value)) => page.head = value,
                (14, Value::Number(value)) => code = value,
                _ => {}
            }
        }
        no_error(code, "a pull")?;
        if fields.whole() { Ok(page) } else { Err(garbled(frame)) }
    }
}

/// Asks for what is after `offset`.
pub(crate) fn put_pull(out: &mut Vec<u8>, seq: Seq, offset: i64, limit: i32) {
    put(out, CmdId::PULL, seq, &PullRequest { uid: String::new(), offset, limit }.encode_to_vec());
}

/// Asks to be let into a room.
pub(crate) fn put_room_join(out: &mut Vec<u8>, seq: Seq, room: &str) {
    let request = RoomJoinRequest { room: room.to_owned(), leave: String::new() };
    put(out, CmdId::ROOM_JOIN, seq, &request.encode_to_vec());
}

/// Says that the device holds everything up to `version`.
pub(crate) fn put_push_ack(out: &mut Vec<u8>, version: i64) {
    put(out, CmdId::PUSH_ACK, Seq::PUSH, &PushAck { version, group: 0 }.encode_to_vec());
}

/// A message whose content is in the field `content` and whose version is in the field 10.
fn kept(message: &[u8], content: u64) -> Option<Kept<'_>> {
    let mut kept = Kept { version: Some(0), content: &[] };
    let mut fields = Fields::of(message);
    for (number, value) in &mut fields {
        match value {
            Value::Bytes(bytes) if number == content => kept.content = bytes,
            Value::Number(version) if number == 10 => kept.version = Some(version),
            _ => {}
        }
    }
    fields.whole().then_some(kept)
}

fn for_each<'a>(frame: &Frame<'a>, mut each: impl FnMut(u64, Value<'a>)) -> Result<(), Fault> {
    let mut fields = Fields::of(frame.body);
    for (number, value) in &mut fields {
        each(number, value);
    }
    if fields.whole() { Ok(()) } else { Err(garbled(frame)) }
}

fn expect_cmd(frame: &Frame<'_>, cmd: CmdId) -> Result<(), Fault> {
    if frame.cmd == cmd { Ok(()) } else { Err(unexpected(frame)) }
}

fn no_error(code: i64, what: &str) -> Result<(), Fault> {
    if code == 0 { Ok(()) } else { Err(Fault::Product(format!("{what} was refused with error {code}"))) }
}

fn garbled(frame: &Frame<'_>) -> Fault {
    Fault::Product(format!("a body of {} does not decode", frame.cmd))
}

/// A frame that nothing asked for; a kick above all.
pub(crate) fn unexpected(frame: &Frame<'_>) -> Fault {
    Fault::Product(format!("{} with sequence number {} came out of turn", frame.cmd, frame.seq))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use im_proto::v1::{AuthResponse, C2cPush, C2cResponse, PullMsg, PullResponse, RoomPush};

    use super::*;

    fn frame(cmd: CmdId, body: &[u8]) -> Frame<'_> {
        Frame { cmd, seq: Seq(1), body }
    }

    #[test]
    fn answers_are_read_as_the_protocol_writes_them() {
        let body = AuthResponse { version: 7, ..AuthResponse::default() }.encode_to_vec();
        assert_eq!(Dialect::Im.logged_in(&frame(CmdId::AUTH, &body)).unwrap(), 7);
        let body = C2cResponse { version: 8, ..C2cResponse::default() }.encode_to_vec();
        assert_eq!(Dialect::Im.ack(&frame(CmdId::C2C_SEND, &body)).unwrap(), Ack { version: Some(8) });
        let body = C2cPush { content: "hi".into(), version: 9, ..C2cPush::default() }.encode_to_vec();
        let pushed = Dialect::Im.pushed(&frame(CmdId::C2C_PUSH, &body)).unwrap();
        assert_eq!(pushed, Kept { version: Some(9), content: b"hi" });
    }

    #[test]
    fn what_was_said_in_a_room_is_read_and_what_was_left_out_is_the_servers_fault() {
        let body = RoomPush { content: "hi".into(), msgid: 7, ..RoomPush::default() }.encode_to_vec();
        assert_eq!(Dialect::Im.said(&frame(CmdId::ROOM_PUSH, &body)).unwrap(), b"hi");
        let body = RoomPush { missed: 3, ..RoomPush::default() }.encode_to_vec();
        assert!(matches!(Dialect::Im.said(&frame(CmdId::ROOM_PUSH, &body)), Err(Fault::Product(_))));
    }

    #[test]
    fn a_page_hands_on_its_messages_in_order() {
        let message = |version| PullMsg { content: "hi".into(), version, ..PullMsg::default() };
        let msgs = vec![message(3), message(4)];
        let body = PullResponse { msgs, next_offset: 4, head: 6, ..PullResponse::default() }.encode_to_vec();
        let mut versions = Vec::new();
        let page = Dialect::Im.pulled(&frame(CmdId::PULL, &body), |kept| {
            versions.extend(kept.version);
            Ok(())
        });
        assert_eq!(page.unwrap(), Page { next_offset: 4, head: 6, messages: 2 });
        assert_eq!(versions, [3, 4]);
    }

    #[test]
    fn refusals_are_the_servers_fault() {
        let body = AuthResponse { status: -1, err_code: 2, ..AuthResponse::default() }.encode_to_vec();
        assert!(matches!(Dialect::Im.logged_in(&frame(CmdId::AUTH, &body)), Err(Fault::Product(_))));
        let body = C2cResponse { err_code: 7, ..C2cResponse::default() }.encode_to_vec();
        assert!(matches!(Dialect::Im.ack(&frame(CmdId::C2C_SEND, &body)), Err(Fault::Product(_))));
    }
}
