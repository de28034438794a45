"""The frame: header, sequence numbers, and what closes a link."""

import os
import struct
import unittest

import im
from case import WireTest

NOOP = bytes.fromhex("00000014000000c800000006ffffffff00000000")
CMD3 = bytes.fromhex("00000014000000c800000003000000010000000568656c6c6f")


class Frames(WireTest):
    def test_a_mars_noop_is_echoed_byte_for_byte(self):
        link = self.link()
        link.raw(NOOP)
        self.assertEqual(link.bytes(20), NOOP)

    def test_a_mars_frame_with_an_unknown_command_gets_error_9_under_its_own_head(self):
        link = self.login(self.user("a"))
        link.raw(CMD3)
        got = link.frame()
        self.assertEqual((got.version, got.cmd, got.seq), (200, 3, 1))
        self.assertEqual(im.fields(got.body)[14], 9)

    def test_a_reply_carries_the_client_version_command_and_sequence_number_of_its_request(self):
        link = self.login(self.user("a"))
        for version, seq in [(0, 1), (1, 7), (0xFFFFFFFF, 0xFFFFFFFC), (200, 2)]:
            link.send(im.PULL, {}, seq=seq, version=version)
            got = link.frame()
            self.assertEqual((got.version, got.cmd, got.seq), (version, im.PULL, seq))

    def test_options_of_a_larger_header_are_skipped(self):
        link = self.link()
        link.raw(im.frame(im.NOOP, im.SEQ_NOOP, options=b"optional") + NOOP)
        self.assertEqual(link.bytes(40), NOOP + NOOP)

    def test_a_header_of_less_than_20_bytes_closes_the_link(self):
        for head in (0, 1, 19):
            link = self.link()
            link.raw(struct.pack(">5I", head, 200, im.NOOP, im.SEQ_NOOP, 0))
            self.assertTrue(link.is_closed_without_a_word(), head)

    def test_four_bytes_of_a_short_header_are_enough_to_close(self):
        link = self.link()
        link.raw(struct.pack(">I", 19))
        self.assertTrue(link.is_closed_without_a_word())

    def test_a_frame_over_one_mebibyte_closes_the_link_before_its_body_comes(self):
        for head, body in [(20, (1 << 20) - 19), (20, 0xFFFFFFFF), (1 << 31, 0), (0xFFFFFFFF, 0xFFFFFFFF)]:
            link = self.login(self.user("a"))
            link.raw(struct.pack(">5I", head, 200, 9999, 1, body))
            self.assertTrue(link.is_closed_without_a_word(), (head, body))

    def test_before_auth_a_frame_over_8_kib_closes_the_link_before_its_body_comes(self):
        link = self.link()
        link.raw(struct.pack(">5I", 20, 200, im.AUTH, 1, (8 << 10) - 19))
        self.assertTrue(link.is_closed_without_a_word())

    def test_a_frame_of_one_mebibyte_is_taken(self):
        link = self.login(self.user("a"))
        self.assertError(link.call(9999, bytes((1 << 20) - 20)), 9)

    def test_a_reserved_sequence_number_with_another_command_closes_the_link(self):
        for seq in (im.SEQ_NOOP, im.SEQ_IDENTIFY, im.SEQ_SIGNALLING):
            link = self.login(self.user("a"))
            link.send(im.PULL, {}, seq=seq)
            self.assertTrue(link.is_closed_without_a_word(), hex(seq))

    def test_a_request_with_sequence_number_0_closes_the_link(self):
        for cmd in (im.PULL, im.C2C_SEND, im.NOOP, 9999):
            link = self.login(self.user("a"))
            link.send(cmd, {}, seq=0)
            self.assertTrue(link.is_closed_without_a_word(), cmd)

    def test_frames_may_come_in_any_pieces(self):
        link = self.link()
        for byte in NOOP:
            link.raw(bytes([byte]))
        self.assertEqual(link.bytes(20), NOOP)
        link.raw(NOOP * 100)
        self.assertEqual(link.bytes(2000), NOOP * 100)

    def test_the_server_says_nothing_before_the_first_frame(self):
        link = self.link()
        self.assertTrue(link.is_silent(0.5))

    def test_signalling_keeps_the_link_and_has_no_reply(self):
        for link in (self.link(), self.login(self.user("a"))):
            link.send(im.SIGNALLING, seq=im.SEQ_SIGNALLING)
            self.assertTrue(link.is_silent())
            self.assertAlive(link)

    def test_a_client_that_half_closes_gets_what_it_asked_for(self):
        link = self.login(self.user("a"))
        seq = link.send(im.PULL, {})
        self.assertEqual(link.reply(im.PULL, seq).cmd, im.PULL)
        link.socket.shutdown(1)
        self.assertTrue(link.is_closed_without_a_word())

    def test_bodies_of_random_bytes_never_end_the_server(self):
        link = self.login(self.user("a"))
        for cmd in (im.C2C_SEND, im.PULL, im.SYNC, 1004, 1008, 1011, 9999):
            reply = link.call(cmd, os.urandom(64))
            self.assertIn(reply.get(14, 0), (0, 1, 3, 4, 5, 9, 10), cmd)
        self.assertAlive(link)


if __name__ == "__main__":
    unittest.main()
