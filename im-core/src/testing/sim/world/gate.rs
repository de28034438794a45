use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use im_proto::v1::C2cRequest;
use im_proto::{CmdId, Decoder, OutFrame};
use prost::Message as _;

use super::link::{Holder, Link, Pipe};
use super::server::{Done, Owner};
use super::{World, num};
use crate::router::KickPolicy;
use crate::session::{Effect, Input, Login, Reply, Request, Session};
use crate::testing::sim::event::{End, Event, LinkId, Segment};

/// A server's end of a link.
impl World {
    /// Accepts a link, unless the server cannot.
    pub(super) fn accept(&mut self, server: usize, holder: Holder) -> Option<LinkId> {
        let at = self.life(server);
        let limits = self.limits.clone();
        let now = self.kernel.now();
        let id = LinkId(self.last_link + 1);
        if self.servers[server].paused_until.is_some() {
            return None;
        }
        let running = self.running(at).filter(|running| !running.drains)?;
        let conn = running.logic.next_conn().ok()?;
        let session = Session::new(conn, running.logic.node(), limits, now);
        running.conns.insert(conn, id);
        let link = Link {
            holder,
            at,
            epoch: self.disks.epoch_now(),
            conn,
            session,
            uid: None,
            sends: Default::default(),
            inbox: Default::default(),
            timer: None,
            up: Pipe::default(),
            down: Pipe::default(),
            open_at_server: true,
            open_at_client: true,
        };
        self.links.insert(id, link);
        self.last_link = id.0;
        self.kernel.note("accept", id.0, num(server));
        self.set_session_timer(id);
        Some(id)
    }

    pub(super) fn arrives_at_server(&mut self, link: LinkId, segment: Segment) {
        let now = self.kernel.now();
        let Some(state) = self.links.get_mut(&link) else { return };
        if !state.open_at_server || state.up.is_cut(now) {
            return;
        }
        let bytes = match segment {
            Segment::Bytes(bytes) => bytes,
            Segment::Fin => return self.input(link, Input::Gone),
        };
        state.up.buffer.extend_from_slice(&bytes);
        loop {
            match Decoder::default().decode(&mut state.up.buffer) {
                Ok(Some(frame)) => state.inbox.push_back(frame),
                Ok(None) => break,
                Err(error) => {
                    self.pump(link);
                    return self.input(link, Input::Malformed(error));
                }
            }
        }
        self.pump(link);
    }

    /// Feeds the session what it wants to read.
    pub(super) fn pump(&mut self, link: LinkId) {
        let now = self.kernel.now();
        while let Some(state) = self.links.get_mut(&link) {
            if state.inbox.is_empty() || !state.open_at_server {
                return;
            }
            if !state.session.may_read(now) {
                if let Some(again) = state.session.next_read(now) {
                    self.kernel.at(again, Event::ReadAgain(link));
                }
                return;
            }
            if let Some(frame) = state.inbox.pop_front() {
                self.input(link, Input::Frame(frame));
            }
        }
    }

    pub(super) fn lost_at_server(&mut self, link: LinkId) {
        self.input(link, Input::Gone);
    }

    pub(super) fn session_timer(&mut self, link: LinkId) {
        if let Some(state) = self.links.get_mut(&link) {
            state.timer = None;
            self.input(link, Input::Timeout);
        }
    }

