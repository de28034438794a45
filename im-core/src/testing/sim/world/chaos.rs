use super::device::Device;
use super::hostile::Hostile;
use super::link::Holder;
use super::server::Server;
use super::{World, num};
use crate::client::Input;
use crate::id::{DeviceId, DeviceType, Uid};
use crate::testing::sim::event::{Event, LinkId};

/// The types of a user's two ordinary devices; a twin has the first.
const KINDS: [DeviceType; 3] = [DeviceType::ANDROID, DeviceType::DESKTOP, DeviceType::ANDROID];

/// Who lives in the world, what they write to each other, and what goes wrong.
impl World {
    pub(super) fn populate(&mut self) {
        for server in 0..self.scenario.servers {
            self.servers.push(Server::new());
            self.kernel.after(std::time::Duration::ZERO, Event::StartServer(server));
        }
        for (user, uid) in self.scenario.uids().into_iter().enumerate() {
            let devices = if user < self.scenario.twins { 3 } else { 2 };
            for (place, kind) in KINDS.into_iter().enumerate().take(devices) {
                self.add_device(&uid, place, kind);
            }
            self.users.push(uid);
        }
        if let Ok(uid) = Uid::new("mallory") {
            self.hostiles.push(Hostile::new(uid));
            self.kernel.after(self.kernel.dice(|dice| dice.millis(100, 500)), Event::Hostile(0));
        }
        self.kernel.after(self.kernel.dice(|dice| dice.millis(200, 600)), Event::Burst);
        self.kernel.after(self.kernel.dice(|dice| dice.millis(500, 1_500)), Event::Fault);
        self.kernel.after(self.scenario.chaos, Event::Heal);
        self.begin_moves();
        if let Some((backup, restore)) = self.scenario.restore {
            self.kernel.after(backup, Event::Backup);
            self.kernel.after(restore, Event::Restore);
        }
    }

    fn add_device(&mut self, uid: &Uid, place: usize, kind: DeviceType) {
        let Ok(id) = DeviceId::new(&format!("{uid}-{place}")) else { return };
        let device = self.devices.len();
        self.devices.push(Device::new(uid.clone(), id, kind));
        let pause = self.kernel.dice(|dice| dice.millis(0, 800));
        self.kernel.after(pause, Event::StartDevice(device));
    }

    /// Somebody writes some messages, mostly to one user.
    pub(super) fn burst(&mut self) {
        let (device, to, count) = self.kernel.dice(|dice| {
            let device = dice.index(self.devices.len());
            let own = dice.happens(80);
            let to = self.users[dice.index(self.users.len())].clone();
            let to = if own { self.devices[device].uid.clone() } else { to };
            (device, to, dice.between(1, 9).min(self.to_send))
        });
        for _ in 0..count {
            let aside = self.kernel.dice(|dice| dice.happens(100).then(|| dice.index(self.users.len())));
            let to = aside.map_or(&to, |user| &self.users[user]).clone();
            self.hand_in(device, &to);
        }
        self.to_send -= count;
        (0..3).for_each(|_| self.chat());
        if self.to_send > 0 {
            let bursts = self.scenario.messages / 4;
            let mean = u64::try_from(self.scenario.chaos.as_millis()).unwrap_or(10_000) / bursts;
            let pause = self.kernel.dice(|dice| dice.millis(1, 2 * mean));
            self.kernel.after(pause, Event::Burst);
        }
    }

    /// Something goes wrong.
    pub(super) fn fault(&mut self) {
        if !self.kernel.faults() {
            return;
        }
        match self.kernel.dice(|dice| dice.between(0, 99)) {
            0..=34 => self.fault_of_link(Self::cut),
            35..=49 => self.fault_of_link(Self::stall),
            50..=62 => self.fault_of_device(),
            63..=69 => self.pause_device(Input::Stop),
            70..=72 => self.pause_device(Input::Logout),
            73..=77 => self.racing_logins(),
            78..=81 => {
                let device = self.kernel.dice(|dice| dice.index(self.devices.len()));
                self.client_input(device, Input::NetworkChanged);
            }
            82..=85 => {
                let server = self.kernel.dice(|dice| dice.index(self.servers.len()));
                self.step_clock(server);
            }
            86 | 87 => {
                let server = self.kernel.dice(|dice| dice.index(self.servers.len()));
                self.drain_server(server);
            }
            88 | 89 => {
                let server = self.kernel.dice(|dice| dice.index(self.servers.len()));
                self.pause_server(server);
            }
            90..=93 => {
                let server = self.kernel.dice(|dice| dice.index(self.servers.len()));
                self.crash_server(server);
            }
            94 => self.routes.lose(),
            95 => self.bus.breaks(self.kernel.dice(|dice| dice.millis(10, 4_000))),
            _ => self.disks.crash(),
        }
        let pause = self.kernel.dice(|dice| dice.millis(10, self.scenario.fault_every));
        self.kernel.after(pause, Event::Fault);
    }

    fn fault_of_link(&mut self, fault: fn(&mut Self, LinkId)) {
        let links = self.links.iter().filter(|(_, link)| matches!(link.holder, Holder::Device(_)));
        let open: Vec<LinkId> =
            links.filter(|(_, link)| link.open_at_client && link.open_at_server).map(|(id, _)| *id).collect();
        if !open.is_empty() {
            let link = open[self.kernel.dice(|dice| dice.index(open.len()))];
            fault(self, link);
        }
    }

    fn fault_of_device(&mut self) {
        let device = self.kernel.dice(|dice| dice.index(self.devices.len()));
        self.crash_device(device);
        self.start_later(device);
    }

    fn pause_device(&mut self, input: Input) {
        let device = self.kernel.dice(|dice| dice.index(self.devices.len()));
        self.kernel.count(|counts| counts.pauses += 1);
        self.client_input(device, input);
    }

    /// Two devices of one type begin to log in at about the same time.
    fn racing_logins(&mut self) {
        let user = self.kernel.dice(|dice| dice.index(self.scenario.twins));
        let twins: Vec<usize> = (0..self.devices.len())
            .filter(|device| self.devices[*device].uid == self.users[user])
            .filter(|device| self.devices[*device].kind == KINDS[0])
            .collect();
        self.kernel.note("race", num(user), num(twins.len()));
        for device in twins {
            self.crash_device(device);
            let pause = self.kernel.dice(|dice| dice.millis(5, 15));
            self.kernel.after(pause, Event::StartDevice(device));
        }
    }

    pub(super) fn start_later(&mut self, device: usize) {
        let pause = self.kernel.dice(|dice| dice.millis(5, 3_000));
        self.kernel.after(pause, Event::StartDevice(device));
    }
}
