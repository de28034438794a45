//! What arrives: pushes, replies, heartbeats.

use std::time::Duration;

use bytes::Bytes;
use im_proto::v1::{AuthResponse, C2cResponse, Kickout, NoopReply, PullResponse, SyncResponse};
use im_proto::{CmdId, ErrorCode, Frame, Seq};
use prost::Message as _;

use super::{Asked, Client, Link};
use crate::client::frame::{self, BadBody, Pushed};
use crate::client::inbox::Offered;
use crate::client::outbox::Place;
use crate::client::{Effect, EndReason, LocalEntry, MAX_RETRY_AFTER, Receipt, Rejection};
use crate::id::{MsgId, StoreEpoch, Version};
use crate::session::KickReason;
use crate::time::{Tick, Timestamp};

/// The link is of no use any more.
pub(super) struct Broken;

impl From<BadBody> for Broken {
    fn from(_: BadBody) -> Self {
        Self
    }
}

impl From<prost::DecodeError> for Broken {
    fn from(_: prost::DecodeError) -> Self {
        Self
    }
}
impl Client {
    pub(super) fn on_frame(&mut self, now: Tick, frame: Frame, effects: &mut Vec<Effect>) {
        let heard = match (self.link, frame.seq) {
            (Link::Authenticating | Link::Ready { .. } | Link::LoggingOut, Seq::PUSH) => {
                self.on_push(now, frame, effects)
            }
            (Link::Ready { .. } | Link::LoggingOut, Seq::NOOP) => self.on_noop(frame.body),
            (Link::Authenticating | Link::Ready { .. } | Link::LoggingOut, _) => {
                self.on_reply(now, frame, effects)
            }
            _ => Ok(()),
        };
        if let Err(Broken) = heard {
            self.break_link(now, effects);
        }
    }

    fn on_noop(&mut self, body: Bytes) -> Result<(), Broken> {
        if self.noop_due.take().is_some() {
            self.heartbeat.succeeded();
        }
        let reply = NoopReply::decode(body)?;
        self.heard_of(Version(reply.version));
        Ok(())
    }

    fn on_push(&mut self, now: Tick, frame: Frame, effects: &mut Vec<Effect>) -> Result<(), Broken> {
        let pushed = match frame.cmd {
            CmdId::KICKOUT => return self.on_kickout(now, frame.body, effects),
            CmdId::C2C_PUSH => frame::c2c_push(frame.body, &self.config.uid)?,
            CmdId::C2G_PUSH => frame::c2g_push(frame.body)?,
            CmdId::CTRL_PUSH => Pushed::Hint,
            CmdId::ROOM_PUSH => return self.on_room_push(frame.body, effects),
            _ => {
                effects.push(Effect::Other(frame));
                return Ok(());
            }
        };
        match pushed {
            Pushed::Hint => self.inbox.hint(),
            Pushed::Head(head) if self.is_in_epoch() && head <= self.inbox.applied() => self.acks.say_again(),
            Pushed::Head(head) => self.heard_of(head),
            Pushed::Entry(entry) => {
                if self.offer(*entry) == Offered::Applied {
                    self.acks.say_again();
                }
            }
        }
        Ok(())
    }

    /// An entry of the link's epoch. Where that is not the inbox's, or not known yet, it is one to be fetched.
    fn offer(&mut self, entry: LocalEntry) -> Offered {
        if self.is_in_epoch() {
            return self.inbox.offer(entry);
        }
        self.heard_of(entry.version);
        Offered::New
    }

    fn on_kickout(&mut self, now: Tick, body: Bytes, effects: &mut Vec<Effect>) -> Result<(), Broken> {
        let kickout = Kickout::decode(body)?;
        let reason = KickReason::from_code(kickout.reason).ok_or(Broken)?;
        effects.push(Effect::Disconnect);
        if self.link == Link::LoggingOut {
            self.end(EndReason::LoggedOut, effects);
        } else if reason == KickReason::GoingAway {
            let asked = Duration::from_millis(u64::try_from(kickout.retry_after_ms).unwrap_or(0));
            self.link_failures = 0;
            self.lost(now, asked.min(MAX_RETRY_AFTER), effects);
        } else {
            self.end(EndReason::Kicked(reason), effects);
        }
        Ok(())
    }

