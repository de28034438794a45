//! A client that acknowledges, and pulls from, the greatest version that it saw never hears of what is missing below.

use std::collections::BTreeMap;

use im_proto::v1::{C2cPush, PullRequest, PushAck, SyncRequest};
use im_proto::{CmdId, Frame, Seq};
use prost::Message as _;

use super::ClientTap;

#[derive(Default)]
pub(super) struct Clients {
    greatest: BTreeMap<usize, i64>,
}

impl ClientTap for Clients {
    fn hears(&mut self, device: usize, frame: &Frame) {
        if (frame.cmd, frame.seq) == (CmdId::C2C_PUSH, Seq::PUSH)
            && let Ok(push) = C2cPush::decode(frame.body.clone())
        {
            let greatest = self.greatest.entry(device).or_default();
            *greatest = push.version.max(*greatest);
        }
    }

    fn says(&mut self, device: usize, frame: Frame) -> Frame {
        let greatest = self.greatest.get(&device).copied().unwrap_or_default();
        let body = match frame.cmd {
            CmdId::PUSH_ACK => PushAck::decode(frame.body.clone())
                .map(|ack| PushAck { version: ack.version.max(greatest), ..ack }.encode_to_vec()),
            CmdId::PULL => PullRequest::decode(frame.body.clone())
                .map(|pull| PullRequest { offset: pull.offset.max(greatest), ..pull }.encode_to_vec()),
            CmdId::SYNC => SyncRequest::decode(frame.body.clone())
                .map(|sync| SyncRequest { begin: sync.begin.max(greatest), ..sync }.encode_to_vec()),
            _ => return frame,
        };
        match body {
            Ok(body) => Frame { body: body.into(), ..frame },
            Err(_) => frame,
        }
    }
}
