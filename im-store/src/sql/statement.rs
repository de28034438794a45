//! Statements, each in the words of both dialects. PostgreSQL gets many rows as arrays, MySQL as a list; lists come in few lengths, so that
//! each is prepared once a connection.

use std::ops::Range;
use std::sync::OnceLock;

/// How long a list may be. Any short one, for small batches, and few long ones: a batch of any size takes few statements, none of which has more than
/// 256 rows of 14 columns (a statement takes 65,535 values).
const SIZES: [usize; 20] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 24, 32, 48, 64, 96, 128, 192, 256];

/// A list that has so many bytes takes no further row: MariaDB takes packets of 16 MiB, unless it is told otherwise.
const MAX_BYTES: usize = 4 << 20;

/// Prepared statements that a connection keeps: every statement of this adapter in every size.
pub(super) const CACHED: usize = 44 * SIZES.len();

/// Cuts rows into lists of the [`SIZES`].
pub(super) fn chunks(rows: usize, bytes: impl Fn(usize) -> usize) -> Vec<Range<usize>> {
    let (mut ranges, mut start) = (Vec::new(), 0);
    while start < rows {
        let (mut fitting, mut sum) = (0, 0);
        while start + fitting < rows && fitting < SIZES[SIZES.len() - 1] && (fitting == 0 || sum < MAX_BYTES)
        {
            sum += bytes(start + fitting);
            fitting += 1;
        }
        let size = SIZES[SIZES.partition_point(|size| *size <= fitting) - 1];
        ranges.push(start..start + size);
        start += size;
    }
    ranges
}

/// A text for each size.
#[derive(Debug)]
struct Texts {
    mysql: [OnceLock<String>; SIZES.len()],
    postgres: OnceLock<String>,
}

impl Texts {
    const fn new() -> Self {
        Self { mysql: [const { OnceLock::new() }; SIZES.len()], postgres: OnceLock::new() }
    }

    fn mysql(&self, size: usize, make: impl Fn(usize) -> String) -> &str {
        let at = SIZES.partition_point(|known| *known < size).min(SIZES.len() - 1);
        self.mysql[at].get_or_init(|| make(SIZES[at]))
    }
}

/// The words in which the dialects differ.
#[derive(Debug)]
pub(super) struct Both {
    pub(super) mysql: &'static str,
    pub(super) postgres: &'static str,
}

impl Both {
    pub(super) const fn same(text: &'static str) -> Self {
        Self { mysql: text, postgres: text }
    }
}

/// Inserts rows.
#[derive(Debug)]
pub(super) struct Insert {
    table: &'static str,
    columns: &'static [&'static str],
    /// What is to be done about rows that are there.
    conflict: Both,
    texts: Texts,
}

