//! Frames as the load generator sees them, and the two dialects that it speaks in them: the protocol's, and the floors', which
//! have the same frames around the barest bodies.

mod content;
mod dialect;
mod fields;
mod template;

use im_proto::{CmdId, FrameError, Header, Limits, Seq};

pub(crate) use content::{Stamp, Target};
pub(crate) use dialect::{Ack, Dialect, Kept, put_pull, put_push_ack, put_room_join, unexpected};
pub(crate) use template::Template;

/// The client version that all frames carry.
const CLIENT_VERSION: u32 = 1;

/// A frame that lies in a read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) cmd: CmdId,
    pub(crate) seq: Seq,
    pub(crate) body: &'a [u8],
}

/// The frame at the front and its length, or `None` if it is not whole.
pub(crate) fn split(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some(parsed) = Header::parse(bytes, &Limits::default())? else { return Ok(None) };
    let len = parsed.frame_len();
    let Some(body) = bytes.get(parsed.head_len..len) else { return Ok(None) };
    Ok(Some((Frame { cmd: parsed.header.cmd, seq: parsed.header.seq, body }, len)))
}

/// Appends a frame.
pub(crate) fn put(out: &mut Vec<u8>, cmd: CmdId, seq: Seq, body: &[u8]) {
    let body_len = u32::try_from(body.len()).expect("bodies here are under 1 MiB");
    out.extend_from_slice(&Header { client_version: CLIENT_VERSION, cmd, seq, body_len }.to_bytes());
    out.extend_from_slice(body);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_off_the_front_of_a_stream_once_they_are_whole() {
        let mut stream = Vec::new();
        put(&mut stream, CmdId::NOOP, Seq::NOOP, b"");
        put(&mut stream, CmdId::AUTH, Seq(1), b"body");
        let (first, len) = split(&stream).unwrap().unwrap();
        assert_eq!((first.cmd, first.seq, first.body, len), (CmdId::NOOP, Seq::NOOP, &b""[..], 20));
        let (second, _) = split(&stream[len..]).unwrap().unwrap();
        assert_eq!((second.cmd, second.seq, second.body), (CmdId::AUTH, Seq(1), &b"body"[..]));
        assert_eq!(split(&stream[len..len + 23]).unwrap(), None);
    }
}
