//! Thousands of links on one thread: an epoll loop that hands whole frames to a [`Script`] and writes what
//! the script left at each turn's end, one write a link. The scenarios and the floors' servers both run on it, so that
//! neither side's machinery favours a figure.

mod link;
mod source;

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::clock::{Clock, Nanos};
use crate::fault::Fault;
use crate::wire::{self, Frame};
use link::Link;
pub(crate) use source::connect;

/// One read takes at most this much, and no frame is larger.
const SCRATCH: usize = 2 << 20;

/// A buffer that grew beyond this is not kept for the next link.
const SPARE: usize = 256 << 10;

/// Events of one turn.
const EVENTS: usize = 1_024;

const LISTENER: Token = Token(usize::MAX);

/// Names a link of a [`Net`]; a closed link's name is given again.
pub(crate) type LinkId = usize;

/// When a script wants its next turn, whatever arrives before.
pub(crate) enum Wake {
    /// At this moment.
    At(Nanos),
    /// When something arrives.
    Whenever,
    /// The run is over.
    Done,
}

/// What is done with the links.
pub(crate) trait Script {
    /// A link is open, by either side.
    fn opened(&mut self, _net: &mut Net, _link: LinkId) -> Result<(), Fault> {
        Ok(())
    }

    /// A frame arrived.
    fn frame(&mut self, net: &mut Net, link: LinkId, frame: Frame<'_>, now: Nanos) -> Result<(), Fault>;

    /// A link ended that this side did not close.
    fn closed(&mut self, net: &mut Net, link: LinkId, why: &str) -> Result<(), Fault>;

    /// Everything that had arrived is handled, and nothing is written yet of what that made.
    fn turn(&mut self, net: &mut Net, now: Nanos) -> Result<Wake, Fault>;
}

/// The links, and the loop.
pub(crate) struct Net {
    poll: Poll,
    clock: Clock,
    listener: Option<TcpListener>,
    links: Slab<Link>,
    dirty: Vec<LinkId>,
    spares: Vec<Vec<u8>>,
    scratch: Vec<u8>,
    narrow: bool,
}

impl Net {
    pub(crate) fn new(clock: Clock) -> Result<Self, Fault> {
        let poll = Poll::new().map_err(|error| Fault::system("epoll", &error))?;
        let (links, dirty, spares) = (Slab::new(), Vec::new(), Vec::new());
        let scratch = vec![0; SCRATCH];
        Ok(Net { poll, clock, listener: None, links, dirty, spares, scratch, narrow: false })
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Takes links on `address`; the address that it is in the end.
    pub(crate) fn listen(&mut self, address: SocketAddr) -> Result<SocketAddr, Fault> {
        let fault = |error: io::Error| Fault::system(&format!("cannot listen on {address}"), &error);
        let mut listener = source::listen(address).map_err(fault)?;
        self.poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(fault)?;
        let bound = listener.local_addr().map_err(fault)?;
        self.listener = Some(listener);
        Ok(bound)
    }

    /// Begins to open a link; [`Script::opened`] or [`Script::closed`] says how it went.
    pub(crate) fn open(&mut self, server: SocketAddr, source: usize) -> Result<LinkId, Fault> {
        let stream = connect(server, source, self.narrow)
            .map_err(|error| Fault::system("cannot open a link", &error))?;
        self.insert(stream, false).map_err(|error| Fault::system("cannot open a link", &error))
    }

    /// Whether links that are opened from now on are such that the systems on both sides keep little for them: what their script does not
    /// read, the server soon notices.
    pub(crate) fn narrow(&mut self, narrow: bool) {
        self.narrow = narrow;
    }

    /// Reads a link no more, but by [`sip`](Self::sip).
    pub(crate) fn pause(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(link) {
            link.paused = true;
        }
    }

    /// Takes up to `bytes` bytes from a paused link and throws them away.
    pub(crate) fn sip(&mut self, id: LinkId, bytes: usize, script: &mut impl Script) -> Result<(), Fault> {
        let Some(link) = self.links.get_mut(id) else { return Ok(()) };
        let bytes = bytes.min(self.scratch.len());
        match link.stream.read(&mut self.scratch[..bytes]) {
            Ok(0) if bytes > 0 => self.gone(id, "closed by the peer", script),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.gone(id, &error.to_string(), script)
            }
            _ => Ok(()),
        }
    }

    fn insert(&mut self, mut stream: TcpStream, open: bool) -> io::Result<LinkId> {
        let entry = self.links.vacant_entry();
        let id = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(id), interest)?;
        entry.insert(Link::new(stream, open));
        Ok(id)
    }

    /// Closes a link, of which [`Script::closed`] does not tell. Another may have its name from the next turn on.
    pub(crate) fn close(&mut self, link: LinkId) {
        self.links.try_remove(link);
    }

    /// How many links there are, open or opening.
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// Where to append what goes to a link at the turn's end; nowhere if the link is gone.
    pub(crate) fn out(&mut self, link: LinkId) -> Option<&mut Vec<u8>> {
        let at = self.links.get_mut(link)?;
        if !std::mem::replace(&mut at.dirty, true) {
            self.dirty.push(link);
            if at.out.capacity() == 0 {
                at.out = self.spares.pop().unwrap_or_default();
            }
        }
        Some(&mut at.out)
    }

