use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use im_proto::v1::{AuthRequest, LogoutRequest, MsgidAck, PushAck};
use im_proto::{CmdId, ErrorCode, Frame, OutFrame, Seq};
use prost::Message as _;

use super::rate::Rate;
use super::rooms::Rooms;
use super::{
    Ack, Acked, Caller, CloseReason, Effect, Granted, Input, KickReason, Login, NOOP_VERSION, Push, Reply,
    Request, SessionLimits, Ticket, Verdict, frame,
};
use crate::id::{ConnId, DeviceId, DeviceType, GroupId, LoginEpoch, MsgId, NodeId, RoomId, Uid, Version};
use crate::message::TimelineId;
use crate::ports::Credentials;
use crate::router::Route;
use crate::time::{Tick, Timestamp};

/// One link's life. See the [module](super) for the rules that it keeps.
#[derive(Debug)]
pub struct Session {
    conn: ConnId,
    node: NodeId,
    pub(super) limits: Arc<SessionLimits>,
    state: State,
    /// Of the last frame; `None` before the first one.
    client_version: Option<u32>,
    idle: Duration,
    /// When the current state ends by itself: auth deadline, idle limit, or the end of the grace.
    deadline: Tick,
    rate: Rate,
    requests_in_flight: u32,
    bytes_in_flight: u32,
}

#[derive(Debug)]
enum State {
    Connected,
    Authenticating(Box<Pending>),
    Ready(Ready),
    Draining(KickReason),
    Closed,
}

/// An auth that waits for its verdict.
#[derive(Debug)]
struct Pending {
    ticket: Ticket,
    caller: Arc<Caller>,
    noop_version: bool,
}

#[derive(Debug)]
struct Ready {
    caller: Arc<Caller>,
    noop_version: bool,
    /// The greatest version of the user's own timeline that was written to the link.
    told: Version,
    token_ends: Option<Tick>,
    login: LoginEpoch,
    since: Timestamp,
    /// Most links are in none.
    rooms: Option<Box<Rooms>>,
}

impl Session {
    /// A session for a link that was just accepted.
    pub fn new(conn: ConnId, node: NodeId, limits: Arc<SessionLimits>, now: Tick) -> Self {
        Self {
            conn,
            node,
            state: State::Connected,
            client_version: None,
            idle: limits.idle,
            deadline: now + limits.auth_deadline,
            rate: Rate::new(limits.frames_per_second_before_auth, limits.burst_before_auth),
            requests_in_flight: 0,
            bytes_in_flight: 0,
            limits,
        }
    }

