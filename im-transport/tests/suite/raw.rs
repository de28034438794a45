//! A client that knows frames and nothing else, over any stream.

use std::time::Duration;

use bytes::BytesMut;
use im_proto::v1::{AuthRequest, AuthResponse, C2cRequest, C2cResponse, Kickout};
use im_proto::{CmdId, Decoder, Frame, Seq};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What these clients call themselves.
pub const VERSION: u32 = 200;

/// Nothing here takes longer on a healthy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a raw client runs over.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// One link.
pub struct Raw {
    wire: Box<dyn Wire>,
    buf: BytesMut,
    seq: u32,
}

impl Raw {
    pub fn new(wire: impl Wire + 'static) -> Self {
        Self { wire: Box::new(wire), buf: BytesMut::new(), seq: 0 }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.wire.write_all(bytes).await.unwrap();
        self.wire.flush().await.unwrap();
    }

    /// Writes to a server that may have closed the link.
    pub async fn try_write(&mut self, bytes: &[u8]) {
        let _ = self.wire.write_all(bytes).await;
        let _ = self.wire.flush().await;
    }

    /// Writes as much as the server takes within a time.
    pub async fn try_write_for(&mut self, bytes: &[u8], time: Duration) {
        let _ = tokio::time::timeout(time, self.try_write(bytes)).await;
    }

    /// Sends a frame with any body.
    pub async fn frame(&mut self, cmd: CmdId, seq: Seq, body: &[u8]) {
        let mut bytes = BytesMut::new();
        Frame { client_version: VERSION, cmd, seq, body: body.to_vec().into() }.encode(&mut bytes);
        self.write(&bytes).await;
    }

    /// The next so many bytes of the stream.
    pub async fn bytes(&mut self, count: usize) -> BytesMut {
        while self.buf.len() < count {
            let read = tokio::time::timeout(PATIENCE, self.wire.read_buf(&mut self.buf)).await;
            assert_ne!(read.expect("the server answers in time").unwrap(), 0, "the link is open");
        }
        self.buf.split_to(count)
    }

    pub async fn send(&mut self, cmd: CmdId, seq: Seq, body: &impl Message) {
        self.write(&encoded(cmd, seq, body)).await;
    }

    /// Sends a request with the next sequence number.
    pub async fn ask(&mut self, cmd: CmdId, body: &impl Message) -> Seq {
        self.seq += 1;
        self.send(cmd, Seq(self.seq), body).await;
        Seq(self.seq)
    }

    /// The next frame; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Frame> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("the server answers in time")
    }

    async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Decoder::default().decode(&mut self.buf).unwrap() {
                return Some(frame);
            }
            match self.wire.read_buf(&mut self.buf).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next frame, of that command, decoded.
    pub async fn expect<T: Message + Default>(&mut self, cmd: CmdId) -> T {
        let frame = self.next().await.expect("the link is open");
        assert_eq!(frame.cmd, cmd);
        T::decode(frame.body).unwrap()
    }

    /// The server says nothing more and closes.
    pub async fn expect_end(&mut self) {
        assert_eq!(self.next().await, None);
    }

    pub async fn auth(&mut self, user: &str, device: &str) -> AuthResponse {
        self.ask(CmdId::AUTH, &credentials(user, device)).await;
        self.expect(CmdId::AUTH).await
    }

    /// Sends a message and waits for its acknowledgement, skipping pushes.
    pub async fn say(&mut self, to: &str, text: &str) -> C2cResponse {
        let seq = self.ask(CmdId::C2C_SEND, &message(to, text)).await;
        loop {
            let frame = self.next().await.expect("the link is open");
            if frame.cmd == CmdId::C2C_SEND && frame.seq == seq {
                return C2cResponse::decode(frame.body).unwrap();
            }
        }
    }

    /// The kickout and then the end.
    pub async fn expect_kickout(&mut self) -> Kickout {
        let kickout = self.expect(CmdId::KICKOUT).await;
        self.expect_end().await;
        kickout
    }
}

pub fn encoded(cmd: CmdId, seq: Seq, body: &impl Message) -> BytesMut {
    let mut bytes = BytesMut::new();
    let body = body.encode_to_vec().into();
    Frame { client_version: VERSION, cmd, seq, body }.encode(&mut bytes);
    bytes
}

/// What the suite's authenticator takes: the user's name is the token.
pub fn credentials(user: &str, device: &str) -> AuthRequest {
    AuthRequest {
        token: user.to_owned(),
        uid: user.to_owned(),
        device_id: device.to_owned(),
        ..AuthRequest::default()
    }
}

pub fn message(to: &str, text: &str) -> C2cRequest {
    C2cRequest { to: to.to_owned(), content: text.to_owned().into(), ..C2cRequest::default() }
}
