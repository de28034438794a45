use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor};

const AN_ATTEMPT: Duration = Duration::from_secs(5);

/// Runs one statement on a connection of its own.
pub(crate) fn execute<C>(url: &str, statement: String) -> Result<(), sqlx::Error>
where
    C: Connection,
    for<'a> &'a mut C: Executor<'a>,
{
    let attempt = async {
        let mut connection = C::connect(url).await?;
        (&mut connection).execute(AssertSqlSafe(statement)).await?;
        connection.close().await
    };
    on_a_thread(async {
        tokio::time::timeout(AN_ATTEMPT, attempt).await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut))
    })
}

/// A runtime may not be started inside another, and tests have theirs.
fn on_a_thread<F: Future<Output: Send> + Send>(future: F) -> F::Output {
    let run = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(future)
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
