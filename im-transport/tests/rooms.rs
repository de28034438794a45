//! Clients in a room of a real server.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, unreachable_pub, reason = "a part of it is used here")]
#[path = "suite/parts.rs"]
mod parts;

use std::sync::Arc;
use std::time::Duration;

use im_core::client::{ClientConfig, MemoryLocalStore, RoomAction, RoomEvent, Saying};
use im_core::id::{DeviceId, RoomId, Uid};
use im_core::message::ContentType;
use im_transport::Server;
use im_transport::client::{Client, ClientOptions, Event, Events, new_message_id};
use tokio::time::timeout;

async fn client(server: &Server, name: &str) -> (Client, Events) {
    let config = ClientConfig::new(Uid::new(name).unwrap(), name, DeviceId::new("phone").unwrap());
    let options = ClientOptions::new(server.tcp_addr().unwrap().to_string());
    Client::connect(options, config, Arc::new(MemoryLocalStore::new())).await.unwrap()
}

async fn in_room(events: &mut Events) -> RoomEvent {
    loop {
        let event = timeout(Duration::from_secs(10), events.next()).await.expect("it comes in time");
        if let Event::Room(event) = event.unwrap() {
            return event;
        }
    }
}

#[tokio::test]
async fn clients_enter_a_room_speak_there_and_leave_it() {
    let server = parts::server().tcp("127.0.0.1:0").start().await.unwrap();
    let room = RoomId::new("lobby").unwrap();
    let (alice, mut to_alice) = client(&server, "alice").await;
    let (bob, mut to_bob) = client(&server, "bob").await;
    let join = RoomAction::Join { room: room.clone(), leave: None };
    alice.room(join.clone()).await.unwrap();
    assert_eq!(in_room(&mut to_alice).await, RoomEvent::Joined { room: room.clone(), members: 1 });
    bob.room(join).await.unwrap();
    assert_eq!(in_room(&mut to_bob).await, RoomEvent::Joined { room: room.clone(), members: 2 });
    let client_msg_id = new_message_id();
    let saying = Saying {
        room: room.clone(),
        client_msg_id: client_msg_id.clone(),
        content_type: ContentType(0),
        content: "hello".into(),
    };
    alice.room(RoomAction::Say(saying)).await.unwrap();
    let RoomEvent::Said { client_msg_id: said, msgid, members: 1 } = in_room(&mut to_alice).await else {
        panic!("said to bob")
    };
    let RoomEvent::Heard(heard) = in_room(&mut to_bob).await else { panic!("bob hears it") };
    assert_eq!((heard.from.as_str(), &heard.content[..], heard.msgid), ("alice", &b"hello"[..], msgid));
    assert_eq!((heard.client_msg_id, said), (Some(client_msg_id.clone()), client_msg_id));
    bob.room(RoomAction::Leave(room.clone())).await.unwrap();
    assert_eq!(in_room(&mut to_bob).await, RoomEvent::Left(room));
    alice.stop().await;
    bob.stop().await;
}
