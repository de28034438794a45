//! Minimal servers that do nothing but move frames, on the same loop as the load generator itself: raw epoll, one thread, one
//! write a link and turn. What a real server costs beyond them is the price of what it does beyond them.

mod accept;
mod broadcast;
mod echo;
mod log;
mod relay;
mod scan;

use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use im_proto::{CmdId, Seq};

use crate::clock::Clock;
use crate::fault::Fault;
use crate::net::{LinkId, Net};
use crate::target::Floor;
use crate::wire::{Frame, put};
pub(crate) use scan::Scanner;

/// Serves until the process is killed. Prints `ready tcp=HOST:PORT`.
pub(crate) fn serve(floor: Floor, listen: SocketAddr, data: &Path) -> Result<(), Fault> {
    let mut net = Net::new(Clock::start())?;
    let address = net.listen(listen)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready tcp={address}")
        .and_then(|()| out.flush())
        .map_err(|error| Fault::system("standard output", &error))?;
    drop(out);
    run(floor, &mut net, data)
}

fn run(floor: Floor, net: &mut Net, data: &Path) -> Result<(), Fault> {
    match floor {
        Floor::Echo => net.run(&mut echo::Echo),
        Floor::Accept => net.run(&mut accept::Accept),
        Floor::Relay => net.run(&mut relay::Relay::new(None)),
        Floor::RelayLog => net.run(&mut relay::Relay::new(Some(log::Log::create(data)?))),
        Floor::Broadcast => net.run(&mut broadcast::Broadcast::default()),
    }
}

/// Answers a login.
fn welcome(net: &mut Net, link: LinkId) {
    if let Some(out) = net.out(link) {
        put(out, CmdId::AUTH, Seq(1), &[]);
    }
}

/// Which link has which number.
#[derive(Default)]
struct Numbers {
    links: HashMap<u32, LinkId>,
}

impl Numbers {
    fn login(&mut self, net: &mut Net, link: LinkId, frame: &Frame<'_>) {
        if let Some(number) = frame.body.first_chunk() {
            self.links.insert(u32::from_be_bytes(*number), link);
        }
        welcome(net, link);
    }
}
