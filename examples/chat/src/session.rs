//! A connected client, for any of the commands.

use std::future::Future;
use std::sync::Arc;

use im_core::client::{ClientConfig, LocalStore, Outgoing};
use im_core::id::{DeviceId, Uid};
use im_core::message::ContentType;
use im_transport::client::{Client, ClientOptions, Confirm, Ended, Event, Events, new_message_id};
use tokio::time::Instant;

use crate::args::Account;
use crate::exit::Failure;
use crate::state;

/// A client and what it comes with.
pub(crate) struct Session {
    pub(crate) user: Uid,
    pub(crate) client: Client,
    pub(crate) events: Events,
    pub(crate) store: Arc<dyn LocalStore>,
    /// Messages that an earlier run left unsent; they go first.
    pub(crate) left_over: usize,
    /// Whether what is unsent outlasts this run.
    pub(crate) keeps: bool,
    server: String,
    started: Instant,
    login_by: Option<Instant>,
}

impl Session {
    /// Opens the local store and begins to connect.
    pub(crate) async fn open(
        account: &Account,
        change: impl FnOnce(&mut ClientConfig),
    ) -> Result<Self, Failure> {
        let started = Instant::now();
        let dir = account.state.as_deref();
        let device: Result<DeviceId, Failure> = match &account.device {
            Some(device) => Ok(device.clone()),
            None => state::device(dir),
        };
        let mut config = ClientConfig::new(account.user.clone(), account.token.clone(), device?);
        config.device_type = account.device_type;
        change(&mut config);
        let store = state::open(dir, &account.user).await?;
        let left_over = store.load().await?.outgoing.len();
        let mut options = ClientOptions::new(account.server.clone());
        options.confirm = Confirm::Application;
        let (client, events) = Client::connect(options, config, store.clone()).await?;
        Ok(Self {
            user: account.user.clone(),
            client,
            events,
            store,
            left_over,
            keeps: dir.is_some(),
            server: account.server.clone(),
            started,
            login_by: Some(started + account.connect_timeout),
        })
    }

    /// The next event.
    ///
    /// # Cancel safety
    /// Dropping this future loses no event.
    ///
    /// # Errors
    /// When the client ends, or when there was no login in time.
    pub(crate) async fn next(&mut self) -> Result<Event, Failure> {
        let next = self.events.next();
        let event = match self.login_by {
            Some(at) => match tokio::time::timeout_at(at, next).await {
                Ok(event) => event,
                Err(_) => return Err(self.unreachable()),
            },
            None => next.await,
        };
        match event {
            Some(Event::Ended(reason)) => Err(reason.into()),
            Some(event) => {
                if matches!(event, Event::LoggedIn { .. }) {
                    self.login_by = None;
                }
                Ok(event)
            }
            None => Err(Ended::Client(im_core::client::EndReason::Stopped).into()),
        }
    }

    /// Whether there was a login.
    pub(crate) fn was_logged_in(&self) -> bool {
        self.login_by.is_none()
    }

    /// The failure of never having been let in.
    pub(crate) fn unreachable(&self) -> Failure {
        Failure::Unreachable { server: self.server.clone(), seconds: self.started.elapsed().as_secs() }
    }
}

/// A text for `to` with a name of its own.
pub(crate) fn message(to: Uid, content: Vec<u8>) -> Outgoing {
    Outgoing { client_msg_id: new_message_id(), to, content_type: ContentType(0), content: content.into() }
}

/// Done when the user or the system asks the program to stop.
pub(crate) async fn interrupted() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = interrupt => {}
        () = terminated() => {}
    }
}

#[cfg(unix)]
fn terminated() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signal = signal(SignalKind::terminate());
    async move {
        match signal {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(not(unix))]
fn terminated() -> impl Future<Output = ()> {
    std::future::pending()
}
