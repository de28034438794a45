//! The hand-written bodies are the generated ones.

use bytes::BytesMut;
use im_proto::{borrowed, v1};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

proptest! {
    #[test]
    fn a_push_is_written_as_the_generated_one_is(push in pushes()) {
        let written = borrowed::C2cPush {
            from: &push.from,
            content: &push.content,
            msgid: push.msgid,
            timestamp: push.timestamp,
            content_type: push.content_type,
            client_msg_id: &push.client_msg_id,
            to: &push.to,
        };
        let mut body = BytesMut::new();
        written.encode(&mut body);
        prop_assert_eq!(written.len(), body.len());
        prop_assert_eq!(body, push.encode_to_vec());
    }

    #[test]
    fn a_response_is_written_as_the_generated_one_is(
        msgid in number(),
        timestamp in number(),
        version in number(),
    ) {
        let written = borrowed::C2cAccepted { msgid, timestamp, version };
        let mut body = BytesMut::new();
        written.encode(&mut body);
        prop_assert_eq!(written.len(), body.len());
        let response = v1::C2cResponse { msgid, timestamp, version, ..v1::C2cResponse::default() };
        prop_assert_eq!(body, response.encode_to_vec());
    }

    #[test]
    fn a_request_is_read_as_the_generated_one_is(request in requests(), fields in vec(any_field(), 0..4)) {
        let body = [request.encode_to_vec(), fields.concat()].concat();
        same(&body)?;
    }

    #[test]
    fn a_request_with_wrong_bytes_is_refused_as_the_generated_one_is(
        request in requests(),
        wrong in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = request.encode_to_vec();
        if !body.is_empty() {
            for (place, byte) in wrong {
                let place = place.index(body.len());
                body[place] = byte;
            }
            same(&body)?;
            same(&body[..cut.index(body.len())])?;
        }
    }
}

fn same(body: &[u8]) -> Result<(), TestCaseError> {
    let read = borrowed::C2cRequest::decode(body).ok().map(|request| v1::C2cRequest {
        from: request.from.to_owned(),
        to: request.to.to_owned(),
        content: request.content.to_vec().into(),
        client_msg_id: request.client_msg_id.to_owned(),
        content_type: request.content_type,
    });
    prop_assert_eq!(read, v1::C2cRequest::decode(body).ok());
    Ok(())
}

fn pushes() -> impl Strategy<Value = v1::C2cPush> {
    let texts = ("\\PC{0,9}", "\\PC{0,9}", "\\PC{0,9}", vec(any::<u8>(), 0..300));
    let numbers = (number(), number(), prop_oneof![Just(0), any::<i32>()]);
    (texts, numbers).prop_map(|((from, client_msg_id, to, content), (msgid, timestamp, content_type))| {
        let version = 0;
        let content = content.into();
        v1::C2cPush { from, content, msgid, timestamp, version, content_type, client_msg_id, to }
    })
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), 0..300_i64, any::<i64>()]
}

fn requests() -> impl Strategy<Value = v1::C2cRequest> {
    pushes().prop_map(|push| v1::C2cRequest {
        from: push.from,
        to: push.to,
        content: push.content,
        client_msg_id: push.client_msg_id,
        content_type: push.content_type,
    })
}

/// One field of any number and type, which may be one that the message has.
fn any_field() -> impl Strategy<Value = Vec<u8>> {
    (0_u8..16, 0_u8..8, vec(any::<u8>(), 0..6)).prop_map(|(tag, wire_type, mut rest)| {
        rest.insert(0, tag << 3 | wire_type);
        rest
    })
}
