//! Statements over many rows, in five fixed sizes, so that each is prepared once and a batch of any size takes few.

use sqlx::Sqlite;
use sqlx::sqlite::SqliteArguments;

pub(super) type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// Rows of one statement. 256 rows of the widest table are 3,072 variables; SQLite takes 32,766.
const SIZES: [usize; 5] = [1, 4, 16, 64, 256];

/// A statement with a `VALUES` list in the middle, in every size.
///
/// A list may be longer than the rows that it is given: the rest are rows of NULLs (what the driver leaves unbound is NULL), which the statement has to
/// pass over.
pub(super) struct Rows {
    texts: [String; SIZES.len()],
}

impl Rows {
    /// The statement `before VALUES (…), (…) after`.
    pub(super) fn new(columns: usize, before: &str, after: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        let texts =
            SIZES.map(|size| format!("{before} VALUES {} {after}", vec![row.as_str(); size].join(",")));
        Self { texts }
    }

    /// The statement for one row.
    #[cfg(test)]
    pub(super) fn text(&'static self) -> &'static str {
        &self.texts[0]
    }

    /// The queries for these rows, in order; `bind` binds one.
    pub(super) fn queries<R>(&'static self, mut rows: &[R], bind: impl Fn(Query, &R) -> Query) -> Vec<Query> {
        let mut queries = Vec::new();
        while !rows.is_empty() {
            let size = best_size(rows.len());
            let (now, later) = rows.split_at(SIZES[size].min(rows.len()));
            let query = sqlx::query(self.texts[size].as_str());
            queries.push(now.iter().fold(query, &bind));
            rows = later;
        }
        queries
    }

    /// The queries for rows that also carry their place in the list, as the first column.
    pub(super) fn numbered<R>(&'static self, rows: &[R], bind: impl Fn(Query, &R) -> Query) -> Vec<Query> {
        let numbered: Vec<(i64, &R)> = (0..).zip(rows).collect();
        self.queries(&numbered, |query, (number, row)| bind(query.bind(*number), row))
    }
}

/// Which size serves `rows` best: the next one up if at least half of it is used, else the next one down.
fn best_size(rows: usize) -> usize {
    let up = SIZES.partition_point(|size| *size < rows);
    match SIZES.get(up) {
        Some(size) if rows * 2 >= *size => up,
        _ => up.saturating_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of the statements for so many rows.
    fn sizes(mut rows: usize) -> Vec<usize> {
        let mut sizes = Vec::new();
        while rows > 0 {
            let size = SIZES[best_size(rows)];
            sizes.push(size);
            rows = rows.saturating_sub(size);
        }
        sizes
    }

    #[test]
    fn a_batch_takes_few_statements_of_which_none_is_mostly_empty() {
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(3), [4]);
        assert_eq!(sizes(63), [64]);
        assert_eq!(sizes(65), [64, 1]);
        assert_eq!(sizes(512), [256, 256]);
        for rows in 1..2_000 {
            let room: usize = sizes(rows).iter().sum();
            assert!(room >= rows && room <= 2 * rows, "{rows} rows in {:?}", sizes(rows));
            assert!(sizes(rows).len() <= rows / 256 + 7, "{rows} rows in {:?}", sizes(rows));
        }
    }
}
