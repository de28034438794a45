"""Wrong input ends as the protocol says, in bounded memory, while two others chat as if nothing were the matter."""

import os
import random
import struct
import threading
import time
import unittest

import im
from case import WireTest

SEED = int(os.environ.get("IM_SEED", "20261121"))


class Bystanders(threading.Thread):
    """Two users who chat until they are told to stop. Every message is answered and pushed, in order and soon."""

    def __init__(self, server, one, two):
        super().__init__(daemon=True)
        self.sender, self.receiver, self.to = server.login(one), server.login(two), two
        self.stopping, self.slowest, self.count, self.failure = threading.Event(), 0.0, 0, None
        self.start()

    def run(self):
        try:
            while not self.stopping.wait(0.01):
                self.exchange()
        except Exception as failure:  # told in `stop`
            self.failure = failure

    def exchange(self):
        began = time.monotonic()
        self.count += 1
        content = f"message {self.count}".encode()
        sent = self.sender.call(im.C2C_SEND, {2: self.to, 3: content})
        assert sent[10] == self.count, sent
        push = im.fields(self.receiver.push().body)
        assert (push[2], push[10]) == (content, self.count), push
        self.receiver.send(im.PUSH_ACK, {1: self.count}, seq=0)
        self.slowest = max(self.slowest, time.monotonic() - began)

    def stop(self):
        enough = self.count + 10
        while self.count < enough and self.is_alive():
            time.sleep(0.01)
        self.stopping.set()
        self.join(20)
        assert self.failure is None, f"the bystanders were disturbed: {self.failure!r}"
        assert self.slowest < 5, f"a message took {self.slowest} s"


class Forger(WireTest):
    def test_a_name_cannot_forge_a_line_of_the_log(self):
        link = self.login(self.user("forger"))
        sent = link.call(im.C2C_SEND, {2: "nobody\nFORGED \x1b[31m", 3: b"hi"})
        self.assertEqual(sent.get(14, 0), 0)
        until = time.monotonic() + 20
        while "FORGED" not in self.server.logged():
            self.assertLess(time.monotonic(), until, "nobody is to be woken")
            time.sleep(0.1)
        line = next(line for line in self.server.logged().splitlines() if "FORGED" in line)
        self.assertIn("would wake", line)
        self.assertNotIn("\x1b", line)


