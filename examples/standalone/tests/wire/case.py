"""What all wire tests share: one server for a class of tests, and users that no other test has."""

import itertools
import unittest

import im


class WireTest(unittest.TestCase):
    flags = ()
    numbers = itertools.count(1)

    @classmethod
    def setUpClass(cls):
        cls.server = im.Server(*cls.flags)

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        assert code == 0, f"the server exited with {code}"

    def user(self, name):
        """A user nobody has used yet."""
        return f"{name}{next(self.numbers)}"

    def login(self, user, **how):
        link = self.server.login(user, **how)
        self.addCleanup(link.close)
        return link

    def link(self):
        link = self.server.link()
        self.addCleanup(link.close)
        return link

    def say(self, link, to, content, **more):
        """Sends a direct message and returns the reply's fields."""
        body = {2: to, 3: content}
        body.update({int(number[1:]): value for number, value in more.items()})
        return link.call(im.C2C_SEND, body)

    def assertError(self, reply, code):
        self.assertEqual(reply.get(14), code, reply)
        self.assertTrue(reply.get(15), "an error says in words what it is")

    def assertAlive(self, link):
        """The link still serves."""
        self.assertEqual(link.call(im.NOOP, seq=im.SEQ_NOOP), {})
