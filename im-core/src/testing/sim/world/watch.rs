use im_proto::v1::{AuthResponse, C2cPush, C2cResponse, NoopReply, PullMsg, PullResponse, SyncResponse};
use im_proto::{CmdId, ErrorCode, OutFrame, Seq};
use prost::Message as _;

use super::World;
use crate::id::{MsgId, Uid, Version};
use crate::testing::sim::event::LinkId;
use crate::testing::sim::history::Seen;

/// Reads along what servers write: whatever a client could have seen counts, also if it gets lost.
impl World {
    pub(super) fn watch(&mut self, link: LinkId, frame: &OutFrame) {
        let Some(uid) = self.links.get(&link).and_then(|link| link.uid.clone()) else { return };
        let body = [&frame.body[..], frame.suffix.as_bytes()].concat();
        let understood = match (frame.cmd, frame.seq) {
            (CmdId::C2C_PUSH, Seq::PUSH) => C2cPush::decode(&body[..]).map(|push| self.saw_push(&uid, &push)),
            (CmdId::C2C_SEND, seq) => {
                C2cResponse::decode(&body[..]).map(|reply| self.saw_sent(link, &uid, seq, &reply))
            }
            (CmdId::PULL, _) => {
                PullResponse::decode(&body[..]).map(|page| self.saw_page(&uid, page.head, &page.msgs))
            }
            (CmdId::SYNC, _) => {
                SyncResponse::decode(&body[..]).map(|page| self.saw_page(&uid, page.head, &page.msgs))
            }
            (CmdId::AUTH, _) => {
                AuthResponse::decode(&body[..]).map(|reply| self.saw_head(&uid, reply.version))
            }
            (CmdId::NOOP, _) => NoopReply::decode(&body[..]).map(|reply| self.saw_head(&uid, reply.version)),
            _ => Ok(()),
        };
        if understood.is_err() {
            self.fail("bad_input", format!("a server wrote {} that does not decode", frame.cmd));
        }
    }

    fn saw_push(&mut self, uid: &Uid, push: &C2cPush) {
        self.kernel.log(|| format!("push to {uid}: version {} message {}", push.version, push.msgid));
        self.saw_place(uid, push.version, push.msgid);
        self.see(&Seen::Content { uid, content: &push.content });
    }

    fn saw_place(&mut self, uid: &Uid, version: i64, msgid: i64) {
        let epoch = self.disks.epoch_now();
        self.see(&Seen::Shown { epoch, uid, version: Version(version), msgid: MsgId(msgid) });
    }

    fn saw_page(&mut self, uid: &Uid, head: i64, msgs: &[PullMsg]) {
        self.kernel.log(|| {
            let versions: Vec<i64> = msgs.iter().map(|msg| msg.version).collect();
            format!("page to {uid}: {versions:?}, head {head}")
        });
        self.saw_head(uid, head);
        for msg in msgs {
            self.saw_place(uid, msg.version, msg.msgid);
            self.see(&Seen::Content { uid, content: &msg.content });
        }
    }

    fn saw_head(&mut self, uid: &Uid, head: i64) {
        let epoch = self.disks.epoch_now();
        self.see(&Seen::Head { epoch, uid, head: Version(head) });
    }

    fn saw_sent(&mut self, link: LinkId, uid: &Uid, seq: Seq, reply: &C2cResponse) {
        self.kernel.log(|| {
            format!(
                "answer to {uid}: seq {seq} version {} message {} error {}",
                reply.version, reply.msgid, reply.err_code
            )
        });
        let Some(state) = self.links.get_mut(&link) else { return };
        let to = state.sends.remove(&seq);
        if reply.err_code == 0 {
            self.saw_place(uid, reply.version, reply.msgid);
        } else if reply.err_code == ErrorCode::Unavailable.code() {
            let behind = state.sends.range(seq..).any(|(_, other)| Some(other) == to.as_ref());
            self.kernel.count(|counts| counts.pipelined_sends_failing += u64::from(behind));
        }
    }
}
