"""What was accepted and is damaged on the disk: it waits until its time is over, then its sender is
told, or, where the envelope is gone too, the postmaster; it is never delivered, and lies in held/."""

import email
import email.policy
import os
import re
import subprocess
import sys
import time
import unittest

from dispatch_rig import HOST, Gateway, Smtp, text_of

PROGRAMS = sys.argv.pop(1)
DAY = 86400


class Case(unittest.TestCase):
    def setUp(self):
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.resubmit = Smtp()
        self.addCleanup(self.resubmit.close)
        self.site = Gateway(PROGRAMS, self.submit.url(), self.resubmit.url())
        self.addCleanup(self.site.close)
        self.site.make_spool()

    def place(self, parcel, file, stage="accepted"):
        return "%s/inbound/%s/remote1.%s/%s" % (self.site.spool, stage, parcel, file)

    @staticmethod
    def flip(path, before):
        """One bit, in the octet behind the first `before`."""
        with open(path, "r+b") as file:
            at = file.read().index(before) + len(before)
            file.seek(at)
            octet = file.read(1)[0]
            file.seek(at)
            file.write(bytes([octet ^ 1]))

    def delivered(self):
        return sorted(re.search("<(.*?)@", r).group(1) for m in self.resubmit.taken()
                      for r in m["rcpts"])

    def letters(self):
        return {re.search("<(.*?)>", m["rcpts"][0]).group(1):
                email.message_from_bytes(m["text"], policy=email.policy.default)
                for m in self.submit.taken()}

    def held(self):
        return self.site.names("peers", "remote1", "held")

    def problems(self):
        done = subprocess.run([PROGRAMS + "/bsmtpctl", "--config", self.site.config, "status",
                               "--check"], capture_output=True, check=False, timeout=20)
        return done.stdout.decode() if done.returncode == 1 else ""

    def run_at(self, age):
        self.site.accepted_before(age)
        return self.site.once(expect=None)

    def status_of(self, report):
        return report.get_payload(1).get_payload()


class Texts(Case):
    MESSAGES = [
        ("<good@d.co.uk>", ["<good@domain.com>"], text_of("good")),
        ("<bad@d.co.uk>", ["<bad1@domain.com>", "<bad2@domain.com> NOTIFY=NEVER"], text_of("bad")),
        ("<never@d.co.uk>", ["<never@domain.com> NOTIFY=NEVER"], text_of("never")),
        ("<>", ["<null@domain.com>"], text_of("null")),
        ("<env@d.co.uk>", ["<env@domain.com>"], text_of("env")),
        ("<head@d.co.uk>", ["<head@domain.com>"], text_of("head")),
    ]

    def spoil(self, parcel, stage="accepted"):
        path = self.place(parcel, "messages", stage)
        for before in (b"\nbody of b", b"\nbody of n", b"\nbody of nu", b"TO:<e",
                       b"<head@x>\r"):  # the last one makes of a line end what no mail can carry
            self.flip(path, before)

    def test_senders_are_told_when_the_time_is_over(self):
        parcel = self.site.accept(self.MESSAGES)
        self.spoil(parcel)
        self.site.once(expect=None)
        self.assertEqual(self.delivered(), ["good"])
        self.run_at(4.9 * DAY)
        self.assertEqual(self.letters(), {}, "not yet")
        self.assertRegex(self.problems(), "PROBLEM.*5 of its messages cannot be read")
        log = self.run_at(5.1 * DAY)
        self.site.once("--flush", expect=None)
        letters = self.letters()
        self.assertEqual(sorted(letters), ["bad@d.co.uk", "head@d.co.uk", "postmaster@" + HOST])
        for name in ("bad", "head"):
            report = letters[name + "@d.co.uk"]
            status = self.status_of(report)
            self.assertEqual([(part["Action"], part["Status"]) for part in status[1:]],
                             [("failed", "5.3.0")])
            words = report.get_payload(0).get_content()
            self.assertIn("damaged on the disk of " + HOST, " ".join(words.split()))
            self.assertNotIn(self.site.spool, words)
        self.assertIn("Final-Recipient: rfc822; bad1@domain.com",
                      str(letters["bad@d.co.uk"]))
        self.assertNotIn("bad2", str(letters["bad@d.co.uk"]))
        self.assertIn("Subject: mail bad", str(letters["bad@d.co.uk"]), "its header comes back")
        self.assertEqual(letters["head@d.co.uk"].get_content_type(), "multipart/report")
        postmaster = "\n".join(str(email.message_from_bytes(m["text"]))
                               for m in self.submit.taken() if "postmaster" in m["rcpts"][0])
        self.assertIn("null@domain.com", postmaster)
        self.assertRegex(postmaster, r"unreadable +parcel %s message 5" % parcel)
        # Set aside, known as failed, and never delivered.
        self.assertEqual(self.delivered(), ["good"])
        self.assertEqual(self.site.names("inbound", "deferred"), [])
        self.assertEqual(self.held(), [parcel + ".parcel"])
        self.assertRegex(log, r"%s: alarm .*peers/remote1/held/%s\.parcel" % (parcel, parcel))
        self.assertIn("held/", self.problems())
        self.assertEqual(self.site.ledger("SELECT outcome, count(*) FROM recipient GROUP BY 1"),
                         [(1, 1), (2, 5)])
        self.assertEqual(self.site.ledger("SELECT count(*) FROM attempt"), [(0,)])
        told = len(self.submit.taken())
        self.site.accept(self.MESSAGES, parcel=parcel)
        self.site.accept(self.MESSAGES[:4])
        self.site.once("--flush")
        self.assertEqual(self.delivered(), ["good"], "a copy of what was reported as failed")
        self.assertEqual(len(self.submit.taken()), told)

    def test_what_is_restored_in_time_is_delivered_and_leaves(self):
        parcel = self.site.accept(self.MESSAGES)
        self.spoil(parcel)
        self.site.once(expect=None)
        self.spoil(parcel, "deferred")
        self.run_at(4.9 * DAY)
        self.assertEqual(self.delivered(), sorted(["good", "bad1", "bad2", "never", "null", "env",
                                                   "head"]))
        self.assertEqual((self.held(), self.site.names("inbound", "deferred"), self.letters()),
                         ([], [], {}))
        self.assertEqual(self.problems(), "")

    def test_an_old_one_gets_a_second_look_first(self):
        parcel = self.site.accept(self.MESSAGES[1:2], accepted=time.time() - 6 * DAY)
        self.flip(self.place(parcel, "messages"), b"body of b")
        self.site.once(expect=None)
        self.assertEqual(self.letters(), {})
        self.site.set_next(-1, "inbound", "deferred")
        self.site.once(expect=None)
        self.site.once("--flush", expect=None)
        self.assertEqual(list(self.letters()), ["bad@d.co.uk"])

    def test_doubt_stays_doubt(self):
        parcel = self.site.accept(self.MESSAGES[1:2])
        self.resubmit.script = lambda command, _: "CLOSE" if command == "<taken>" else None
        self.site.once(expect=None)
        self.resubmit.script = lambda command, _: "450 4.2.1 no" if "RCPT" in command else None
        self.flip(self.place(parcel, "messages", "deferred"), b"body of b")
        self.run_at(2 * DAY)
        self.resubmit.script = lambda command, _: None
        self.run_at(4 * DAY)
        self.run_at(6 * DAY)
        self.site.once("--flush", expect=None)
        reports = [email.message_from_bytes(m["text"], policy=email.policy.default)
                   for m in self.submit.taken()]
        last = [r for r in reports if "4.4.0" in str(r)]
        self.assertEqual(len(last), 1, [str(r) for r in reports])
        self.assertIn("may have", last[0].get_payload(0).get_content())

    def test_envelopes_of_earlier_builds_have_no_digest(self):
        self.site.accept(self.MESSAGES, heads=False)
        self.site.once()
        self.assertEqual(len(self.delivered()), 7)
        self.assertEqual(self.site.names("inbound", "accepted"), [])