    fn on_reply(&mut self, now: Tick, frame: Frame, effects: &mut Vec<Effect>) -> Result<(), Broken> {
        let Some(request) = self.requests.remove(&frame.seq) else {
            if frame.cmd.name().is_none() {
                effects.push(Effect::Other(frame));
            }
            return Ok(());
        };
        match request.what {
            Asked::Auth => self.on_auth(now, frame.body, effects),
            Asked::Send(place) => self.on_sent(now, place, frame.body, effects),
            Asked::Pull { begin } => {
                let page = PullResponse::decode(frame.body)?;
                let PullResponse { msgs, next_offset, head, err_code, .. } = page;
                self.on_page(
                    now,
                    begin,
                    SyncResponse { msgs, next_offset, head, err_code, ..Default::default() },
                )
            }
            Asked::Join { room, leave } => self.on_joined(now, room, leave, frame.body, effects),
            Asked::LeaveRoom(room) => self.on_left(room, frame.body, effects),
            Asked::Say(client_msg_id) => self.on_said(client_msg_id, frame.body, effects),
            Asked::Sync { begin } => self.on_page(now, begin, SyncResponse::decode(frame.body)?),
            Asked::Logout => {
                effects.push(Effect::Disconnect);
                self.end(EndReason::LoggedOut, effects);
                Ok(())
            }
        }
    }

    fn on_auth(&mut self, now: Tick, body: Bytes, effects: &mut Vec<Effect>) -> Result<(), Broken> {
        let response = AuthResponse::decode(body)?;
        if response.status == 0 {
            let head = Version(response.version);
            if let Err(reason) = self.on_epoch(StoreEpoch(response.epoch), head) {
                effects.push(Effect::Disconnect);
                self.end(reason, effects);
                return Ok(());
            }
            self.link = Link::Ready { since: now };
            effects.push(Effect::LoggedIn { head, server_time: Timestamp(response.server_time) });
            return Ok(());
        }
        let code = ErrorCode::from_code(response.err_code);
        if code.is_some_and(ErrorCode::is_retryable) {
            return Err(Broken);
        }
        effects.push(Effect::Disconnect);
        self.end(EndReason::Refused { code, message: response.err_msg }, effects);
        Ok(())
    }

    fn on_sent(
        &mut self,
        now: Tick,
        place: Place,
        body: Bytes,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Broken> {
        let response = C2cResponse::decode(body)?;
        match frame::error(response.err_code) {
            Ok(()) => self.on_acked(place, &response, effects),
            Err(Some(code)) if code.is_retryable() => self.hold_back(now, place),
            Err(code) => {
                if let Some(sent) = self.outbox.settle(place) {
                    let rejection =
                        Rejection { client_msg_id: sent.client_msg_id, code, message: response.err_msg };
                    effects.push(Effect::Rejected(rejection));
                }
            }
        }
        Ok(())
    }

    fn on_acked(&mut self, place: Place, response: &C2cResponse, effects: &mut Vec<Effect>) {
        let Some(sent) = self.outbox.settle(place) else { return };
        let receipt = Receipt {
            client_msg_id: sent.client_msg_id.clone(),
            msgid: MsgId(response.msgid),
            version: Version(response.version),
            timestamp: Timestamp(response.timestamp),
        };
        if !self.is_in_epoch() || receipt.version > self.inbox.received() {
            self.offer(frame::own(sent, &receipt, &self.config.uid));
        } else if receipt.version <= Version::ZERO {
            self.inbox.hint();
        }
        // The entry first: once the send is settled, only the timeline remembers it.
        self.apply(effects);
        effects.push(Effect::Acked(receipt));
    }

    fn hold_back(&mut self, now: Tick, place: Place) {
        let rewound = self.outbox.hold_back(place, now, &self.config.backoff, &mut self.random);
        self.requests.retain(|_, request| match request.what {
            Asked::Send(place) => rewound.binary_search(&place).is_err(),
            _ => true,
        });
    }

    fn on_page(&mut self, now: Tick, begin: Version, page: SyncResponse) -> Result<(), Broken> {
        match frame::error(page.err_code) {
            Ok(()) => {}
            Err(Some(code)) if code.is_retryable() => {
                self.put_off_fetch(now);
                return Ok(());
            }
            Err(_) => return Err(Broken),
        }
        let entries = frame::entries(&page.msgs, begin, &self.config.uid)?;
        let last = entries.last().map_or(begin, |entry| entry.version);
        let covered = last.max(Version(page.next_offset));
        let progress = self.inbox.page(entries, covered, Version(page.head));
        if !progress && self.inbox.is_behind() && covered <= begin {
            self.put_off_fetch(now);
        } else {
            self.fetch_failures = 0;
        }
        Ok(())
    }

    /// Something is said to be there that the server does not give: asks again later.
    fn put_off_fetch(&mut self, now: Tick) {
        self.fetch_failures = self.fetch_failures.saturating_add(1);
        self.fetch_after = now + self.config.backoff.delay(self.fetch_failures, &mut self.random);
        self.inbox.hint();
    }
}
