use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

/// What a link runs over: a TCP socket, or later TLS or a WebSocket on one.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Writes once, as [`AsyncWrite::poll_write`] does.
    fn poll_write_now(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(cx, bytes)
    }
}

impl Stream for TcpStream {
    /// Tries before it asks whether it may, which saves a fan-out half of what is not the kernel's.
    fn poll_write_now(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match try_write(self, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Pin::new(self).poll_write(cx, bytes),
            outcome => Poll::Ready(outcome),
        }
    }
}

/// Without the C library, whose `send` is ready for the thread to be cancelled, at the price of two locked instructions a call.
#[cfg(target_os = "linux")]
fn try_write(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    use rustix::net::{SendFlags, send};
    stream.try_io(tokio::io::Interest::WRITABLE, || Ok(send(stream, bytes, SendFlags::NOSIGNAL)?))
}

#[cfg(not(target_os = "linux"))]
fn try_write(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    stream.try_write(bytes)
}

#[cfg(test)]
impl Stream for tokio::io::DuplexStream {}

/// A [`Stream`] whose kind the gate need not know.
pub(crate) type BoxStream = Box<dyn Stream>;

/// Reads once, `most` bytes at most, into what `buf` has free, without growing it; 0 is the end of the stream.
pub(super) fn poll_read(
    stream: &mut BoxStream,
    cx: &mut Context<'_>,
    buf: &mut BytesMut,
    most: usize,
) -> Poll<io::Result<usize>> {
    // Reading is cancel safe: a pending read has taken nothing.
    let mut buf = buf.limit(most.max(1));
    let mut read = std::pin::pin!(stream.read_buf(&mut buf));
    Future::poll(read.as_mut(), cx)
}

/// Writes once; how much was taken.
pub(super) fn poll_write(
    stream: &mut BoxStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    stream.poll_write_now(cx, bytes)
}

/// Ends the writing half.
pub(super) fn poll_shutdown(stream: &mut BoxStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    Pin::new(stream).poll_shutdown(cx)
}
