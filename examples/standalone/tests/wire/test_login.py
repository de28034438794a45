"""Auth, logout, kickout: how a link begins and ends."""

import base64
import hashlib
import hmac
import json
import signal
import time
import unittest

import im
from case import WireTest


def jwt(header, claims, secret=b"not the server's secret, though as long as it might be"):
    part = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    text = part(json.dumps(header).encode()) + "." + part(json.dumps(claims).encode())
    return text + "." + part(hmac.new(secret, text.encode(), hashlib.sha256).digest())


class Auth(WireTest):
    def test_the_answer_has_the_head_and_the_servers_time(self):
        alice, bob = self.user("alice"), self.user("bob")
        self.say(self.login(alice), bob, "one")
        granted = self.login(bob).granted
        self.assertEqual(granted.get(1, 0), 0)
        self.assertEqual(granted.get(2, 0), 0)
        self.assertEqual(granted[10], 1)
        self.assertLess(abs(granted[11] - time.time() * 1000), 5000)

    def test_a_new_user_has_version_0(self):
        self.assertEqual(self.login(self.user("new")).granted.get(10, 0), 0)

    def test_a_client_of_the_recovered_fields_alone_is_served(self):
        user, peer = self.user("old"), self.user("peer")
        link = self.link()
        granted = link.call(im.AUTH, {1: self.server.token(user), 2: user, 3: 1})
        self.assertEqual(granted.get(1, 0), 0)
        sent = link.call(im.C2C_SEND, {1: user, 2: peer, 3: "hi"})
        self.assertEqual(sent.get(14, 0), 0)
        self.assertGreater(sent[1], 0)
        page = link.call(im.PULL, {1: user, 2: 0, 3: 10})
        self.assertEqual(im.fields(im.repeated(page, 1)[0])[3], b"hi")

    def test_mars_identify_sequence_number_carries_auth(self):
        user = self.user("a")
        link = self.link()
        link.send(im.AUTH, self.server.auth_body(user), seq=im.SEQ_IDENTIFY, version=77)
        got = link.frame()
        self.assertEqual((got.version, got.cmd, got.seq), (77, im.AUTH, im.SEQ_IDENTIFY))
        self.assertEqual(im.fields(got.body).get(1, 0), 0)
        self.assertAlive(link)

    def test_noop_version_is_granted_and_what_is_unknown_is_not(self):
        link = self.login(self.user("a"), capabilities=["telepathy", "noop_version"])
        self.assertEqual(im.repeated(link.granted, 13), [b"noop_version"])
        self.assertEqual(im.repeated(self.login(self.user("a")).granted, 13), [])

    def test_noop_is_echoed_before_auth(self):
        link = self.link()
        self.assertAlive(link)
        self.assertAlive(link)

    def test_any_other_command_before_auth_closes_the_link_without_a_word(self):
        for cmd in [*range(1002, 1015), 3, 7, 1015, 10001, 0xFFFFFFFF]:
            link = self.link()
            link.send(cmd, {}, seq=1)
            self.assertTrue(link.is_closed_without_a_word(), cmd)

    def test_auth_with_sequence_number_0_closes_the_link(self):
        link = self.link()
        link.send(im.AUTH, self.server.auth_body(self.user("a")), seq=0)
        self.assertTrue(link.is_closed_without_a_word())

    def test_a_second_auth_is_refused_and_closes_the_link(self):
        user = self.user("a")
        link = self.login(user)
        reply = link.call(im.AUTH, self.server.auth_body(user))
        self.assertEqual((reply[1], reply[2]), (-1, 3))
        self.assertTrue(link.is_closed_without_a_word())