    fn set_session_timer(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link).filter(|link| link.open_at_server) else { return };
        if let Some(due) = state.session.next_deadline()
            && state.timer.is_none_or(|set| set > due)
        {
            state.timer = Some(due);
            self.kernel.at(due, Event::SessionTimer(link));
        }
    }

    /// Feeds a session and does what it says.
    pub(super) fn input(&mut self, link: LinkId, input: Input) {
        let now = self.kernel.now();
        let Some(state) = self.links.get_mut(&link).filter(|link| link.open_at_server) else { return };
        let server = state.at.server;
        let mut effects = Vec::new();
        state.session.handle(now, input, &mut effects);
        for effect in effects {
            self.effect(link, server, effect);
        }
        self.turn_soon(server);
        self.set_session_timer(link);
    }

    fn effect(&mut self, link: LinkId, server: usize, effect: Effect) {
        match effect {
            Effect::Write(frame) => self.write_frame(link, &frame),
            Effect::Login(login) => self.login(link, server, login),
            Effect::Request(request) => self.request(link, server, request),
            Effect::Ack(ack) => {
                if let Some(running) = &mut self.servers[server].running {
                    running.turn.acks.push(ack);
                }
            }
            Effect::Enter(room) => {
                let Some(conn) = self.links.get(&link).map(|link| link.conn) else { return };
                if let Some(running) = &mut self.servers[server].running {
                    running.rooms.entry(room).or_default().insert(conn);
                }
            }
            Effect::Exit(room) => {
                let Some(conn) = self.links.get(&link).map(|link| link.conn) else { return };
                if let Some(running) = &mut self.servers[server].running {
                    running.rooms.entry(room).or_default().remove(&conn);
                }
            }
            Effect::Leave(caller) => {
                if let Some(running) = &mut self.servers[server].running {
                    for links in running.rooms.values_mut() {
                        links.remove(&caller.conn);
                    }
                    running.turn.leaves.push(caller);
                }
            }
            Effect::Close(reason) => {
                self.kernel.note("close", link.0, 0);
                self.kernel.log(|| format!("{reason}"));
                self.close_at_server(link);
            }
        }
    }

    fn write_frame(&mut self, link: LinkId, frame: &OutFrame) {
        self.kernel.note("write", link.0, u64::from(frame.cmd.0));
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.watch(link, frame);
        self.write_bytes(link, End::Client, bytes.freeze());
    }

    fn login(&mut self, link: LinkId, server: usize, login: Login) {
        let caller = login.caller.clone();
        let who = (caller.uid.clone(), caller.device_type, caller.device.clone());
        let races = self.servers.iter().enumerate().any(|(other, state)| {
            let logins = state.running.iter().flat_map(|running| running.logins.values());
            other != server && logins.into_iter().any(|login| (&login.0, login.1) == (&who.0, who.1))
        });
        if races && self.scenario.kick == KickPolicy::SameDeviceType {
            self.kernel.count(|counts| counts.racing_logins += 1);
        }
        if let Some(state) = self.links.get_mut(&link) {
            state.uid = Some(caller.uid.clone());
        }
        let Some(running) = &mut self.servers[server].running else { return };
        running.logins.insert(caller.conn, who);
        let logic = running.logic.clone();
        let verdict = async move {
            let verdict = logic.login(login).await;
            Done::Verdict(caller, verdict)
        };
        self.executor.spawn(Owner::Server(server), verdict.boxed());
    }

    fn request(&mut self, link: LinkId, server: usize, request: Request) {
        if request.ticket.cmd == CmdId::C2C_SEND
            && let Some(state) = self.links.get_mut(&link)
            && let Ok(send) = C2cRequest::decode(request.body.clone())
        {
            state.sends.insert(request.ticket.seq, send.to);
        }
        let request = self.setup.gate.request(request);
        if let Some(running) = &mut self.servers[server].running {
            running.turn.requests.push(request);
        }
    }

    pub(super) fn reply(&mut self, server: usize, reply: Reply) {
        let reply = self.setup.gate.reply(reply);
        let Some(running) = &self.servers[server].running else { return };
        if let Some(link) = running.conns.get(&reply.conn).copied() {
            self.input(link, Input::Reply(reply));
            self.pump(link);
        }
    }

    fn close_at_server(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.open_at_server = false;
        let (at, conn, holder) = (state.at, state.conn, state.holder);
        if let Holder::Hostile(_) = holder {
            self.kernel.count(|counts| counts.hostile_links_closed += 1);
        }
        if let Some(running) = self.running(at) {
            running.conns.remove(&conn);
        }
        self.write(link, End::Client, Segment::Fin);
        self.tidy(link);
    }
}

/// A frame as bytes.
pub(super) fn encoded(frame: &im_proto::Frame) -> Bytes {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes.freeze()
}
