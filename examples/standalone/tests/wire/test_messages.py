"""Direct messages: sending, what repeats do, what is refused, and what is pushed to whom."""

import time
import unittest

import im
from case import WireTest

MAX_CONTENT = 256 << 10


class Sending(WireTest):
    def test_the_reply_has_msgid_time_and_the_version_in_the_senders_timeline(self):
        link, bob = self.login(self.user("alice")), self.user("bob")
        first = self.say(link, bob, "one")
        second = self.say(link, bob, "two")
        self.assertEqual((first[10], second[10]), (1, 2))
        self.assertGreater(second[1], first[1])
        self.assertLess(abs(first[2] - time.time() * 1000), 5000)
        self.assertEqual(set(first), {1, 2, 10}, "and no error")

    def test_a_from_that_is_the_sessions_own_may_be_said(self):
        alice = self.user("alice")
        self.assertEqual(self.say(self.login(alice), self.user("bob"), "hi", f1=alice)[10], 1)

    def test_someone_elses_from_is_forbidden_stores_nothing_and_keeps_the_link(self):
        alice, bob = self.user("alice"), self.user("bob")
        link = self.login(alice)
        self.assertError(self.say(link, bob, "hi", f1=bob), 3)
        self.assertEqual(self.say(link, bob, "hi")[10], 1)
        self.assertEqual(self.login(bob).granted[10], 1)

    def test_content_at_the_limit_is_taken_and_above_it_is_too_large(self):
        alice, bob = self.user("alice"), self.user("bob")
        link = self.login(alice)
        self.assertEqual(self.say(link, bob, b"x" * MAX_CONTENT)[10], 1)
        self.assertError(self.say(link, bob, b"x" * (MAX_CONTENT + 1)), 5)
        self.assertEqual(self.say(link, bob, "y")[10], 2)

    def test_a_client_msg_id_of_64_bytes_is_taken_and_a_longer_one_is_too_large(self):
        link, bob = self.login(self.user("alice")), self.user("bob")
        self.assertEqual(self.say(link, bob, "hi", f10="i" * 64)[10], 1)
        self.assertError(self.say(link, bob, "hi", f10="i" * 65), 5)

    def test_nobody_has_an_empty_uid_or_one_of_65_bytes(self):
        link = self.login(self.user("alice"))
        for to in ("", "u" * 65):
            self.assertError(self.say(link, to, "hi"), 4)
        self.assertEqual(self.say(link, "u" * 64, "hi")[10], 1)

    def test_a_body_that_cannot_be_decoded_is_error_1_and_keeps_the_link(self):
        link = self.login(self.user("alice"))
        for body in (im.UNDECODABLE, b"\xff" * 11, b"\x08", im.proto({2: b"\xff\xfe"})):
            self.assertError(link.call(im.C2C_SEND, body), 1)
        self.assertAlive(link)

    def test_fields_of_a_newer_protocol_are_passed_over(self):
        link = self.login(self.user("alice"))
        self.assertEqual(self.say(link, self.user("bob"), "hi", f99="new", f100=7)[10], 1)

    def test_every_command_that_is_published_but_not_served_is_error_9_and_keeps_the_link(self):
        link = self.login(self.user("alice"))
        for cmd in (1003, 1004, 1005, 1007, 1008, 1009, 1011, 1012, 1018, 1019, 1, 5, 7, 10001, 0, 0xFFFFFFFF):
            self.assertError(link.call(cmd, {}), 9)
            self.assertError(link.call(cmd, im.UNDECODABLE), 9)
        self.assertAlive(link)

    def test_pipelined_sends_are_stored_in_their_order(self):
        alice, bob = self.user("alice"), self.user("bob")
        link = self.login(alice)
        link.raw(b"".join(im.frame(im.C2C_SEND, n, im.proto({2: bob, 3: str(n)})) for n in range(1, 501)))
        versions = {}
        for _ in range(500):
            got = link.frame()
            versions[got.seq] = im.fields(got.body)[10]
        self.assertEqual(versions, {n: n for n in range(1, 501)})
        page = self.login(bob).call(im.PULL, {3: 500})
        self.assertEqual([im.fields(msg)[3] for msg in page[1]], [str(n).encode() for n in range(1, 501)])