class Refusals(WireTest):
    def refused(self, body, code=2):
        link = self.link()
        seq = link.send(im.AUTH, body)
        got = link.frame()
        self.assertEqual((got.version, got.cmd, got.seq), (200, im.AUTH, seq))
        reply = im.fields(got.body)
        self.assertEqual((reply[1], reply[2]), (-1, code), reply)
        self.assertTrue(reply[3], "the refusal in words")
        self.assertNotIn(10, reply, "a refusal tells nothing of the user")
        self.assertTrue(link.is_closed_without_a_word())

    def test_minus_one_goes_over_the_wire_in_ten_bytes_as_proto3_writes_it(self):
        link = self.link()
        link.send(im.AUTH, self.server.auth_body("x", token="y"))
        self.assertIn(b"\x08" + b"\xff" * 9 + b"\x01\x10\x02", link.frame().body)

    def test_what_is_no_token(self):
        for token in ("", "x", "a.b.c", "." * 3, "é" * 100, "A" * 8000):
            self.refused(self.server.auth_body(self.user("a"), token=token))

    def test_another_users_token(self):
        token = self.server.token(self.user("mallory"))
        self.refused(self.server.auth_body(self.user("alice"), token=token))

    def test_a_token_whose_signature_was_changed(self):
        user = self.user("a")
        head, claims, signature = self.server.token(user).split(".")
        changed = ("B" if signature[0] != "B" else "C") + signature[1:]
        self.refused(self.server.auth_body(user, token=f"{head}.{claims}.{changed}"))

    def test_a_token_whose_claims_were_changed(self):
        user = self.user("a")
        head, _, signature = self.server.token(user).split(".")
        claims = base64.urlsafe_b64encode(json.dumps({"sub": user, "exp": 1 << 40}).encode()).rstrip(b"=").decode()
        self.refused(self.server.auth_body(user, token=f"{head}.{claims}.{signature}"))

    def test_a_token_signed_with_another_secret(self):
        user = self.user("a")
        forged = jwt({"alg": "HS256", "typ": "JWT"}, {"sub": user, "exp": int(time.time()) + 600})
        self.refused(self.server.auth_body(user, token=forged))

    def test_a_token_signed_with_the_empty_secret(self):
        user = self.user("a")
        forged = jwt({"alg": "HS256", "typ": "JWT"}, {"sub": user, "exp": int(time.time()) + 600}, b"")
        self.refused(self.server.auth_body(user, token=forged))

    def test_a_token_of_algorithm_none(self):
        user = self.user("a")
        for alg in ("none", "None", "NONE"):
            unsigned = jwt({"alg": alg, "typ": "JWT"}, {"sub": user, "exp": int(time.time()) + 600})
            self.refused(self.server.auth_body(user, token=unsigned.rpartition(".")[0] + "."))
            self.refused(self.server.auth_body(user, token=unsigned))

    def test_a_token_that_expired(self):
        user = self.user("a")
        token = self.server.token(user, ttl=1)
        time.sleep(2.1)
        self.refused(self.server.auth_body(user, token=token))

    def test_a_body_that_cannot_be_decoded(self):
        self.refused(im.UNDECODABLE, code=1)

    def test_ids_that_are_none(self):
        user = self.user("a")
        self.refused({**self.server.auth_body(user), 2: ""})
        self.refused({**self.server.auth_body(user), 2: "u" * 65})
        self.refused({**self.server.auth_body(user), 10: "d" * 65})


class Logout(WireTest):
    def test_the_answer_comes_and_then_the_link_closes(self):
        user = self.user("a")
        link = self.login(user)
        self.assertEqual(link.call(im.LOGOUT, self.server.auth_body(user)), {})
        self.assertTrue(link.is_closed_without_a_word())

    def test_an_empty_request_will_do(self):
        link = self.login(self.user("a"))
        self.assertEqual(link.call(im.LOGOUT), {})

    def test_another_users_logout_is_forbidden_and_keeps_the_link(self):
        link = self.login(self.user("a"))
        self.assertError(link.call(im.LOGOUT, {2: "someone-else"}), 3)
        self.assertAlive(link)

    def test_a_body_that_cannot_be_decoded_keeps_the_link(self):
        link = self.login(self.user("a"))
        self.assertError(link.call(im.LOGOUT, im.UNDECODABLE), 1)
        self.assertAlive(link)


