//! The one place that knows which driver is below: connections, rows, and values.

#[cfg(feature = "mysql")]
use std::mem;

use sqlx::Row as _;
#[cfg(feature = "mysql")]
use sqlx::mysql::{MySql, MySqlConnection, MySqlRow};
#[cfg(feature = "postgres")]
use sqlx::postgres::{PgConnection, PgRow, Postgres};

use super::Fault;
use super::pool::{Connections, Held};
#[cfg(feature = "mysql")]
use super::statement::chunks;
use super::statement::{Insert, Keyed, TABLES, Text, Together};

/// Connections to one database.
#[derive(Debug)]
pub(super) enum Pool {
    #[cfg(feature = "mysql")]
    MySql(Connections<MySqlConnection>),
    #[cfg(feature = "postgres")]
    Postgres(Connections<PgConnection>),
}

#[derive(Debug)]
enum Link {
    #[cfg(feature = "mysql")]
    MySql(Held<MySqlConnection>),
    #[cfg(feature = "postgres")]
    Postgres(Held<PgConnection>),
}

/// One argument.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Int(i64),
    Bytes(Vec<u8>),
}

/// One column of many rows.
#[derive(Clone, Debug)]
pub(super) enum Column {
    Ints(Vec<i64>),
    MaybeInts(Vec<Option<i64>>),
    Blobs(Vec<Vec<u8>>),
}

impl Column {
    /// Numbers.
    pub(super) fn ints(of: impl Iterator<Item = i64>) -> Self {
        Self::Ints(of.collect())
    }

    /// Names or contents.
    pub(super) fn blobs(of: impl Iterator<Item = Vec<u8>>) -> Self {
        Self::Blobs(of.collect())
    }

    fn len(&self) -> usize {
        match self {
            Self::Ints(column) => column.len(),
            Self::MaybeInts(column) => column.len(),
            Self::Blobs(column) => column.len(),
        }
    }

    /// How many bytes a row has here.
    #[cfg(feature = "mysql")]
    fn bytes(&self, row: usize) -> usize {
        match self {
            Self::Blobs(column) => column[row].len(),
            _ => 8,
        }
    }
}

/// How many rows columns have: all the same.
fn rows_of(columns: &[Column]) -> usize {
    columns.first().map_or(0, Column::len)
}

/// One row of an answer.
pub(super) enum Row {
    #[cfg(feature = "mysql")]
    MySql(MySqlRow),
    #[cfg(feature = "postgres")]
    Postgres(PgRow),
}

macro_rules! column {
    ($row:expr, $at:expr) => {
        match $row {
            #[cfg(feature = "mysql")]
            Row::MySql(row) => row.try_get($at),
            #[cfg(feature = "postgres")]
            Row::Postgres(row) => row.try_get($at),
        }
    };
}

impl Row {
    pub(super) fn int(&self, at: usize) -> Result<i64, Fault> {
        Ok(column!(self, at)?)
    }

    pub(super) fn maybe_int(&self, at: usize) -> Result<Option<i64>, Fault> {
        Ok(column!(self, at)?)
    }

    pub(super) fn bytes(&self, at: usize) -> Result<&[u8], Fault> {
        Ok(column!(self, at)?)
    }

    /// Of a column that the database itself has named and filled.
    #[cfg(feature = "mysql")]
    pub(super) fn text(&self, at: usize) -> Result<&str, Fault> {
        Ok(column!(self, at)?)
    }

    pub(super) fn maybe_bytes(&self, at: usize) -> Result<Option<&[u8]>, Fault> {
        Ok(column!(self, at)?)
    }
}

impl Pool {
    /// A connection, for reads.
    pub(super) async fn session(&self) -> Result<Session, Fault> {
        let link = match self {
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => Link::MySql(pool.take().await?),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Link::Postgres(pool.take().await?),
        };
        Ok(Session { link })
    }

