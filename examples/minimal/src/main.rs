//! A server of your own: pick the parts, start it, stop it when asked to.

use std::io::Write as _;
use std::sync::Arc;

use im_core::logic::{Command, Logic};
use im_core::session::{Reply, Request};
use im_store::log::LogStore;
use im_transport::Server;
use im_transport::jwt::{JwtAuthenticator, JwtSecret};
use tokio::signal::unix::{SignalKind, signal};

/// A command that the library does not know: answers with what it was sent.
struct Echo;

#[async_trait::async_trait]
impl Command for Echo {
    async fn serve(&self, _server: &Arc<Logic>, requests: Vec<Request>) -> Vec<Reply> {
        requests.iter().map(|request| request.reply(request.body.clone())).collect()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Your user centre signs tokens with the same secret.
    let secret = std::env::var("SECRET").map_err(|_| "the environment variable SECRET is not set")?;
    let secret = JwtSecret::new(secret)?;
    let address = std::env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:9000".to_owned());
    let store = Arc::new(LogStore::open("minimal-store").await?);

    let mut server = Server::builder()
        .store(store.clone())
        .authenticator(Arc::new(JwtAuthenticator::new(&secret)))
        .command(im_proto::CmdId(2_000), Arc::new(Echo))
        .tcp(address)
        .start()
        .await?;
    // Until here a signal ended the process at once, however long the store took to open. Nothing is lost by that.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    if let Some(address) = server.tcp_addr() {
        // A server whose output nobody reads serves all the same.
        let _ = writeln!(std::io::stdout(), "listens on {address}");
    }

    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
        failure = server.failed() => return Err(failure.into()),
    }
    server.shutdown().await?;
    store.close().await;
    Ok(())
}
