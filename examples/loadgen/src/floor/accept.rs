use super::welcome;
use crate::clock::Nanos;
use crate::fault::Fault;
use crate::net::{LinkId, Net, Script, Wake};
use crate::wire::Frame;

/// Takes links and answers their first frame, which is what the shortest login costs.
pub(super) struct Accept;

impl Script for Accept {
    fn frame(&mut self, net: &mut Net, link: LinkId, _: Frame<'_>, _: Nanos) -> Result<(), Fault> {
        welcome(net, link);
        Ok(())
    }

    fn closed(&mut self, _: &mut Net, _: LinkId, _: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn turn(&mut self, _: &mut Net, _: Nanos) -> Result<Wake, Fault> {
        Ok(Wake::Whenever)
    }
}
