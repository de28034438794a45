use super::content::{alike, imported, model, rows};
use super::fixture::{append_all, direct, outline, user};
use super::{TransferBench, begin, open};
use crate::testing::conformance::case::cases;
use crate::testing::conformance::check::same;
use crate::testing::conformance::{Case, Failure, Outcome};

pub(super) fn cases() -> Vec<Case<dyn TransferBench>> {
    cases! {
        "Import" {
            a_store_that_holds_something_is_not_imported_into: "refuses a store that holds anything",
            an_imported_store_is_not_imported_into_again: "refuses a store that holds anything",
            an_unfinished_store_does_not_open: "opening it to serve from is an error",
            beginning_again_empties_an_unfinished_store: "Beginning the import again empties it",
        }
    }
}

async fn a_store_that_holds_something_is_not_imported_into(bench: &dyn TransferBench) -> Outcome {
    append_all(&*open(bench).await?, &[direct("alice", "bob", 1)]).await?;
    same("whether an import begins", bench.import().await.is_ok(), false)?;
    let store = open(bench).await?;
    same("bob's timeline", outline(&*store, user("bob")).await?, vec![(1, 1)])
}

async fn an_imported_store_is_not_imported_into_again(bench: &dyn TransferBench) -> Outcome {
    let model = model().await?;
    imported(bench, &rows(&*model, 1_000).await?, 100).await?;
    same("whether an import begins", bench.import().await.is_ok(), false)?;
    alike(&*model, &*open(bench).await?).await
}

async fn an_unfinished_store_does_not_open(bench: &dyn TransferBench) -> Outcome {
    if !bench.is_durable() {
        return Err(Failure::NotTried("nothing of a half-filled store is left"));
    }
    let rows = rows(&*model().await?, 1_000).await?;
    for imported in [0, 1, 30, rows.len()] {
        let mut import = begin(bench).await?;
        import.import(rows[..imported].to_vec()).await?;
        drop(import);
        same(format!("whether it opens after {imported} rows"), bench.open().await.is_ok(), false)?;
    }
    Ok(())
}

async fn beginning_again_empties_an_unfinished_store(bench: &dyn TransferBench) -> Outcome {
    let model = model().await?;
    let rows = rows(&*model, 1_000).await?;
    let mut import = begin(bench).await?;
    import.import(rows[..rows.len() / 2].to_vec()).await?;
    drop(import);
    alike(&*model, &*imported(bench, &rows, 100).await?).await
}
