//! Parcels as bytes on a channel. Only this version's own processes read them; what another version wrote is dropped, like any push.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use im_core::id::{ConnId, NodeId, RoomId};
use im_core::router::{Delivery, Parcel};
use im_core::session::{KickReason, Push};
use im_proto::{CmdId, Suffix};

const VERSION: u8 = 1;
const PUSH: u8 = 1;
const ROOM: u8 = 2;
const KICK: u8 = 3;
const TAKEOVER: u8 = 4;

/// The body is the one of the push before: a message goes to all links of a node in one payload.
const SAME_BODY: u32 = u32::MAX;

/// Bytes of a payload, but for its last parcel.
const PAYLOAD: usize = 1 << 20;

/// What came on a channel.
#[derive(Debug, PartialEq)]
pub(super) enum Payload {
    Parcels(Vec<Delivery>),
    /// Another subscription of the node begins.
    Takeover(u64),
}

/// The parcels of one node, in few payloads.
pub(super) fn encode(batch: &[Delivery]) -> Vec<Bytes> {
    let mut payloads = Vec::new();
    let mut writer = Writer::default();
    for delivery in batch {
        writer.put(delivery);
        if writer.bytes.len() >= PAYLOAD {
            payloads.push(std::mem::take(&mut writer).bytes.freeze());
        }
    }
    if !writer.bytes.is_empty() {
        payloads.push(writer.bytes.freeze());
    }
    payloads
}

pub(super) fn takeover(token: u64) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(VERSION);
    bytes.put_u8(TAKEOVER);
    bytes.put_u64(token);
    bytes.freeze()
}

/// `None` for what another version wrote.
pub(super) fn decode(node: NodeId, bytes: Bytes) -> Option<Payload> {
    let mut reader = Reader { bytes, body: None };
    if reader.bytes.try_get_u8().ok()? != VERSION {
        return None;
    }
    if reader.bytes.first() == Some(&TAKEOVER) {
        reader.bytes.advance(1);
        return reader.bytes.try_get_u64().ok().map(Payload::Takeover);
    }
    let mut parcels = Vec::new();
    while reader.bytes.has_remaining() {
        parcels.push(reader.delivery(node)?);
    }
    Some(Payload::Parcels(parcels))
}

#[derive(Default)]
struct Writer {
    bytes: BytesMut,
    body: Option<Bytes>,
}

impl Writer {
    fn put(&mut self, delivery: &Delivery) {
        if self.bytes.is_empty() {
            self.bytes.put_u8(VERSION);
        }
        match &delivery.parcel {
            Parcel::Push(push) => {
                self.head(PUSH, delivery.conn);
                self.push(push);
            }
            Parcel::Room(room, push) => {
                self.head(ROOM, delivery.conn);
                self.sized(room.as_str().as_bytes());
                self.push(push);
            }
            Parcel::Kick { reason, retry_after } => {
                self.head(KICK, delivery.conn);
                self.bytes.put_i32(reason.code());
                let millis =
                    retry_after.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX - 1));
                self.bytes.put_u64(millis.unwrap_or(u64::MAX));
            }
        }
    }

    fn head(&mut self, kind: u8, conn: ConnId) {
        self.bytes.put_u8(kind);
        self.bytes.put_i64(conn.0);
    }

    fn push(&mut self, push: &Push) {
        self.bytes.put_u32(push.cmd.0);
        self.sized(push.suffix.as_bytes());
        let shared = |body: &Bytes| body.as_ptr() == push.body.as_ptr() && body.len() == push.body.len();
        if self.body.as_ref().is_some_and(shared) {
            self.bytes.put_u32(SAME_BODY);
        } else {
            self.sized(&push.body);
            self.body = Some(push.body.clone());
        }
    }

    /// A frame's body is far shorter than 4 GiB; of a longer one nothing goes.
    fn sized(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length != SAME_BODY);
        self.bytes.put_u32(length.unwrap_or(0));
        if length.is_some() {
            self.bytes.put_slice(bytes);
        }
    }
}

struct Reader {
    bytes: Bytes,
    body: Option<Bytes>,
}

