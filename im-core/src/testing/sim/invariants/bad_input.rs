//! Nobody sees another user's messages, nothing is stored that nobody sent, and bad requests get the answer that they should. That nothing
//! panics shows in the run itself.

use std::collections::BTreeSet;

use super::{Broken, Invariant};
use crate::id::{ClientMsgId, Uid};
use crate::testing::sim::history::{Ending, Seen, concerns};

pub(super) struct BadInput;

impl Invariant for BadInput {
    fn name(&self) -> &'static str {
        "bad_input"
    }

    fn see(&mut self, seen: &Seen<'_>) -> Result<(), Broken> {
        match seen {
            Seen::Content { uid, content } if !concerns(content, uid) => {
                Err(format!("{uid} is shown {:?}", String::from_utf8_lossy(content)))
            }
            Seen::WrongAnswer { expected, got } => {
                Err(format!("a bad request was answered with {got} instead of one of {expected:?}"))
            }
            _ => Ok(()),
        }
    }

    fn end(&self, ending: &Ending) -> Result<(), Broken> {
        let sent: BTreeSet<(&Uid, &ClientMsgId)> = ending
            .devices
            .iter()
            .flat_map(|device| device.sent.iter().map(|sent| (&device.uid, &sent.client_msg_id)))
            .collect();
        for (uid, timeline) in &ending.timelines {
            for message in timeline.iter().map(|entry| &entry.message) {
                let strange = ending.strangers.contains(&message.from);
                let known = message.key.client_msg_id().is_some_and(|id| sent.contains(&(&message.from, id)));
                if !strange && !known {
                    return Err(format!("{uid}'s timeline holds a message that {} never sent", message.from));
                }
                if !concerns(&message.content, uid) {
                    return Err(format!("{uid}'s timeline holds a message of others"));
                }
            }
        }
        Ok(())
    }
}
