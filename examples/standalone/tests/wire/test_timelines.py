"""Pull, sync, acknowledgements, and the version in a noop's reply."""

import time
import unittest

import im
from case import WireTest


class Timelines(WireTest):
    def setUp(self):
        self.alice, self.bob = self.user("alice"), self.user("bob")
        self.sender = self.login(self.alice)

    def fill(self, count):
        self.sent = [self.say(self.sender, self.bob, f"m{n}", f10=f"id-{n}") for n in range(1, count + 1)]
        return self.login(self.bob)

    def versions(self, page):
        return [im.fields(msg)[10] for msg in im.repeated(page, 1)]


class Pull(Timelines):
    def test_pages_of_ten_lead_over_next_offset_to_an_empty_page_at_the_head(self):
        link, offset, pages = self.fill(25), 0, []
        while True:
            page = link.call(im.PULL, {1: self.bob, 2: offset})
            self.assertEqual(page[12], 25)
            if not im.repeated(page, 1):
                break
            pages.append(self.versions(page))
            offset = page[10]
            self.assertEqual(offset, pages[-1][-1])
        self.assertEqual(pages, [list(range(1, 11)), list(range(11, 21)), list(range(21, 26))])
        self.assertEqual(page[10], 25)

    def test_an_entry_says_everything_that_the_send_said(self):
        link = self.fill(1)
        sent = self.sent[0]
        page = link.call(im.PULL, {})
        self.assertEqual(
            im.fields(im.repeated(page, 1)[0]),
            {
                1: self.alice.encode(),
                3: b"m1",
                4: sent[1],
                5: im.C2C_SEND,
                6: sent[2],
                10: 1,
                12: b"id-1",
                13: self.bob.encode(),
            },
        )

    def test_the_sender_has_it_too(self):
        self.fill(1)
        entry = im.fields(im.repeated(self.sender.call(im.PULL, {}), 1)[0])
        self.assertEqual((entry[1], entry[13], entry[3]), (self.alice.encode(), self.bob.encode(), b"m1"))

    def test_what_it_returns_depends_on_the_offset_alone(self):
        link = self.fill(5)
        link.send(im.PUSH_ACK, {1: 5}, seq=0)
        for offset in (5, 0, 3, 0):
            page = link.call(im.PULL, {2: offset, 3: 100})
            self.assertEqual(self.versions(page), list(range(offset + 1, 6)))

    def test_an_offset_above_the_head_is_error_10(self):
        link = self.fill(2)
        self.assertError(link.call(im.PULL, {2: 3}), 10)
        self.assertError(link.call(im.PULL, {2: (1 << 63) - 1}), 10)
        self.assertEqual(self.versions(link.call(im.PULL, {2: 0})), [1, 2])

    def test_an_offset_or_limit_below_0_counts_as_0(self):
        link = self.fill(12)
        self.assertEqual(len(self.versions(link.call(im.PULL, {2: -5, 3: -5}))), 10)

    def test_the_limit_is_kept_and_bounded(self):
        link = self.fill(12)
        self.assertEqual(self.versions(link.call(im.PULL, {3: 1})), [1])
        self.assertEqual(len(self.versions(link.call(im.PULL, {3: 2**31 - 1}))), 12)

    def test_another_uid_is_forbidden(self):
        link = self.fill(1)
        self.assertError(link.call(im.PULL, {1: self.alice}), 3)
        self.assertAlive(link)

    def test_a_body_that_cannot_be_decoded_is_error_1(self):
        link = self.fill(0)
        self.assertError(link.call(im.PULL, im.UNDECODABLE), 1)
        self.assertAlive(link)

    def test_a_page_of_large_messages_fits_a_frame_and_goes_on_where_it_stopped(self):
        for n in range(6):
            self.say(self.sender, self.bob, bytes([n]) * (200 << 10))
        link, offset, seen = self.login(self.bob), 0, []
        while (page := link.call(im.PULL, {2: offset, 3: 500})) and im.repeated(page, 1):
            seen += self.versions(page)
            offset = page[10]
        self.assertEqual(seen, [1, 2, 3, 4, 5, 6])