    /// Takes one input and appends what is to be done to `effects`. After [`Effect::Close`] nothing is ever appended again.
    pub fn handle(&mut self, now: Tick, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Frame(frame) => self.on_frame(now, frame, effects),
            Input::Malformed(error) => self.close(CloseReason::Malformed(error), effects),
            Input::Verdict(verdict) => self.on_verdict(now, verdict, effects),
            Input::Reply(reply) => self.on_reply(reply, effects),
            Input::Push(push) => self.on_push(push, effects),
            Input::Kick { reason, retry_after } => self.on_kick(now, reason, retry_after, effects),
            Input::Timeout => self.on_timeout(now, effects),
            Input::Gone => self.close(CloseReason::Gone, effects),
        }
    }

    /// When to come with [`Input::Timeout`]; `None` once closed.
    pub fn next_deadline(&self) -> Option<Tick> {
        match &self.state {
            State::Closed => None,
            State::Ready(ready) => {
                Some(ready.token_ends.map_or(self.deadline, |ends| ends.min(self.deadline)))
            }
            _ => Some(self.deadline),
        }
    }

    /// Whether the link may be read: not while it has too much in flight, is over its rate or waits to be let into a room. Ask again after each reply, and at the time
    /// that [`next_read`](Self::next_read) names.
    pub fn may_read(&self, now: Tick) -> bool {
        self.requests_in_flight < self.limits.requests_in_flight
            && self.bytes_in_flight < self.limits.bytes_in_flight
            && self.rate.wait(now).is_none()
            && match &self.state {
                State::Closed | State::Draining(_) => false,
                State::Ready(ready) => ready.rooms.as_ref().is_none_or(|rooms| !rooms.is_joining()),
                State::Connected | State::Authenticating(_) => true,
            }
    }

    /// When a link that is over its rate may be read again.
    pub fn next_read(&self, now: Tick) -> Option<Tick> {
        self.rate.wait(now)
    }

    /// The link.
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// Who is logged in, while the session is ready.
    pub fn caller(&self) -> Option<&Arc<Caller>> {
        match &self.state {
            State::Ready(ready) => Some(&ready.caller),
            _ => None,
        }
    }

    /// The route of the login, while the session is ready.
    pub fn route(&self) -> Option<Route> {
        let State::Ready(ready) = &self.state else { return None };
        let caller = &ready.caller;
        Some(Route {
            uid: caller.uid.clone(),
            device: caller.device.clone(),
            device_type: caller.device_type,
            conn: caller.conn,
            node: caller.node,
            epoch: ready.login,
            since: ready.since,
        })
    }

    /// The greatest version of its user's own timeline that was written to the link, while the session is ready. A client that follows the protocol finds what it
    /// lacks below that by itself.
    pub fn told(&self) -> Option<Version> {
        match &self.state {
            State::Ready(ready) => Some(ready.told),
            _ => None,
        }
    }

    /// The client version that a push carries now; `None` unless the session is ready for pushes.
    pub fn push_version(&self) -> Option<u32> {
        match &self.state {
            State::Ready(_) => self.client_version,
            _ => None,
        }
    }

    /// The push in place of messages of a room that this link is not given, because it reads too slowly. `None` unless the session is ready
    /// for pushes.
    pub fn missed(&self, room: &RoomId, messages: u64) -> Option<OutFrame> {
        self.push_version().map(|client_version| frame::missed(room, messages, client_version))
    }

    /// Whether the link is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    fn on_frame(&mut self, now: Tick, frame: Frame, effects: &mut Vec<Effect>) {
        self.rate.take(now);
        self.client_version = Some(frame.client_version);
        if !seq_fits(frame.cmd, frame.seq) {
            return self.close(CloseReason::ReservedSeq { seq: frame.seq.0, cmd: frame.cmd.0 }, effects);
        }
        match &self.state {
            State::Connected if frame.cmd == CmdId::AUTH => self.on_auth(&frame, effects),
            State::Connected | State::Authenticating(_) => self.before_auth(&frame, effects),
            State::Ready(_) => {
                self.deadline = now + self.idle;
                self.on_command(frame, effects);
            }
            State::Draining(_) | State::Closed => {}
        }
    }

    fn before_auth(&mut self, frame: &Frame, effects: &mut Vec<Effect>) {
        if frame.cmd == CmdId::NOOP {
            effects.push(Effect::Write(frame::reply(&ticket(frame), Bytes::new())));
        } else if frame.cmd != CmdId::SIGNALLING {
            self.close(CloseReason::BeforeAuth(frame.cmd.0), effects);
        }
    }

    /// Once a link: inlined, it would cost every later frame some thirty instructions.
    #[inline(never)]
    fn on_auth(&mut self, frame: &Frame, effects: &mut Vec<Effect>) {
        let ticket = ticket(frame);
        let (request, credentials) = match login(frame) {
            Ok(login) => login,
            Err((code, why)) => {
                let message = match why {
                    CloseReason::InvalidAuth(..) => why.to_string(),
                    _ => code.to_string(),
                };
                effects.push(Effect::Write(frame::reply(&ticket, frame::auth_refused(code, message))));
                return self.close(why, effects);
            }
        };
        self.idle = self.limits.idle_for(request.heartbeat_seconds);
        let caller = Arc::new(Caller {
            uid: credentials.uid.clone(),
            device: credentials.device.clone(),
            device_type: credentials.device_type,
            conn: self.conn,
            node: self.node,
        });
        let noop_version = request.capabilities.iter().any(|name| name == NOOP_VERSION);
        self.state =
            State::Authenticating(Box::new(Pending { ticket, caller: caller.clone(), noop_version }));
        effects.push(Effect::Login(Login { caller, credentials }));
    }

    fn on_verdict(&mut self, now: Tick, verdict: Verdict, effects: &mut Vec<Effect>) {
        let State::Authenticating(_) = &self.state else { return };
        let State::Authenticating(pending) = std::mem::replace(&mut self.state, State::Closed) else {
            return;
        };
        match verdict {
            Verdict::Granted(granted) => self.admit(now, *pending, &granted, effects),
            Verdict::Refused { code, message, .. } => {
                let body = frame::auth_refused(code, message);
                effects.push(Effect::Write(frame::reply(&pending.ticket, body)));
                effects.push(Effect::Close(CloseReason::Refused));
            }
        }
    }

    fn admit(&mut self, now: Tick, pending: Pending, granted: &Granted, effects: &mut Vec<Effect>) {
        let body = frame::granted(granted, pending.noop_version);
        effects.push(Effect::Write(frame::reply(&pending.ticket, body)));
        self.deadline = now + self.idle;
        self.rate = Rate::new(self.limits.frames_per_second, self.limits.burst);
        self.state = State::Ready(Ready {
            caller: pending.caller,
            noop_version: pending.noop_version,
            told: granted.head,
            token_ends: granted.expires_at.map(|at| now + at.since(granted.server_time)),
            login: granted.login,
            since: granted.server_time,
            rooms: None,
        });
    }

    fn on_command(&mut self, frame: Frame, effects: &mut Vec<Effect>) {
        match (frame.cmd, frame.seq) {
            (CmdId::NOOP, _) => self.on_noop(frame, effects),
            (CmdId::SIGNALLING, _) => {}
            (CmdId::PUSH_ACK, _) => self.on_push_ack(&frame, effects),
            (_, Seq::PUSH) => self.on_message_ack(&frame, effects),
            (CmdId::LOGOUT, _) => self.on_logout(&frame, effects),
            (CmdId::ROOM_JOIN, _) => self.on_room_join(frame, effects),
            (CmdId::ROOM_LEAVE, _) => self.on_room_leave(frame, effects),
            (CmdId::ROOM_SEND, _) => self.on_room_send(frame, effects),
            (CmdId::AUTH, _) => {
                let body = frame::auth_refused(ErrorCode::Forbidden, CloseReason::SecondAuth.to_string());
                effects.push(Effect::Write(frame::reply(&ticket(&frame), body)));
                self.close(CloseReason::SecondAuth, effects);
            }
            _ => self.request(frame, effects),
        }
    }

    /// The rooms that the link is in, if the session is ready.
    pub(super) fn rooms(&mut self) -> Option<&mut Option<Box<Rooms>>> {
        match &mut self.state {
            State::Ready(ready) => Some(&mut ready.rooms),
            _ => None,
        }
    }

    fn on_noop(&mut self, frame: Frame, effects: &mut Vec<Effect>) {
        match &self.state {
            State::Ready(ready) if ready.noop_version => self.request(frame, effects),
            _ => effects.push(Effect::Write(frame::reply(&ticket(&frame), Bytes::new()))),
        }
    }

    pub(super) fn request(&mut self, frame: Frame, effects: &mut Vec<Effect>) {
        let State::Ready(ready) = &self.state else { return };
        let ticket = ticket(&frame);
        self.requests_in_flight += 1;
        self.bytes_in_flight = self.bytes_in_flight.saturating_add(ticket.weight);
        let (caller, told) = (ready.caller.clone(), ready.told);
        effects.push(Effect::Request(Request { caller, ticket, told, body: frame.body }));
    }

    fn on_push_ack(&mut self, frame: &Frame, effects: &mut Vec<Effect>) {
        let State::Ready(ready) = &self.state else { return };
        let Ok(ack) = PushAck::decode(frame.body.clone()) else {
            return self.undecodable(frame, effects);
        };
        let timeline = match ack.group {
            0 => TimelineId::User(ready.caller.uid.clone()),
            group => TimelineId::Group(GroupId(group)),
        };
        let of = Acked::UpTo(timeline, Version(ack.version));
        effects.push(Effect::Ack(Ack { caller: ready.caller.clone(), of }));
    }

    fn on_message_ack(&mut self, frame: &Frame, effects: &mut Vec<Effect>) {
        let State::Ready(ready) = &self.state else { return };
        if let Ok(ack) = MsgidAck::decode(frame.body.clone()) {
            let of = Acked::Message(MsgId(ack.msgid));
            effects.push(Effect::Ack(Ack { caller: ready.caller.clone(), of }));
        }
    }

    /// Answers a body that does not decode; not where the answer would look like a push.
    fn undecodable(&self, frame: &Frame, effects: &mut Vec<Effect>) {
        if frame.seq != Seq::PUSH {
            refuse(frame, ErrorCode::UndecodableBody, effects);
        }
    }

    fn on_logout(&mut self, frame: &Frame, effects: &mut Vec<Effect>) {
        let State::Ready(ready) = &self.state else { return };
        let Ok(request) = LogoutRequest::decode(frame.body.clone()) else {
            return self.undecodable(frame, effects);
        };
        if !request.uid.is_empty() && request.uid != ready.caller.uid.as_str() {
            return refuse(frame, ErrorCode::Forbidden, effects);
        }
        effects.push(Effect::Write(frame::reply(&ticket(frame), frame::logged_out())));
        self.close(CloseReason::LoggedOut, effects);
    }

    fn on_reply(&mut self, reply: Reply, effects: &mut Vec<Effect>) {
        if self.is_closed() {
            return;
        }
        self.requests_in_flight = self.requests_in_flight.saturating_sub(1);
        self.bytes_in_flight = self.bytes_in_flight.saturating_sub(reply.ticket.weight);
        if let State::Ready(ready) = &mut self.state {
            ready.told = ready.told.max(reply.told);
        }
        let joined = (reply.ticket.cmd == CmdId::ROOM_JOIN).then(|| reply.body.clone());
        effects.push(Effect::Write(frame::reply(&reply.ticket, reply.body)));
        if let Some(answer) = joined {
            self.on_joined(answer, effects);
        }
        if let State::Draining(reason) = self.state {
            self.close_when_drained(reason, effects);
        }
    }

    fn on_push(&mut self, push: Push, effects: &mut Vec<Effect>) {
        if let (State::Ready(ready), Some(client_version)) = (&mut self.state, self.client_version) {
            ready.told = ready.told.max(Version(push.suffix.named_version()));
            effects.push(Effect::Write(frame::push(push, client_version)));
        }
    }

    fn on_kick(
        &mut self,
        now: Tick,
        reason: KickReason,
        retry_after: Option<Duration>,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(self.state, State::Closed | State::Draining(_)) {
            return;
        }
        if let Some(client_version) = self.client_version {
            effects.push(Effect::Write(frame::kickout(reason, retry_after, client_version)));
        }
        self.leave(effects);
        self.state = State::Draining(reason);
        self.deadline = now + self.limits.kick_grace;
        self.close_when_drained(reason, effects);
    }

    fn close_when_drained(&mut self, reason: KickReason, effects: &mut Vec<Effect>) {
        if self.requests_in_flight == 0 {
            self.close(CloseReason::Kicked(reason), effects);
        }
    }

    fn on_timeout(&mut self, now: Tick, effects: &mut Vec<Effect>) {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match &self.state {
            State::Connected => self.close(CloseReason::AuthDeadline, effects),
            State::Authenticating(pending) => {
                let code = ErrorCode::Unavailable;
                let body = frame::auth_refused(code, code.to_string());
                effects.push(Effect::Write(frame::reply(&pending.ticket, body)));
                self.close(CloseReason::AuthDeadline, effects);
            }
            State::Ready(ready) if ready.token_ends.is_some_and(|ends| ends <= now) => {
                self.on_kick(now, KickReason::TokenEnded, None, effects);
            }
            State::Ready(_) => self.close(CloseReason::Idle, effects),
            State::Draining(reason) => self.close(CloseReason::Kicked(*reason), effects),
            State::Closed => {}
        }
    }

    fn close(&mut self, reason: CloseReason, effects: &mut Vec<Effect>) {
        if self.is_closed() {
            return;
        }
        self.leave(effects);
        self.state = State::Closed;
        effects.push(Effect::Close(reason));
    }

    fn leave(&mut self, effects: &mut Vec<Effect>) {
        if let State::Ready(ready) = &self.state {
            effects.push(Effect::Leave(ready.caller.clone()));
        }
    }
}