class Repeats(WireTest):
    def setUp(self):
        self.alice, self.bob = self.user("alice"), self.user("bob")
        self.link_a = self.login(self.alice)

    def test_a_client_msg_id_that_comes_again_is_answered_like_the_first_time(self):
        first = self.say(self.link_a, self.bob, "hi", f10="id-1", f11=3)
        time.sleep(0.01)
        self.assertEqual(self.say(self.link_a, self.bob, "hi", f10="id-1", f11=3), first)
        again = self.login(self.alice, device_type=4)
        self.assertEqual(self.say(again, self.bob, "hi", f10="id-1", f11=3), first)
        self.assertEqual(self.say(self.link_a, self.bob, "next")[10], 2, "a repeat takes no version")
        self.assertEqual(self.login(self.bob).granted[10], 2)

    def test_with_another_content_type_or_target_it_is_error_8(self):
        first = self.say(self.link_a, self.bob, "hi", f10="id-1")
        self.assertError(self.say(self.link_a, self.bob, "ho", f10="id-1"), 8)
        self.assertError(self.say(self.link_a, self.bob, "hi", f10="id-1", f11=1), 8)
        self.assertError(self.say(self.link_a, self.user("carol"), "hi", f10="id-1"), 8)
        self.assertEqual(self.say(self.link_a, self.bob, "hi", f10="id-1"), first)

    def test_it_is_the_senders_own_and_another_sender_may_use_it_too(self):
        self.say(self.link_a, self.bob, "hi", f10="id-1")
        self.assertEqual(self.say(self.login(self.bob), self.alice, "ho", f10="id-1").get(14, 0), 0)

    def test_two_of_one_id_in_one_turn_are_one_message(self):
        body = im.proto({2: self.bob, 3: "hi", 10: "id-1"})
        self.link_a.raw(im.frame(im.C2C_SEND, 1, body) + im.frame(im.C2C_SEND, 2, body))
        answers = [im.fields(self.link_a.frame().body) for _ in range(2)]
        self.assertEqual(answers[0], answers[1])

    def test_without_an_id_link_command_and_sequence_number_serve(self):
        body = {2: self.bob, 3: "hi"}
        first = self.link_a.call(im.C2C_SEND, body, seq=9)
        self.assertEqual(self.link_a.call(im.C2C_SEND, body, seq=9), first)
        self.assertEqual(self.link_a.call(im.C2C_SEND, body, seq=10)[10], 2)
        other = self.login(self.alice, device_type=4)
        self.assertEqual(other.call(im.C2C_SEND, body, seq=9)[10], 3, "another link, another message")


class Pushes(WireTest):
    def test_every_link_of_the_receiver_and_the_senders_other_links_get_it(self):
        alice, bob = self.user("alice"), self.user("bob")
        sending = self.login(alice, device_type=1)
        other = self.login(alice, device_type=3)
        receiving = [self.login(bob, device_type=kind) for kind in (1, 3)]
        self.say(sending, alice, "to myself, so that versions differ")
        other.push()
        sent = self.say(sending, bob, b"hi \xf0\x9f\x91\x8b", f10="id-1", f11=2)
        for link in receiving:
            got = link.push()
            self.assertEqual((got.version, got.cmd, got.seq), (200, im.C2C_PUSH, 0))
            self.assertEqual(
                im.fields(got.body),
                {1: alice.encode(), 2: b"hi \xf0\x9f\x91\x8b", 3: sent[1], 4: sent[2], 10: 1, 11: 2, 12: b"id-1"},
            )
        got = im.fields(other.push().body)
        self.assertEqual((got[3], got[10], got[13]), (sent[1], 2, bob.encode()))
        self.assertTrue(sending.is_silent(), "the link that sent it knows already")

    def test_a_message_to_oneself_has_one_version_and_reaches_the_other_links(self):
        alice = self.user("alice")
        sending, other = self.login(alice, device_type=1), self.login(alice, device_type=3)
        sent = self.say(sending, alice, "note")
        self.assertEqual(sent[10], 1)
        got = im.fields(other.push().body)
        self.assertEqual((got[3], got[10]), (sent[1], 1))
        self.assertEqual(self.say(sending, alice, "note")[10], 2)

    def test_a_push_carries_the_links_last_client_version(self):
        bob = self.user("bob")
        link = self.login(bob)
        alice = self.login(self.user("alice"))
        for version in (7, 4_000_000_000):
            seq = link.send(im.NOOP, seq=im.SEQ_NOOP, version=version)
            link.reply(im.NOOP, seq)
            self.say(alice, bob, "hi")
            self.assertEqual(link.push().version, version)

    def test_a_link_that_has_not_logged_in_gets_no_push(self):
        bob = self.user("bob")
        greeted = self.link()
        self.assertAlive(greeted)
        self.say(self.login(self.user("alice")), bob, "hi")
        self.assertTrue(greeted.is_silent())

    def test_pushes_come_in_the_order_of_versions(self):
        bob = self.user("bob")
        link = self.login(bob)
        alice = self.login(self.user("alice"))
        alice.raw(b"".join(im.frame(im.C2C_SEND, n, im.proto({2: bob, 3: str(n)})) for n in range(1, 201)))
        versions = [im.fields(link.push().body)[10] for _ in range(200)]
        self.assertEqual(versions, list(range(1, 201)))


if __name__ == "__main__":
    unittest.main()
