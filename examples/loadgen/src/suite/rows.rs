/// One scenario of the suite, and what is asked of it.
pub(super) struct Row {
    /// Its number in the table of targets, with a letter where that has several runs.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// The command line in full, without the rounds.
    pub(super) words: &'static str,
    /// The same in small.
    pub(super) quick: &'static str,
    pub(super) figures: &'static [Figure],
}

/// One figure of a report.
pub(super) struct Figure {
    pub(super) name: &'static str,
    /// Where it stands in the report; the floor's stands there under `floor`.
    pub(super) pointer: &'static str,
    /// What it is divided by to be in the unit that its name says.
    pub(super) unit: f64,
    pub(super) asked: Asked,
}

/// What is asked of a figure.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    /// Nothing; it is shown.
    Nothing,
    /// That our figure, or its ratio to the floor's, is so much at most or at least.
    Own(Bars),
    Ratio(Bars),
}

/// The first bar, if there is one, and the moonshot.
#[derive(Clone, Copy)]
pub(super) enum Bars {
    AtMost(Option<f64>, f64),
    AtLeast(Option<f64>, f64),
}

const fn at_most(first: f64, moonshot: f64) -> Bars {
    Bars::AtMost(Some(first), moonshot)
}

const fn at_least(first: f64, moonshot: f64) -> Bars {
    Bars::AtLeast(Some(first), moonshot)
}

const fn figure(name: &'static str, pointer: &'static str, asked: Asked) -> Figure {
    Figure { name, pointer, unit: 1.0, asked }
}

const KIB: f64 = 1_024.0;
const MIB: f64 = KIB * KIB;

const RATE: Figure = figure("messages a second", "/per_s", Asked::Nothing);
const ARRIVAL: Figure = figure("send → arrival, p99 µs", "/latency_us/p99", Asked::Nothing);
const ACK: Figure = figure("send → ack, p99 µs", "/ack_us/p99", Asked::Nothing);

const DELIVERY: &[Figure] = &[
    figure("CPU µs a delivery", "/cpu_s_per_million", Asked::Ratio(at_most(1.3, 1.05))),
    figure("deliveries a second", "/per_s", Asked::Nothing),
    ARRIVAL,
];

/// What every scenario in small is told: no neighbour voids a round.
pub(super) const QUICK: &str =
    "--seconds 0.3 --warmup 0.1 --max-others 1000000 --max-drift 1000000 --min-sent 0";

