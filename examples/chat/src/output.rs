//! The lines that scripts read.

use std::io::{self, Write};

use im_core::client::{LocalEntry, Receipt};
use im_core::message::Target;
use serde::Serialize;

/// A message of the timeline, as `recv` prints it.
#[derive(Serialize)]
struct Message<'a> {
    version: i64,
    msgid: String,
    from: &'a str,
    to: String,
    text: String,
    timestamp: i64,
}

/// An ack, as `send --json` prints it.
#[derive(Serialize)]
struct Ack<'a> {
    client_msg_id: &'a str,
    msgid: String,
    version: i64,
    timestamp: i64,
}

/// One line for an entry of the timeline.
pub(crate) fn entry(entry: &LocalEntry) -> String {
    json(&Message {
        version: entry.version.0,
        msgid: entry.msgid.to_string(),
        from: entry.from.as_str(),
        to: target(&entry.to),
        text: text(&entry.content),
        timestamp: entry.sent_at.0,
    })
}

/// One line for an ack.
pub(crate) fn ack(receipt: &Receipt) -> String {
    json(&Ack {
        client_msg_id: receipt.client_msg_id.as_str(),
        msgid: receipt.msgid.to_string(),
        version: receipt.version.0,
        timestamp: receipt.timestamp.0,
    })
}

/// A user's or a group's name.
pub(crate) fn target(target: &Target) -> String {
    match target {
        Target::User(uid) => uid.to_string(),
        Target::Group(group) => group.to_string(),
    }
}

/// A content as text; what is no UTF-8 becomes U+FFFD.
pub(crate) fn text(content: &[u8]) -> String {
    String::from_utf8_lossy(content).into_owned()
}

/// Writes a line to standard output and flushes it.
///
/// # Errors
/// If nobody reads it any more, say.
pub(crate) fn print(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers and strings always become JSON")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use im_core::id::{ClientMsgId, MsgId, Uid, Version};
    use im_core::message::ContentType;
    use im_core::time::Timestamp;
    use im_proto::CmdId;

    use super::*;

    fn from_bob(content: &'static [u8]) -> LocalEntry {
        LocalEntry {
            version: Version(3),
            msgid: MsgId(9_007_199_254_740_993),
            kind: CmdId::C2C_SEND,
            from: Uid::new("bob").unwrap(),
            to: Target::User(Uid::new("alice").unwrap()),
            client_msg_id: None,
            content_type: ContentType(0),
            content: Bytes::from_static(content),
            sent_at: Timestamp(17),
            withdrawn_at: None,
        }
    }

    #[test]
    fn an_entry_is_one_line_with_the_promised_fields() {
        let expected = r#"{"version":3,"msgid":"9007199254740993","from":"bob","to":"alice","text":"a\n\"b\"","timestamp":17}"#;
        assert_eq!(entry(&from_bob(b"a\n\"b\"")), expected);
    }

    #[test]
    fn what_is_no_utf_8_is_replaced() {
        assert!(entry(&from_bob(b"a\xffb")).contains("\"a\u{fffd}b\""));
    }

    #[test]
    fn an_ack_is_one_line_with_the_promised_fields() {
        let receipt = Receipt {
            client_msg_id: ClientMsgId::new("x").unwrap(),
            msgid: MsgId(1),
            version: Version(2),
            timestamp: Timestamp(3),
        };
        assert_eq!(ack(&receipt), r#"{"client_msg_id":"x","msgid":"1","version":2,"timestamp":3}"#);
    }
}
