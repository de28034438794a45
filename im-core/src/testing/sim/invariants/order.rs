//! All devices of a user see one timeline in one order, and what one device sends in one conversation keeps the order of sending.

use std::collections::BTreeMap;

use super::{Broken, Invariant};
use crate::client::LocalEntry;
use crate::id::{ClientMsgId, StoreEpoch, Uid, Version};
use crate::message::Entry;
use crate::testing::sim::history::{DeviceRecord, Ending, Seen};

#[derive(Default)]
pub(super) struct Order {
    /// In which epoch, and up to where.
    cursors: BTreeMap<usize, (StoreEpoch, Version)>,
}

impl Invariant for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    /// Every device keeps entries in version order without a hole, in every epoch from the first on.
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), Broken> {
        let Seen::Applied { device, epoch, entries, cursor, .. } = seen else { return Ok(()) };
        let (of, kept) = self.cursors.entry(*device).or_default();
        if of != epoch {
            (*of, *kept) = (*epoch, Version::ZERO);
        }
        for entry in *entries {
            if entry.version != kept.next() {
                return Err(format!("device {device} keeps version {} after {kept}", entry.version));
            }
            *kept = entry.version;
        }
        if cursor != kept {
            return Err(format!("device {device} keeps everything up to {kept} and says {cursor}"));
        }
        Ok(())
    }

    fn end(&self, ending: &Ending) -> Result<(), Broken> {
        for device in &ending.devices {
            let timeline = ending.timelines.get(&device.uid).map_or(&[][..], Vec::as_slice);
            same_timeline(device, timeline)?;
        }
        for sender in &ending.devices {
            for (uid, timeline) in &ending.timelines {
                keeps_order(sender, uid, timeline)?;
            }
        }
        Ok(())
    }
}

fn same_timeline(device: &DeviceRecord, timeline: &[Entry]) -> Result<(), Broken> {
    if device.kept.len() != timeline.len() {
        return Err(format!("{} holds {} entries of {}", device.name, device.kept.len(), timeline.len()));
    }
    for (kept, entry) in device.kept.iter().zip(timeline) {
        if !is_same(kept, entry) {
            return Err(format!(
                "{} holds at {} something else than the timeline",
                device.name, kept.version
            ));
        }
    }
    Ok(())
}

fn is_same(kept: &LocalEntry, entry: &Entry) -> bool {
    let message = &entry.message;
    kept.version == entry.version
        && kept.msgid == message.msgid
        && kept.kind == message.kind
        && kept.from == message.from
        && kept.to == message.to
        && kept.client_msg_id.as_ref() == message.key.client_msg_id()
        && kept.content_type == message.content_type
        && kept.content == message.content
        && kept.sent_at == message.sent_at
}

/// Whether what a device sent to each user stands in this timeline in the order of sending.
fn keeps_order(sender: &DeviceRecord, owner: &Uid, timeline: &[Entry]) -> Result<(), Broken> {
    let places: BTreeMap<&ClientMsgId, Version> = timeline
        .iter()
        .filter(|entry| entry.message.from == sender.uid)
        .filter_map(|entry| Some((entry.message.key.client_msg_id()?, entry.version)))
        .collect();
    let mut last: BTreeMap<&Uid, Version> = BTreeMap::new();
    for sent in &sender.sent {
        let Some(place) = places.get(&sent.client_msg_id) else { continue };
        let before = last.insert(&sent.to, *place).unwrap_or_default();
        if before > *place {
            return Err(format!(
                "in {owner}'s timeline {} of {} stands at {place}, and what was sent before it at {before}",
                sent.client_msg_id, sender.name
            ));
        }
    }
    Ok(())
}
