"""Rooms: the bytes of the four commands, who hears what, what is refused, and what a slow reader gets."""

import struct
import time
import unittest

import im
from case import WireTest

MAX_CONTENT = 16 << 10


class Bytes(WireTest):
    def test_the_frames_of_a_join_a_message_and_a_leave_byte_for_byte(self):
        alice, bob = self.login("a"), self.login("b")
        join = bytes.fromhex("00000014000000c8000003f70000000700000004" + "0a026d65")
        alice.raw(join)
        # members 1
        self.assertEqual(alice.bytes(22).hex(), "00000014000000c8000003f70000000700000002" + "0801")
        bob.raw(join)
        self.assertEqual(bob.bytes(22).hex(), "00000014000000c8000003f70000000700000002" + "0802")
        # room "me", content "hi", client_msg_id "k", content_type 3
        body = "0a026d65" + "12026869" + "52016b" + "5803"
        alice.raw(bytes.fromhex("00000014000000c8000003f900000008" + "%08x" % (len(body) // 2) + body))
        answer = alice.frame()
        self.assertEqual((answer.cmd, answer.seq, answer.version), (1017, 8, 200))
        said = im.fields(answer.body)
        self.assertEqual(set(said), {1, 2, 10}, "msgid, timestamp, members and no error")
        self.assertEqual(said[10], 1)
        self.assertLess(abs(said[2] - time.time() * 1000), 5000)
        push = bob.frame()
        self.assertEqual((push.cmd, push.seq, push.version), (1018, 0, 200))
        expected = "0a0161" + "12026d65" + "1a026869"
        expected += "20" + im.varint(said[1]).hex() + "28" + im.varint(said[2]).hex() + "5803" + "62016b"
        self.assertEqual(push.body.hex(), expected)
        bob.raw(bytes.fromhex("00000014000000c8000003f80000000900000004" + "0a026d65"))
        self.assertEqual(bob.bytes(20).hex(), "00000014000000c8000003f80000000900000000")


class Rooms(WireTest):
    def join(self, link, room, leave=""):
        return link.call(im.ROOM_JOIN, {1: room, 2: leave})

    def member(self, name, room):
        link = self.login(self.user(name))
        self.assertNotIn(14, self.join(link, room))
        return link

    def hear(self, link):
        push = link.push()
        self.assertEqual((push.cmd, push.seq), (im.ROOM_PUSH, 0))
        return im.fields(push.body)

    def test_a_message_goes_to_the_others_in_the_room_and_to_nobody_else(self):
        alice, bob = self.member("alice", "r1"), self.member("bob", "r1")
        outside = self.member("carol", "r2")
        self.assertEqual(alice.call(im.ROOM_SEND, {1: "r1", 2: "hi"})[10], 1)
        self.assertEqual(self.hear(bob)[3], b"hi")
        self.assertTrue(outside.is_silent() and alice.is_silent(0))

    def test_a_push_carries_the_version_that_its_receivers_client_sent_last(self):
        alice, bob, carol = (self.member(name, "r3") for name in ("alice", "bob", "carol"))
        carol.call(im.ROOM_JOIN, {1: "r3"}, version=777)
        alice.call(im.ROOM_SEND, {1: "r3", 2: "hi"})
        self.assertEqual((bob.push().version, carol.push().version), (200, 777))

    def test_who_left_is_outside(self):
        alice, bob = self.member("alice", "r4"), self.member("bob", "r4")
        for _ in range(2):
            self.assertEqual(bob.call(im.ROOM_LEAVE, {1: "r4"}), {})
        self.assertNotIn(10, alice.call(im.ROOM_SEND, {1: "r4", 2: "hi"}), "for no link")
        self.assertError(bob.call(im.ROOM_SEND, {1: "r4", 2: "hi"}), 3)
        self.assertTrue(bob.is_silent())

    def test_changing_rooms_is_one_step(self):
        alice, bob = self.member("alice", "r5"), self.member("bob", "r6")
        self.assertEqual(self.join(bob, "r5", leave="r6")[1], 2)
        self.assertError(bob.call(im.ROOM_SEND, {1: "r6", 2: "hi"}), 3)
        self.assertEqual(bob.call(im.ROOM_SEND, {1: "r5", 2: "hi"})[10], 1)
        self.assertEqual(self.hear(alice)[3], b"hi")

    def test_messages_of_one_link_keep_their_order(self):
        alice, bob = self.member("alice", "r7"), self.member("bob", "r7")
        alice.raw(
            b"".join(im.frame(im.ROOM_SEND, n, im.proto({1: "r7", 2: str(n)})) for n in range(10, 1010))
        )
        self.assertEqual([int(self.hear(bob)[3]) for _ in range(1000)], list(range(10, 1010)))

    def test_membership_ends_with_the_link(self):
        alice, bob = self.member("alice", "r8"), self.member("bob", "r8")
        bob.close()
        for _ in range(50):
            if 10 not in alice.call(im.ROOM_SEND, {1: "r8", 2: "hi"}):
                break
            time.sleep(0.1)
        else:
            self.fail("a link that is gone is still counted")

    def test_wrong_requests_are_refused_and_keep_the_link(self):
        link = self.member("alice", "r9")
        for cmd in (im.ROOM_JOIN, im.ROOM_LEAVE, im.ROOM_SEND):
            for room in ("", "r" * 65):
                self.assertError(link.call(cmd, {1: room}), 4)
            self.assertError(link.call(cmd, im.UNDECODABLE), 1)
        self.assertError(link.call(im.ROOM_SEND, {1: "r9", 2: b"x" * (MAX_CONTENT + 1)}), 5)
        self.assertError(link.call(im.ROOM_SEND, {1: "r9", 2: "hi", 10: "i" * 65}), 5)
        self.assertError(link.call(im.ROOM_SEND, {1: "elsewhere", 2: "hi"}), 3)
        for number in range(15):
            self.assertNotIn(14, self.join(link, f"more {number}"))
        self.assertError(self.join(link, "one too many"), 11)
        self.assertEqual(self.join(link, "r9")[1], 1, "where it is already")
        self.assertAlive(link)

    def test_sequence_number_zero_is_not_for_rooms(self):
        for cmd in (im.ROOM_JOIN, im.ROOM_LEAVE, im.ROOM_SEND, im.ROOM_PUSH):
            link = self.login(self.user("alice"))
            link.send(cmd, {1: "r"}, seq=0)
            self.assertTrue(link.is_closed_without_a_word())

    def test_a_slow_reader_is_told_what_it_missed_in_bounded_memory(self):
        speaker, slow, quick = (self.member(name, "r10") for name in ("speaker", "slow", "quick"))
        before, messages = self.server.resident_mib(), 4000
        for number in range(1, messages + 1):
            speaker.call(im.ROOM_SEND, {1: "r10", 2: struct.pack(">I", number) + b"x" * 15000})
            self.assertEqual(self.hear(quick)[3][:4], struct.pack(">I", number))
        self.assertLess(self.server.resident_mib() - before, 20, "60 MB were said")
        last = missed = 0
        while last < messages:
            got = self.hear(slow)
            if 10 in got:
                self.assertEqual(set(got), {2, 10}, "no message")
                last, missed = last + got[10], missed + got[10]
            else:
                last += 1
                self.assertEqual(got[3][:4], struct.pack(">I", last))
        self.assertGreater(missed, 0)
        self.assertAlive(slow)


if __name__ == "__main__":
    unittest.main()
