use im_proto::{CmdId, Seq};

use super::Numbers;
use super::log::Log;
use crate::clock::Nanos;
use crate::fault::Fault;
use crate::net::{LinkId, Net, Script, Wake};
use crate::wire::{Frame, Stamp, put};

/// Hands each message to the link that it names, and acks it. With a log, a turn's messages are durable before any of its acks and
/// deliveries leave; while one turn waits for the disk, the next one's messages gather in the sockets.
pub(super) struct Relay {
    numbers: Numbers,
    log: Option<Log>,
}

impl Relay {
    pub(super) fn new(log: Option<Log>) -> Self {
        Relay { numbers: Numbers::default(), log }
    }
}

impl Script for Relay {
    fn frame(&mut self, net: &mut Net, link: LinkId, frame: Frame<'_>, _: Nanos) -> Result<(), Fault> {
        if frame.cmd == CmdId::AUTH {
            self.numbers.login(net, link, &frame);
            return Ok(());
        }
        if let Some(log) = &mut self.log {
            log.append(frame.body);
        }
        if let Some(out) = net.out(link) {
            put(out, frame.cmd, frame.seq, &[]);
        }
        let target = Stamp::read(frame.body).and_then(|stamp| self.numbers.links.get(&stamp.target.0));
        if let Some(out) = target.and_then(|target| net.out(*target)) {
            put(out, CmdId::C2C_PUSH, Seq::PUSH, frame.body);
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut Net, _: LinkId, _: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn turn(&mut self, _: &mut Net, _: Nanos) -> Result<Wake, Fault> {
        if let Some(log) = &mut self.log {
            log.sync()?;
        }
        Ok(Wake::Whenever)
    }
}
