use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use super::World;
use super::movers::Mover;
use super::server::{Done, Owner};
use crate::client::Input;
use crate::id::{ClientMsgId, DeviceId, DeviceType, Uid, Version};
use crate::message::{Entry, TimelineId};
use crate::router::KickPolicy;
use crate::storage::{Head, Read, Store};
use crate::testing::sim::event::Event;
use crate::testing::sim::history::{DeviceRecord, Ending};
use crate::time::Tick;

/// How long a healed world may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long it has to stay at rest: several of the gates' looks for evicted links.
const REST: Duration = Duration::from_secs(10);

/// Where the end stands.
#[derive(Default)]
pub(super) struct Healing {
    until: Option<Tick>,
    rests_since: Option<Tick>,
    over: bool,
}

impl Healing {
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

/// The end of a world.
impl World {
    pub(super) fn heal(&mut self) {
        self.kernel.note("heal", 0, 0);
        self.kernel.heal();
        self.healing.until = Some(self.kernel.now() + PATIENCE);
        for hostile in 0..self.hostiles.len() {
            self.hostile_leaves(hostile);
        }
        self.settle();
    }

    /// Asks how far the timelines go.
    pub(super) fn settle(&mut self) {
        let timelines = self.users.iter().cloned().map(TimelineId::User).collect();
        let opening = self.access.open(&self.kernel, Arc::default());
        let heads = async move { opening.await?.store.heads(timelines).await.ok() };
        let heads = heads.map(Done::Heads);
        self.executor.spawn(Owner::Auditor, heads.boxed());
    }

    pub(super) fn audited(&mut self, done: Done) {
        match done {
            Done::Heads(heads) => self.settle_at(&heads.unwrap_or_default()),
            Done::Timelines(Some(timelines)) => self.judge(timelines),
            Done::Timelines(None) => self.fail("rest", "a healed store does not answer".to_owned()),
            _ => {}
        }
    }

    fn settle_at(&mut self, heads: &[Head]) {
        let now = self.kernel.now();
        let all_run =
            self.servers.iter().all(|server| server.running.is_some() && server.paused_until.is_none());
        let all_known = self.to_send == 0 && heads.len() == self.users.len();
        let all_stored = self.disks.pending() == 0 && self.movers.iter().all(Mover::is_over);
        let all_done = all_run && all_stored && all_known && self.rotate(heads);
        if !all_done {
            self.healing.rests_since = None;
        } else if now.since(*self.healing.rests_since.get_or_insert(now)) >= REST {
            return self.audit();
        }
        if self.healing.until.is_some_and(|until| now > until) {
            let unfinished = self.unfinished(heads);
            return self.fail("rest", format!("the healed world does not come to rest: {unfinished}"));
        }
        self.kernel.after(Duration::from_millis(500), Event::Settle);
    }

    /// Lets every device that lacks something run, one at a time of those that kick each other. Says whether none lacks anything.
    fn rotate(&mut self, heads: &[Head]) -> bool {
        let mut groups: BTreeMap<(Uid, String), Vec<usize>> = BTreeMap::new();
        for device in 0..self.devices.len() {
            groups.entry(self.conflict(device)).or_default().push(device);
        }
        let mut all_done = true;
        for devices in groups.into_values() {
            let runs = devices.iter().copied().find(|device| self.devices[*device].running.is_some());
            let lacks = devices.iter().copied().find(|device| !self.is_done(*device, heads));
            all_done &= lacks.is_none();
            match (runs, lacks) {
                (Some(runs), Some(_)) if self.is_done(runs, heads) => self.client_input(runs, Input::Stop),
                (None, Some(lacks)) => self.start_device(lacks),
                _ => {}
            }
        }
        all_done
    }

    fn is_done(&self, device: usize, heads: &[Head]) -> bool {
        let state = &self.devices[device];
        let saved = state.saved();
        let head = self.users.iter().position(|uid| *uid == state.uid).and_then(|user| heads.get(user));
        let in_epoch = saved.epoch == self.disks.epoch_now();
        let reaches = head.is_some_and(|head| saved.cursor >= head.head);
        saved.outgoing.is_empty() && state.is_written() && in_epoch && reaches
    }