class Hostile(WireTest):
    flags = ("--auth-seconds", "3")

    def setUp(self):
        self.chance = random.Random(SEED)
        self.before = self.server.resident_mib()
        self.bystanders = Bystanders(self.server, self.user("one"), self.user("two"))

    def tearDown(self):
        self.bystanders.stop()

    def assertGrewLessThan(self, mib):
        grown = self.server.resident_mib() - self.before
        if os.environ.get("IM_VERBOSE"):
            print(f"{self.id()}: grew by {grown:.1f} MiB of {mib}")
        self.assertLess(grown, mib, f"the server grew by {grown:.1f} MiB (seed {SEED})")

    def test_random_bytes(self):
        for _ in range(300):
            link = self.server.link()
            try:
                link.raw(self.chance.randbytes(self.chance.randrange(1, 5000)))
            except (BrokenPipeError, ConnectionResetError):
                pass
            link.close()
        self.assertGrewLessThan(32)

    def test_random_bytes_after_a_login(self):
        for _ in range(50):
            link = self.login(self.user("r"))
            try:
                for _ in range(20):
                    link.raw(self.random_frame())
            except (BrokenPipeError, ConnectionResetError):
                pass
            link.close()
        self.assertGrewLessThan(32)

    def random_frame(self):
        cmd = self.chance.choice([6, 243, *range(1001, 1016), self.chance.getrandbits(32)])
        seq = self.chance.choice([0, 1, 2, self.chance.getrandbits(32), im.SEQ_NOOP, im.SEQ_IDENTIFY])
        body = self.chance.randbytes(self.chance.randrange(0, 200))
        return im.frame(cmd, seq, body, options=self.chance.randbytes(self.chance.choice([0, 0, 4])))

    def test_half_a_frame_and_then_nothing_ends_at_the_deadline(self):
        whole = im.frame(im.AUTH, 1, b"x" * 100)
        links = [self.link() for _ in range(1, len(whole), 7)]
        for cut, link in zip(range(1, len(whole), 7), links):
            link.raw(whole[:cut])
        for link in links:
            self.assertTrue(link.is_closed_without_a_word())

    def test_half_frames_of_links_that_hang_up(self):
        for _ in range(200):
            link = self.server.link()
            link.raw(im.frame(im.AUTH, 1, b"x" * 1000)[: self.chance.randrange(1, 1019)])
            link.close()
        self.assertGrewLessThan(32)

    def test_a_promised_body_that_never_comes_takes_no_memory(self):
        links = [self.link() for _ in range(300)]
        for link in links:
            link.raw(struct.pack(">5I", 20, 200, im.AUTH, 1, (8 << 10) - 20) + b"x")
        time.sleep(0.5)
        self.assertGrewLessThan(32)
        for link in links:
            self.assertTrue(link.is_closed_without_a_word())

    def test_a_promised_megabyte_after_a_login_takes_no_memory(self):
        links = [self.login(self.user("p")) for _ in range(100)]
        for link in links:
            link.raw(struct.pack(">5I", 20, 200, im.C2C_SEND, 1, (1 << 20) - 20) + b"x")
        time.sleep(0.5)
        self.assertGrewLessThan(32)

    def test_a_thousand_links_that_never_speak_are_closed_at_the_deadline(self):
        began = time.monotonic()
        links = [self.server.link() for _ in range(1000)]
        opened = time.monotonic() - began
        self.assertGrewLessThan(32)
        for link in links:
            self.assertTrue(link.is_closed_without_a_word())
            link.close()
        took = time.monotonic() - began
        self.assertGreater(took, 2.5)
        self.assertLess(took, 3 + opened + 7)

    def test_a_client_that_speaks_a_byte_a_moment_does_not_escape_the_deadline(self):
        link = self.link()
        began = time.monotonic()
        try:
            for byte in im.frame(im.AUTH, 1, b"x" * 1000):
                link.raw(bytes([byte]))
                time.sleep(0.05)
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertLess(time.monotonic() - began, 10)

    def test_noops_before_auth_do_not_stretch_the_deadline(self):
        link = self.link()
        began = time.monotonic()
        try:
            while time.monotonic() - began < 12:
                link.raw(im.frame(im.NOOP, im.SEQ_NOOP))
                if link.frame() is None:
                    break
                time.sleep(0.2)
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertLess(time.monotonic() - began, 10)

    def test_a_reader_that_never_reads_is_cut_off_and_finds_everything_later(self):
        slow = self.user("slow")
        deaf = self.link()
        deaf.call(im.AUTH, self.server.auth_body(slow))
        sender = self.login(self.user("sender"))
        content = bytes(200 << 10)
        for n in range(1, 201):  # 40 MB, far beyond what the sockets' buffers take
            self.assertEqual(sender.call(im.C2C_SEND, {2: slow, 3: content})[10], n)
        self.assertGrewLessThan(96)
        self.assertIsNone(self.drained(deaf), "the deaf link was cut")
        again, offset = self.login(slow, device_type=3), 0
        self.assertEqual(again.granted[10], 200)
        while offset < 200:
            offset = again.call(im.PULL, {2: offset, 3: 500})[10]

    def drained(self, link):
        """Reads to the end of the stream, which may come inside a frame."""
        link.rest()
        return link.bytes(1)

    def test_requests_whose_replies_nobody_reads_take_no_memory_without_bound(self):
        user = self.user("greedy")
        full = self.login(user)
        for _ in range(4):
            self.say(full, user, bytes(200 << 10))
        deaf = self.login(user, device_type=3)
        deaf.socket.settimeout(2)
        request = im.frame(im.PULL, 1, im.proto({3: 500})) * 100
        try:
            for _ in range(2000):
                deaf.raw(request)
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
        self.assertGrewLessThan(96)

    def test_a_storm_of_small_requests_does_not_starve_the_others(self):
        link = self.login(self.user("storm"))
        storm = im.frame(9999, 1) * 1000
        link.socket.settimeout(2)
        deadline = time.monotonic() + 2
        try:
            while time.monotonic() < deadline:
                link.raw(storm)
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
        self.assertGrewLessThan(64)

    def test_an_auth_of_thousands_of_empty_capabilities_takes_little_memory(self):
        links = [self.link() for _ in range(100)]
        for link in links:
            link.raw(im.frame(im.AUTH, 1, b"\x6a\x00" * 4000))
        for link in links:
            link.rest()
        self.assertGrewLessThan(32)


if __name__ == "__main__":
    unittest.main()
