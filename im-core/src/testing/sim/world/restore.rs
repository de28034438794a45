use super::World;
use super::server::Owner;
use crate::id::Uid;
use crate::message::Entry;
use crate::testing::sim::event::Event;
use crate::testing::sim::history::Seen;
use crate::testing::sim::outside;

/// What an operator does who backs up the store, and who has to restore it: stops the servers, brings back what was saved, says that something
/// was lost, and starts the servers.
impl World {
    /// Some stores are backed up while no server runs. Servers then take leases that the backup does not know.
    pub(super) fn back_up(&mut self) {
        if self.kernel.dice(|dice| dice.happens(500)) {
            (0..self.servers.len()).for_each(|server| self.stop_server(server));
        }
        self.disks.save();
    }

    pub(super) fn restore(&mut self) {
        (0..self.servers.len()).for_each(|server| self.stop_server(server));
        self.stop_movers();
        // A restore takes longer than routes hold.
        self.routes.lose();
        self.bus.forget();
        let owners: Vec<Uid> = self
            .users
            .iter()
            .cloned()
            .chain(self.hostiles.iter().map(|hostile| hostile.uid.clone()))
            .collect();
        let lost = self.disks.restore(&owners);
        if self.setup.raises_epoch {
            self.disks.raise_epoch(outside::time_of_day(&self.kernel), self.setup.moves_leases);
        }
        self.kernel.count(|counts| counts.restores += 1);
        self.see(&Seen::Restored { lost: &lost });
        lost.into_iter().for_each(|(owner, entry)| self.lose(owner, &entry));
    }

    /// The process ends, whether it served yet or not. It is started again later.
    fn stop_server(&mut self, server: usize) {
        if self.servers[server].running.is_some() {
            return self.crash_server(server);
        }
        self.executor.abort(Owner::Server(server));
        let pause = self.kernel.dice(|dice| dice.millis(20, 2_000));
        self.kernel.after(pause, Event::StartServer(server));
    }

    /// A message is lost with its sender's entry. Its receiver's entry alone comes again: the intent to store it is still there.
    fn lose(&mut self, owner: Uid, entry: &Entry) {
        let Some(name) = entry.message.key.client_msg_id().filter(|_| entry.message.from == owner) else {
            return;
        };
        self.kernel.count(|counts| counts.messages_lost_by_restores += 1);
        for device in self.devices.iter_mut().filter(|device| device.uid == owner) {
            device.acked.remove(name);
        }
        self.lost_sends.insert((owner, name.clone()));
    }
}