class Sync(Timelines):
    def test_it_returns_what_lies_between_begin_and_end(self):
        link = self.fill(9)
        page = link.call(im.SYNC, {2: 2, 3: 6, 4: 100})
        self.assertEqual((self.versions(page), page[10], page[12]), ([3, 4, 5, 6], 6, 9))

    def test_an_end_of_0_is_the_head(self):
        link = self.fill(4)
        self.assertEqual(self.versions(link.call(im.SYNC, {2: 1})), [2, 3, 4])

    def test_it_pages(self):
        link, begin, seen = self.fill(7), 0, []
        while begin < 6:
            page = link.call(im.SYNC, {2: begin, 3: 6, 4: 4})
            seen.append(self.versions(page))
            begin = page[10]
        self.assertEqual(seen, [[1, 2, 3, 4], [5, 6]])

    def test_an_end_above_the_head_ends_at_the_head(self):
        link = self.fill(3)
        self.assertEqual(self.versions(link.call(im.SYNC, {3: 1000})), [1, 2, 3])

    def test_an_empty_range_is_an_empty_page(self):
        link = self.fill(3)
        page = link.call(im.SYNC, {2: 2, 3: 2})
        self.assertEqual((self.versions(page), page[10]), ([], 2))

    def test_a_begin_above_the_head_is_error_10(self):
        link = self.fill(1)
        self.assertError(link.call(im.SYNC, {2: 2}), 10)

    def test_groups_are_not_found(self):
        link = self.fill(1)
        self.assertError(link.call(im.SYNC, {1: 5}), 4)

    def test_a_body_that_cannot_be_decoded_is_error_1(self):
        link = self.fill(0)
        self.assertError(link.call(im.SYNC, im.UNDECODABLE), 1)


class Acknowledgements(Timelines):
    def test_they_have_no_reply_and_keep_the_link(self):
        link = self.fill(3)
        page = link.call(im.PULL, {})
        msgid = im.fields(page[1][0])[4]
        link.send(im.PUSH_ACK, {1: 3}, seq=0)
        link.send(im.PUSH_ACK, {1: 3}, seq=77)
        link.send(im.PUSH_ACK, {1: 3, 10: 9}, seq=0)
        link.send(im.C2C_PUSH, {1: msgid}, seq=0)
        link.send(im.C2C_PUSH, {1: 12345}, seq=0)
        link.send(im.C2C_PUSH, im.UNDECODABLE, seq=0)
        self.assertTrue(link.is_silent())
        self.assertAlive(link)

    def test_one_that_cannot_be_decoded_is_error_1_if_it_has_a_sequence_number(self):
        link = self.fill(0)
        link.send(im.PUSH_ACK, im.UNDECODABLE, seq=0)
        self.assertTrue(link.is_silent())
        self.assertError(link.call(im.PUSH_ACK, im.UNDECODABLE), 1)
        self.assertAlive(link)

    def test_of_the_future_they_change_nothing(self):
        link = self.fill(2)
        link.send(im.PUSH_ACK, {1: 1_000_000}, seq=0)
        link.send(im.PUSH_ACK, {1: (1 << 63) - 1}, seq=0)
        link.send(im.PUSH_ACK, {1: -1}, seq=0)
        self.assertEqual(self.versions(link.call(im.PULL, {})), [1, 2])
        self.say(self.sender, self.bob, "m3")
        self.assertEqual(im.fields(link.push().body)[10], 3)
        self.assertEqual(self.login(self.bob).granted[10], 3)


class Hints(Timelines):
    """All cases in one test, so that the seconds of waiting pass side by side."""

    def test_the_head_is_pushed_again_to_whom_nobody_acknowledged_and_to_no_other(self):
        cases = {
            "nothing": (lambda link, push: None, True),
            "up to its version": (lambda link, push: link.send(im.PUSH_ACK, {1: push[10]}, seq=0), False),
            "its msgid": (lambda link, push: link.send(im.C2C_PUSH, {1: push[3]}, seq=0), False),
            "a pull from its version": (lambda link, push: link.call(im.PULL, {2: push[10]}), False),
            "an unknown msgid": (lambda link, push: link.send(im.C2C_PUSH, {1: 4711}, seq=0), True),
            "a version of the future": (lambda link, push: link.send(im.PUSH_ACK, {1: 99}, seq=0), True),
        }
        links = {name: (user := self.user("bob"), self.login(user)) for name in cases}
        pushes, began = {}, time.monotonic()
        for name, (answer, _) in cases.items():
            user, link = links[name]
            self.say(self.sender, user, "hi")
            pushes[name] = link.push()
            answer(link, im.fields(pushes[name].body))
        for name in [name for name, (_, hinted) in cases.items() if hinted]:
            with self.subTest(acknowledged=name):
                self.assertEqual(links[name][1].push(15).body, pushes[name].body)
                self.assertGreater(time.monotonic() - began, 4.9)
        time.sleep(1.5)
        for name in [name for name, (_, hinted) in cases.items() if not hinted]:
            with self.subTest(acknowledged=name):
                self.assertTrue(links[name][1].is_silent(0))


class NoopVersion(Timelines):
    def test_with_the_capability_the_reply_has_the_timelines_head(self):
        link = self.login(self.bob, capabilities=["noop_version"])
        self.assertEqual(link.call(im.NOOP, seq=im.SEQ_NOOP), {})
        for n in (1, 2):
            self.say(self.sender, self.bob, "hi")
            self.assertEqual(link.call(im.NOOP, seq=im.SEQ_NOOP), {1: n})

    def test_without_it_the_reply_is_empty(self):
        link = self.fill(1)
        self.assertAlive(link)


if __name__ == "__main__":
    unittest.main()
