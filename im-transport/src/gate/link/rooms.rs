//! What a link gets of the rooms that it is in.

use std::task::{Context, Poll};

use bytes::Bytes;
use im_core::id::{ConnId, RoomId};
use im_core::time::Tick;

use super::{Cut, Ending, Link, Work};
use crate::gate::run::Run;
use crate::gate::stream;

impl Link {
    /// Gives the link what was said in a room, but for what it said itself; `senders`, sorted, are whom the run is from. With `at_once` it is
    /// written here if nothing waits, which saves a fan-out the making of an outbox for each link. Whether the link is to be settled.
    pub(in crate::gate) fn hear(
        &mut self,
        now: Tick,
        run: &Run,
        senders: &[ConnId],
        at_once: bool,
        work: &mut Work,
    ) -> bool {
        let conn = self.session.conn();
        let spoke = senders.binary_search(&conn).is_ok();
        for piece in &run.pieces {
            if spoke {
                for (bytes, frames) in piece.of_others(conn) {
                    self.queue_shared(now, &run.room, bytes, frames, work);
                }
            } else if at_once && self.outbox.is_none() {
                self.write_shared(now, &piece.bytes, work);
            } else {
                self.queue_shared(now, &run.room, piece.bytes.clone(), piece.frames(), work);
            }
        }
        self.outbox.is_some() || !matches!(self.ending, Ending::Open)
    }

    /// Messages of a room were dropped before they came to the link.
    pub(in crate::gate) fn miss(&mut self, now: Tick, room: &RoomId, messages: u64) {
        if !matches!(self.ending, Ending::Open) {
            return;
        }
        if self.outbox.is_none() {
            self.progress = now;
        }
        self.outbox.get_or_insert_default().miss(room, messages);
    }

    /// Writes what the stream takes of it; the rest waits.
    fn write_shared(&mut self, now: Tick, bytes: &Bytes, work: &mut Work) {
        if !matches!(self.ending, Ending::Open) {
            return;
        }
        let mut cx = Context::from_waker(&self.waker);
        let mut written = 0;
        while written < bytes.len() {
            match stream::poll_write(&mut self.stream, &mut cx, &bytes[written..]) {
                Poll::Ready(Ok(count)) if count > 0 => written += count,
                Poll::Ready(_) => return self.cut(now, Cut::Broken, work),
                Poll::Pending => {
                    self.progress = now;
                    return self.outbox.get_or_insert_default().push_shared(bytes.slice(written..));
                }
            }
        }
    }

    /// Lets it wait behind what waits already, unless that is too much.
    fn queue_shared(&mut self, now: Tick, room: &RoomId, bytes: Bytes, frames: usize, work: &Work) {
        if !matches!(self.ending, Ending::Open) {
            return;
        }
        if self.outbox.is_none() {
            self.progress = now;
        }
        let outbox = self.outbox.get_or_insert_default();
        if outbox.len() > 0 && outbox.len() + bytes.len() > work.limits.room_backlog {
            return outbox.miss(room, u64::try_from(frames).unwrap_or(u64::MAX));
        }
        if let Some(count) = outbox.take_missed_of(room)
            && let Some(frame) = self.session.missed(room, count)
        {
            outbox.push(frame);
        }
        outbox.push_shared(bytes);
    }
}
