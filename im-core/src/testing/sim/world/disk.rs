use futures::FutureExt;

use super::{World, num};
use crate::client::{Input, LocalEntry, LocalStore, Receipt};
use crate::id::{ClientMsgId, StoreEpoch, Version};
use crate::testing::sim::event::{DeviceLife, Event};
use crate::testing::sim::history::Seen;

/// A change of a device's local store, on its way.
pub(super) enum Write {
    BeginEpoch(StoreEpoch),
    Apply(Vec<LocalEntry>, Version),
    Settle(ClientMsgId),
}

/// What devices keep: one change after the other, each taking its time, those on their way lost in a crash.
impl World {
    pub(super) fn acked(&mut self, device: usize, receipt: Receipt) {
        if self.lost_acks.remove(&(device, receipt.msgid)) {
            self.kernel.count(|counts| counts.acks_lost_and_resent += 1);
        }
        let uid = self.devices[device].uid.clone();
        self.kernel.log(|| format!("device {device} has its ack of {}", receipt.client_msg_id));
        let epoch = self.epoch_of_link(device);
        self.see(&Seen::Acked { epoch, uid: &uid, receipt: &receipt });
        let name = receipt.client_msg_id.clone();
        // An ack that was on its way when the store lost the message.
        let too_late =
            epoch != self.disks.epoch_now() && self.lost_sends.contains(&(uid.clone(), name.clone()));
        if !too_late {
            let before = self.devices[device].acked.insert(name.clone(), receipt.clone());
            if before.is_some_and(|before| before != receipt) {
                self.fail("versions", format!("two acks of {name} differ"));
            }
        }
        self.disk_queue(device, Write::Settle(name));
    }

    fn epoch_of_link(&self, device: usize) -> StoreEpoch {
        let link = self.devices[device].running.as_ref().and_then(|process| process.link);
        let link = link.and_then(|link| self.links.get(&link));
        link.map_or_else(|| self.disks.epoch_now(), |link| link.epoch)
    }

    pub(super) fn disk_queue(&mut self, device: usize, write: Write) {
        let life = self.device_life(device);
        let Some(process) = &mut self.devices[device].running else { return };
        process.writes.push_back(write);
        if process.writes.len() == 1 {
            self.disk_write_soon(life);
        }
    }

    fn disk_write_soon(&self, life: DeviceLife) {
        let slow = self.kernel.fails(50);
        let takes = self.kernel.dice(|dice| dice.micros(10, if slow { 800_000 } else { 4_000 }));
        self.kernel.after(takes, Event::DiskWrite(life));
    }

    pub(super) fn disk_write(&mut self, life: DeviceLife) {
        let Some(process) = self.process(life) else { return };
        let Some(write) = process.writes.pop_front() else { return };
        if !process.writes.is_empty() {
            self.disk_write_soon(life);
        }
        if let Some(applied) = self.keep(life.device, write) {
            self.client_input(life.device, Input::Applied(applied));
        }
    }

    /// Writes to the local store for good.
    pub(super) fn keep(&mut self, device: usize, write: Write) -> Option<Version> {
        let uid = self.devices[device].uid.clone();
        match write {
            Write::Settle(id) => {
                let _ = self.devices[device].disk.settle(vec![id]).now_or_never();
                None
            }
            Write::BeginEpoch(epoch) => {
                self.kernel.note("begins an epoch", num(device), 0);
                let _ = self.devices[device].disk.begin_epoch(epoch).now_or_never();
                None
            }
            Write::Apply(entries, cursor) => {
                self.kernel.note("keeps", num(device), u64::try_from(cursor.0).unwrap_or(0));
                let (epoch, known) = (self.devices[device].saved().epoch, self.recognise(device, &entries));
                self.see(&Seen::Applied {
                    device,
                    epoch,
                    uid: &uid,
                    entries: &entries,
                    known: &known,
                    cursor,
                });
                let _ = self.devices[device].disk.apply(entries, cursor).now_or_never();
                Some(cursor)
            }
        }
    }

    /// Which entries its user has seen.
    fn recognise(&mut self, device: usize, entries: &[LocalEntry]) -> Vec<bool> {
        let known = self.devices[device].disk.recognise(entries).now_or_never().and_then(Result::ok);
        let mut known = known.unwrap_or_default();
        known.iter_mut().for_each(|known| *known = self.setup.clients.recognises(*known));
        for (entry, _) in entries.iter().zip(&known).filter(|(_, known)| **known) {
            let name = entry.client_msg_id.clone().map(|id| (entry.from.clone(), id));
            let was_lost = name.is_some_and(|name| self.lost_sends.contains(&name));
            self.kernel.count(|counts| counts.messages_recognised += 1);
            self.kernel.count(|counts| counts.lost_messages_recognised += u64::from(was_lost));
        }
        known
    }
}