impl Insert {
    pub(super) const fn new(table: &'static str, columns: &'static [&'static str], conflict: Both) -> Self {
        Self { table, columns, conflict, texts: Texts::new() }
    }

    fn before(&self) -> String {
        format!("INSERT INTO {} ({})", self.table, self.columns.join(", "))
    }

    #[cfg(feature = "mysql")]
    pub(super) fn mysql(&'static self, rows: usize) -> &'static str {
        self.texts.mysql(rows, |size| {
            let row = format!("({})", vec!["?"; self.columns.len()].join(","));
            let rows = vec![row; size].join(",");
            format!("{} VALUES {rows} {}", self.before(), self.conflict.mysql)
        })
    }

    #[cfg(feature = "postgres")]
    pub(super) fn postgres(&'static self) -> &'static str {
        self.texts.postgres.get_or_init(|| self.postgres_from(1))
    }

    /// The statement with its first array as argument number `first`.
    #[cfg(feature = "postgres")]
    fn postgres_from(&self, first: usize) -> String {
        self.postgres_of(&arrays(first, self.columns.len()))
    }

    #[cfg(feature = "postgres")]
    fn postgres_of(&self, arrays: &str) -> String {
        format!("{} SELECT * FROM UNNEST({arrays}) {}", self.before(), self.conflict.postgres)
    }
}

/// Inserts rows into several tables, none of which refers to another: PostgreSQL takes it as one statement, in one round trip.
#[derive(Debug)]
pub(super) struct Together {
    pub(super) inserts: [&'static Insert; TABLES],
    /// Whether it is a transaction of its own.
    #[cfg(feature = "postgres")]
    is_alone: bool,
    /// By which of them have rows, as bits.
    #[cfg(feature = "postgres")]
    postgres: [OnceLock<String>; 1 << TABLES],
}

/// How many tables [`Together`] takes.
pub(super) const TABLES: usize = 5;

impl Together {
    pub(super) const fn new(inserts: [&'static Insert; TABLES]) -> Self {
        Self::of(inserts, false)
    }

    /// A transaction of its own, which in PostgreSQL fails unless the last insert returns a number for each of its rows, and none below 0.
    pub(super) const fn alone(inserts: [&'static Insert; TABLES]) -> Self {
        Self::of(inserts, true)
    }

    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "MySQL takes a statement a table")
    )]
    const fn of(inserts: [&'static Insert; TABLES], is_alone: bool) -> Self {
        Self {
            inserts,
            #[cfg(feature = "postgres")]
            is_alone,
            #[cfg(feature = "postgres")]
            postgres: [const { OnceLock::new() }; 1 << TABLES],
        }
    }

    /// For the tables that have rows; in a statement that is alone the last one has.
    #[cfg(feature = "postgres")]
    pub(super) fn postgres(&'static self, filled: [bool; TABLES]) -> &'static str {
        let bits = filled.iter().rev().fold(0, |bits, filled| bits << 1 | usize::from(*filled));
        self.postgres[bits]
            .get_or_init(|| if self.is_alone { self.in_own(filled) } else { self.in_another(filled) })
    }

    /// In a transaction that has begun.
    #[cfg(feature = "postgres")]
    fn in_another(&'static self, filled: [bool; TABLES]) -> String {
        let mut parts = self.parts(filled, |insert, first| insert.postgres_from(first));
        let last = parts.pop().unwrap_or_default();
        match parts.is_empty() {
            true => last,
            false => format!("WITH {} {last}", parts_of_with(&parts)),
        }
    }

    /// As a transaction. Nobody changes buckets until it ends: it has a share of the lock of `bucket_map`, of which it locks no row. PostgreSQL takes the locks of a
    /// statement's tables before it looks which rows there are.
    ///
    /// Outside of another transaction nobody tells PostgreSQL to keep the plan of a statement with arrays. It keeps it if it cannot know how long they are, as those of a `SELECT`.
    #[cfg(feature = "postgres")]
    fn in_own(&'static self, filled: [bool; TABLES]) -> String {
        let mut last = 1;
        let parts = self.parts(filled, |insert, first| {
            last = first;
            let arrays = arrays(first, insert.columns.len());
            insert.postgres_of(&arrays.replacen(&format!("${first}"), &format!("(SELECT ${first})"), 1))
        });
        format!(
            "WITH {with} SELECT CASE WHEN COUNT(*) FILTER (WHERE i.bucket >= 0) = CARDINALITY((SELECT ${last})) THEN 0 \
             ELSE CAST(CONCAT('{STALE}, owners as they were left: ', COUNT(*)) AS BIGINT) END FROM i{number} i \
             WHERE NOT EXISTS (SELECT 1 FROM bucket_map m WHERE m.id < 0 FOR KEY SHARE)",
            with = parts_of_with(&parts),
            number = parts.len() - 1,
        )
    }

    /// What `part` makes of each insert that has rows and of the number of its first array.
    #[cfg(feature = "postgres")]
    fn parts(
        &'static self,
        filled: [bool; TABLES],
        mut part: impl FnMut(&'static Insert, usize) -> String,
    ) -> Vec<String> {
        let inserts =
            self.inserts.into_iter().zip(filled).filter_map(|(insert, filled)| filled.then_some(insert));
        let mut first = 1;
        let parts = inserts.map(|insert| {
            let made = part(insert, first);
            first += insert.columns.len();
            made
        });
        parts.collect()
    }
}

/// What PostgreSQL's log says where a statement that is alone fails.
#[cfg(feature = "postgres")]
const STALE: &str = "others have written, and the server that wrote last asks again";

#[cfg(feature = "postgres")]
fn parts_of_with(parts: &[String]) -> String {
    let parts = parts.iter().enumerate().map(|(number, part)| format!("i{number} AS ({part})"));
    parts.collect::<Vec<_>>().join(", ")
}

/// Finds rows by keys: `{keys}` stands for "the columns `keys` are those of one of these".
#[derive(Debug)]
pub(super) struct Keyed {
    text: Both,
    keys: &'static [&'static str],
    texts: Texts,
}

impl Keyed {
    pub(super) const fn new(text: Both, keys: &'static [&'static str]) -> Self {
        Self { text, keys, texts: Texts::new() }
    }

    /// The size that takes so many keys.
    #[cfg(feature = "mysql")]
    pub(super) fn size_for(keys: usize) -> usize {
        SIZES[SIZES.partition_point(|size| *size < keys).min(SIZES.len() - 1)]
    }

    /// Alternatives, not tuples: of tuples not every server makes ranges of an index.
    #[cfg(feature = "mysql")]
    pub(super) fn mysql(&'static self, keys: usize) -> &'static str {
        self.texts.mysql(keys, |size| {
            let one = match self.keys {
                [key] => format!("{key} IN ({})", vec!["?"; size].join(",")),
                keys => {
                    let parts: Vec<_> = keys.iter().map(|key| format!("{key} = ?")).collect();
                    vec![format!("({})", parts.join(" AND ")); size].join(" OR ")
                }
            };
            self.text.mysql.replace("{keys}", &format!("({one})"))
        })
    }

    #[cfg(feature = "postgres")]
    pub(super) fn postgres(&'static self) -> &'static str {
        self.texts.postgres.get_or_init(|| {
            let keys = match self.keys {
                [key] => format!("{key} = ANY($1)"),
                keys => format!("({}) IN (SELECT * FROM UNNEST({}))", keys.join(", "), arrays(1, keys.len())),
            };
            self.text.postgres.replace("{keys}", &keys)
        })
    }
}

#[cfg(feature = "postgres")]
fn arrays(first: usize, count: usize) -> String {
    (first..first + count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}

/// One statement with `?` for each value.
#[derive(Debug)]
pub(super) struct Text {
    text: &'static str,
    postgres: OnceLock<String>,
}

impl Text {
    pub(super) const fn new(text: &'static str) -> Self {
        Self { text, postgres: OnceLock::new() }
    }

    #[cfg(feature = "mysql")]
    pub(super) fn mysql(&'static self) -> &'static str {
        self.text
    }

    #[cfg(feature = "postgres")]
    pub(super) fn postgres(&'static self) -> &'static str {
        self.postgres.get_or_init(|| {
            let mut parts = self.text.split('?');
            let first = parts.next().unwrap_or_default().to_owned();
            (1..).zip(parts).fold(first, |text, (number, part)| format!("{text}${number}{part}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_in_few_lengths_and_take_all_rows_in_order() {
        for rows in 0..2_000 {
            let ranges = chunks(rows, |_| 100);
            assert_eq!(ranges.iter().map(Range::len).sum::<usize>(), rows);
            assert!(ranges.iter().all(|range| SIZES.contains(&range.len())));
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(ranges.len() <= rows / 256 + 4, "{rows}: {ranges:?}");
        }
    }

    #[test]
    fn a_list_of_large_rows_is_short_but_never_empty() {
        let ranges = chunks(10, |_| 3 << 20);
        assert_eq!(ranges, [0..2, 2..4, 4..6, 6..8, 8..10]);
        assert_eq!(chunks(2, |_| 100 << 20), [0..1, 1..2]);
    }

    #[cfg(all(feature = "mysql", feature = "postgres"))]
    #[test]
    fn both_dialects_say_the_same() {
        static INSERT: Insert = Insert::new("t", &["a", "b"], Both { mysql: "X", postgres: "Y" });
        assert_eq!(INSERT.mysql(2), "INSERT INTO t (a, b) VALUES (?,?),(?,?) X");
        assert_eq!(INSERT.postgres(), "INSERT INTO t (a, b) SELECT * FROM UNNEST($1, $2) Y");
        static KEYED: Keyed = Keyed::new(Both::same("SELECT 1 FROM t WHERE {keys}"), &["a", "b"]);
        assert_eq!(KEYED.mysql(2), "SELECT 1 FROM t WHERE ((a = ? AND b = ?) OR (a = ? AND b = ?))");
        assert_eq!(KEYED.postgres(), "SELECT 1 FROM t WHERE (a, b) IN (SELECT * FROM UNNEST($1, $2))");
        static ONE: Keyed = Keyed::new(Both::same("SELECT 1 FROM t WHERE {keys}"), &["a"]);
        assert_eq!(
            (ONE.mysql(3), ONE.postgres()),
            ("SELECT 1 FROM t WHERE (a IN (?,?,?))", "SELECT 1 FROM t WHERE a = ANY($1)")
        );
        static OTHER: Insert = Insert::new("o", &["c"], Both::same(""));
        static TOGETHER: Together = Together::new([&INSERT, &OTHER, &OTHER, &OTHER, &OTHER]);
        assert_eq!(
            TOGETHER.postgres([true, true, false, false, true]),
            "WITH i0 AS (INSERT INTO t (a, b) SELECT * FROM UNNEST($1, $2) Y), \
             i1 AS (INSERT INTO o (c) SELECT * FROM UNNEST($3) ) INSERT INTO o (c) SELECT * FROM UNNEST($4) "
        );
        assert_eq!(TOGETHER.postgres([true, false, false, false, false]), INSERT.postgres());
        static ALONE: Together = Together::alone([&OTHER, &OTHER, &OTHER, &OTHER, &INSERT]);
        let alone = ALONE.postgres([true, false, false, false, true]);
        assert!(
            alone.contains("i1 AS (INSERT INTO t (a, b) SELECT * FROM UNNEST((SELECT $2), $3) Y)"),
            "{alone}"
        );
        assert!(alone.contains("CARDINALITY((SELECT $2))") && alone.contains("FROM i1 i"), "{alone}");
        static TEXT: Text = Text::new("SELECT ? + ?");
        assert_eq!((TEXT.mysql(), TEXT.postgres()), ("SELECT ? + ?", "SELECT $1 + $2"));
    }
}
