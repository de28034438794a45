//! The schema's history, and how far a database has come in it.

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use super::driver::Pool;
use super::fault::is_damage;
use super::open::unavailable;
use super::statement::Text;
use super::{Fault, OpenError};

/// One step: its number, its name, its statements. A published one never changes.
type Step = (i64, &'static str, &'static str);

#[cfg(feature = "mysql")]
pub(super) static MYSQL: [Step; 5] = [
    (1, "timelines", include_str!("../../migrations/mysql/0001_timelines.sql")),
    (2, "outbox", include_str!("../../migrations/mysql/0002_outbox.sql")),
    (3, "buckets", include_str!("../../migrations/mysql/0003_buckets.sql")),
    (4, "blocklist", include_str!("../../migrations/mysql/0004_blocklist.sql")),
    (5, "member", include_str!("../../migrations/mysql/0005_member.sql")),
];

#[cfg(feature = "postgres")]
pub(super) static POSTGRES: [Step; 5] = [
    (1, "timelines", include_str!("../../migrations/postgres/0001_timelines.sql")),
    (2, "outbox", include_str!("../../migrations/postgres/0002_outbox.sql")),
    (3, "buckets", include_str!("../../migrations/postgres/0003_buckets.sql")),
    (4, "blocklist", include_str!("../../migrations/postgres/0004_blocklist.sql")),
    (5, "member", include_str!("../../migrations/postgres/0005_member.sql")),
];

pub(super) fn migrations(steps: &[Step]) -> Migrator {
    let migration = |(number, name, text): &Step| {
        Migration::new(*number, (*name).into(), MigrationType::Simple, (*text).into_sql_str(), false)
    };
    Migrator::with_migrations(steps.iter().map(migration).collect())
}

pub(super) fn not_migrated(error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(schema) => OpenError::Newer(schema),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) if is_denied(&error) => {
            OpenError::MayNotMigrate(error.into())
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) if !is_foreign(&error) => {
            unavailable(error.into())
        }
        error => OpenError::Damaged(error.into()),
    }
}

/// Whether something of ours cannot be made because of what is there: SQLSTATE's class for statements that do not fit the tables.
fn is_foreign(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    is_damage(error) || code.is_some_and(|code| code.starts_with("42"))
}

/// Whether the user lacks a privilege. MySQL says by the same SQLSTATE that a statement is wrong.
fn is_denied(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    match error.code().as_deref() {
        Some("42501") => true,
        Some("42000") => error.message().contains("denied"),
        _ => false,
    }
}

/// Looks whether the database's tables are those of this version, and changes nothing.
pub(super) async fn check(pool: &Pool) -> Result<(), OpenError> {
    let steps: &[Step] = match pool {
        #[cfg(feature = "mysql")]
        Pool::MySql(_) => &MYSQL,
        #[cfg(feature = "postgres")]
        Pool::Postgres(_) => &POSTGRES,
    };
    let done = done(pool).await.map_err(unavailable)?;
    compare(&migrations(steps), &done)
}

/// A step that a database has taken: its number, and what it was.
type Done = (i64, Vec<u8>);

/// The steps that were finished, in their order.
async fn done(pool: &Pool) -> Result<Vec<Done>, Fault> {
    // The driver keeps the list.
    #[cfg(feature = "mysql")]
    static MYSQL: Text = Text::new(
        "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.tables t \
         WHERE t.table_name = '_sqlx_migrations' AND t.table_schema = DATABASE()",
    );
    #[cfg(feature = "postgres")]
    static POSTGRES: Text =
        Text::new("SELECT COUNT(*) FROM pg_class c WHERE c.oid = to_regclass('_sqlx_migrations')");
    // MySQL keeps one that failed in the middle: nothing counts then, so that the driver is asked.
    static DONE: Text = Text::new(
        "SELECT m.version, m.checksum FROM _sqlx_migrations m \
         WHERE NOT EXISTS (SELECT 1 FROM _sqlx_migrations f WHERE NOT f.success) ORDER BY m.version",
    );
    let mut session = pool.session().await?;
    let is_there = match pool {
        #[cfg(feature = "mysql")]
        Pool::MySql(_) => &MYSQL,
        #[cfg(feature = "postgres")]
        Pool::Postgres(_) => &POSTGRES,
    };
    let rows = session.select(is_there, Vec::new()).await?;
    let is_there = rows.first().map(|row| row.int(0)).transpose()? == Some(1);
    let rows = if is_there { session.select(&DONE, Vec::new()).await } else { Ok(Vec::new()) };
    let rows = session.settle(rows)?;
    rows.iter().map(|row| Ok((row.int(0)?, row.bytes(1)?.to_vec()))).collect()
}

fn compare(known: &Migrator, done: &[Done]) -> Result<(), OpenError> {
    let last = done.last().map_or(0, |(number, _)| *number);
    let newest = known.iter().map(|step| step.version).max().unwrap_or_default();
    if last > newest {
        return Err(OpenError::Newer(last));
    }
    for step in known.iter() {
        match done.iter().find(|(number, _)| *number == step.version) {
            None => return Err(OpenError::Older(last)),
            Some((number, what)) if *what != *step.checksum => {
                return Err(OpenError::Damaged(MigrateError::VersionMismatch(*number).into()));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
