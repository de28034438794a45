//! What the database promises of what it has committed.

use super::Fault;
use super::driver::{Pool, Session};
use super::statement::Text;

/// A commit that is not on a disk when it is answered breaks the store's promise, and so does one that no replica has when the database fails over. That is the
/// operator's to decide, but not in silence.
pub(super) async fn warn(pool: &Pool) -> Result<(), Fault> {
    match weak_settings(pool).await {
        Ok(weak) => {
            for setting in weak {
                tracing::warn!(
                    setting,
                    "the database may lose messages that were acknowledged, when it crashes or fails over"
                );
            }
            Ok(())
        }
        // A user who may not look may serve.
        Err(fault) if fault.leaves_connection() => {
            tracing::info!(
                error = &fault as &dyn std::error::Error,
                "whether the database may lose messages when it crashes or fails over is not known"
            );
            Ok(())
        }
        Err(fault) => Err(fault),
    }
}

/// Each setting of the server's that lets it lose what it has committed.
pub(super) async fn weak_settings(pool: &Pool) -> Result<Vec<String>, Fault> {
    let mut session = pool.session().await?;
    let weak = match pool {
        #[cfg(feature = "mysql")]
        Pool::MySql(_) => mysql(&mut session).await,
        #[cfg(feature = "postgres")]
        Pool::Postgres(_) => postgres(&mut session).await,
    };
    session.settle(weak)
}

/// Replicas show as threads that send them the binary log; who may not see others' threads sees none.
#[cfg(feature = "mysql")]
async fn mysql(session: &mut Session) -> Result<Vec<String>, Fault> {
    static DISK: Text = Text::new(
        "SELECT CAST(CONCAT('innodb_flush_log_at_trx_commit = ', @@innodb_flush_log_at_trx_commit) AS BINARY) \
         FROM DUAL WHERE @@innodb_flush_log_at_trx_commit <> 1 \
         UNION ALL SELECT CAST(CONCAT('sync_binlog = ', @@sync_binlog) AS BINARY) \
         FROM DUAL WHERE @@log_bin = 1 AND @@sync_binlog <> 1",
    );
    static REPLICAS: Text = Text::new(
        "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.processlist p WHERE p.command LIKE 'Binlog Dump%'",
    );
    // MariaDB's and older MySQL's names have `master`, newer MySQL's `source`; without the plugin there are none.
    static SEMI_SYNC: Text = Text::new("SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_%'");
    let mut weak = texts(&session.select(&DISK, Vec::new()).await?)?;
    let replicas = session.select(&REPLICAS, Vec::new()).await?;
    if replicas.first().map(|row| row.int(0)).transpose()?.unwrap_or_default() == 0 {
        return Ok(weak);
    }
    let (mut waits, mut after_sync) = (false, false);
    for row in session.select(&SEMI_SYNC, Vec::new()).await? {
        match (row.text(0)?, row.text(1)?) {
            ("rpl_semi_sync_master_enabled" | "rpl_semi_sync_source_enabled", "ON") => waits = true,
            ("rpl_semi_sync_master_wait_point" | "rpl_semi_sync_source_wait_point", "AFTER_SYNC") => {
                after_sync = true;
            }
            _ => {}
        }
    }
    if !waits {
        weak.push(
            "replicas without semi-synchronous replication: rpl_semi_sync_master_enabled = OFF".to_owned(),
        );
    } else if !after_sync {
        weak.push("replicas with rpl_semi_sync_master_wait_point = AFTER_COMMIT".to_owned());
    }
    Ok(weak)
}

#[cfg(feature = "postgres")]
async fn postgres(session: &mut Session) -> Result<Vec<String>, Fault> {
    static ALL: Text = Text::new(
        "SELECT convert_to(name || ' = ' || setting, 'UTF8') FROM pg_settings WHERE (name = 'fsync' AND setting = 'off') \
         OR (name = 'full_page_writes' AND setting = 'off') \
         OR (name = 'synchronous_commit' AND setting IN ('off', 'local') \
         AND (setting = 'off' OR current_setting('synchronous_standby_names') <> '')) \
         UNION ALL SELECT convert_to('standbys with an empty synchronous_standby_names', 'UTF8') \
         WHERE current_setting('synchronous_standby_names') = '' \
         AND EXISTS (SELECT 1 FROM pg_stat_replication r WHERE r.state IS DISTINCT FROM 'backup')",
    );
    texts(&session.select(&ALL, Vec::new()).await?)
}

fn texts(rows: &[super::driver::Row]) -> Result<Vec<String>, Fault> {
    rows.iter().map(|row| Ok(String::from_utf8_lossy(row.bytes(0)?).into_owned())).collect()
}
