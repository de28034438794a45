use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::directory::Directory;

/// A network between a client and a server, which can fail: connections to its port go to another one.
#[derive(Debug)]
pub struct Proxy {
    // Its port is this one's.
    directory: Directory,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    to: SocketAddr,
    network: Network,
    /// Both ends of every connection.
    open: Vec<TcpStream>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    Whole,
    Stalled,
    Cut,
    Ended,
}

impl Proxy {
    /// A proxy for a server on 127.0.0.1. It ends when this is dropped.
    pub fn start(port: u16) -> Self {
        let directory = Directory::claim();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, directory.port()));
        let listener = listener.unwrap_or_else(|error| panic!("a proxy's port: {error}"));
        let state = State { to: local(port), network: Network::Whole, open: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = shared.clone();
        std::thread::spawn(move || accepting.accept(&listener));
        Self { directory, shared }
    }

    /// The port to connect to, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.directory.port()
    }

    /// New connections go to another server, as if a name led there now. Those that are open stay.
    pub fn lead_to(&self, port: u16) {
        self.shared.lock().to = local(port);
    }

    /// Cuts every connection, and each new one as soon as it comes, until [`heal`](Self::heal).
    pub fn cut(&self) {
        self.shared.enter(Network::Cut);
    }

    /// Connections stay and new ones are taken, but nothing passes until [`heal`](Self::heal), when what waited does.
    pub fn stall(&self) {
        self.shared.enter(Network::Stalled);
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.shared.enter(Network::Whole);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.enter(Network::Ended);
        // The thread that accepts looks up.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port()));
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

impl Shared {
    fn enter(&self, network: Network) {
        let mut state = self.lock();
        state.network = network;
        if matches!(network, Network::Cut | Network::Ended) {
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.changed.notify_all();
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            let to = match &*self.lock() {
                State { network: Network::Ended, .. } => return,
                State { network: Network::Cut, .. } => continue,
                State { to, .. } => *to,
            };
            // A server that is down: the client sees its connection end.
            let Ok(server) = TcpStream::connect(to) else { continue };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (Ok(from), Ok(to), Ok(kept)) = (from.try_clone(), to.try_clone(), from.try_clone())
                else {
                    continue;
                };
                self.lock().open.push(kept);
                let shared = self.clone();
                std::thread::spawn(move || shared.pump(from, to));
            }
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if !self.passes() || to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    /// Waits while the network stalls; whether it passes things then.
    fn passes(&self) -> bool {
        let mut state = self.lock();
        while state.network == Network::Stalled {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.network == Network::Whole
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Sends one byte; what comes back within a moment.
    fn echoed(link: &mut TcpStream) -> std::io::Result<usize> {
        link.set_read_timeout(Some(Duration::from_millis(200)))?;
        link.write_all(&[7])?;
        link.read(&mut [0])
    }

    /// A server that sends back what it gets.
    fn echo() -> u16 {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = server.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for link in server.incoming().flatten() {
                std::thread::spawn(move || std::io::copy(&mut &link, &mut &link));
            }
        });
        port
    }

    #[test]
    fn new_connections_follow_it_and_open_ones_stay() {
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let proxy = Proxy::start(echo());
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).expect("the proxy takes it");
        let mut open = connect();
        assert_eq!(echoed(&mut open).ok(), Some(1));
        proxy.lead_to(silent.local_addr().expect("an address").port());
        assert!(echoed(&mut connect()).is_err());
        assert_eq!(echoed(&mut open).ok(), Some(1));
    }

    #[test]
    fn it_passes_stalls_cuts_and_heals() {
        let proxy = Proxy::start(echo());
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).expect("the proxy takes it");
        let mut link = connect();
        assert_eq!(echoed(&mut link).ok(), Some(1));
        proxy.stall();
        assert_eq!(echoed(&mut link).map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock));
        proxy.heal();
        assert_eq!(echoed(&mut link).ok(), Some(1));
        proxy.cut();
        assert!(!matches!(echoed(&mut link), Ok(1)) || !matches!(echoed(&mut link), Ok(1)));
        assert!(!matches!(echoed(&mut connect()), Ok(1)));
        proxy.heal();
        assert_eq!(echoed(&mut connect()).ok(), Some(1));
    }
}