/// Whether the sequence number is one that this command may come with.
///
/// Noop, identify and signalling have numbers of their own (Mars, `stn.h`: `kNoopTaskID`, `kLongLinkIdentifyCheckerTaskID`,
/// `kSignallingKeeperTaskID`); identify carries whatever command the app authenticates with, here auth. 0 is for what answers a push.
fn seq_fits(cmd: CmdId, seq: Seq) -> bool {
    match seq {
        Seq::NOOP => cmd == CmdId::NOOP,
        Seq::IDENTIFY => cmd == CmdId::AUTH,
        Seq::SIGNALLING => cmd == CmdId::SIGNALLING,
        Seq::PUSH => {
            [CmdId::PUSH_ACK, CmdId::S2C, CmdId::C2C_PUSH, CmdId::C2G_PUSH, CmdId::CTRL_PUSH].contains(&cmd)
        }
        _ => true,
    }
}

/// Answers a request with an error.
pub(super) fn refuse(frame: &Frame, code: ErrorCode, effects: &mut Vec<Effect>) {
    effects.push(Effect::Write(frame::reply(&ticket(frame), frame::error(code))));
}

fn ticket(frame: &Frame) -> Ticket {
    let weight = u32::try_from(frame.body.len()).unwrap_or(u32::MAX).saturating_add(64);
    Ticket { cmd: frame.cmd, seq: frame.seq, client_version: frame.client_version, weight }
}

/// What the client asks for and shows, or why nobody can be that.
fn login(frame: &Frame) -> Result<(AuthRequest, Credentials), (ErrorCode, CloseReason)> {
    let request = AuthRequest::decode(frame.body.clone())
        .map_err(|_| (ErrorCode::UndecodableBody, CloseReason::UndecodableAuth))?;
    let refuse = |field, why| (ErrorCode::RefusedToken, CloseReason::InvalidAuth(field, why));
    let credentials = Credentials {
        uid: Uid::new(&request.uid).map_err(|why| refuse("uid", why))?,
        token: request.token.clone(),
        device: DeviceId::new(&request.device_id).map_err(|why| refuse("device_id", why))?,
        device_type: DeviceType(request.device_type),
    };
    Ok((request, credentials))
}
