use std::collections::VecDeque;

use im_proto::Seq;

use super::login::Session;
use crate::check::OrderCheck;
use crate::clock::Nanos;
use crate::fault::Fault;
use crate::net::{LinkId, Net};
use crate::wire::{Ack, Kept, Stamp, Target, Template, put_pull, put_push_ack};

/// Messages that one pull asks for.
const PAGE: i32 = 100;

/// A sender and a receiver, and what each knows, by the rules that a client follows: a receiver applies versions one after the
/// other, skips repeats, and pulls what a hole hides.
pub(super) struct Pair {
    stream: u32,
    target: Target,
    pub(super) sender: LinkId,
    pub(super) receiver: LinkId,
    template: Template,
    pub(super) sent: u64,
    /// When messages that are not acked were due, from message `acked` on; `None` for one that was acked out of turn.
    unacked: VecDeque<Option<Nanos>>,
    acked: u64,
    /// The newest version that the sender was told, and the one that the receiver holds everything up to.
    sender_version: i64,
    receiver_version: i64,
    /// The version that the server knows the receiver to hold.
    confirmed: i64,
    pulls: u32,
    pulling: bool,
    /// Whether the last pull found nothing that the receiver does not hold.
    at_head: bool,
    pub(super) check: OrderCheck,
}

/// What a message turned out to be.
pub(super) enum Arrival {
    /// New, and due then.
    New(Nanos),
    /// Held already, or to be had by the pull that is under way.
    Repeat,
}

impl Pair {
    /// `target` is the receiver's number.
    pub(super) fn new(
        stream: u32,
        sender: Session,
        receiver: Session,
        target: Target,
        template: Template,
    ) -> Self {
        Pair {
            stream,
            target,
            sender: sender.link,
            receiver: receiver.link,
            template,
            sent: 0,
            unacked: VecDeque::new(),
            acked: 0,
            sender_version: sender.head,
            receiver_version: receiver.head,
            confirmed: receiver.head,
            pulls: 0,
            pulling: false,
            at_head: false,
            check: OrderCheck::default(),
        }
    }

    pub(super) fn send(&mut self, net: &mut Net, due: Nanos) {
        let Some(out) = net.out(self.sender) else { return };
        let stamp = Stamp { target: self.target, stream: self.stream, number: self.sent, due };
        self.template.put(out, seq_of(self.sent), &stamp);
        self.sent += 1;
        self.unacked.push_back(Some(due));
    }

    /// When the acked message was due.
    pub(super) fn acked(&mut self, seq: Seq, ack: Ack) -> Result<Nanos, Fault> {
        let stray = || Fault::Product(format!("an ack for sequence number {seq}, which waits for none"));
        let at = seq.0.wrapping_sub(seq_of(self.acked).0);
        let waiting = usize::try_from(at).ok().and_then(|at| self.unacked.get_mut(at));
        let due = waiting.and_then(Option::take).ok_or_else(stray)?;
        while let Some(None) = self.unacked.front() {
            self.unacked.pop_front();
            self.acked += 1;
        }
        if let Some(version) = ack.version {
            if version != self.sender_version + 1 {
                let before = self.sender_version;
                return Err(Fault::Product(format!("version {version} was acked after version {before}")));
            }
            self.sender_version = version;
        }
        Ok(due)
    }

    /// Whether this is of the sender's own past.
    pub(super) fn sender_knows(&self, kept: &Kept<'_>) -> bool {
        kept.version.is_some_and(|version| version <= self.sender_version)
    }

    pub(super) fn all_acked(&self) -> bool {
        self.unacked.is_empty()
    }

    /// A push. Asks for what lies before it if there is a hole.
    pub(super) fn pushed(&mut self, net: &mut Net, kept: &Kept<'_>) -> Result<Arrival, Fault> {
        match kept.version {
            Some(version) if version <= self.receiver_version => Ok(Arrival::Repeat),
            Some(version) if version > self.receiver_version + 1 => {
                self.pull(net);
                Ok(Arrival::Repeat)
            }
            _ => self.apply(kept),
        }
    }

    /// A message of a pull's answer.
    pub(super) fn pulled(&mut self, kept: &Kept<'_>) -> Result<Arrival, Fault> {
        match kept.version {
            Some(version) if version <= self.receiver_version => Ok(Arrival::Repeat),
            Some(version) if version > self.receiver_version + 1 => {
                let held = self.receiver_version;
                Err(Fault::Product(format!("version {version} was pulled after version {held}")))
            }
            _ => self.apply(kept),
        }
    }

    /// The pull under way is answered, up to `head`.
    pub(super) fn page_ended(&mut self, net: &mut Net, head: i64) {
        self.pulling = false;
        self.at_head = self.receiver_version >= head;
        if !self.at_head {
            self.pull(net);
        }
    }

    /// Whether messages are missing.
    pub(super) fn misses_some(&self) -> bool {
        self.check.lost(self.sent) > 0
    }

    /// Whether what is missing will not come: everything is acked, and the receiver's timeline ends without it.
    pub(super) fn has_lost_some(&self) -> bool {
        self.all_acked() && self.misses_some() && self.at_head && !self.pulling
    }

    pub(super) fn pull(&mut self, net: &mut Net) {
        if !std::mem::replace(&mut self.pulling, true)
            && let Some(out) = net.out(self.receiver)
        {
            self.at_head = false;
            self.pulls += 1;
            put_pull(out, Seq(1 + self.pulls), self.receiver_version, PAGE);
        }
    }

    /// Says what the receiver holds, if the server does not know.
    pub(super) fn confirm(&mut self, net: &mut Net) {
        if self.confirmed < self.receiver_version
            && let Some(out) = net.out(self.receiver)
        {
            put_push_ack(out, self.receiver_version);
            self.confirmed = self.receiver_version;
        }
    }

    fn apply(&mut self, kept: &Kept<'_>) -> Result<Arrival, Fault> {
        if let Some(version) = kept.version {
            self.receiver_version = version;
        }
        self.at_head = false;
        let stamp = Stamp::read(kept.content).filter(|stamp| stamp.stream == self.stream);
        let Some(stamp) = stamp.filter(|stamp| stamp.number < self.sent) else {
            return Err(Fault::Product("a message arrived that nobody sent here".to_owned()));
        };
        let new = self.check.arrived(stamp.number);
        Ok(if new { Arrival::New(stamp.due) } else { Arrival::Repeat })
    }
}

/// 1 was the login's.
fn seq_of(number: u64) -> Seq {
    // Numbers wrap long before they reach those that are reserved: 2^30 messages of one sender take hours.
    Seq(2 + u32::try_from(number & 0x3FFF_FFFF).expect("30 bits"))
}
