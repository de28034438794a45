//! Links without a client behind them: what the server itself does to a login.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use im_proto::CmdId;
use im_proto::v1::{AuthRequest, AuthResponse, Kickout};
use prost::Message as _;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A link that asked for a login.
pub(crate) struct Link {
    stream: TcpStream,
    received: Vec<u8>,
    /// Whether the other end closed it.
    closed: bool,
}

impl Link {
    /// Connects and asks for a login on a phone.
    pub(crate) fn ask(address: &str, user: &str, token: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        let device_type = 1;
        let (uid, token) = (user.to_owned(), token.to_owned());
        let auth = AuthRequest { uid, token, device_type, ..AuthRequest::default() };
        stream.set_read_timeout(Some(Duration::from_millis(5))).expect("a time-out that is not zero");
        stream.write_all(&frame(CmdId::AUTH, 1, &auth.encode_to_vec())).expect("a new link takes a frame");
        Self { stream, received: Vec::new(), closed: false }
    }

    /// Whether the login succeeded: waits for the answer.
    pub(crate) fn is_granted(&mut self) -> bool {
        self.granted().is_some_and(|answer| answer.err_code == 0)
    }

    /// How many entries the user's timeline had at the login.
    pub(crate) fn head(&mut self) -> i64 {
        self.granted().expect("an answer to a login").version
    }

    fn granted(&mut self) -> Option<AuthResponse> {
        let asked = Instant::now();
        while !self.closed && asked.elapsed() < PATIENCE {
            if let Some(body) = self.find(|cmd, _, _| cmd == CmdId::AUTH.0) {
                return Some(AuthResponse::decode(&body[..]).expect("an answer to a login"));
            }
            self.read();
        }
        assert!(self.closed, "no answer to a login");
        None
    }

    /// Asks something. Answers to what is asked under one number are one to this file.
    pub(crate) fn say(&mut self, cmd: CmdId, seq: u32, body: &impl prost::Message) {
        // A server that is gone shows when its answer is waited for.
        let _ = self.stream.write_all(&frame(cmd, seq, &body.encode_to_vec()));
    }

    /// The body of an answer: waits for it. Nothing if the link ends first.
    pub(crate) fn answer(&mut self, seq: u32) -> Option<Vec<u8>> {
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            if let Some(body) = self.find(|_, of, _| of == seq) {
                return Some(body);
            }
            if self.closed {
                return None;
            }
            self.read();
        }
        panic!("no answer to {seq}");
    }

    /// The sequence numbers and bodies of all answers of a command: waits for the end of the link.
    pub(crate) fn answers(&mut self, of: CmdId) -> Vec<(u32, Vec<u8>)> {
        let asked = Instant::now();
        while !self.closed {
            assert!(asked.elapsed() < PATIENCE, "the link does not end");
            self.read();
        }
        let mut answers = Vec::new();
        self.find(|cmd, seq, body| {
            if cmd == of.0 {
                answers.push((seq, body.to_vec()));
            }
            false
        });
        answers
    }

    /// Whether the server has closed it by now.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket can be read without waiting");
        self.read();
        self.stream.set_nonblocking(false).expect("and with waiting");
        self.closed
    }

    /// Why it was kicked, if it was by now.
    pub(crate) fn kicked(&mut self) -> Option<i32> {
        self.read();
        let body = self.find(|cmd, _, _| cmd == CmdId::KICKOUT.0)?;
        Some(Kickout::decode(&body[..]).expect("a kickout").reason)
    }

    /// Takes what has come, or waits a moment for it.
    fn read(&mut self) {
        let mut buffer = [0; 4_096];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.closed = true,
            Ok(read) => self.received.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.closed = true,
        }
    }

    /// The body of the first frame that is wanted, by command, sequence number and body.
    fn find(&self, mut is_wanted: impl FnMut(u32, u32, &[u8]) -> bool) -> Option<Vec<u8>> {
        let mut rest = &self.received[..];
        while let Some((header, after)) = rest.split_at_checked(20) {
            let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
            let (body, next) = after.split_at_checked(number(16).try_into().expect("a short frame"))?;
            if is_wanted(number(8), number(12), body) {
                return Some(body.to_vec());
            }
            rest = next;
        }
        None
    }
}

/// The 20 bytes of the header, and the body.
fn frame(cmd: CmdId, seq: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short body");
    let header = [20, 200, cmd.0, seq, length].map(u32::to_be_bytes).concat();
    [&header, body].concat()
}
