//! What the benchmarks have in common: a server over memory adapters whose store costs next to nothing, so that what is left is ours.
#![allow(dead_code, unused_imports, clippy::unwrap_used, missing_docs, unreachable_pub)]

mod at_once;
mod frozen;
pub mod links;
mod server;
pub mod stored;

use std::sync::Arc;

use bytes::Bytes;
use im_core::id::{ConnId, DeviceId, DeviceType, NodeId, Uid};
use im_core::session::Caller;
use im_proto::v1::C2cRequest;
use prost::Message as _;

pub use server::Server;

/// The content of every message.
pub const CONTENT: [u8; 100] = [b'x'; 100];

/// As many users write to as many others.
pub const PAIRS: usize = 64;

pub fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

pub fn sender(pair: usize) -> Uid {
    uid(&format!("sender-{pair:04}"))
}

pub fn receiver(pair: usize) -> Uid {
    uid(&format!("receiver-{pair:04}"))
}

pub fn caller(uid: Uid, conn: ConnId, node: NodeId) -> Arc<Caller> {
    Arc::new(Caller { uid, device: DeviceId::default(), device_type: DeviceType::WEB, conn, node })
}

/// The body of a direct message; `number` makes its id, as long as a UUID's.
pub fn body(to: &Uid, number: u32) -> Bytes {
    let request = C2cRequest {
        to: to.as_str().to_owned(),
        content: Bytes::from_static(&CONTENT),
        client_msg_id: format!("00000000-0000-4000-8000-{number:012}"),
        ..C2cRequest::default()
    };
    request.encode_to_vec().into()
}
