use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use im_core::client::{ClientConfig, LocalStore, Outgoing, Receipt, RoomAction};
use im_core::id::{StoreEpoch, Version};
use im_core::storage::StoreError;
use tokio::sync::{mpsc, oneshot, watch};

use super::driver::{Confirmed, Control, Driver, Ends, Submit};
use super::{ClientOptions, Event, SendError};

/// Sends that may wait for the task to take them up. It takes all that wait at once, so this is the batch that one write to the local store serves.
const SENDS_IN_CHANNEL: usize = 256;

/// What is to be done about rooms and waits for the task.
const ROOM_ACTIONS_IN_CHANNEL: usize = 64;

/// One user's device, connected for as long as any clone of this is alive.
#[derive(Clone, Debug)]
pub struct Client {
    sends: mpsc::Sender<Submit>,
    rooms: mpsc::Sender<RoomAction>,
    control: mpsc::Sender<Control>,
    applied: watch::Sender<Confirmed>,
}

impl Client {
    /// Loads what the device knows and starts a task that connects, and stays connected. It returns before there is a link; [`Event::LoggedIn`]
    /// and [`Event::Offline`] tell how that goes.
    ///
    /// # Cancel safety
    /// Dropping this future before it is done starts nothing.
    ///
    /// # Errors
    /// If the local store cannot be loaded.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn connect(
        options: ClientOptions,
        config: ClientConfig,
        store: Arc<dyn LocalStore>,
    ) -> Result<(Self, Events), StoreError> {
        let saved = store.load().await?;
        let (sends, sends_end) = mpsc::channel(SENDS_IN_CHANNEL);
        let (rooms, rooms_end) = mpsc::channel(ROOM_ACTIONS_IN_CHANNEL);
        let (control, control_end) = mpsc::channel(8);
        let (applied, applied_end) = watch::channel(Confirmed { epoch: saved.epoch, version: saved.cursor });
        let (events_end, events) = mpsc::channel(options.events.max(1));
        let ends = Ends {
            sends: sends_end,
            rooms: rooms_end,
            control: control_end,
            applied: applied_end,
            restart: applied.clone(),
            events: events_end,
        };
        tokio::spawn(Driver::new(options, config, saved, store, ends).run());
        Ok((Self { sends, rooms, control, applied }, Events { events }))
    }

    /// Hands a message over; messages leave in the order in which these calls return. Waits while more than
    /// [`ClientConfig::max_outgoing`] are unanswered. The message is enqueued in the local store, then sent until the server answers, on as many
    /// links as that takes.
    ///
    /// # Cancel safety
    /// Dropping this future before it is done sends nothing.
    ///
    /// # Errors
    /// [`SendError::Gone`] if the client has ended.
    pub async fn send(&self, message: Outgoing) -> Result<Sending, SendError> {
        let (answer, outcome) = oneshot::channel();
        self.sends.send(Submit { message, answer }).await.map_err(|_| SendError::Gone)?;
        Ok(Sending { outcome })
    }

    /// Enters a room, leaves it, or says something there, in the order in which these calls return. [`Event::Room`] tells what came of it. A room
    /// is entered again after every login; what is said is said at most once.
    ///
    /// # Cancel safety
    /// Dropping this future before it is done does nothing.
    ///
    /// # Errors
    /// [`SendError::Gone`] if the client has ended.
    pub async fn room(&self, action: RoomAction) -> Result<(), SendError> {
        self.rooms.send(action).await.map_err(|_| SendError::Gone)
    }

    /// Everything in [`Event::Entries`] of this epoch up to `version` is durable in the application. Only for
    /// [`Confirm::Application`](super::Confirm::Application); cumulative, never blocks. Of an epoch that has ended it says nothing new.
    pub fn applied(&self, epoch: StoreEpoch, version: Version) {
        self.applied.send_if_modified(|applied| {
            let is_new = applied.epoch == epoch && applied.version < version;
            if is_new {
                applied.version = version;
            }
            is_new
        });
    }

    /// The device changed its network, or woke up: try at once what was put off.
    pub fn network_changed(&self) {
        // A full channel holds one of these already.
        let _ = self.control.try_send(Control::NetworkChanged);
    }

    /// Closes the link, after what is applied was acknowledged, and waits until the local store is up to date. Messages without an
    /// answer stay in it.
    ///
    /// # Cancel safety
    /// Once polled, the client stops even if this future is dropped.
    pub async fn stop(&self) {
        let _ = self.control.send(Control::Stop).await;
        self.control.closed().await;
    }

    /// As [`stop`](Self::stop), and tells the server that this device is not to be reached any more.
    ///
    /// # Cancel safety
    /// As `stop`.
    pub async fn log_out(&self) {
        let _ = self.control.send(Control::Logout).await;
        self.control.closed().await;
    }
}

/// The answer to a message, to be awaited. Dropping it does not withdraw the message.
#[derive(Debug)]
pub struct Sending {
    outcome: oneshot::Receiver<Result<Receipt, SendError>>,
}

impl Future for Sending {
    type Output = Result<Receipt, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(cx).map(|outcome| outcome.unwrap_or(Err(SendError::Gone)))
    }
}

/// What happens to a [`Client`]. While nobody takes events, no more entries are fetched; everything else goes on. Dropping it
/// is taking and forgetting them.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Event>,
}

impl Events {
    /// The next event; `None` after [`Event::Ended`].
    ///
    /// # Cancel safety
    /// Dropping this future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}
