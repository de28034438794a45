//! Versions are contiguous from 1, and over all that was ever shown to anybody in one epoch none names two messages. What a restore did not take
//! back stays where it was.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, Invariant};
use crate::id::{MsgId, StoreEpoch, Uid, Version};
use crate::testing::sim::history::{DeviceRecord, Ending, Seen};

#[derive(Default)]
pub(super) struct Versions {
    names: BTreeMap<(StoreEpoch, Uid, Version), MsgId>,
    places: BTreeMap<(StoreEpoch, Uid, MsgId), Version>,
    heads: BTreeMap<(StoreEpoch, Uid), Version>,
    /// What restores took back.
    lost: BTreeSet<(Uid, MsgId)>,
}

impl Versions {
    fn names(&mut self, epoch: StoreEpoch, uid: &Uid, version: Version, msgid: MsgId) -> Result<(), Broken> {
        let named = *self.names.entry((epoch, uid.clone(), version)).or_insert(msgid);
        let place = *self.places.entry((epoch, uid.clone(), msgid)).or_insert(version);
        if named != msgid {
            return Err(format!("version {version} of {uid} names {named} and {msgid}"));
        }
        if place != version {
            return Err(format!("message {msgid} stands at {place} and at {version} of {uid}"));
        }
        Ok(())
    }
}

impl Invariant for Versions {
    fn name(&self) -> &'static str {
        "versions"
    }

    fn see(&mut self, seen: &Seen<'_>) -> Result<(), Broken> {
        match seen {
            Seen::Shown { epoch, uid, version, msgid } => self.names(*epoch, uid, *version, *msgid),
            Seen::Acked { epoch, uid, receipt } => self.names(*epoch, uid, receipt.version, receipt.msgid),
            Seen::Applied { epoch, uid, entries, .. } => {
                entries.iter().try_for_each(|entry| self.names(*epoch, uid, entry.version, entry.msgid))
            }
            Seen::Head { epoch, uid, head } => {
                let known = self.heads.entry((*epoch, (*uid).clone())).or_default();
                *known = (*known).max(*head);
                Ok(())
            }
            Seen::Restored { lost } => {
                self.lost.extend(lost.iter().map(|(uid, entry)| (uid.clone(), entry.message.msgid)));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&self, ending: &Ending) -> Result<(), Broken> {
        let mut stored: BTreeMap<(Uid, Version), MsgId> = BTreeMap::new();
        for (uid, timeline) in &ending.timelines {
            let mut last = Version::ZERO;
            for entry in timeline {
                if entry.version != last.next() {
                    return Err(format!("{uid}'s timeline goes from {last} to {}", entry.version));
                }
                last = entry.version;
                stored.insert((uid.clone(), entry.version), entry.message.msgid);
            }
            let shown = self.heads.get(&(ending.epoch, uid.clone())).copied().unwrap_or_default();
            if shown > last {
                return Err(format!("{uid} was told of version {shown} and the timeline ends at {last}"));
            }
        }
        for ((epoch, uid, version), msgid) in &self.names {
            if *epoch != ending.epoch && self.lost.contains(&(uid.clone(), *msgid)) {
                continue;
            }
            if stored.get(&(uid.clone(), *version)) != Some(msgid) {
                return Err(format!(
                    "version {version} of {uid} was shown as {msgid} and is not stored as that"
                ));
            }
        }
        ending.devices.iter().try_for_each(receipts_agree)
    }
}

/// What was acknowledged to a device is what it holds.
fn receipts_agree(device: &DeviceRecord) -> Result<(), Broken> {
    for receipt in device.acked.values() {
        let entry = device.kept.iter().find(|entry| entry.version == receipt.version);
        let same = entry.is_some_and(|entry| {
            entry.msgid == receipt.msgid
                && entry.sent_at == receipt.timestamp
                && entry.client_msg_id.as_ref() == Some(&receipt.client_msg_id)
        });
        if !same {
            return Err(format!(
                "{}: the ack of {} names another message",
                device.name, receipt.client_msg_id
            ));
        }
    }
    Ok(())
}
