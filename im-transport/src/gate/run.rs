//! What was said in a room, as the bytes that all its members get: encoded once, and shared.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use im_core::id::{ConnId, RoomId};
use im_core::session::Push;
use im_proto::{OutFrame, Seq};

/// A piece that has so many bytes takes no further frame, so that a link which takes the last piece holds no more than that one.
const PIECE: usize = 64 << 10;

/// What was said in one room, in order, with the link that each is from.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) pushes: Vec<(ConnId, Push)>,
    /// Messages that went before these and were dropped.
    pub(super) missed: u64,
}

impl Said {
    /// Whom they are from, sorted.
    pub(super) fn senders(&self) -> Vec<ConnId> {
        let mut senders: Vec<ConnId> = self.pushes.iter().map(|(from, _)| *from).collect();
        senders.sort_unstable();
        senders.dedup();
        senders
    }
}

/// Frames on end, for all links whose clients have the same version.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) room: RoomId,
    pub(super) pieces: Vec<Piece>,
}

/// Part of a run.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// Where each frame ends, and which link it is from.
    frames: Vec<(usize, ConnId)>,
}

impl Run {
    pub(super) fn new(room: &RoomId, said: &Said, client_version: u32) -> Self {
        let (mut pieces, mut bytes, mut frames) = (Vec::new(), BytesMut::new(), Vec::new());
        for (from, push) in &said.pushes {
            let Push { cmd, body, suffix } = push.clone();
            OutFrame { client_version, cmd, seq: Seq::PUSH, body, suffix }.encode(&mut bytes);
            frames.push((bytes.len(), *from));
            if bytes.len() >= PIECE {
                pieces.push(Piece { bytes: bytes.split().freeze(), frames: std::mem::take(&mut frames) });
            }
        }
        if !frames.is_empty() {
            pieces.push(Piece { bytes: bytes.freeze(), frames });
        }
        Self { room: room.clone(), pieces }
    }
}

impl Piece {
    pub(super) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// The parts that are not from this link, each with how many frames it has. A small part is copied: who says much and reads nothing would hold
    /// many pieces for a few bytes of each.
    pub(super) fn of_others(&self, link: ConnId) -> Vec<(Bytes, usize)> {
        let (mut parts, mut start, mut count) = (Vec::new(), 0, 0);
        let mut last = 0;
        for (end, from) in &self.frames {
            if *from == link {
                parts.push((start..last, count));
                (start, count) = (*end, 0);
            } else {
                count += 1;
            }
            last = *end;
        }
        parts.push((start..last, count));
        let full = parts.into_iter().filter(|(_, count)| *count > 0);
        full.map(|(range, count)| (self.part(range), count)).collect()
    }
}

impl Piece {
    fn part(&self, range: Range<usize>) -> Bytes {
        match range.len() < self.bytes.len() / 2 {
            true => Bytes::copy_from_slice(&self.bytes[range]),
            false => self.bytes.slice(range),
        }
    }
}

/// Runs of one room that are kept. A client chooses its version, so that there could be one for every member.
const RUNS: usize = 4;

/// The runs of what was said in one room, one a client version; nearly always that is one.
#[derive(Debug)]
pub(super) struct Runs<'a> {
    room: &'a RoomId,
    said: &'a Said,
    runs: Vec<(u32, Run)>,
    /// Pieces of all runs that were made but the first.
    more_pieces: usize,
}

impl<'a> Runs<'a> {
    pub(super) fn new(room: &'a RoomId, said: &'a Said) -> Self {
        Self { room, said, runs: Vec::new(), more_pieces: 0 }
    }

    /// Pieces that were made for further client versions: work that an only one would not have been.
    pub(super) fn more_pieces(&self) -> usize {
        self.more_pieces
    }

    /// The run for clients of this version.
    pub(super) fn of(&mut self, client_version: u32) -> &Run {
        let at = match self.runs.iter().position(|(version, _)| *version == client_version) {
            Some(at) => at,
            None => self.make(client_version),
        };
        &self.runs[at].1
    }

