//! Standard input, line by line.

use std::io::{self, BufRead};

use im_proto::MAX_FRAME;
use tokio::sync::mpsc;

/// The longest line that is a message: a frame has room for it, with an id and a receiver of any length.
pub(crate) const LONGEST: usize = MAX_FRAME - 1024;

/// One line, without its line feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// It was longer than [`LONGEST`] and is thrown away.
    TooLong,
}

/// Lines of standard input, read by a thread of their own: a terminal cannot be read without waiting. At most a few are read ahead.
pub(crate) fn of_stdin() -> mpsc::Receiver<io::Result<Line>> {
    let (sender, receiver) = mpsc::channel(64);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(line) = next(&mut input, LONGEST).transpose() {
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// The next line; `None` at the end. What follows the last line feed is a line unless it is empty.
fn next(input: &mut impl BufRead, longest: usize) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    let (mut begun, mut too_long) = (false, false);
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        let at_end_of_input = available.is_empty();
        begun |= !at_end_of_input;
        too_long |= bytes.len() + part.len() > longest;
        if !too_long {
            bytes.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() || at_end_of_input {
            let line = if too_long { Line::TooLong } else { Line::Bytes(bytes) };
            return Ok(begun.then_some(line));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lines(mut input: &[u8]) -> Vec<Line> {
        std::iter::from_fn(|| next(&mut input, 5).unwrap()).collect()
    }

    fn bytes(text: &str) -> Line {
        Line::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn only_the_line_feed_is_taken_off() {
        assert_eq!(lines(b" a \r\nb\t\n"), [bytes(" a \r"), bytes("b\t")]);
    }

    #[test]
    fn an_empty_line_is_a_line() {
        assert_eq!(lines(b"\n\na\n"), [bytes(""), bytes(""), bytes("a")]);
    }

    #[test]
    fn a_last_line_needs_no_line_feed() {
        assert_eq!(lines(b"a\nb"), [bytes("a"), bytes("b")]);
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        assert_eq!(lines(b"\xff\0\n"), [Line::Bytes(vec![0xff, 0])]);
    }

    #[test]
    fn a_line_that_is_too_long_is_dropped_alone() {
        assert_eq!(lines(b"12345\n123456\n1\n"), [bytes("12345"), Line::TooLong, bytes("1")]);
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let mut input = io::BufReader::with_capacity(2, &b"abcd\ne"[..]);
        assert_eq!(next(&mut input, 5).unwrap(), Some(bytes("abcd")));
        assert_eq!(next(&mut input, 5).unwrap(), Some(bytes("e")));
        assert_eq!(next(&mut input, 5).unwrap(), None);
    }
}
