use std::fmt;
use std::ops::AddAssign;

/// Declares what is counted once: as fields, as a sum, and as names.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a run met. A run of many seeds that did not meet one of these proved less than it says.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            /// Each count with its name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }

        impl AddAssign for Counts {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    /// Messages that clients handed in.
    sends,
    /// Acks that a broken link swallowed and that a repeat of the send brought in the end.
    acks_lost_and_resent,
    /// Crashes that found a message in its sender's timeline and not yet in its receiver's.
    crashes_between_copies,
    /// Crashes of a store that lost stored but unsynced messages.
    unsynced_tails_lost,
    /// Gaps that a push showed and a fetch filled.
    gaps_pulled,
    /// Logins that ran while a conflicting login ran on another gate.
    racing_logins,
    /// Batches of parcels that overtook earlier ones.
    reorderings,
    /// Retryable failures of a send with a later one to the same user behind it on the link.
    pipelined_sends_failing,
    /// Parcels that the bus lost.
    parcels_lost,
    /// Parcels that the bus doubled.
    parcels_doubled,
    /// Times that the bus was away.
    bus_outages,
    /// Links that were told after such a time what they had missed.
    links_hinted,
    /// Posts that the store answered as repeats.
    repeats_recognised,
    /// Calls of the store that failed before they did anything.
    calls_failed_before,
    /// Calls of the store that failed after they took effect.
    calls_failed_after,
    /// Batches of which a part failed.
    calls_failed_in_part,
    /// Calls that the store left unanswered until their deadline.
    calls_timed_out,
    /// Crashes of a store.
    store_crashes,
    /// Stores that were restored from a backup.
    restores,
    /// Messages that a restore took back.
    messages_lost_by_restores,
    /// Messages that a device had when a store gave them anew.
    messages_recognised,
    /// Of those, the ones that the restored store had lost and got again.
    lost_messages_recognised,
    /// Moves of buckets that came to their end.
    moves_ended,
    /// Moves that have to be run again.
    moves_failed,
    /// Crashes of a process that moves buckets.
    mover_crashes,
    /// Crashes of a server process.
    server_crashes,
    /// Pauses of a server process.
    server_pauses,
    /// Servers that were taken down in good order.
    drains,
    /// Crashes of a device.
    device_crashes,
    /// Links that broke.
    links_cut,
    /// Links of which one end did not learn that the other was gone.
    links_half_open,
    /// Links that stalled.
    links_stalled,
    /// Connections that were refused.
    connections_refused,
    /// Devices that were kicked.
    kicks,
    /// Links that a newer login evicted and whose kick was lost.
    evictions_found_late,
    /// Losses of all routes.
    routers_lost,
    /// Logins that ended while the router was told of them.
    confirmed_too_late,
    /// Logins that were granted to a link that was gone by then.
    verdicts_too_late,
    /// Devices that stopped, or logged out, and came back.
    pauses,
    /// Steps of a server's clock.
    clock_steps,
    /// Users for whom the vendor was asked.
    wakes,
    /// Words that a device heard in a room.
    room_words_heard,
    /// Words that were not said, or perhaps not.
    room_words_unsaid,
    /// Frames and garbage from a hostile client.
    hostile_frames,
    /// Links of a hostile client that the server closed.
    hostile_links_closed,
    /// Requests of a hostile client that were refused as they should be.
    hostile_requests_refused,
}

impl Counts {
    /// What was never met. Moves are of runs over several databases only.
    pub fn missing(&self) -> Vec<&'static str> {
        let moves = ["moves_ended", "moves_failed", "mover_crashes"];
        let all = self.all().into_iter().filter(|(name, _)| self.moves_ended > 0 || !moves.contains(name));
        all.filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.all() {
            writeln!(f, "{:<26} {count:>12}", name.replace('_', " "))?;
        }
        Ok(())
    }
}