    fn make(&mut self, client_version: u32) -> usize {
        let run = Run::new(self.room, self.said, client_version);
        if !self.runs.is_empty() {
            self.more_pieces += run.pieces.len();
        }
        if self.runs.len() >= RUNS {
            // The first one is most likely that of most members.
            self.runs.remove(1);
        }
        self.runs.push((client_version, run));
        self.runs.len() - 1
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use im_proto::{CmdId, Decoder, Suffix};

    use super::*;

    fn said(from: &[i64], size: usize) -> Said {
        let push = |(at, from): (usize, &i64)| {
            let body = Bytes::from(vec![u8::try_from(at).unwrap(); size]);
            (ConnId(*from), Push { cmd: CmdId::ROOM_PUSH, body, suffix: Suffix::NONE })
        };
        Said { pushes: from.iter().enumerate().map(push).collect(), missed: 0 }
    }

    fn numbers(parts: impl IntoIterator<Item = Bytes>) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        for part in parts {
            bytes.extend_from_slice(&part);
        }
        let mut numbers = Vec::new();
        while let Some(frame) = Decoder::default().decode(&mut bytes).unwrap() {
            assert_eq!((frame.cmd, frame.client_version), (CmdId::ROOM_PUSH, 9));
            numbers.push(frame.body[0]);
        }
        assert!(bytes.is_empty());
        numbers
    }

    #[test]
    fn a_run_is_encoded_once_for_all_clients_of_a_version() {
        let room = RoomId::new("a").unwrap();
        let said = said(&[1, 2, 1], 10);
        let mut runs = Runs::new(&room, &said);
        let first = runs.of(9).pieces[0].bytes.as_ptr();
        assert_ne!(runs.of(8).pieces[0].bytes.as_ptr(), first);
        assert_eq!(runs.of(9).pieces[0].bytes.as_ptr(), first);
        assert_eq!(numbers(runs.of(9).pieces.iter().map(|piece| piece.bytes.clone())), [0, 1, 2]);
    }

    #[test]
    fn members_with_a_version_each_do_not_have_a_run_each() {
        let room = RoomId::new("a").unwrap();
        let said = said(&[1, 2], 40_000);
        let mut runs = Runs::new(&room, &said);
        let first = runs.of(0).pieces[0].bytes.as_ptr();
        for version in 1..100 {
            assert_eq!(runs.of(version).pieces.len(), 1);
        }
        assert_eq!((runs.runs.len(), runs.more_pieces()), (RUNS, 99));
        assert_eq!(runs.of(0).pieces[0].bytes.as_ptr(), first, "that of most stays");
    }

    #[test]
    fn a_sender_gets_what_others_said_as_slices_of_the_same_bytes() {
        let said = said(&[1, 2, 2, 1, 3, 1], 10);
        let run = Run::new(&RoomId::new("a").unwrap(), &said, 9);
        let of_others = |link| {
            let parts = run.pieces[0].of_others(ConnId(link));
            (
                parts.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
                numbers(parts.into_iter().map(|part| part.0)),
            )
        };
        assert_eq!(of_others(1), (vec![2, 1], vec![1, 2, 4]));
        assert_eq!(of_others(2), (vec![1, 3], vec![0, 3, 4, 5]));
        assert_eq!(of_others(7), (vec![6], vec![0, 1, 2, 3, 4, 5]));
        assert_eq!(said.senders(), [ConnId(1), ConnId(2), ConnId(3)]);
    }

    #[test]
    fn who_says_nearly_all_does_not_hold_it_for_the_little_that_others_say() {
        let mut said = said(&[1, 1, 1], 20_000);
        said.pushes.extend(self::said(&[2], 10).pushes);
        let run = Run::new(&RoomId::new("a").unwrap(), &said, 9);
        let part = run.pieces[0].of_others(ConnId(1)).remove(0).0;
        assert!(part.is_unique() && part.len() < 100, "not a slice of all");
    }

    #[test]
    fn a_long_run_comes_in_pieces() {
        let run = Run::new(&RoomId::new("a").unwrap(), &said(&[1; 5], 40_000), 9);
        assert_eq!(run.pieces.iter().map(Piece::frames).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(numbers(run.pieces.into_iter().map(|piece| piece.bytes)), [0, 1, 2, 3, 4]);
    }
}