impl Reader {
    fn delivery(&mut self, node: NodeId) -> Option<Delivery> {
        let kind = self.bytes.try_get_u8().ok()?;
        let conn = ConnId(self.bytes.try_get_i64().ok()?);
        let parcel = match kind {
            PUSH => Parcel::Push(self.push()?),
            ROOM => {
                let name = self.sized()?;
                let room = RoomId::new(std::str::from_utf8(&name).ok()?).ok()?;
                Parcel::Room(room, self.push()?)
            }
            KICK => {
                let reason = KickReason::from_code(self.bytes.try_get_i32().ok()?)?;
                let millis = self.bytes.try_get_u64().ok()?;
                Parcel::Kick {
                    reason,
                    retry_after: (millis != u64::MAX).then(|| Duration::from_millis(millis)),
                }
            }
            _ => return None,
        };
        Some(Delivery { node, conn, parcel })
    }

    fn push(&mut self) -> Option<Push> {
        let cmd = CmdId(self.bytes.try_get_u32().ok()?);
        let suffix = Suffix::from_bytes(&self.sized()?)?;
        let length = self.bytes.try_get_u32().ok()?;
        if length != SAME_BODY {
            self.body = Some(self.take(length)?);
        }
        Some(Push { cmd, body: self.body.clone()?, suffix })
    }

    fn sized(&mut self) -> Option<Bytes> {
        let length = self.bytes.try_get_u32().ok()?;
        self.take(length)
    }

    fn take(&mut self, length: u32) -> Option<Bytes> {
        let length = usize::try_from(length).ok()?;
        (length <= self.bytes.len()).then(|| self.bytes.split_to(length))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn batch() -> Vec<Delivery> {
        let body = Bytes::from(vec![7; 1_000]);
        let push =
            |version| Push { cmd: CmdId::C2C_PUSH, body: body.clone(), suffix: Suffix::version(version) };
        let kick = |retry_after| Parcel::Kick { reason: KickReason::GoingAway, retry_after };
        let parcels = [
            Parcel::Push(push(1)),
            Parcel::Push(push(i64::MAX)),
            Parcel::Room(RoomId::new("a room").unwrap(), push(0)),
            kick(None),
            kick(Some(Duration::from_millis(1_500))),
            Parcel::Push(Push { body: Bytes::new(), ..push(2) }),
        ];
        let conns = (i64::MAX - 10..).map(ConnId);
        conns.zip(parcels).map(|(conn, parcel)| Delivery { node: NodeId(5), conn, parcel }).collect()
    }

    #[test]
    fn parcels_come_back_as_they_went_and_a_shared_body_goes_once() {
        let payloads = encode(&batch());
        assert_eq!(payloads.len(), 1);
        assert!(payloads[0].len() < 1_300, "{}", payloads[0].len());
        assert_eq!(decode(NodeId(5), payloads[0].clone()), Some(Payload::Parcels(batch())));
    }

    #[test]
    fn a_large_batch_goes_in_pieces_of_which_each_stands_alone() {
        let body = Bytes::from(vec![7; 400_000]);
        let push =
            || Push { cmd: CmdId::C2C_PUSH, body: Bytes::copy_from_slice(&body), suffix: Suffix::NONE };
        let all: Vec<Delivery> = (0..10)
            .map(|conn| Delivery { node: NodeId(5), conn: ConnId(conn), parcel: Parcel::Push(push()) })
            .collect();
        let payloads = encode(&all);
        assert_eq!(payloads.len(), 4);
        let mut got = Vec::new();
        for payload in payloads {
            let Some(Payload::Parcels(parcels)) = decode(NodeId(5), payload) else { panic!("parcels") };
            got.extend(parcels);
        }
        assert_eq!(got, all);
    }

    #[test]
    fn what_is_cut_or_strange_is_none() {
        let whole = encode(&batch()).remove(0);
        for end in 1..whole.len() {
            if let Some(Payload::Parcels(parcels)) = decode(NodeId(5), whole.slice(..end)) {
                assert!(parcels.len() < batch().len());
            }
        }
        for strange in [&[][..], &[2, 1], &[VERSION, 9, 0, 0, 0, 0, 0, 0, 0, 0], &[VERSION, TAKEOVER, 1]] {
            assert_eq!(decode(NodeId(5), Bytes::copy_from_slice(strange)), None);
        }
        assert_eq!(decode(NodeId(5), takeover(77)), Some(Payload::Takeover(77)));
    }
}