/// The table of targets.
pub(super) const ROWS: &[Row] = &[
    Row {
        id: "1",
        title: "direct messages, 100 pairs, window 1",
        words: "c2c --pairs 100 --window 1",
        quick: "c2c --pairs 10 --window 1",
        figures: &[
            figure("CPU µs a message", "/cpu_s_per_million", Asked::Ratio(at_most(2.0, 1.2))),
            RATE,
            ARRIVAL,
            ACK,
        ],
    },
    Row {
        id: "2",
        title: "direct messages, 100 pairs, window 64",
        words: "c2c --pairs 100 --window 64",
        quick: "c2c --pairs 10 --window 64",
        figures: &[
            figure("CPU µs a message", "/cpu_s_per_million", Asked::Own(at_most(10.0, 1.0))),
            figure("messages a second", "/per_s", Asked::Own(at_least(100_000.0, 500_000.0))),
            ARRIVAL,
            ACK,
        ],
    },
    Row {
        id: "3",
        title: "direct messages, 100 pairs, 5,000 a second",
        words: "c2c --pairs 100 --rate 5000",
        quick: "c2c --pairs 10 --rate 500",
        figures: &[
            figure("send → arrival, p99 µs", "/latency_us/p99", Asked::Ratio(at_most(2.0, 1.2))),
            figure("send → ack, p99 µs", "/ack_us/p99", Asked::Ratio(at_most(2.0, 1.2))),
            figure("send → arrival, p50 µs", "/latency_us/p50", Asked::Nothing),
            figure("send → ack, p50 µs", "/ack_us/p50", Asked::Nothing),
            figure("CPU µs a message", "/cpu_s_per_million", Asked::Nothing),
        ],
    },
    Row {
        id: "4a",
        title: "room of 1,000 online, window 1",
        words: "fanout --members 1000 --window 1",
        quick: "fanout --members 20 --window 1",
        figures: DELIVERY,
    },
    Row {
        id: "4b",
        title: "room of 1,000 online, window 8",
        words: "fanout --members 1000 --window 8",
        quick: "fanout --members 20 --window 8",
        figures: DELIVERY,
    },
    Row {
        id: "4c",
        title: "room of 1,000 online, window 64",
        words: "fanout --members 1000 --window 64",
        quick: "fanout --members 20 --window 64",
        figures: DELIVERY,
    },
    Row {
        id: "5",
        title: "16,000 idle links",
        words: "idle --links 16000",
        quick: "idle --links 100",
        figures: &[Figure {
            name: "resident KiB a link",
            pointer: "/rss_bytes_per_link",
            unit: KIB,
            asked: Asked::Own(at_most(2.5, 1.25)),
        }],
    },
    Row {
        id: "6",
        title: "16,000 logins at once, and again after a cut",
        words: "storm --links 16000 --waves 2",
        quick: "storm --links 100 --waves 2",
        figures: &[
            figure("CPU µs a login", "/cpu_s_per_million", Asked::Own(at_most(100.0, 45.0))),
            Figure { name: "memory peak, MiB", pointer: "/rss_peak_bytes", unit: MIB, asked: Asked::Nothing },
            figure("logins a second", "/per_s", Asked::Nothing),
            figure("all at once → logged in, p99 µs", "/latency_us/p99", Asked::Nothing),
        ],
    },
    Row {
        id: "7",
        title: "1,000 users catch up on 1,000 messages each",
        words: "pull --users 1000 --messages 1000",
        quick: "pull --users 10 --messages 25 --page 10",
        figures: &[
            figure("messages a second", "/per_s", Asked::Ratio(at_least(0.5, 0.9))),
            figure("CPU µs a message", "/cpu_s_per_million", Asked::Nothing),
        ],
    },
    Row {
        id: "8",
        title: "bytes on disk of a direct message of 100 bytes",
        words: "disk --messages 1000000 --users 1000",
        quick: "disk --messages 2000 --users 100",
        figures: &[
            figure(
                "bytes allocated a message",
                "/disk/allocated_per_message",
                Asked::Own(Bars::AtMost(None, 300.0)),
            ),
            figure("bytes written a message", "/disk/written_per_message", Asked::Nothing),
        ],
    },
    Row {
        id: "9",
        title: "growth by tens, users with it",
        words: "growth --min-messages 10000",
        quick: "growth --min-messages 1000 --max-messages 10000 --measured 500 --settle 0.1",
        figures: &[
            figure("CPU a message grows ×", "/growth/cpu_factor", Asked::Own(at_most(1.5, 1.1))),
            figure(
                "memory a stored message grows ×",
                "/growth/rss_per_message_factor",
                Asked::Own(at_most(1.5, 1.1)),
            ),
            figure("CPU of storing one grows ×", "/growth/fill_cpu_factor", Asked::Nothing),
            figure("memory in all grows ×", "/growth/rss_factor", Asked::Nothing),
        ],
    },
    Row {
        id: "10",
        title: "one of 1,000 in a room reads nothing; beside it, the room without that one",
        words: "slow --members 1000 --rate 50",
        quick: "slow --members 20 --rate 100",
        figures: &[
            figure("the others' send → arrival, p99 µs", "/latency_us/p99", Asked::Ratio(at_most(1.2, 1.05))),
            Figure { name: "memory peak, MiB", pointer: "/rss_peak_bytes", unit: MIB, asked: Asked::Nothing },
            figure("CPU µs a delivery", "/cpu_s_per_million", Asked::Nothing),
        ],
    },
];

impl Row {
    /// Whether `choice` means this row: by its whole name, or by its number for all letters.
    pub(super) fn is(&self, choice: &str) -> bool {
        self.id == choice || self.id.trim_end_matches(char::is_alphabetic) == choice
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn every_row_is_a_command_line() {
        for row in ROWS {
            for words in [row.words.to_owned(), format!("{} {QUICK}", row.quick)] {
                let line = format!("im-loadgen {words} --spawn --json --rounds 5");
                Cli::try_parse_from(line.split(' ')).unwrap();
            }
        }
    }

    #[test]
    fn a_number_means_all_its_letters() {
        let chosen = |choice| ROWS.iter().filter(|row| row.is(choice)).count();
        assert_eq!((chosen("4"), chosen("4b"), chosen("1"), chosen("11")), (3, 1, 1, 0));
    }
}
