use std::time::Duration;

use im_proto::{CmdId, Seq};

use crate::clock::Nanos;
use crate::fault::Fault;
use crate::net::{LinkId, Net, Script, Wake};
use crate::target::Target;
use crate::wire::{Dialect, Frame, put_room_join, unexpected};

/// The room that everybody is in.
pub(super) const ROOM: &str = "load";

/// When no join at all was answered for so long, none will be.
const PATIENCE: Duration = Duration::from_secs(20);

/// Puts links into the room. The floor has one room, and who logs in is in it.
pub(super) fn join(net: &mut Net, target: &Target, links: &[LinkId]) -> Result<(), Fault> {
    if target.dialect == Dialect::Floor {
        return Ok(());
    }
    let now = net.clock().now();
    net.run(&mut Join { target, links, asked: false, answered: 0, last: now })
}

struct Join<'a> {
    target: &'a Target,
    links: &'a [LinkId],
    asked: bool,
    answered: usize,
    /// When the last answer came.
    last: Nanos,
}

impl Script for Join<'_> {
    fn frame(&mut self, _: &mut Net, _: LinkId, frame: Frame<'_>, now: Nanos) -> Result<(), Fault> {
        if frame.cmd != CmdId::ROOM_JOIN {
            return Err(unexpected(&frame));
        }
        self.target.dialect.answered(&frame, "a join")?;
        self.answered += 1;
        self.last = now;
        Ok(())
    }

    fn closed(&mut self, _: &mut Net, _: LinkId, why: &str) -> Result<(), Fault> {
        Err(Fault::Product(format!("a link ended: {why}")))
    }

    fn turn(&mut self, net: &mut Net, now: Nanos) -> Result<Wake, Fault> {
        if !std::mem::replace(&mut self.asked, true) {
            for link in self.links {
                if let Some(out) = net.out(*link) {
                    put_room_join(out, Seq(2), ROOM);
                }
            }
        }
        if self.answered == self.links.len() {
            return Ok(Wake::Done);
        }
        if now.since(self.last) > PATIENCE {
            return Err(Fault::Product("joins were not answered".to_owned()));
        }
        Ok(Wake::At(now.plus(Duration::from_millis(50))))
    }
}