class Files(Case):
    def test_the_end_of_messages_is_gone(self):
        parcel = self.site.accept([("<s%d@d.co.uk>" % n, ["<r%d@domain.com>" % n], text_of(n))
                                   for n in range(3)])
        path = self.place(parcel, "messages")
        with open(path, "rb") as file:
            os.truncate(path, file.read().index(b"body of 1"))
        self.site.once(expect=None)
        self.assertEqual(self.delivered(), ["r0"])
        self.run_at(5.1 * DAY)
        self.site.once("--flush", expect=None)
        letters = self.letters()
        self.assertEqual(sorted(letters), ["postmaster@" + HOST, "s1@d.co.uk"])
        self.assertIn("message 3", letters["postmaster@" + HOST].get_content())
        self.assertEqual(self.held(), [parcel + ".parcel"])

    def test_a_parcel_without_readable_meta(self):
        parcel = self.site.accept([("<s@d.co.uk>", ["<r@domain.com>"], text_of(1))])
        meta = self.place(parcel, "meta")
        os.truncate(meta, 100)
        self.site.once(expect=None)
        self.assertEqual(self.held(), [])
        os.utime(meta, (time.time() - 5.1 * DAY,) * 2)
        log = self.site.once(expect=None)
        self.site.once("--flush", expect=None)
        self.assertEqual(self.held(), [parcel + ".parcel"])
        self.assertRegex(log, r"%s: alarm .*peers/remote1/held/%s\.parcel" % (parcel, parcel))
        self.assertIn(parcel, self.letters()["postmaster@" + HOST].get_content())
        self.assertIn("held/", self.problems())

    def test_what_another_release_wrote_waits_for_it(self):
        parcel = self.site.accept([("<s@d.co.uk>", ["<r@domain.com>"], text_of(1))])
        meta = self.place(parcel, "meta")
        with open(meta, "a", encoding="ascii") as file:
            file.write("new-key: x\n")
        os.utime(meta, (time.time() - 9 * DAY,) * 2)
        log = self.site.once(expect=None)
        self.assertIn("alarm", log)
        self.assertEqual((self.held(), len(self.site.names("inbound", "accepted"))), ([], 1))


if __name__ == "__main__":
    unittest.main()
