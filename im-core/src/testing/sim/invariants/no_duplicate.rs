//! Each device shows each message once, and no send is stored twice.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, Invariant};
use crate::id::{ClientMsgId, MsgId, Uid};
use crate::testing::sim::history::{Ending, Seen};

#[derive(Default)]
pub(super) struct NoDuplicate {
    shown: BTreeMap<usize, Shown>,
}

#[derive(Default)]
struct Shown {
    msgids: BTreeSet<MsgId>,
    sends: BTreeSet<(Uid, ClientMsgId)>,
}

impl Invariant for NoDuplicate {
    fn name(&self) -> &'static str {
        "no_duplicate"
    }

    fn see(&mut self, seen: &Seen<'_>) -> Result<(), Broken> {
        let Seen::Applied { device, entries, .. } = seen else { return Ok(()) };
        let shown = self.shown.entry(*device).or_default();
        for entry in *entries {
            let send = entry.client_msg_id.clone().map(|id| (entry.from.clone(), id));
            let known = send.is_some_and(|send| !shown.sends.insert(send));
            if !shown.msgids.insert(entry.msgid) || known {
                return Err(format!(
                    "device {device} shows message {} again, as {}",
                    entry.msgid, entry.version
                ));
            }
        }
        Ok(())
    }

    fn end(&self, ending: &Ending) -> Result<(), Broken> {
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