class Kickout(WireTest):
    def kicked(self, link, reason, timeout=10):
        got = link.push(timeout)
        self.assertEqual((got.version, got.cmd, got.seq), (200, im.KICKOUT, 0))
        self.assertEqual(im.fields(got.body).get(1, 0), reason)
        self.assertTrue(link.is_closed_without_a_word(), "after the kickout, the end")
        return im.fields(got.body)

    def test_the_older_login_of_one_device_type_is_kicked_once_and_the_newer_stays(self):
        user = self.user("a")
        older = self.login(user, device="phone-1", device_type=1)
        newer = self.login(user, device="phone-2", device_type=1)
        self.kicked(older, 0)
        self.assertAlive(newer)

    def test_logins_of_different_device_types_stay(self):
        user = self.user("a")
        links = [self.login(user, device=f"d{kind}", device_type=kind) for kind in range(7)]
        for link in links:
            self.assertAlive(link)

    def test_other_users_are_not_touched(self):
        other = self.login(self.user("a"), device_type=1)
        self.login(self.user("a"), device_type=1)
        self.assertAlive(other)

    def test_a_login_that_is_refused_kicks_nobody(self):
        user = self.user("a")
        link = self.login(user)
        refused = self.link()
        refused.call(im.AUTH, self.server.auth_body(user, token="x"))
        self.assertAlive(link)

    def test_of_many_racing_logins_exactly_one_survives(self):
        user = self.user("a")
        body = self.server.auth_body(user)
        links = [self.link() for _ in range(20)]
        for link in links:
            link.send(im.AUTH, body)
        survivors = [link for link in links if self.outlives(link)]
        self.assertEqual(len(survivors), 1)
        self.assertAlive(survivors[0])

    def outlives(self, link):
        """Whether the link stays logged in; one that does not is told so once, perhaps instead of the answer to its auth."""
        first = link.frame()
        if first.cmd != im.AUTH:
            link.pushes.append(first)
        elif link.is_silent(3):
            return True
        self.kicked(link, 0)
        return False

    def test_a_token_that_ends_ends_the_login(self):
        user = self.user("a")
        link = self.login(user, token=self.server.token(user, ttl=2))
        self.assertAlive(link)
        self.kicked(link, 2)


class KickPolicy:
    """What `--kick` says: links in order of login as (device, type), and which of them stay."""

    def test_who_stays(self):
        user = self.user("a")
        links = [self.login(user, device=device, device_type=kind) for device, kind in self.logins]
        stay = [index for index, link in enumerate(links) if link.is_silent(0.5)]
        self.assertEqual(stay, self.stay)
        for index in stay:
            self.assertAlive(links[index])

    logins = [("phone", 1), ("desk", 3), ("phone-2", 1), ("desk", 4), ("web", 4)]


class KickSameDeviceType(KickPolicy, WireTest):
    flags = ("--kick", "same-device-type")
    stay = [1, 2, 4]


class KickSameDevice(KickPolicy, WireTest):
    flags = ("--kick", "same-device")
    stay = [0, 2, 3, 4]


class KickOnePerUser(KickPolicy, WireTest):
    flags = ("--kick", "one-per-user")
    stay = [4]


class KickAllButTwo(KickPolicy, WireTest):
    flags = ("--kick", "2")
    stay = [3, 4]


class KickNobody(KickPolicy, WireTest):
    flags = ("--kick", "never")
    stay = [0, 1, 2, 3, 4]


class Idle(WireTest):
    flags = ("--idle-seconds", "3")

    def test_a_link_on_which_nothing_arrives_is_closed_without_a_word(self):
        link, began = self.login(self.user("a")), time.monotonic()
        self.assertTrue(link.is_closed_without_a_word())
        self.assertGreater(time.monotonic() - began, 2.5)

    def test_any_frame_keeps_it(self):
        link = self.login(self.user("a"))
        for _ in range(5):
            time.sleep(1)
            self.assertAlive(link)

    def test_what_the_server_sends_does_not(self):
        bob = self.user("bob")
        link, alice, began = self.login(bob), self.login(self.user("alice")), time.monotonic()
        pushed = 0
        while True:
            self.say(alice, bob, "hi")
            if link.frame() is None:
                break
            pushed += 1
            time.sleep(0.5)
        self.assertGreater(pushed, 2)
        self.assertLess(time.monotonic() - began, 10)


class Stopping(WireTest):
    def test_a_server_that_is_told_to_end_says_so_to_who_has_spoken_and_exits_0(self):
        server = im.Server()
        self.addCleanup(server.stop)
        silent, greeted, known = server.link(), server.link(), server.login("a")
        greeted.send(im.NOOP, seq=im.SEQ_NOOP)
        greeted.frame()
        server.process.send_signal(signal.SIGTERM)
        self.assertTrue(silent.is_closed_without_a_word())
        for link in (greeted, known):
            got = link.frame()
            self.assertEqual((got.cmd, got.seq, im.fields(got.body)[1]), (im.KICKOUT, 0, 3))
            self.assertGreaterEqual(im.fields(got.body).get(10, 0), 0)
            self.assertTrue(link.is_closed_without_a_word())
            link.close()
        silent.close()
        self.assertEqual(server.process.wait(20), 0)


if __name__ == "__main__":
    unittest.main()
