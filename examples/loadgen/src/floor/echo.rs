use super::welcome;
use crate::clock::Nanos;
use crate::fault::Fault;
use crate::net::{LinkId, Net, Script, Wake};
use crate::wire::{Frame, put};
use im_proto::CmdId;

/// Sends every frame back.
pub(super) struct Echo;

impl Script for Echo {
    fn frame(&mut self, net: &mut Net, link: LinkId, frame: Frame<'_>, _: Nanos) -> Result<(), Fault> {
        if frame.cmd == CmdId::AUTH {
            welcome(net, link);
        } else if let Some(out) = net.out(link) {
            put(out, frame.cmd, frame.seq, frame.body);
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut Net, _: LinkId, _: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn turn(&mut self, _: &mut Net, _: Nanos) -> Result<Wake, Fault> {
        Ok(Wake::Whenever)
    }
}
