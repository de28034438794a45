use futures::FutureExt;

use super::{World, num};
use crate::client::{Input, LocalEntry, LocalStore, Receipt};
use crate::id::{ClientMsgId, Version};
use crate::testing::sim::event::{DeviceLife, Event};
use crate::testing::sim::history::Seen;

/// A change of a device's local store, on its way.
pub(super) enum Write {
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
        self.see(&Seen::Acked { uid: &uid, receipt: &receipt });
        let before = self.devices[device].acked.insert(receipt.client_msg_id.clone(), receipt.clone());
        if before.is_some_and(|before| before != receipt) {
            self.fail("versions", format!("two acks of {} differ", receipt.client_msg_id));
        }
        self.disk_queue(device, Write::Settle(receipt.client_msg_id));
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
            Write::Apply(entries, cursor) => {
                self.kernel.note("keeps", num(device), u64::try_from(cursor.0).unwrap_or(0));
                self.see(&Seen::Applied { device, uid: &uid, entries: &entries, cursor });
                let _ = self.devices[device].disk.apply(entries, cursor).now_or_never();
                Some(cursor)
            }
        }
    }
}
