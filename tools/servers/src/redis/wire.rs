use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const AN_ATTEMPT: Duration = Duration::from_secs(5);

/// Runs one inline command on a connection of its own; arrays come as lines.
pub(super) fn run(port: u16, command: &str) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), AN_ATTEMPT)?;
    stream.set_read_timeout(Some(AN_ATTEMPT))?;
    (&stream).write_all(format!("{command}\r\n").as_bytes())?;
    answer(&mut BufReader::new(stream))
}

fn answer(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let (kind, rest) = line.trim_end().split_at_checked(1).ok_or(io::ErrorKind::UnexpectedEof)?;
    match kind {
        "-" => Err(io::Error::other(rest.to_owned())),
        "$" => bulk(reader, number(rest)?),
        "*" => {
            let elements: io::Result<Vec<String>> = (0..number(rest)?).map(|_| answer(reader)).collect();
            Ok(elements?.join("\n"))
        }
        _ => Ok(rest.to_owned()),
    }
}

fn bulk(reader: &mut impl BufRead, length: i64) -> io::Result<String> {
    let Ok(length) = usize::try_from(length) else { return Ok(String::new()) };
    let mut bytes = vec![0; length + 2];
    reader.read_exact(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| io::ErrorKind::InvalidData.into())
}
