use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use im_proto::v1::C2cPush;
use im_proto::{CmdId, Decoder, Frame, Seq};
use prost::Message as _;

use super::disk::Write;
use super::gate::encoded;
use super::link::Holder;
use super::{World, num};
use crate::client::{
    Backoff, Client, ClientConfig, EarlierPlace, Effect, EndReason, HeartbeatRange, Input, LocalEntry,
    LocalStore, MemoryLocalStore, Outgoing, Receipt, Saved,
};
use crate::id::{ClientMsgId, DeviceId, DeviceType, MsgId, Uid, Version};
use crate::message::ContentType;
use crate::session::KickReason;
use crate::testing::sim::event::{DeviceLife, End, Event, LinkId, Segment};
use crate::testing::sim::history::{self, Seen};
use crate::testing::sim::outside::token_of;
use crate::time::Tick;

/// A device: a local store that lasts, and a process that does not.
pub(super) struct Device {
    pub(super) uid: Uid,
    pub(super) id: DeviceId,
    pub(super) kind: DeviceType,
    pub(super) disk: MemoryLocalStore,
    pub(super) life: u64,
    pub(super) running: Option<Process>,
    /// Whether it comes back by itself after it ended.
    pub(super) comes_back: bool,
    /// What its user handed in.
    pub(super) sent: Vec<Outgoing>,
    /// What it was acknowledged.
    pub(super) acked: BTreeMap<ClientMsgId, Receipt>,
}

/// What a crash takes along.
pub(super) struct Process {
    pub(super) client: Client,
    pub(super) link: Option<LinkId>,
    timer: Option<Tick>,
    /// What is still to be written to the local store.
    pub(super) writes: VecDeque<Write>,
    /// A push showed a gap.
    gap: bool,
}

impl Device {
    pub(super) fn new(uid: Uid, id: DeviceId, kind: DeviceType) -> Self {
        Self {
            uid,
            id,
            kind,
            disk: MemoryLocalStore::new(),
            life: 0,
            running: None,
            comes_back: true,
            sent: Vec::new(),
            acked: BTreeMap::new(),
        }
    }

    /// What it would know after a restart.
    pub(super) fn saved(&self) -> Saved {
        self.disk.load().now_or_never().and_then(Result::ok).unwrap_or_default()
    }

    pub(super) fn kept(&self) -> Vec<LocalEntry> {
        self.disk.read(Version::ZERO, usize::MAX).now_or_never().and_then(Result::ok).unwrap_or_default()
    }

    pub(super) fn earlier(&self) -> Vec<LocalEntry> {
        let earlier = self.disk.earlier(EarlierPlace::END, usize::MAX).now_or_never();
        earlier.and_then(Result::ok).into_iter().flatten().map(|earlier| earlier.entry).collect()
    }

    /// Whether nothing is on its way to the local store.
    pub(super) fn is_written(&self) -> bool {
        self.running.as_ref().is_none_or(|process| process.writes.is_empty())
    }
}

impl World {
    pub(super) fn start_device(&mut self, device: usize) {
        if self.devices[device].running.is_some() {
            return;
        }
        let config = self.client_config(device);
        let seed = self.kernel.dice(super::super::dice::Dice::number);
        let state = &mut self.devices[device];
        state.life += 1;
        self.kernel.note("device starts", num(device), state.life);
        let client = Client::new(config, state.saved(), seed);
        state.running =
            Some(Process { client, link: None, timer: None, writes: VecDeque::new(), gap: false });
        self.client_input(device, Input::Start);
    }

    fn client_config(&self, device: usize) -> ClientConfig {
        let state = &self.devices[device];
        let mut config = ClientConfig::new(state.uid.clone(), token_of(&state.uid), state.id.clone());
        config.device_type = state.kind;
        config.request_timeout = Duration::from_secs(3);
        config.backoff = Backoff { base: Duration::from_millis(60), cap: Duration::from_secs(3) };
        self.kernel.dice(|dice| {
            config.heartbeat = HeartbeatRange::fixed(Duration::from_secs(dice.between(3, 10)));
            config.window = dice.index(16) + 1;
            config.page_limit = i32::try_from(dice.between(2, 30)).unwrap_or(10);
            config.ack_delay = dice.millis(0, 200);
            config.max_waiting = dice.index(20) + 1;
            config.max_unapplied = dice.index(30) + 1;
        });
        config
    }

    pub(super) fn device_life(&self, device: usize) -> DeviceLife {
        DeviceLife { device, life: self.devices[device].life }
    }

    pub(super) fn process(&mut self, at: DeviceLife) -> Option<&mut Process> {
        let device = &mut self.devices[at.device];
        if device.life == at.life { device.running.as_mut() } else { None }
    }

