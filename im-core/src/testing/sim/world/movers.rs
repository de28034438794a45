use futures::FutureExt;

use super::server::{Done, Owner};
use super::{World, num};
use crate::storage::Bucket;
use crate::testing::sim::event::{Event, MoverLife};
use crate::testing::sim::sharding::Moved;

/// Movers that may run at the same time, if there is more than one database.
const MOVERS: usize = 2;

/// A tool that somebody starts now and then to move buckets.
#[derive(Default)]
pub(super) struct Mover {
    life: u64,
    runs: bool,
    /// It began when nothing went wrong any more, and came to its end.
    over: bool,
}

impl Mover {
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

/// Buckets move while everybody serves, and the process that moves them dies. The last move of each is left alone: it has to end.
impl World {
    pub(super) fn begin_moves(&mut self) {
        if self.access.databases() > 1 {
            self.movers.resize_with(MOVERS, Mover::default);
        }
        (0..self.movers.len()).for_each(|mover| self.start_mover_later(mover));
    }

    fn start_mover_later(&mut self, mover: usize) {
        let pause = self.kernel.dice(|dice| dice.millis(20, 2_500));
        self.kernel.after(pause, Event::StartMover(mover));
    }

    pub(super) fn start_mover(&mut self, mover: usize) {
        let state = &mut self.movers[mover];
        if state.runs || state.over {
            return;
        }
        state.runs = true;
        state.life += 1;
        let life = MoverLife { mover, life: state.life };
        let last = !self.kernel.faults();
        let (count, to) = self.kernel.dice(|dice| (dice.index(4) + 1, dice.index(self.access.databases())));
        let some = self.kernel.dice(|dice| {
            let user = |_| &self.users[dice.index(self.users.len())];
            (0..count).map(user).map(Bucket::of_user).collect::<Vec<_>>()
        });
        let buckets = if last { self.users.iter().map(Bucket::of_user).collect() } else { some };
        self.kernel.note("move begins", num(mover), num(to));
        let moves = self.access.move_buckets(&self.kernel, buckets, to);
        let done = moves.map(move |moved| Done::Moved(moved, last));
        self.executor.spawn(Owner::Mover(mover), done.boxed());
        if self.kernel.dice(|dice| dice.happens(600)) {
            let dies = self
                .kernel
                .dice(|dice| if dice.happens(500) { dice.millis(1, 150) } else { dice.millis(100, 3_000) });
            self.kernel.after(dies, Event::CrashMover(life));
        }
    }

    pub(super) fn crash_mover(&mut self, life: MoverLife) {
        let state = &mut self.movers[life.mover];
        if !state.runs || state.life != life.life || !self.kernel.faults() {
            return;
        }
        state.runs = false;
        self.executor.abort(Owner::Mover(life.mover));
        self.kernel.note("mover crashes", num(life.mover), life.life);
        self.kernel.count(|counts| counts.mover_crashes += 1);
        self.start_mover_later(life.mover);
    }

    /// An operator who restores the store stops these processes as well.
    pub(super) fn stop_movers(&mut self) {
        for mover in 0..self.movers.len() {
            let life = self.movers[mover].life;
            self.crash_mover(MoverLife { mover, life });
        }
    }

    pub(super) fn moved(&mut self, mover: usize, done: Done) {
        let Done::Moved(moved, last) = done else { return };
        self.movers[mover].runs = false;
        self.kernel.note("move ends", num(mover), u64::from(moved == Moved::Done));
        match moved {
            Moved::Done => {
                self.kernel.count(|counts| counts.moves_ended += 1);
                self.movers[mover].over = last;
            }
            Moved::Again => self.kernel.count(|counts| counts.moves_failed += 1),
            Moved::Broken(what) => self.fail("moves", what),
        }
        self.start_mover_later(mover);
    }
}
