use std::io::{self, Write as _};

use mio::net::TcpStream;

/// A buffer whose unwritten part starts later than this is moved to its front.
const COMPACT: usize = 64 << 10;

/// One socket. It holds memory only for an incomplete frame and for bytes that the peer does not take.
pub(super) struct Link {
    pub(super) stream: TcpStream,
    pub(super) open: bool,
    /// Whether it is not read.
    pub(super) paused: bool,
    /// Whether it waits for the turn's end to be written to.
    pub(super) dirty: bool,
    /// The beginning of a frame.
    pub(super) rest: Vec<u8>,
    pub(super) out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
}

impl Link {
    pub(super) fn new(stream: TcpStream, open: bool) -> Self {
        Link { stream, open, paused: false, dirty: false, rest: Vec::new(), out: Vec::new(), written: 0 }
    }

    /// How the attempt to connect went; `false` while it goes on.
    pub(super) fn connected(&mut self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => self.open = true,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => return Err(error),
        }
        Ok(self.open)
    }

    /// Writes what the peer takes; the emptied buffer, for others, when that was all of it.
    pub(super) fn write(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !self.open || self.out.is_empty() {
            return Ok(None);
        }
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.compact();
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        let mut buffer = std::mem::take(&mut self.out);
        buffer.clear();
        Ok(Some(buffer))
    }

    /// Writes what the peer takes at once, unless something waits before it; how much that was.
    pub(super) fn write_directly(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.open || !self.out.is_empty() {
            return Ok(0);
        }
        match self.stream.write(bytes) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(0)
            }
            written => written,
        }
    }

    fn compact(&mut self) {
        if self.written > COMPACT {
            self.out.drain(..self.written);
            self.written = 0;
        }
    }
}
