use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use im_core::id::RoomId;
use im_proto::OutFrame;
use tokio::io::AsyncWrite;

use super::stream::{self, BoxStream};

/// Bodies from this size on are written from where they are; smaller ones are cheaper to copy than to name.
const SHARED_FROM: usize = 4 << 10;

/// Slices of one vectored write.
const SLICES: usize = 32;

/// How many outboxes without a link are kept.
const SPARES: usize = 128;

/// An outbox that more than this went through at once is not kept.
const SPARE_BYTES: usize = 16 << 10;

/// Outboxes of links to which nothing has to wait, for those to which something has: a busy shard makes none.
#[derive(Debug, Default)]
#[allow(clippy::vec_box, reason = "a link holds its outbox in the same box")]
pub(super) struct Spares(Vec<Box<Outbox>>);

impl Spares {
    /// An empty outbox.
    pub(super) fn take(&mut self) -> Box<Outbox> {
        self.0.pop().unwrap_or_default()
    }

    /// Takes an outbox back, of which everything is written.
    pub(super) fn put(&mut self, outbox: Option<Box<Outbox>>) {
        if let Some(mut outbox) = outbox
            && self.0.len() < SPARES
            && outbox.taken <= SPARE_BYTES
        {
            outbox.taken = 0;
            self.0.push(outbox);
        }
    }
}

/// What waits to be written to one link. Exists only while something does.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Written first, in order.
    front: VecDeque<Bytes>,
    /// Frames on end, after `front`.
    tail: BytesMut,
    len: usize,
    /// Bytes that it took in all.
    taken: usize,
    /// Messages of rooms that were left out and that the client was not told of.
    missed: Vec<(RoomId, u64)>,
}

impl Outbox {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, frame: OutFrame) {
        self.grow(frame.len());
        if frame.body.len() < SHARED_FROM {
            frame.encode(&mut self.tail);
            return;
        }
        self.tail.extend_from_slice(&frame.header().to_bytes());
        self.front.push_back(self.tail.split().freeze());
        self.tail.extend_from_slice(frame.suffix.as_bytes());
        self.front.push_back(frame.body);
    }

    /// Bytes that others have too, of whole frames but for the first one's beginning.
    pub(super) fn push_shared(&mut self, bytes: Bytes) {
        self.grow(bytes.len());
        if !self.tail.is_empty() {
            self.front.push_back(self.tail.split().freeze());
        }
        self.front.push_back(bytes);
    }

    fn grow(&mut self, bytes: usize) {
        self.len += bytes;
        self.taken += bytes;
    }

    /// So many messages of a room are left out here.
    pub(super) fn miss(&mut self, room: &RoomId, messages: u64) {
        match self.missed.iter_mut().find(|(missed, _)| missed == room) {
            Some((_, count)) => *count += messages,
            None => self.missed.push((room.clone(), messages)),
        }
    }

    /// What the client is to be told of before the room goes on.
    pub(super) fn take_missed_of(&mut self, room: &RoomId) -> Option<u64> {
        let at = self.missed.iter().position(|(missed, _)| missed == room)?;
        Some(self.missed.swap_remove(at).1)
    }

    /// All that the client is to be told of.
    pub(super) fn take_missed(&mut self) -> Vec<(RoomId, u64)> {
        std::mem::take(&mut self.missed)
    }

    /// Writes what the stream takes; how much that was. Ready when nothing waits any more.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut BoxStream,
        cx: &mut Context<'_>,
        written: &mut usize,
    ) -> Poll<std::io::Result<()>> {
        while self.len > 0 {
            let count = ready!(self.poll_write_once(stream, cx))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            *written += count;
            self.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_once(&self, stream: &mut BoxStream, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.front.is_empty() {
            return stream::poll_write(stream, cx, &self.tail);
        }
        if self.front.is_empty() {
            return stream.poll_write_now(cx, &self.tail);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        let tail = std::iter::once(&self.tail[..]);
        let parts = self.front.iter().map(|part| &part[..]).chain(tail).filter(|part| !part.is_empty());
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        Pin::new(stream).poll_write_vectored(cx, &slices[..count])
    }

    fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(part) = self.front.front_mut() {
            if count < part.len() {
                return part.advance(count);
            }
            count -= part.len();
            self.front.pop_front();
        }
        self.tail.advance(count);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use im_proto::{CmdId, Seq, Suffix};
    use tokio::io::AsyncReadExt;

    use super::*;

    fn frame(len: usize, version: i64) -> OutFrame {
        let body = Bytes::from(vec![b'x'; len]);
        let suffix = Suffix::version(version);
        OutFrame { client_version: 1, cmd: CmdId::C2C_PUSH, seq: Seq::PUSH, body, suffix }
    }

    #[test]
    fn spares_are_few_and_small() {
        let mut spares = Spares::default();
        for len in [3, SPARE_BYTES, 7] {
            let mut outbox = Box::<Outbox>::default();
            outbox.push(frame(len, 0));
            spares.put(Some(outbox));
        }
        assert_eq!(spares.0.len(), 2);
        for _ in 0..SPARES {
            spares.put(Some(Box::default()));
        }
        assert_eq!(spares.0.len(), SPARES);
    }

    #[tokio::test]
    async fn small_and_large_frames_come_out_in_order_through_a_narrow_pipe() {
        let frames = [frame(3, 1), frame(9_000, 2), frame(0, 3), frame(4_096, 0), frame(70_000, 4)];
        let (near, mut far) = tokio::io::duplex(100);
        let mut outbox = Outbox::default();
        let mut expected = BytesMut::new();
        for frame in frames {
            frame.encode(&mut expected);
            outbox.push(frame);
        }
        let total = outbox.len();
        assert_eq!(total, expected.len());
        let mut stream: BoxStream = Box::new(near);
        let writer = async {
            let mut written = 0;
            std::future::poll_fn(|cx| outbox.poll_write(&mut stream, cx, &mut written)).await.unwrap();
            drop(stream);
            written
        };
        let mut got = Vec::new();
        let (written, _) = futures::join!(writer, far.read_to_end(&mut got));
        assert_eq!(written, total);
        assert_eq!(got, expected);
    }
}
