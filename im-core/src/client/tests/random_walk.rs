//! Any order, loss and repetition of pushes, fetches, failures and links: the entries come out once each, in order.

use std::collections::VecDeque;

use im_proto::v1::{PullRequest, PullResponse, PushAck, SyncRequest};
use im_proto::{CmdId, ErrorCode, Frame};
use prost::Message;

use super::bench::Bench;
use crate::client::{Effect, Input, SplitMix64};
use crate::id::Version;

#[test]
fn entries_come_out_once_and_in_order_whatever_the_network_does() {
    for seed in 0..300 {
        let mut walk = Walk::new(seed);
        for _ in 0..400 {
            walk.step();
        }
        walk.heal();
        assert_eq!(walk.out, walk.head, "seed {seed}: everything came out");
        assert_eq!(walk.bench.client.cursor(), Version(walk.head), "seed {seed}: everything is applied");
    }
}

struct Walk {
    seed: u64,
    random: SplitMix64,
    bench: Bench,
    /// The server's newest version.
    head: i64,
    pushes: Vec<i64>,
    fetches: VecDeque<Frame>,
    /// The last version that came out, and the last that was said to be applied.
    out: i64,
    applied: i64,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let bench = Bench::ready_at(0, |config| {
            config.max_waiting = 3;
            config.max_unapplied = 4;
        });
        let random = SplitMix64::new(seed);
        Self { seed, random, bench, head: 0, pushes: vec![], fetches: VecDeque::new(), out: 0, applied: 0 }
    }

    fn step(&mut self) {
        match self.random.up_to(9) {
            0..=2 => {
                self.head += 1;
                self.pushes.push(self.head);
            }
            3..=4 => self.push_any(),
            5 => drop(self.pushes.pop()),
            6 => self.answer(),
            7 => self.apply_some(),
            8 => self.wait(),
            _ if self.random.up_to(5) == 0 => self.relink(),
            _ => {}
        }
    }

    /// Pushes one of those under way, which may come again.
    fn push_any(&mut self) {
        let Some(last) = self.pushes.len().checked_sub(1) else { return };
        let index = usize::try_from(self.random.up_to(last as u64)).unwrap();
        let version = self.pushes[index];
        if self.random.up_to(3) > 0 {
            self.pushes.swap_remove(index);
        }
        let effects = self.bench.push(version);
        self.look(effects);
    }

    fn answer(&mut self) {
        let Some(fetch) = self.fetches.pop_front() else { return };
        let begin = match fetch.cmd {
            CmdId::PULL => PullRequest::decode(fetch.body.clone()).unwrap().offset,
            _ => SyncRequest::decode(fetch.body.clone()).unwrap().begin,
        };
        let effects = if self.random.up_to(6) == 0 {
            let err_code = ErrorCode::Unavailable.code();
            self.bench.reply(&fetch, &PullResponse { err_code, ..Default::default() })
        } else {
            let limit = usize::try_from(1 + self.random.up_to(4)).unwrap();
            let page: Vec<_> = (begin + 1..=self.head).take(limit).collect();
            self.bench.page(&fetch, &page, self.head)
        };
        self.look(effects);
    }

    fn apply_some(&mut self) {
        let more = u64::try_from(self.out - self.applied).unwrap();
        self.applied += i64::try_from(self.random.up_to(more)).unwrap();
        let effects = self.bench.give(Input::Applied(Version(self.applied)));
        self.look(effects);
    }

    fn wait(&mut self) {
        let effects = self.bench.wait();
        self.look(effects);
    }

    fn relink(&mut self) {
        self.fetches.clear();
        let effects = self.bench.give(Input::Disconnected);
        self.look(effects);
    }

    /// Checks effects, keeps fetches, and logs in where a link is asked for.
    fn look(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Apply { entries, cursor } => {
                    for entry in entries {
                        assert_eq!(entry.version.0, self.out + 1, "seed {}", self.seed);
                        self.out = entry.version.0;
                    }
                    assert_eq!(cursor.0, self.out, "seed {}", self.seed);
                }
                Effect::Write(frame) => self.look_at_frame(frame),
                Effect::Disconnect => self.fetches.clear(),
                Effect::Connect => {
                    let effects = self.bench.log_in(self.head);
                    self.look(effects);
                }
                _ => {}
            }
        }
    }

    fn look_at_frame(&mut self, frame: Frame) {
        let said = match frame.cmd {
            CmdId::PUSH_ACK => PushAck::decode(frame.body.clone()).unwrap().version,
            CmdId::PULL => PullRequest::decode(frame.body.clone()).unwrap().offset,
            _ => 0,
        };
        assert!(said <= self.applied, "seed {}: {said} is not durable", self.seed);
        if [CmdId::PULL, CmdId::SYNC].contains(&frame.cmd) {
            self.fetches.push_back(frame);
        }
    }

    /// A network without faults, and an application that keeps up: a new link shows what is missing.
    fn heal(&mut self) {
        self.relink();
        for _ in 0..2_000 {
            if self.applied == self.head && self.bench.client.is_caught_up() {
                return;
            }
            self.answer();
            self.apply_some();
            if self.fetches.is_empty() {
                self.wait();
            }
        }
    }
}
