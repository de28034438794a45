//! A message whose sender got an ack reaches every device of its receiver and of its sender, unless a restore took it back.

use std::collections::BTreeSet;

use super::{Broken, Invariant};
use crate::client::Outgoing;
use crate::id::{ClientMsgId, Uid};
use crate::message::Target;
use crate::testing::sim::history::{DeviceRecord, Ending, Seen};

pub(super) struct NoLoss;

impl Invariant for NoLoss {
    fn name(&self) -> &'static str {
        "no_loss"
    }

    fn see(&mut self, seen: &Seen<'_>) -> Result<(), Broken> {
        match seen {
            Seen::Rejected { device, why } => {
                Err(format!("device {device}: a good message was refused: {why}"))
            }
            _ => Ok(()),
        }
    }

    fn end(&self, ending: &Ending) -> Result<(), Broken> {
        for sender in &ending.devices {
            for sent in &sender.sent {
                if !is_lost(ending, sender, sent) && !sender.acked.contains_key(&sent.client_msg_id) {
                    return Err(format!("{} never got an ack for {}", sender.name, sent.client_msg_id));
                }
            }
        }
        for holder in &ending.devices {
            let held = held(holder);
            for sender in &ending.devices {
                missing(ending, holder, &held, sender)?;
            }
        }
        Ok(())
    }
}

fn is_lost(ending: &Ending, sender: &DeviceRecord, sent: &Outgoing) -> bool {
    ending.lost.contains(&(sender.uid.clone(), sent.client_msg_id.clone()))
}

fn held(device: &DeviceRecord) -> BTreeSet<(&Uid, &ClientMsgId)> {
    device.kept.iter().filter_map(|entry| Some((&entry.from, entry.client_msg_id.as_ref()?))).collect()
}

/// Whether a device lacks something of what a sender sent that it should hold, or holds it altered.
fn missing(
    ending: &Ending,
    holder: &DeviceRecord,
    held: &BTreeSet<(&Uid, &ClientMsgId)>,
    sender: &DeviceRecord,
) -> Result<(), Broken> {
    let concerned = |sent: &&Outgoing| sender.uid == holder.uid || sent.to == holder.uid;
    for sent in sender.sent.iter().filter(concerned).filter(|sent| !is_lost(ending, sender, sent)) {
        if !held.contains(&(&sender.uid, &sent.client_msg_id)) {
            return Err(format!("{} has not got {} of {}", holder.name, sent.client_msg_id, sender.name));
        }
    }
    let altered = holder.kept.iter().find(|entry| {
        let sent = sender.sent.iter().find(|sent| {
            entry.from == sender.uid && entry.client_msg_id.as_ref() == Some(&sent.client_msg_id)
        });
        sent.is_some_and(|sent| entry.content != sent.content || entry.to != Target::User(sent.to.clone()))
    });
    match altered {
        Some(entry) => {
            Err(format!("{} holds another version {} than {} sent", holder.name, entry.version, sender.name))
        }
        None => Ok(()),
    }
}