    fn unfinished(&self, heads: &[Head]) -> String {
        let open = (0..self.devices.len()).filter(|device| !self.is_done(*device, heads));
        let pending = format!("{} messages wait for their second half", self.disks.pending());
        let moves = self.movers.iter().filter(|mover| !mover.is_over()).count();
        let words = open.map(|device| {
            let (state, saved) = (&self.devices[device], self.devices[device].saved());
            let state =
                state.running.as_ref().map(|process| (process.client.received(), process.client.is_ready()));
            format!("device {device} at {} with {} to send, {state:?}", saved.cursor, saved.outgoing.len())
        });
        words.chain([pending, format!("{moves} moves are not over")]).collect::<Vec<_>>().join("; ")
    }

    /// What a device's login shares with those that it kicks.
    fn conflict(&self, device: usize) -> (Uid, String) {
        let state = &self.devices[device];
        (state.uid.clone(), self.conflict_of(state.kind, &state.id))
    }

    fn conflict_of(&self, kind: DeviceType, device: &DeviceId) -> String {
        match self.scenario.kick {
            KickPolicy::SameDeviceType => format!("type {kind}"),
            _ => format!("device {device}"),
        }
    }

    fn audit(&mut self) {
        let hostiles = self.hostiles.iter().map(|hostile| hostile.uid.clone());
        let users: BTreeSet<Uid> = self.users.iter().cloned().chain(hostiles).collect();
        let opening = self.access.open(&self.kernel, Arc::default());
        let read = async move { read_all(opening.await?.store, users).await };
        let read = read.map(Done::Timelines);
        self.executor.spawn(Owner::Auditor, read.boxed());
    }

    fn judge(&mut self, timelines: BTreeMap<Uid, Vec<Entry>>) {
        let ending = self.ending(timelines);
        let broken = self
            .invariants
            .iter()
            .find_map(|invariant| Some((invariant.name(), invariant.end(&ending).err()?)));
        if let Some((name, what)) = broken {
            self.fail(name, what);
        }
        self.kernel.note("judged", 0, 0);
        self.healing.over = true;
    }

    fn ending(&mut self, timelines: BTreeMap<Uid, Vec<Entry>>) -> Ending {
        let sessions = self.links.values().filter(|link| link.open_at_server);
        let callers = sessions.filter_map(|link| link.session.caller());
        let mut logins = Vec::new();
        if self.scenario.kick != KickPolicy::Never {
            for caller in callers {
                logins.push((caller.uid.clone(), self.conflict_of(caller.device_type, &caller.device)));
            }
        }
        let record = |(index, device): (usize, &super::Device)| DeviceRecord {
            name: format!("device {index} of {}", device.uid),
            uid: device.uid.clone(),
            sent: device.sent.clone(),
            acked: device.acked.clone(),
            kept: device.kept(),
            earlier: device.earlier(),
        };
        let sent_again = |(uid, name): &(Uid, ClientMsgId)| {
            let timeline = timelines.get(uid).into_iter().flatten();
            timeline
                .map(|entry| &entry.message)
                .any(|message| message.from == *uid && message.key.client_msg_id() == Some(name))
        };
        let lost = self.lost_sends.iter().filter(|name| !sent_again(name)).cloned().collect();
        Ending {
            epoch: self.disks.epoch_now(),
            lost,
            devices: self.devices.iter().enumerate().map(record).collect(),
            timelines,
            strangers: self.hostiles.iter().map(|hostile| hostile.uid.clone()).collect(),
            logins,
        }
    }
}

async fn read_all(store: Arc<dyn Store>, users: BTreeSet<Uid>) -> Option<BTreeMap<Uid, Vec<Entry>>> {
    let mut timelines = BTreeMap::new();
    for uid in users {
        let read = Read {
            timeline: TimelineId::User(uid.clone()),
            after: Version::ZERO,
            until: None,
            limit: usize::MAX,
            max_bytes: usize::MAX,
            least: None,
        };
        let page = store.read(vec![read]).await.pop()?.ok()?;
        timelines.insert(uid, page.entries);
    }
    Some(timelines)
}
