//! One TCP connection: frames in, frames out.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use im_proto::{Decoder, Frame, FrameError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// How much is read at once.
const READ: usize = 16 << 10;
/// How long a link that is given up may take to pass on what was written, and to be closed by the server.
const CLOSE: Duration = Duration::from_secs(1);

/// Opens a connection within `limit`.
pub(super) async fn open(server: String, limit: Duration) -> io::Result<Link> {
    let stream = timeout(limit, TcpStream::connect(server)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    // Frames are joined into one write a wake-up already; waiting for more would only add latency.
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    Ok(Link {
        reader,
        writer,
        received: BytesMut::new(),
        unwritten: BytesMut::new(),
        decoder: Decoder::default(),
    })
}

#[derive(Debug)]
pub(super) struct Link {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    received: BytesMut,
    unwritten: BytesMut,
    decoder: Decoder,
}

/// What a wait for the link brought.
#[derive(Debug)]
pub(super) enum Ready {
    /// Bytes arrived: see [`Link::frame`].
    Read,
    /// Bytes left.
    Written,
    /// The link is at its end.
    Closed,
}

impl Link {
    /// Queues a frame to be written by [`ready`](Self::ready).
    pub(super) fn write(&mut self, frame: &Frame) {
        frame.encode(&mut self.unwritten);
    }

    /// Reads or writes some bytes. Cancel safe: what was read or written is accounted for.
    pub(super) async fn ready(&mut self) -> Ready {
        self.received.reserve(READ);
        let progress = tokio::select! {
            read = self.reader.read_buf(&mut self.received) => read.map(|count| (count, Ready::Read)),
            written = self.writer.write_buf(&mut self.unwritten), if !self.unwritten.is_empty() => {
                written.map(|count| (count, Ready::Written))
            }
        };
        match progress {
            Ok((1.., ready)) => ready,
            Ok((0, _)) => Ready::Closed,
            Err(error) => {
                tracing::debug!(%error, "the link broke");
                Ready::Closed
            }
        }
    }

    /// The next whole frame of what was read.
    pub(super) fn frame(&mut self) -> Result<Option<Frame>, FrameError> {
        self.decoder.decode(&mut self.received)
    }

    /// Passes on what is queued, says that nothing follows, and waits for the server to close: a socket closed with bytes unread would
    /// take back the last ones written.
    pub(super) async fn close(mut self) {
        let farewell = async {
            self.writer.write_all_buf(&mut self.unwritten).await?;
            self.writer.shutdown().await?;
            loop {
                self.received.clear();
                if self.reader.read_buf(&mut self.received).await? == 0 {
                    return io::Result::Ok(());
                }
            }
        };
        // Failing or late, the link ends with this.
        let _ = timeout(CLOSE, farewell).await;
    }
}
