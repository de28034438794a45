use im_proto::{CmdId, Seq};

use super::welcome;
use crate::clock::Nanos;
use crate::fault::Fault;
use crate::net::{LinkId, Net, Script, Wake};
use crate::wire::{Frame, put};

/// Hands a message to all links but its sender's, and acks it.
#[derive(Default)]
pub(super) struct Broadcast {
    members: Vec<LinkId>,
}

impl Script for Broadcast {
    fn frame(&mut self, net: &mut Net, link: LinkId, frame: Frame<'_>, _: Nanos) -> Result<(), Fault> {
        if frame.cmd == CmdId::AUTH {
            self.members.push(link);
            welcome(net, link);
            return Ok(());
        }
        if let Some(out) = net.out(link) {
            put(out, frame.cmd, frame.seq, &[]);
        }
        for member in self.members.iter().filter(|member| **member != link) {
            if let Some(out) = net.out(*member) {
                put(out, CmdId::ROOM_PUSH, Seq::PUSH, frame.body);
            }
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut Net, link: LinkId, _: &str) -> Result<(), Fault> {
        self.members.retain(|member| *member != link);
        Ok(())
    }

    fn turn(&mut self, _: &mut Net, _: Nanos) -> Result<Wake, Fault> {
        Ok(Wake::Whenever)
    }
}