    /// A connection in a transaction.
    pub(super) async fn begin(&self) -> Result<Session, Fault> {
        let mut session = self.session().await?;
        match session.begin().await {
            Ok(()) => Ok(session),
            Err(fault) => Err(session.cut(fault)),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => pool.close().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A connection in use. One that is dropped is cut: only after [`end`](Self::end), [`settle`](Self::settle) or
/// [`store_after`](Self::store_after) it serves another call. So nobody waits for a connection that stalled, or finds another's transaction in it.
#[derive(Debug)]
pub(super) struct Session {
    link: Link,
}

macro_rules! bind_one {
    () => {
        |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        }
    };
}

macro_rules! on_link {
    ($session:expr, $connection:ident => $body:expr) => {
        match &mut $session.link {
            #[cfg(feature = "mysql")]
            Link::MySql($connection) => $body,
            #[cfg(feature = "postgres")]
            Link::Postgres($connection) => $body,
        }
    };
}

/// How a transaction begins in PostgreSQL.
macro_rules! begin {
    () => {
        "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan"
    };
}

impl Session {
    /// Begins a transaction, in which every statement sees what is committed when it starts. PostgreSQL would plan a statement with arrays anew each time,
    /// because it takes them for longer than they are; those of a transaction find what they change by its key, however many there are.
    pub(super) async fn begin(&mut self) -> Result<(), Fault> {
        // The isolation level is the connection's.
        let begin = match &self.link {
            #[cfg(feature = "mysql")]
            Link::MySql(_) => "BEGIN",
            #[cfg(feature = "postgres")]
            Link::Postgres(_) => begin!(),
        };
        self.run(begin).await
    }

    /// Begins a transaction of whoever writes to buckets. `true` if none changes its state until it ends, because it has a share of a table's lock, which costs next
    /// to nothing; `false` in MySQL, where no transaction locks a table.
    pub(super) async fn begin_sharing(&mut self) -> Result<bool, Fault> {
        let shares = self.locks_tables();
        match shares {
            true => self.run(concat!(begin!(), "; LOCK TABLE bucket_map IN ROW SHARE MODE")).await?,
            false => self.begin().await?,
        }
        Ok(shares)
    }

    /// Waits until those have ended that [began sharing](Self::begin_sharing), and lets no other begin until this transaction ends. Not for long: they all wait
    /// meanwhile. `Busy` if they do not end.
    pub(super) async fn stop_sharing(&mut self) -> Result<(), Fault> {
        if !self.locks_tables() {
            return Ok(());
        }
        let stopped =
            self.run("SET LOCAL lock_timeout = '200ms'; LOCK TABLE bucket_map IN EXCLUSIVE MODE").await;
        stopped.map_err(|fault| if fault.is_locked() { Fault::Busy } else { fault })
    }

    fn locks_tables(&self) -> bool {
        match &self.link {
            #[cfg(feature = "mysql")]
            Link::MySql(_) => false,
            #[cfg(feature = "postgres")]
            Link::Postgres(_) => true,
        }
    }

    /// Takes the lock of an import, which lasts as long as the connection; `false` if another has it and does not end.
    pub(super) async fn lock_import(&mut self) -> Result<bool, Fault> {
        #[cfg(feature = "mysql")]
        static MYSQL: Text =
            Text::new("SELECT CAST(GET_LOCK(CONCAT('im-store ', MD5(DATABASE())), 5) AS SIGNED)");
        // 0x696D: "im". Waits for the connection's lock_timeout.
        #[cfg(feature = "postgres")]
        static POSTGRES: Text = Text::new("SELECT 1::BIGINT FROM pg_advisory_lock(26989)");
        let text = match &self.link {
            #[cfg(feature = "mysql")]
            Link::MySql(_) => &MYSQL,
            #[cfg(feature = "postgres")]
            Link::Postgres(_) => &POSTGRES,
        };
        match self.select(text, Vec::new()).await {
            Ok(rows) => Ok(rows.first().map(|row| row.maybe_int(0)).transpose()?.flatten() == Some(1)),
            Err(fault) if fault.is_locked() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Removes every row but the one of `store_state`.
    pub(super) async fn empty(&mut self) -> Result<(), Fault> {
        for text in [
            "TRUNCATE TABLE entries",
            "TRUNCATE TABLE messages",
            "TRUNCATE TABLE conversations",
            "TRUNCATE TABLE cursors",
            "TRUNCATE TABLE nodes",
            "TRUNCATE TABLE owners",
            "TRUNCATE TABLE announced",
        ] {
            self.run(text).await?;
        }
        Ok(())
    }

    /// Keeps the transaction's statements to the order in which they join tables, by indexes. For those of moves: PostgreSQL knows little of tables that fill
    /// faster than it counts them, and goes through all of one for the few rows that are asked for. (MySQL is told in the statements.)
    pub(super) async fn join_as_written(&mut self) -> Result<(), Fault> {
        match &self.link {
            #[cfg(feature = "postgres")]
            Link::Postgres(_) => {
                let set = "SET LOCAL join_collapse_limit = 1; SET LOCAL enable_seqscan = off; \
                           SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";
                self.run(set).await
            }
            #[cfg(feature = "mysql")]
            Link::MySql(_) => Ok(()),
        }
    }

    /// Runs a statement without arguments.
    pub(super) async fn run(&mut self, text: &'static str) -> Result<(), Fault> {
        on_link!(self, connection => {
            sqlx::raw_sql(text).execute(&mut **connection).await?;
            Ok(())
        })
    }

    /// Commits what succeeded, and takes back what did not.
    ///
    /// # Errors
    /// Also `GivenUp`, as in [`settle`](Self::settle).
    pub(super) async fn end<T>(mut self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        let end = match &outcome {
            Ok(_) => "COMMIT",
            Err(fault) if fault.leaves_connection() => "ROLLBACK",
            Err(_) => return self.settle(outcome),
        };
        match self.run(end).await {
            Ok(()) => self.settle(outcome),
            Err(fault) => Err(self.cut(fault)),
        }
    }

    /// The same, where each statement was a transaction of its own.
    ///
    /// # Errors
    /// `GivenUp` in the place of any answer of a server that was found to be no primary meanwhile.
    pub(super) fn settle<T>(self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        match outcome {
            Err(fault) if !fault.leaves_connection() => Err(self.cut(fault)),
            outcome => self.keep().and(outcome),
        }
    }

    /// Gives the connection back to the pool.
    fn keep(self) -> Result<(), Fault> {
        match self.link {
            #[cfg(feature = "mysql")]
            Link::MySql(connection) => connection.keep(),
            #[cfg(feature = "postgres")]
            Link::Postgres(connection) => connection.keep(),
        }
    }

    /// Cuts the connection after a fault, and gives up all others if the fault is the server's.
    fn cut(self, fault: Fault) -> Fault {
        match self.link {
            #[cfg(feature = "mysql")]
            Link::MySql(connection) => connection.cut(&fault),
            #[cfg(feature = "postgres")]
            Link::Postgres(connection) => connection.cut(&fault),
        }
        fault
    }

    /// Rows of one statement.
    pub(super) async fn select(
        &mut self,
        text: &'static Text,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, Fault> {
        match &mut self.link {
            #[cfg(feature = "mysql")]
            Link::MySql(connection) => {
                let query = values.into_iter().fold(sqlx::query(text.mysql()), bind_one!());
                Ok(query.fetch_all(&mut **connection).await?.into_iter().map(Row::MySql).collect())
            }
            #[cfg(feature = "postgres")]
            Link::Postgres(connection) => {
                let query = values.into_iter().fold(sqlx::query(text.postgres()), bind_one!());
                Ok(query.fetch_all(&mut **connection).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Runs one statement that answers no rows.
    pub(super) async fn execute(&mut self, text: &'static Text, values: Vec<Value>) -> Result<(), Fault> {
        self.select(text, values).await.map(drop)
    }

    /// Rows that have one of these keys, which are given as columns. In no order.
    pub(super) async fn find(
        &mut self,
        statement: &'static Keyed,
        keys: Vec<Column>,
    ) -> Result<Vec<Row>, Fault> {
        if rows_of(&keys) == 0 {
            return Ok(Vec::new());
        }
        match &mut self.link {
            #[cfg(feature = "mysql")]
            Link::MySql(connection) => {
                let mut found = Vec::new();
                for range in chunks(rows_of(&keys), |_| 0) {
                    // The last key fills up the size: asked twice it is found once.
                    let size = Keyed::size_for(range.len());
                    let rows = (range.start..range.start + size).map(|row| row.min(range.end - 1));
                    let query = rows.fold(sqlx::query(statement.mysql(size)), |query, row| {
                        keys.iter().fold(query, |query, column| bind(query, column, row))
                    });
                    found.extend(query.fetch_all(&mut **connection).await?.into_iter().map(Row::MySql));
                }
                Ok(found)
            }
            #[cfg(feature = "postgres")]
            Link::Postgres(connection) => {
                let query = keys.into_iter().fold(sqlx::query(statement.postgres()), bind_all);
                Ok(query.fetch_all(&mut **connection).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Stores rows in several tables, at once or table by table.
    pub(super) async fn insert_together(
        &mut self,
        statement: &'static Together,
        tables: [Vec<Column>; TABLES],
    ) -> Result<(), Fault> {
        match &mut self.link {
            #[cfg(feature = "mysql")]
            Link::MySql(_) => {
                for (insert, columns) in statement.inserts.into_iter().zip(tables) {
                    self.insert(insert, columns).await?;
                }
                Ok(())
            }
            #[cfg(feature = "postgres")]
            Link::Postgres(connection) => {
                let filled = filled(&tables);
                if filled == [false; TABLES] {
                    return Ok(());
                }
                bind_tables(statement.postgres(filled), tables).execute(&mut **connection).await?;
                Ok(())
            }
        }
    }

    /// The same as a transaction of its own, if the last table's rows are all there and are changed.
    ///
    /// # Errors
    /// `Stale` if one of them is not there, or was not changed: then nothing is stored.
    pub(super) async fn store_after(
        mut self,
        statement: &'static Together,
        tables: [Vec<Column>; TABLES],
    ) -> Result<(), Fault> {
        match &mut self.link {
            #[cfg(feature = "mysql")]
            Link::MySql(connection) => {
                let stored = change_and_insert(connection, statement, tables).await;
                self.end(stored).await
            }
            #[cfg(feature = "postgres")]
            Link::Postgres(connection) => {
                let query = bind_tables(statement.postgres(filled(&tables)), tables);
                let stored = query.execute(&mut **connection).await;
                let stored = stored.map(drop).map_err(|error| match Fault::from(error) {
                    fault if fault.is_bad_number() => Fault::Stale,
                    fault => fault,
                });
                self.settle(stored)
            }
        }
    }

    /// Stores rows, which are given as columns, in their order.
    pub(super) async fn insert(
        &mut self,
        statement: &'static Insert,
        columns: Vec<Column>,
    ) -> Result<(), Fault> {
        if rows_of(&columns) == 0 {
            return Ok(());
        }
        match &mut self.link {
            #[cfg(feature = "mysql")]
            Link::MySql(connection) => {
                insert_listed(connection, statement, &columns).await?;
                Ok(())
            }
            #[cfg(feature = "postgres")]
            Link::Postgres(connection) => {
                let query = columns.into_iter().fold(sqlx::query(statement.postgres()), bind_all);
                query.execute(&mut **connection).await?;
                Ok(())
            }
        }
    }
}

/// Begins a transaction, changes the last table's rows, and stores the others'. `Stale` if one was not there, or was not changed.
#[cfg(feature = "mysql")]
async fn change_and_insert(
    connection: &mut MySqlConnection,
    statement: &'static Together,
    mut tables: [Vec<Column>; TABLES],
) -> Result<(), Fault> {
    let ([.., change], [.., changes]) = (statement.inserts, &mut tables);
    let changes = mem::take(changes);
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
    // A row that is changed counts twice; one that is new, or stays as it is, once at most.
    if insert_listed(connection, change, &changes).await? != 2 * rows_of(&changes) {
        return Err(Fault::Stale);
    }
    for (insert, columns) in statement.inserts.into_iter().zip(tables) {
        insert_listed(connection, insert, &columns).await?;
    }
    Ok(())
}

/// How many rows were affected, as MySQL counts them.
#[cfg(feature = "mysql")]
async fn insert_listed(
    connection: &mut MySqlConnection,
    statement: &'static Insert,
    columns: &[Column],
) -> Result<usize, Fault> {
    let bytes = |row| columns.iter().map(|column| column.bytes(row)).sum();
    let mut affected = 0;
    for range in chunks(rows_of(columns), bytes) {
        let query = sqlx::query(statement.mysql(range.len()));
        let query = range
            .fold(query, |query, row| columns.iter().fold(query, |query, column| bind(query, column, row)));
        affected += query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(usize::try_from(affected).unwrap_or(usize::MAX))
}

#[cfg(feature = "mysql")]
type MySqlQuery<'q> = sqlx::query::Query<'q, MySql, sqlx::mysql::MySqlArguments>;

/// Binds one row's value of a column.
#[cfg(feature = "mysql")]
fn bind<'q>(query: MySqlQuery<'q>, column: &Column, row: usize) -> MySqlQuery<'q> {
    match column {
        Column::Ints(column) => query.bind(column[row]),
        Column::MaybeInts(column) => query.bind(column[row]),
        Column::Blobs(column) => query.bind(column[row].clone()),
    }
}

#[cfg(feature = "postgres")]
type PgQuery<'q> = sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments>;

/// Which tables have rows.
#[cfg(feature = "postgres")]
fn filled(tables: &[Vec<Column>; TABLES]) -> [bool; TABLES] {
    tables.each_ref().map(|columns| rows_of(columns) > 0)
}

/// Binds the columns of the tables that have rows.
#[cfg(feature = "postgres")]
fn bind_tables(text: &'static str, tables: [Vec<Column>; TABLES]) -> PgQuery<'static> {
    let columns = tables.into_iter().filter(|columns| rows_of(columns) > 0).flatten();
    columns.fold(sqlx::query(text), bind_all)
}

/// Binds a column as an array.
#[cfg(feature = "postgres")]
fn bind_all(query: PgQuery<'_>, column: Column) -> PgQuery<'_> {
    match column {
        Column::Ints(column) => query.bind(column),
        Column::MaybeInts(column) => query.bind(column),
        Column::Blobs(column) => query.bind(column),
    }
}
