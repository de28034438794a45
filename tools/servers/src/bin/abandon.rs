//! Starts servers, prints their ports, and dies without a word of farewell: for the test of what becomes of them.

use std::io::Write;

use im_test_servers::{MariaDb, Postgres};

fn main() -> std::io::Result<()> {
    let servers = (MariaDb::start(), Postgres::start());
    let mut out = std::io::stdout();
    writeln!(out, "{}\n{}", servers.0.port(), servers.1.port())?;
    out.flush()?;
    std::process::abort()
}
