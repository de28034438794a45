//! The work whose instructions `.ci/instructions` counts, under callgrind: instructions do not jitter, so a change of a few per cent
//! shows. Each `counted_*` function is one case; what happens outside of them is not counted. It prints how many items
//! each case handles.
#![allow(clippy::print_stdout, missing_docs)]

mod shared;

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use im_core::fanout::{Stored, plan};
use im_core::logic::Turn;
use im_core::router::UserRoutes;
use im_core::session::{Effect, Push, Request};
use im_proto::{CmdId, Decoder, Frame, OutFrame, Seq, Suffix};

use crate::shared::links::Link;
use crate::shared::{Server, links, stored};

/// Items of each case.
const ITEMS: usize = 256;

fn main() {
    println!("{ITEMS} items");
    codec();
    session();
    fan_out();
    use_cases();
}

fn codec() {
    let body = Bytes::from(vec![b'x'; 100]);
    let frame = Frame { client_version: 200, cmd: CmdId::C2C_PUSH, seq: Seq::PUSH, body };
    let mut bytes = BytesMut::with_capacity(ITEMS * 256);
    counted_encode(&mut bytes, &frame);
    assert_eq!(counted_decode(&mut bytes), ITEMS);
}

#[inline(never)]
fn counted_encode(out: &mut BytesMut, shared: &Frame) {
    for version in (100_000..).take(ITEMS) {
        OutFrame { suffix: Suffix::version(version), ..shared.clone().into() }.encode(out);
    }
}

#[inline(never)]
fn counted_decode(bytes: &mut BytesMut) -> usize {
    let decoder = Decoder::default();
    let mut frames = 0;
    while let Ok(Some(frame)) = decoder.decode(bytes) {
        black_box(frame);
        frames += 1;
    }
    frames
}

fn session() {
    let (mut link, mut effects) = (Link::ready(), Vec::with_capacity(ITEMS));
    let requests = link.requests(ITEMS);
    counted_request_and_reply(&mut link, &requests, &mut effects);
    counted_push(&mut link, &links::pushes(ITEMS), &mut effects);
    counted_acknowledgement(&mut link, &links::acks(ITEMS), &mut effects);
}

#[inline(never)]
fn counted_request_and_reply(link: &mut Link, requests: &[Frame], effects: &mut Vec<Effect>) {
    link.exchange(requests, effects);
}

#[inline(never)]
fn counted_push(link: &mut Link, pushes: &[Push], effects: &mut Vec<Effect>) {
    link.push(pushes, effects);
}

#[inline(never)]
fn counted_acknowledgement(link: &mut Link, acks: &[Frame], effects: &mut Vec<Effect>) {
    link.take(acks, effects);
}

fn fan_out() {
    let (stored, routes) = stored::batch(ITEMS, 1);
    counted_plan(&stored, &routes);
}

#[inline(never)]
fn counted_plan(stored: &[Stored], routes: &[UserRoutes]) {
    black_box(plan(stored, routes));
}

fn use_cases() {
    let mut server = Server::new();
    // What a server keeps between turns is there from the second on.
    for _ in 0..2 {
        let requests = server.requests(ITEMS);
        server.send(requests);
    }
    let requests = server.requests(ITEMS);
    counted_turn_of_many(&mut server, requests);
    let turns = (0..ITEMS).map(|_| server.requests(1)).collect();
    counted_turns_of_one(&mut server, turns);
    let acks = server.acks(3);
    counted_turn_of_acks(&mut server, Turn { acks, ..Turn::default() });
}

#[inline(never)]
fn counted_turn_of_many(server: &mut Server, requests: Vec<Request>) {
    server.send(requests);
}

#[inline(never)]
fn counted_turns_of_one(server: &mut Server, turns: Vec<Vec<Request>>) {
    for requests in turns {
        server.send(requests);
    }
}

#[inline(never)]
fn counted_turn_of_acks(server: &mut Server, turn: Turn) {
    server.turn(turn);
}
