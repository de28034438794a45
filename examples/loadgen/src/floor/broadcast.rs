use im_proto::{CmdId, Seq};

use super::welcome;
use crate::clock::Nanos;
use crate::fault::Fault;
use crate::net::{LinkId, Net, Script, Wake};
use crate::wire::{Frame, put};

/// Hands a message to all links, and acks it. What one turn brings is put together once, and written to each link with one call from where it
/// is. A link that says something is no listener any more.
#[derive(Default)]
pub(super) struct Broadcast {
    members: Vec<LinkId>,
    speakers: Vec<LinkId>,
    /// What this turn hands on.
    batch: Vec<u8>,
}

impl Script for Broadcast {
    fn frame(&mut self, net: &mut Net, link: LinkId, frame: Frame<'_>, _: Nanos) -> Result<(), Fault> {
        if frame.cmd == CmdId::AUTH {
            self.members.push(link);
            welcome(net, link);
            return Ok(());
        }
        if !self.speakers.contains(&link) {
            self.members.retain(|member| *member != link);
            self.speakers.push(link);
        }
        if let Some(out) = net.out(link) {
            put(out, frame.cmd, frame.seq, &[]);
        }
        put(&mut self.batch, CmdId::ROOM_PUSH, Seq::PUSH, frame.body);
        Ok(())
    }

    fn closed(&mut self, _: &mut Net, link: LinkId, _: &str) -> Result<(), Fault> {
        self.members.retain(|member| *member != link);
        self.speakers.retain(|speaker| *speaker != link);
        Ok(())
    }

    fn turn(&mut self, net: &mut Net, _: Nanos) -> Result<Wake, Fault> {
        let mut batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            for member in self.members.clone() {
                net.write_shared(member, &batch, self)?;
            }
        }
        batch.clear();
        self.batch = batch;
        Ok(Wake::Whenever)
    }
}