    /// A user writes a message. It is kept on the device before it is sent, so a device that is off sends it later.
    pub(super) fn hand_in(&mut self, device: usize, to: &Uid) {
        let now = self.kernel.now();
        let state = &mut self.devices[device];
        let number = num(state.sent.len());
        let Ok(client_msg_id) = ClientMsgId::new(&format!("{}-{device}-{number}", state.uid)) else { return };
        let outgoing = Outgoing {
            client_msg_id,
            to: to.clone(),
            content_type: ContentType(i32::try_from(number % 3).unwrap_or(0)),
            content: history::content(&state.uid, to, number).into(),
        };
        self.kernel.note("hand in", num(device), number);
        self.kernel.log(|| format!("{} to {to}", outgoing.client_msg_id));
        self.kernel.count(|counts| counts.sends += 1);
        // The local store in memory never waits and never fails.
        let _ = state.disk.enqueue(vec![outgoing.clone()]).now_or_never();
        state.sent.push(outgoing.clone());
        let Some(process) = &mut state.running else { return };
        let mut effects = Vec::new();
        if let Err(refused) = process.client.send(now, outgoing, &mut effects) {
            self.fail("no_loss", format!("device {device} does not take a message: {refused}"));
        }
        self.client_effects(device, effects);
    }

    /// Feeds a client and does what it says.
    pub(super) fn client_input(&mut self, device: usize, input: Input) {
        let now = self.kernel.now();
        let Some(process) = &mut self.devices[device].running else { return };
        let mut effects = Vec::new();
        process.client.handle(now, input, &mut effects);
        self.client_effects(device, effects);
    }

    fn client_effects(&mut self, device: usize, effects: Vec<Effect>) {
        for effect in effects {
            self.client_effect(device, effect);
        }
        self.set_client_timer(device);
    }

    fn client_effect(&mut self, device: usize, effect: Effect) {
        match effect {
            Effect::Connect => self.connect(device),
            Effect::Write(frame) => self.client_writes(device, frame),
            Effect::Disconnect => self.close_at_client(device),
            Effect::BeginEpoch(epoch) => self.disk_queue(device, Write::BeginEpoch(epoch)),
            Effect::Apply { entries, cursor } => self.disk_queue(device, Write::Apply(entries, cursor)),
            Effect::Acked(receipt) => self.acked(device, receipt),
            Effect::Rejected(rejection) => {
                self.see(&Seen::Rejected { device, why: &rejection.to_string() });
            }
            Effect::Ended(reason) => self.client_ended(device, &reason),
            Effect::Room(event) => self.room_event(device, &event),
            Effect::LoggedIn { .. } | Effect::Offline { .. } | Effect::Other(_) => {}
        }
    }

    fn connect(&mut self, device: usize) {
        let life = self.device_life(device);
        let refused = self.kernel.fails(self.scenario.refused);
        let takes = self.kernel.dice(|dice| dice.micros(500, if refused { 2_000_000 } else { 30_000 }));
        self.kernel.after(takes, Event::Connects(life, !refused));
    }

    pub(super) fn connects(&mut self, life: DeviceLife, reached: bool) {
        if self.process(life).is_none() {
            return;
        }
        let server = self.kernel.dice(|dice| dice.index(self.servers.len()));
        let link = if reached { self.accept(server, Holder::Device(life.device)) } else { None };
        match (link, self.process(life)) {
            (Some(link), Some(process)) => {
                process.link = Some(link);
                self.see(&Seen::NewLink { device: life.device });
                self.client_input(life.device, Input::Connected);
            }
            _ => {
                self.kernel.count(|counts| counts.connections_refused += 1);
                self.client_input(life.device, Input::ConnectFailed);
            }
        }
    }

    fn client_writes(&mut self, device: usize, frame: Frame) {
        let frame = self.setup.clients.says(device, frame);
        let Some(process) = &mut self.devices[device].running else { return };
        if [CmdId::PULL, CmdId::SYNC].contains(&frame.cmd) && std::mem::take(&mut process.gap) {
            self.kernel.count(|counts| counts.gaps_pulled += 1);
        }
        if let Some(link) = process.link {
            self.kernel.note("says", num(device), u64::from(frame.cmd.0));
            self.write_bytes(link, End::Server, encoded(&frame));
        }
    }

    pub(super) fn arrives_at_client(&mut self, link: LinkId, segment: Segment) {
        let now = self.kernel.now();
        let Some(state) = self.links.get_mut(&link) else { return };
        let holder = state.holder;
        if !state.open_at_client || state.down.is_cut(now) {
            if let (Holder::Device(device), Segment::Bytes(bytes)) = (holder, segment) {
                self.lost_on_the_way(device, bytes);
            }
            return;
        }
        match (holder, segment) {
            (_, Segment::Fin) => self.lost_at_client(link),
            (Holder::Hostile(hostile), Segment::Bytes(bytes)) => self.hostile_hears(hostile, link, &bytes),
            (Holder::Device(device), Segment::Bytes(bytes)) => {
                state.down.buffer.extend_from_slice(&bytes);
                self.client_reads(device, link);
            }
        }
    }

