//! Each device shows each message once, over all epochs, forgets none that it showed, and takes none for another. No send is stored twice, and
//! no msgid is given twice, a lost one neither.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, Invariant};
use crate::id::{ClientMsgId, MsgId, StoreEpoch, Uid};
use crate::testing::sim::history::{DeviceRecord, Ending, Seen};

#[derive(Default)]
pub(super) struct NoDuplicate {
    shown: BTreeMap<usize, Shown>,
    /// What msgids were given to, in all epochs.
    given: BTreeMap<MsgId, (Uid, ClientMsgId)>,
}

#[derive(Default)]
struct Shown {
    /// Each once in every epoch, because a timeline is read anew in each.
    msgids: BTreeSet<(StoreEpoch, MsgId)>,
    sends: BTreeSet<(Uid, ClientMsgId)>,
    /// Messages that their sender gave no name.
    nameless: BTreeSet<MsgId>,
}

impl Invariant for NoDuplicate {
    fn name(&self) -> &'static str {
        "no_duplicate"
    }

    fn see(&mut self, seen: &Seen<'_>) -> Result<(), Broken> {
        if let Seen::Acked { uid, receipt, .. } = seen {
            return self.given(receipt.msgid, uid, &receipt.client_msg_id);
        }
        let Seen::Applied { device, epoch, entries, known, .. } = seen else { return Ok(()) };
        for entry in *entries {
            entry.client_msg_id.iter().try_for_each(|id| self.given(entry.msgid, &entry.from, id))?;
        }
        let shown = self.shown.entry(*device).or_default();
        for (entry, recognised) in entries.iter().zip(*known) {
            let is_new = shown.msgids.insert((*epoch, entry.msgid));
            let known = match entry.client_msg_id.clone() {
                Some(id) => !shown.sends.insert((entry.from.clone(), id)),
                None => !shown.nameless.insert(entry.msgid),
            };
            if *recognised {
                if !known {
                    return Err(format!("device {device} takes message {} for one that it has", entry.msgid));
                }
            } else if !is_new || known {
                return Err(format!(
                    "device {device} shows message {} again, as {}",
                    entry.msgid, entry.version
                ));
            }
        }
        Ok(())
    }

    fn end(&self, ending: &Ending) -> Result<(), Broken> {
        for (device, shown) in &self.shown {
            ending.devices.get(*device).map_or(Ok(()), |record| holds_all(record, shown))?;
        }
        let mut names = BTreeMap::new();
        for message in ending.timelines.values().flatten().map(|entry| &entry.message) {
            let send = (&message.from, &message.key);
            if *names.entry(message.msgid).or_insert(send) != send {
                return Err(format!("msgid {} names two messages", message.msgid));
            }
        }
        for (uid, entries) in &ending.timelines {
            let mut sends = BTreeSet::new();
            let mut msgids = BTreeSet::new();
            for entry in entries {
                let message = &entry.message;
                if !sends.insert((&message.from, &message.key)) || !msgids.insert(message.msgid) {
                    return Err(format!(
                        "{uid}'s timeline holds a send twice, the second time at {}",
                        entry.version
                    ));
                }
            }
        }
        Ok(())
    }
}

impl NoDuplicate {
    fn given(&mut self, msgid: MsgId, from: &Uid, id: &ClientMsgId) -> Result<(), Broken> {
        let send = (from.clone(), id.clone());
        let first = self.given.entry(msgid).or_insert_with(|| send.clone());
        if *first != send {
            return Err(format!("msgid {msgid} was given to {first:?} and to {send:?}"));
        }
        Ok(())
    }
}

/// Whether a device still has everything that it showed.
fn holds_all(device: &DeviceRecord, shown: &Shown) -> Result<(), Broken> {
    let held = device.kept.iter().chain(&device.earlier);
    let held: BTreeSet<(&Uid, &ClientMsgId)> =
        held.filter_map(|entry| Some((&entry.from, entry.client_msg_id.as_ref()?))).collect();
    match shown.sends.iter().find(|(from, id)| !held.contains(&(from, id))) {
        Some((from, id)) => Err(format!("{} showed {id} of {from} and has it no more", device.name)),
        None => Ok(()),
    }
}