    /// Writes bytes that go to many links, without a copy of what a link takes at once.
    pub(crate) fn write_shared(
        &mut self,
        id: LinkId,
        bytes: &[u8],
        script: &mut impl Script,
    ) -> Result<(), Fault> {
        let Some(link) = self.links.get_mut(id) else { return Ok(()) };
        match link.write_directly(bytes) {
            Ok(written) if written == bytes.len() => {}
            Ok(written) => {
                if let Some(out) = self.out(id) {
                    out.extend_from_slice(&bytes[written..]);
                }
            }
            Err(error) => return self.gone(id, &error.to_string(), script),
        }
        Ok(())
    }

    /// Runs a script until it is done.
    pub(crate) fn run(&mut self, script: &mut impl Script) -> Result<(), Fault> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let wake = script.turn(self, self.clock.now())?;
            self.flush(script)?;
            let timeout = match wake {
                Wake::Done => return Ok(()),
                Wake::Whenever => None,
                Wake::At(at) => Some(whole_millis(at.since(self.clock.now()))),
            };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(Fault::system("epoll", &error));
                }
                _ => {}
            }
            for event in &events {
                self.dispatch(event, script)?;
            }
        }
    }

    fn dispatch(&mut self, event: &mio::event::Event, script: &mut impl Script) -> Result<(), Fault> {
        if event.token() == LISTENER {
            return self.accept(script);
        }
        let Token(id) = event.token();
        let Some(link) = self.links.get_mut(id) else { return Ok(()) };
        if !link.open && event.is_writable() {
            match link.connected() {
                Ok(true) => script.opened(self, id)?,
                Ok(false) => return Ok(()),
                Err(error) => return self.gone(id, &error.to_string(), script),
            }
        } else if event.is_writable() {
            self.write(id, script)?;
        }
        let paused = self.links.get(id).is_none_or(|link| link.paused);
        if event.is_readable() && !paused { self.read(id, script) } else { Ok(()) }
    }

    fn accept(&mut self, script: &mut impl Script) -> Result<(), Fault> {
        loop {
            let Some(listener) = &self.listener else { return Ok(()) };
            match listener.accept() {
                Ok((stream, _)) => {
                    let id = stream.set_nodelay(true).and_then(|()| self.insert(stream, true));
                    let id = id.map_err(|error| Fault::system("cannot take a link", &error))?;
                    script.opened(self, id)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(Fault::system("cannot take a link", &error)),
            }
        }
    }

    fn read(&mut self, id: LinkId, script: &mut impl Script) -> Result<(), Fault> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let outcome = self.read_with(id, &mut scratch, script);
        self.scratch = scratch;
        outcome
    }

    /// A read that does not fill the buffer has emptied the socket, so epoll tells of what comes next.
    fn read_with(&mut self, id: LinkId, scratch: &mut [u8], script: &mut impl Script) -> Result<(), Fault> {
        loop {
            let Some(link) = self.links.get_mut(id) else { return Ok(()) };
            let kept = link.rest.len();
            let read = match link.stream.read(&mut scratch[kept..]) {
                Ok(0) => return self.gone(id, "closed by the peer", script),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.gone(id, &error.to_string(), script),
            };
            scratch[..kept].copy_from_slice(&std::mem::take(&mut link.rest));
            let arrived = &scratch[..kept + read];
            let used = self.frames(id, arrived, script)?;
            if let Some(link) = self.links.get_mut(id)
                && used < arrived.len()
            {
                link.rest = arrived[used..].to_vec();
            }
            if kept + read < scratch.len() {
                return Ok(());
            }
        }
    }

    /// Hands on the whole frames at the front; how many bytes they are.
    fn frames(&mut self, id: LinkId, arrived: &[u8], script: &mut impl Script) -> Result<usize, Fault> {
        let now = self.clock.now();
        let mut used = 0;
        loop {
            match wire::split(&arrived[used..]) {
                Ok(Some((frame, len))) => {
                    used += len;
                    script.frame(self, id, frame, now)?;
                }
                Ok(None) => return Ok(used),
                Err(error) => {
                    self.gone(id, &error.to_string(), script)?;
                    return Ok(arrived.len());
                }
            }
        }
    }

    fn flush(&mut self, script: &mut impl Script) -> Result<(), Fault> {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            self.write(id, script)?;
        }
        // What `closed` may have written meanwhile goes out next time.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
        Ok(())
    }

    fn write(&mut self, id: LinkId, script: &mut impl Script) -> Result<(), Fault> {
        let Some(link) = self.links.get_mut(id) else { return Ok(()) };
        link.dirty = false;
        match link.write() {
            Ok(Some(buffer)) if buffer.capacity() <= SPARE => self.spares.push(buffer),
            Ok(_) => {}
            Err(error) => return self.gone(id, &error.to_string(), script),
        }
        Ok(())
    }

    fn gone(&mut self, id: LinkId, why: &str, script: &mut impl Script) -> Result<(), Fault> {
        self.links.try_remove(id);
        script.closed(self, id, why)
    }
}

/// epoll counts in milliseconds; the last one before a deadline is spent asking, since a message of a 5,000/s schedule is due
/// every 0.2 ms.
fn whole_millis(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}
