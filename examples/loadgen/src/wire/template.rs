use im_proto::v1::{C2cRequest, RoomSendRequest};
use im_proto::{CmdId, HEADER_LEN, Seq};
use prost::Message as _;

use super::{Dialect, Stamp, put};

/// Hexadecimal digits of a client message id, as many as a UUID has.
const ID_LEN: usize = 32;

/// The bytes after the content in an encoded [`C2cRequest`]: tag, length and the client message id.
const AFTER_CONTENT: usize = 2 + ID_LEN;

/// A message to one receiver, encoded once; sending copies it and fills in what differs.
#[derive(Debug)]
pub(crate) struct Template {
    frame: Vec<u8>,
    content: usize,
    /// Where the client message id is, and what makes it this run's own.
    id: Option<(usize, u64)>,
}

impl Template {
    /// Messages of `size` bytes of content to the user `to`; `salt` differs from run to run.
    ///
    /// A content shorter than a [`Stamp`] is made as long as one.
    pub(crate) fn new(dialect: Dialect, to: &str, size: usize, salt: u64) -> Self {
        let content = vec![b'x'; size.max(Stamp::LEN)];
        let size = content.len();
        let mut frame = Vec::new();
        match dialect {
            Dialect::Floor => {
                put(&mut frame, CmdId::C2C_SEND, Seq::PUSH, &content);
                Template { frame, content: HEADER_LEN, id: None }
            }
            Dialect::Im => {
                let client_msg_id = "0".repeat(ID_LEN);
                let content = content.into();
                let request =
                    C2cRequest { to: to.to_owned(), content, client_msg_id, ..C2cRequest::default() };
                put(&mut frame, CmdId::C2C_SEND, Seq::PUSH, &request.encode_to_vec());
                let id = frame.len() - ID_LEN;
                let content = frame.len() - AFTER_CONTENT - size;
                Template { frame, content, id: Some((id, salt)) }
            }
        }
    }

    /// Messages of `size` bytes of content to a room; as long as a [`Stamp`] at least.
    pub(crate) fn for_room(dialect: Dialect, room: &str, size: usize) -> Self {
        let content = vec![b'x'; size.max(Stamp::LEN)];
        let size = content.len();
        let mut frame = Vec::new();
        match dialect {
            Dialect::Floor => put(&mut frame, CmdId::ROOM_SEND, Seq::PUSH, &content),
            Dialect::Im => {
                let content = content.into();
                let request =
                    RoomSendRequest { room: room.to_owned(), content, ..RoomSendRequest::default() };
                put(&mut frame, CmdId::ROOM_SEND, Seq::PUSH, &request.encode_to_vec());
            }
        }
        // The content comes last.
        let content = frame.len() - size;
        Template { frame, content, id: None }
    }

    /// Appends the message that `stamp` describes.
    pub(crate) fn put(&self, out: &mut Vec<u8>, seq: Seq, stamp: &Stamp) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        let frame = &mut out[start..];
        frame[12..16].copy_from_slice(&seq.0.to_be_bytes());
        stamp.write(&mut frame[self.content..]);
        if let Some((at, salt)) = self.id {
            let stream = u64::from(stamp.stream);
            let halves =
                [mix(salt ^ stream.rotate_left(32)), mix(salt.wrapping_add(mix(stamp.number)) ^ stream)];
            write_hex(&mut frame[at..at + ID_LEN], halves);
        }
    }
}

/// `SplitMix64`'s finisher: neighbouring numbers get unlike ids, as a UUID's are.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

fn write_hex(out: &mut [u8], halves: [u64; 2]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes = halves.into_iter().flat_map(u64::to_be_bytes);
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xF)];
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::clock::Nanos;
    use crate::wire::{Target, split};

    fn stamp(number: u64) -> Stamp {
        Stamp { target: Target(9), stream: 4, number, due: Nanos(77) }
    }

    #[test]
    fn a_message_decodes_to_what_was_filled_in() {
        let template = Template::new(Dialect::Im, "bob", 200, 1);
        let mut out = Vec::new();
        template.put(&mut out, Seq(5), &stamp(3));
        let (frame, len) = split(&out).unwrap().unwrap();
        assert_eq!((frame.cmd, frame.seq, len), (CmdId::C2C_SEND, Seq(5), out.len()));
        let request = C2cRequest::decode(frame.body).unwrap();
        assert_eq!((request.to.as_str(), request.content.len()), ("bob", 200));
        assert_eq!(Stamp::read(&request.content), Some(stamp(3)));
        assert!(request.client_msg_id.bytes().all(|digit| digit.is_ascii_hexdigit()));
    }

    #[test]
    fn a_message_to_a_room_decodes_to_what_was_filled_in() {
        let mut out = Vec::new();
        Template::for_room(Dialect::Im, "lobby", 200).put(&mut out, Seq(5), &stamp(3));
        let (frame, _) = split(&out).unwrap().unwrap();
        let request = RoomSendRequest::decode(frame.body).unwrap();
        assert_eq!(
            (frame.cmd, request.room.as_str(), request.content.len()),
            (CmdId::ROOM_SEND, "lobby", 200)
        );
        assert_eq!(Stamp::read(&request.content), Some(stamp(3)));
    }

    #[test]
    fn every_message_has_an_id_of_its_own() {
        let ids: std::collections::BTreeSet<String> = (0..100)
            .map(|number| {
                let mut out = Vec::new();
                Template::new(Dialect::Im, "bob", 100, 1 + number % 2).put(
                    &mut out,
                    Seq(1),
                    &stamp(number / 2),
                );
                C2cRequest::decode(split(&out).unwrap().unwrap().0.body).unwrap().client_msg_id
            })
            .collect();
        assert_eq!(ids.len(), 100);
    }

    #[test]
    fn the_floors_message_is_the_content_alone() {
        let mut out = Vec::new();
        Template::new(Dialect::Floor, "", 100, 1).put(&mut out, Seq(5), &stamp(3));
        assert_eq!(out.len(), HEADER_LEN + 100);
        assert_eq!(Stamp::read(split(&out).unwrap().unwrap().0.body), Some(stamp(3)));
    }
}