    fn client_reads(&mut self, device: usize, link: LinkId) {
        while let Some(state) = self.links.get_mut(&link).filter(|link| link.open_at_client) {
            match Decoder::default().decode(&mut state.down.buffer) {
                Ok(Some(frame)) => self.client_hears(device, frame),
                Ok(None) => return,
                Err(error) => return self.client_input(device, Input::Malformed(error)),
            }
        }
    }

    fn client_hears(&mut self, device: usize, frame: Frame) {
        self.setup.clients.hears(device, &frame);
        if frame.cmd == CmdId::ROOM_PUSH {
            self.room_push(device, frame.body.clone());
        }
        if frame.cmd == CmdId::C2C_PUSH
            && frame.seq == Seq::PUSH
            && let Some(process) = &mut self.devices[device].running
            && let Ok(push) = C2cPush::decode(frame.body.clone())
        {
            process.gap |= Version(push.version) > process.client.received().next();
        }
        self.client_input(device, Input::Frame(frame));
    }

    fn lost_on_the_way(&mut self, device: usize, bytes: Bytes) {
        let Ok(Some(frame)) = Decoder::default().decode(&mut bytes.into()) else { return };
        if frame.cmd == CmdId::C2C_SEND
            && let Ok(reply) = im_proto::v1::C2cResponse::decode(frame.body)
            && reply.err_code == 0
        {
            self.lost_acks.insert((device, MsgId(reply.msgid)));
        }
    }

    pub(super) fn lost_at_client(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link).filter(|link| link.open_at_client) else { return };
        state.open_at_client = false;
        let holder = state.holder;
        self.tidy(link);
        match holder {
            Holder::Hostile(hostile) => self.hostiles[hostile].link = None,
            Holder::Device(device) => {
                let Some(process) = &mut self.devices[device].running else { return };
                if process.link == Some(link) {
                    process.link = None;
                    self.client_input(device, Input::Disconnected);
                }
            }
        }
    }

    fn close_at_client(&mut self, device: usize) {
        let Some(process) = &mut self.devices[device].running else { return };
        let Some(link) = process.link.take() else { return };
        self.write(link, End::Server, Segment::Fin);
        if let Some(state) = self.links.get_mut(&link) {
            state.open_at_client = false;
        }
        self.tidy(link);
    }

    fn set_client_timer(&mut self, device: usize) {
        let now = self.kernel.now();
        let life = self.device_life(device);
        let Some(process) = &mut self.devices[device].running else { return };
        if let Some(due) = process.client.next_deadline()
            && process.timer.is_none_or(|set| set > due.max(now))
        {
            let due = due.max(now);
            process.timer = Some(due);
            self.kernel.at(due, Event::ClientTimer(life));
        }
    }

    pub(super) fn client_timer(&mut self, life: DeviceLife) {
        let now = self.kernel.now();
        let Some(process) = self.process(life) else { return };
        // A timer that was replaced by an earlier one.
        if process.timer.is_some_and(|set| set > now) {
            return;
        }
        process.timer = None;
        self.client_input(life.device, Input::Timeout);
    }

    fn client_ended(&mut self, device: usize, reason: &EndReason) {
        self.kernel.note("device ends", num(device), 0);
        self.kernel.log(|| reason.to_string());
        match reason {
            EndReason::Stopped | EndReason::LoggedOut => {}
            EndReason::Kicked(KickReason::LoggedInElsewhere) => {
                self.kernel.count(|counts| counts.kicks += 1);
            }
            other => self.fail("bad_input", format!("device {device} ended: {other}")),
        }
        // The process ends in order: what it was told goes to the local store.
        let writes = self.devices[device].running.take().map(|process| process.writes);
        self.devices[device].life += 1;
        for write in writes.into_iter().flatten() {
            self.keep(device, write);
        }
        if self.devices[device].comes_back && self.kernel.faults() {
            let pause = self.kernel.dice(|dice| dice.millis(200, 5_000));
            self.kernel.after(pause, Event::StartDevice(device));
        }
    }

    /// The process on a device dies. What was not written is gone.
    pub(super) fn crash_device(&mut self, device: usize) {
        let Some(process) = self.devices[device].running.take() else { return };
        self.kernel.note("device crashes", num(device), self.devices[device].life);
        self.kernel.count(|counts| counts.device_crashes += 1);
        self.devices[device].life += 1;
        if let Some(link) = process.link {
            self.cut(link);
            if let Some(state) = self.links.get_mut(&link) {
                state.open_at_client = false;
            }
            self.tidy(link);
        }
    }
}
