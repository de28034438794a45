//! Another epoch: the server's store lost what it had acknowledged, so versions name other messages than before.

use super::{Client, Link, limits};
use crate::client::acks::Acks;
use crate::client::inbox::Inbox;
use crate::client::{Effect, EndReason};
use crate::id::{StoreEpoch, Version};
use crate::time::Tick;

/// An epoch that waits until everything of the one before is durable.
#[derive(Debug)]
pub(super) struct NextEpoch {
    epoch: StoreEpoch,
    /// The newest version heard of in it.
    head: Version,
}

impl Client {
    /// The login's answer: the timeline reaches to `head`, in `epoch`. Says why the client cannot go on, if so.
    pub(super) fn on_epoch(&mut self, epoch: StoreEpoch, head: Version) -> Result<(), EndReason> {
        let held = self.inbox.received();
        let newest = head.max(self.early);
        if epoch != self.epoch {
            self.next_epoch = Some(NextEpoch { epoch, head: newest });
            return Ok(());
        }
        if head < held {
            return Err(EndReason::TimelineLost { head, held });
        }
        self.inbox.heard_of(newest);
        Ok(())
    }

    /// Whether versions that come over this link are those of the inbox.
    pub(super) fn is_in_epoch(&self) -> bool {
        self.link != Link::Authenticating && self.next_epoch.is_none()
    }

    /// The timeline reaches to `head`, in the link's epoch.
    pub(super) fn heard_of(&mut self, head: Version) {
        match &mut self.next_epoch {
            _ if self.link == Link::Authenticating => self.early = self.early.max(head),
            Some(next) => next.head = next.head.max(head),
            None => self.inbox.heard_of(head),
        }
    }

    /// Begins the link's epoch on this device once everything of the one before is durable, so that all of it is recognised: reads the
    /// timeline from the first entry.
    pub(super) fn begin_epoch(&mut self, effects: &mut Vec<Effect>) {
        if !self.inbox.is_applied() {
            return;
        }
        let Some(NextEpoch { epoch, head }) = self.next_epoch.take() else { return };
        self.epoch = epoch;
        self.inbox = Inbox::new(Version::ZERO, limits(&self.config));
        self.inbox.heard_of(head);
        // What hinted while it waited is not remembered.
        self.inbox.hint();
        self.acks = Acks::new(self.config.ack_delay);
        self.fetch_failures = 0;
        self.fetch_after = Tick::default();
        effects.push(Effect::BeginEpoch(epoch));
    }
}
