use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// What a link runs over: a TCP socket, or later TLS or a WebSocket on one.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// A [`Stream`] whose kind the gate need not know.
pub(crate) type BoxStream = Box<dyn Stream>;

/// Reads once, `most` bytes at most, into what `buf` has free, without growing it; 0 is the end of the stream.
pub(super) fn poll_read(
    stream: &mut BoxStream,
    cx: &mut Context<'_>,
    buf: &mut BytesMut,
    most: usize,
) -> Poll<std::io::Result<usize>> {
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
) -> Poll<std::io::Result<usize>> {
    Pin::new(stream).poll_write(cx, bytes)
}

/// Ends the writing half.
pub(super) fn poll_shutdown(stream: &mut BoxStream, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
    Pin::new(stream).poll_shutdown(cx)
}
