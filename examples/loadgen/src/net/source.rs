use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

/// Addresses that the links come from when the server is on loopback, from 127.0.1.1 on. One address has some 28,000 ports for
/// one destination, and servers bound the links of one address.
const SOURCES: usize = 32;

/// What connect(2) says when a non-blocking attempt has begun.
const EINPROGRESS: i32 = 115;

/// A narrow link's bytes that the system keeps unread, and its segments, which bound what the server's system keeps unsent: one of
/// loopback's own 64 KiB segments makes that megabytes.
const NARROW_WINDOW: usize = 4 << 10;
const NARROW_SEGMENT: u32 = 536;

/// Begins to connect; links with different `source` come from different addresses, if the server is on loopback. Little fits into a
/// `narrow` one.
pub(crate) fn connect(server: SocketAddr, source: usize, narrow: bool) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if narrow {
        socket.set_recv_buffer_size(NARROW_WINDOW)?;
        socket.set_tcp_mss(NARROW_SEGMENT)?;
    }
    if let Some(address) = source_address(server.ip(), source) {
        socket.bind(&SocketAddr::new(address, 0).into())?;
    }
    match socket.connect(&server.into()) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(error),
        _ => {}
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// Connections that wait to be taken. With the standard library's 128, a storm's SYNs are dropped and come again after a second.
const BACKLOG: i32 = 4_096;

/// Takes connections on `address`.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn source_address(server: IpAddr, source: usize) -> Option<IpAddr> {
    let IpAddr::V4(v4) = server else { return None };
    let last = u8::try_from(source % SOURCES + 1).ok()?;
    v4.is_loopback().then_some(IpAddr::V4(Ipv4Addr::new(127, 0, 1, last)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn links_to_loopback_come_from_many_addresses_and_others_from_the_systems_choice() {
        let loopback = "127.0.0.1".parse().unwrap();
        let sources: std::collections::BTreeSet<_> =
            (0..100).map(|link| source_address(loopback, link).unwrap()).collect();
        assert_eq!(sources.len(), SOURCES);
        assert!(sources.iter().all(IpAddr::is_loopback));
        assert_eq!(source_address("10.0.0.1".parse().unwrap(), 0), None);
        assert_eq!(source_address("::1".parse().unwrap(), 0), None);
    }
}
