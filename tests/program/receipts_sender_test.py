"""What the sending dispatcher makes of receipts, of their absence, of bounces and of an admin's orders:
the real program against a scripted host MTA; receipts are written by hand, time by editing states."""

import os
import re
import shutil
import sys
import time
import unittest

from receipts_rig import DAY, Case, OwnKey, bounce, item, new_id, text_of

PROGRAMS = sys.argv.pop(1)


def setUpModule():
    Case.begin(PROGRAMS)


def tearDownModule():
    Case.end()


class Receipts(Case):
    def test_manifest_asks_and_the_parcel_waits(self):
        parcel = self.send()
        state = self.site.state(parcel)
        self.assertEqual(state["receipt"], "1")
        self.assertIn("handed", state)
        self.assertEqual(self.submit.taken()[0]["rcpts"],
                         ["RCPT TO:<bsmtp@athena.domain.co.uk> NOTIFY=FAILURE,DELAY "
                          "ORCPT=rfc822;bsmtp@athena.domain.co.uk"])
        self.site.later(parcel, 3600 * 5)
        self.site.once()
        self.assertEqual(len(self.copies()), 1)
        listed, _ = self.site.ctl("parcel", "list")
        self.assertEqual([(p["id"], p["receipt"]) for p in listed], [(parcel, "awaited")])

    def test_a_receipt_ends_it(self):
        parcel = self.send()
        self.site.receipt(parcel)
        log = self.site.once()
        self.assertRegex(log, r"%s: acknowledged peer=remote1 .*resends=0" % parcel)
        self.assertEqual(self.site.place(parcel), "gone")
        self.assertEqual(self.site.names("inbound", "receipts"), [])
        self.assertEqual(self.reports(), [])

    def test_a_running_dispatcher_notices(self):
        self.site.start()
        self.site.put_three()
        self.site.wait(lambda: self.site.parcels("sent"))
        parcel, = self.site.parcels("sent")
        self.site.receipt(parcel)
        self.site.wait(lambda: not self.site.parcels("sent"))
        self.assertEqual(self.site.stop(), 0)

    def test_what_is_not_for_this_parcel_changes_nothing(self):
        parcel = self.send()
        self.site.receipt(parcel, digest="e" * 64)
        self.site.receipt(new_id())
        self.site.receipt(parcel, peer="remote9")
        self.site.receipt((parcel, "rejected", "5.6.0", "no"), digest="e" * 64)
        log = self.site.once()
        for why in ("other-digest", "no-such-parcel", "no-such-peer"):
            self.assertIn("receipt-ignored peer=remote%s why=%s"
                          % ("9" if why == "no-such-peer" else "1", why), log)
        self.assertEqual(self.site.place(parcel), "sent")
        self.assertEqual(self.reports(), [])
        self.assertEqual(self.site.names("inbound", "receipts"), [])

    def test_a_receipt_of_another_peer_changes_nothing(self):
        self.site.peers["remote2"] = self.site.peers["remote1"].replace("athena", "zeus")
        self.site.write_config(self.submit.url(), "smtp://127.0.0.1:9")
        parcel = self.send()
        self.site.receipt(parcel, peer="remote2")
        self.assertIn("%s: receipt-ignored peer=remote2 why=no-such-parcel" % parcel,
                      self.site.once())
        self.assertEqual(self.site.place(parcel), "sent")

    def test_repeated_receipts_are_harmless(self):
        parcel = self.send()
        digest = self.site.state(parcel)["digest"]
        for _ in range(3):
            self.site.receipt(parcel, digest=digest)
        self.assertEqual(self.site.once().count(": acknowledged "), 1)
        self.assertEqual(self.site.place(parcel), "gone")

    def test_refused_by_the_peer(self):
        parcel = self.send()
        self.site.receipt((parcel, "rejected", "5.6.0", "malformed: no QUIT"))
        self.site.once()
        self.assertEqual(self.site.place(parcel), "failed")
        self.assert_told_once("5.6.0", "refused")
        self.assert_said("athena.domain.co.uk", "x-bsmtp; malformed: no QUIT")

    def test_expired_at_the_peer(self):
        parcel = self.send()
        self.site.receipt((parcel, "expired", "5.4.7", ""))
        self.site.once()
        self.assert_told_once("5.4.7", "too late")
        self.assert_said("athena.domain.co.uk", None)

    def test_one_receipt_for_many(self):
        parcels = [self.send(mark=m) for m in "abc"]
        self.site.receipt(parcels[0], (parcels[1], "rejected", "5.6.0", "x"), parcels[2])
        self.site.once()
        self.assertEqual([self.site.place(p) for p in parcels], ["gone", "failed", "gone"])

    def test_too_late_is_said(self):
        parcel = self.send()
        self.site.receipt((parcel, "rejected", "5.6.0", "x"))
        self.site.once()
        self.site.receipt(parcel)
        self.assertRegex(self.site.once(), r"%s: outcome-unknown outcome=ambiguous" % parcel)
        self.assertEqual(self.site.place(parcel), "failed")
        self.assertEqual(len(self.reports()), 3)


class Silence(Case):
    def test_the_same_parcel_goes_again(self):
        parcel = self.send()
        with open("%s/peers/remote1/sent/%s/entity" % (self.site.spool, parcel), "rb") as f:
            entity = f.read()
        for hours, copies in ((5, 1), (1, 2), (11, 2), (1, 3), (24, 4), (100, 4)):
            self.site.later(parcel, hours * 3600 + 1)
            self.site.once()
            self.assertEqual(len(self.copies(parcel)), copies, hours)
        ids = {m["Message-ID"] for m in self.copies()}
        self.assertEqual(len(ids), 4)
        for message in self.submit.taken():
            self.assertTrue(message["text"].endswith(entity))
        self.assertEqual(self.site.state(parcel)["resends"], "3")
        self.site.receipt(parcel)
        self.assertRegex(self.site.once(), "acknowledged .*resends=3")
        self.assertEqual(self.reports(), [])

    def test_it_is_found_while_it_is_sent_again(self):
        parcel = self.send()
        self.submit.script = lambda command, _: (
            "451 4.3.0 later" if command == "<text>" else None)
        self.site.later(parcel, 6 * 3600)
        self.site.once()
        self.assertEqual(self.site.place(parcel), "ready")
        self.site.receipt(parcel)
        self.site.once()
        self.assertEqual(self.site.place(parcel), "gone")

    def test_last_question_and_then_unknown_once(self):
        self.ever_answered()
        parcel = self.send()
        self.site.later(parcel, 14 * DAY)
        log = self.site.once()
        self.assertIn("why=last-question", log)
        self.assertEqual(len(self.copies(parcel)), 2)
        self.assertEqual(self.reports(), [])
        self.site.later(parcel, DAY - 60)
        self.site.once()
        self.assertEqual(self.site.place(parcel), "sent")
        self.site.later(parcel, 61)
        log = self.site.once()
        self.assertRegex(log, r"%s: outcome-unknown outcome=ambiguous peer=remote1" % parcel)
        self.site.once()
        self.assertEqual(self.site.place(parcel), "failed")
        self.assert_told_once("4.4.0", "may have been delivered or not")
        self.assertEqual(len(self.copies(parcel)), 2)

    def test_the_answer_to_the_last_question_counts(self):
        self.ever_answered()
        parcel = self.send()
        self.site.later(parcel, 14 * DAY)
        self.site.once()
        self.site.receipt(parcel)
        self.site.once()
        self.assertEqual((self.site.place(parcel), self.reports()), ("gone", []))

    def test_a_dispatcher_that_slept_asks_before_it_tells(self):
        self.ever_answered()
        parcel = self.send()
        self.site.later(parcel, 60 * DAY)
        self.site.once()
        self.assertEqual(len(self.copies(parcel)), 2)
        self.assertEqual(self.site.place(parcel), "sent")

    def test_unknown_although_the_host_mta_is_away(self):
        self.ever_answered()
        parcel = self.send()
        self.submit.script = lambda command, _: "451 4.3.0 later" if command == "<text>" else None
        self.site.later(parcel, 14 * DAY)
        self.site.once()
        self.assertEqual(self.site.place(parcel), "ready")
        self.submit.script = lambda command, _: None
        self.site.later(parcel, DAY + 60)
        self.site.once()
        self.assertEqual(self.site.place(parcel), "failed")
        self.assert_told_once("4.4.0", "may have been")

    def test_a_notify_never_is_not_told(self):
        self.ever_answered()
        self.site.put(item("<a@domain.com>", ["<b@domain.co.uk> NOTIFY=NEVER"], text_of("n")))
        self.site.put(item("<>", ["<b@domain.co.uk>"], text_of("o")))
        self.site.once("--flush")
        parcel, = self.site.parcels("sent")
        self.site.later(parcel, 14 * DAY)
        self.site.once()
        self.site.later(parcel, DAY + 60)
        self.site.once()
        self.assertEqual(self.site.place(parcel), "failed")
        self.assertEqual(self.reports(), [])
        self.assertEqual(len([m for m in self.submit.taken() if "postmaster@" in m["rcpts"][0]]), 1)


class Unconfirmed(Case):
    """Parcels that went out hours ago: their ids hold the time."""

    settings = "heartbeat = 1s\ndelay-warning = 4h\n"

    def send_hours_ago(self, hours):
        parcel = self.send()
        name = new_id(time.time() - hours * 3600)
        base = self.site.spool + "/peers/remote1/sent/"
        os.rename(base + parcel, base + name)
        return name

    def delays(self):
        self.assertEqual({self.groups(r)[0]["Action"] for r in self.reports()} - {"delayed"}, set())
        return sorted(r["To"] for r in self.reports())

    def test_each_sender_hears_of_it_once(self):
        self.ever_answered()
        parcel = self.send_hours_ago(5)
        items = "%s/peers/remote1/sent/%s/items/" % (self.site.spool, parcel)
        for name in os.listdir(items):
            with open(items + name, "rb") as f:
                octets = f.read()
            with open(items + name, "wb") as f:
                f.write(octets.replace(b"<bob0@domain.co.uk>", b"<bob0@domain.co.uk> NOTIFY=FAILURE"))
        for _ in range(3):
            self.site.once()
        self.assertEqual(self.delays(), ["s1@domain.com", "s2@domain.com"])
        self.assertEqual(self.groups(self.reports()[0])[0]["Status"], "4.4.0")
        text = " ".join(self.reports()[0].get_payload()[0].get_content().split())
        self.assertIn("has not confirmed it yet", text)
        self.assertEqual((self.site.place(parcel), len(self.copies())), ("sent", 2))

    def test_not_before_its_time_and_not_of_a_peer_that_never_answered(self):
        self.send_hours_ago(5)
        self.site.once()
        self.assertEqual(self.delays(), [])
        self.ever_answered()
        self.site.once()
        self.assertEqual(len(self.delays()), 3)
        self.send_hours_ago(3)
        self.site.once()
        self.assertEqual(len(self.delays()), 3)

    def test_a_running_dispatcher_notices(self):
        self.ever_answered()
        self.send_hours_ago(4 - 4 / 3600)
        self.site.start()
        self.site.wait(lambda: len(self.delays()) == 3)
        self.assertEqual(self.site.stop(), 0)


class Breaker(Case):
    def held(self):
        parcel = self.send()
        self.site.later(parcel, 14 * DAY)
        self.site.once()
        self.site.later(parcel, DAY + 60)
        log = self.site.once()
        self.assertRegex(log, r"remote1: alarm .*no receipt ever came")
        self.assertEqual(self.site.place(parcel), "sent")
        self.assertIn("held", self.site.state(parcel))
        self.assertEqual(self.reports(), [])
        return parcel

    def test_nobody_is_told_and_status_says_so(self):
        parcel = self.held()
        self.site.later(parcel, 30 * DAY)
        self.assertIn("alarm", self.site.once())
        self.assertEqual(self.site.place(parcel), "sent")
        status, code = self.site.ctl("status", "--check")
        self.assertEqual(code, 1)
        self.assertEqual(status["peers"][0]["undecided"], 1)
        self.assertTrue([p for p in status["problems"] if "no receipt ever came" in p])
        listed, _ = self.site.ctl("parcel", "list")
        self.assertEqual([p["receipt"] for p in listed], ["held"])

    def test_released(self):
        parcel = self.held()
        self.assertEqual(self.site.ctl("parcel", "release", parcel[:20])[1], 0)
        self.assertIn("%s: released" % parcel, self.site.once())
        self.assertEqual((self.site.place(parcel), self.reports()), ("gone", []))

    def test_failed(self):
        parcel = self.held()
        self.assertEqual(self.site.ctl("parcel", "fail", parcel)[1], 0)
        self.site.once()
        self.assertEqual(self.site.place(parcel), "failed")
        self.assert_told_once("4.4.0", "may have been delivered or not")

    def test_resent(self):
        parcel = self.held()
        self.assertEqual(self.site.ctl("parcel", "resend", parcel)[1], 0)
        self.site.once()
        self.assertEqual(len(self.copies(parcel)), 3)
        self.assertNotIn("held", self.site.state(parcel))
        self.site.receipt(parcel)
        self.site.once()
        self.assertEqual(self.site.place(parcel), "gone")

    def test_the_first_receipt_makes_it_ask_again(self):
        parcel = self.held()
        other = self.send(mark="other")
        self.site.receipt(other)
        self.site.once()
        self.assertEqual(len(self.copies(parcel)), 3)
        self.assertEqual(self.site.place(parcel), "sent")

    def test_receipts_off_is_as_before(self):
        parcel = self.held()
        self.site.peers["remote1"] += "receipts = no\n"
        self.site.write_config(self.submit.url(), "smtp://127.0.0.1:9")
        self.site.once()
        self.assertEqual(self.site.place(parcel), "sent")
        self.site.later(parcel, 6 * DAY)
        self.site.once()
        self.assertEqual((self.site.place(parcel), self.reports()), ("gone", []))


class Unacked(Case):
    peer = "max-unacked = 4\n"

    def test_sent_parcels_count_until_their_receipts_come(self):
        for n in range(4):
            self.send(mark="u%d" % n)
        self.site.put_three("waits")
        for _ in range(2):
            self.site.once("--flush")
        self.assertEqual(len(self.site.parcels("sent")), 4)
        self.assertEqual(len(self.site.names("peers", "remote1", "incoming")), 3)
        self.site.receipt(self.site.parcels("sent")[0])
        self.site.once()
        self.site.once("--flush")
        self.assertEqual(self.site.names("peers", "remote1", "incoming"), [])
        self.assertEqual(len(self.copies()), 5)
        # From half the limit on the receipt is wanted at once.
        self.assertEqual(self.site.state(self.site.parcels("sent")[-1])["receipt"], "2")

    def resent(self):
        """How often each parcel of the peer left again, oldest first."""
        return [int(self.site.state(p).get("resends", 0)) for p in sorted(self.site.parcels("sent"))]

    def test_lost_receipts_stop_no_mail_for_long(self):
        self.ever_answered()
        four = [self.send(mark="u%d" % n) for n in range(4)]
        for parcel in four:
            self.site.later(parcel, 3700)
        self.site.once()
        self.assertEqual(self.resent(), [0, 0, 0, 0], "nothing waits for them")
        self.site.put_three("waits")
        self.site.once("--flush")
        self.assertEqual(self.resent(), [1, 0, 0, 0], "the oldest, after retry-maximum")
        self.site.once()
        self.assertEqual(self.resent(), [1, 0, 0, 0], "and not at once again")
        self.site.receipt(four[0])
        self.site.once("--flush")
        self.assertEqual(self.site.names("peers", "remote1", "incoming"), [])
        self.site.put_three("more")
        self.site.once("--flush")
        self.assertEqual(self.resent(), [1, 0, 0, 0], "the next, as the peer is heard again")
        self.site.receipt(four[1])
        self.site.once("--flush")
        self.assertEqual(self.site.names("peers", "remote1", "incoming"), [])

    def test_a_running_dispatcher_asks_the_one_in_the_way(self):
        self.ever_answered()
        four = [self.send(mark="u%d" % n) for n in range(4)]
        for parcel in four:
            self.site.later(parcel, 3598)
        self.site.start()
        self.site.put_three("waits")
        self.site.wait(lambda: self.resent()[0:1] == [1])
        self.assertEqual(self.resent(), [1, 0, 0, 0])
        for parcel in four:
            self.site.receipt(parcel)
        self.site.wait(lambda: self.site.names("peers", "remote1", "incoming") == [])
        self.assertEqual(self.site.stop(), 0)

    def test_a_peer_that_never_answers_gets_no_more_at_once(self):
        for n in range(18):
            self.site.put(item("<s@domain.com>", ["<b@domain.co.uk>"], text_of("n%d" % n)))
        self.site.start()
        self.site.wait(lambda: len(self.site.parcels("sent")) == 4)
        time.sleep(1)
        self.assertEqual(self.site.stop(), 0)
        self.assertEqual((len(self.site.parcels("sent")), self.site.parcels("ready")), (4, []))
        self.assertEqual(len(self.site.names("peers", "remote1", "incoming")), 6)

    def test_without_receipts_the_mta_word_does(self):
        self.site.peers["remote1"] += "receipts = no\n"
        self.site.write_config(self.submit.url(), "smtp://127.0.0.1:9")
        for n in range(6):
            self.send(mark="u%d" % n)
        self.assertEqual(len(self.site.parcels("sent")), 6)


class Bounces(Case):
    def test_a_bounce_makes_it_go_again_and_tells_nobody(self):
        self.ever_answered()
        parcel = self.send()
        token = self.token()
        for _ in range(3):  # the same one, repeated
            self.site.returned(token, bounce())
        self.assertIn("returned peer=remote1 action=failed", self.site.once())
        state = self.site.state(parcel)
        self.assertEqual((state["bounces"], len(self.copies(parcel))), ("1", 1))
        self.site.later(parcel, 3)  # retry-maximum is 2 s here
        self.site.once()
        self.assertEqual(len(self.copies(parcel)), 2)
        self.assertNotIn("bounced", self.site.state(parcel))
        self.assertNotIn("resends", self.site.state(parcel))
        self.site.receipt(parcel)
        self.site.once()
        self.assertEqual((self.site.place(parcel), self.reports()), ("gone", []))

    def test_forged_and_irrelevant_returns_change_nothing(self):
        parcel = self.send()
        before = self.site.state(parcel)
        self.site.returned("0" * 32, bounce())
        self.site.returned(self.token(), bounce(action="delayed", status="4.4.1"))
        self.site.returned(self.token(), bounce(action="relayed", status="2.0.0"))
        self.site.returned(self.token(), "From: x\nSubject: I am away\n"
                           "Auto-Submitted: auto-replied\n\nback on Monday\n")
        log = self.site.once()
        self.assertEqual(self.site.state(parcel), before)
        for said in ("failed-no-such-parcel", "action=delayed", "action=relayed",
                     "action=no-report"):
            self.assertIn(said, log)
        self.assertEqual(self.reports(), [])
        self.assertEqual(self.site.names("inbound", "returns"), [])

    def test_a_report_that_is_not_from_the_null_sender_is_none(self):
        parcel = self.send()
        before = self.site.state(parcel)
        for status in ("5.1.1", "5.3.4"):
            self.site.returned(self.token(), bounce(status=status), "<mallory@example.org>")
        log = self.site.once()
        self.assertEqual(log.count("returned peer=remote1 action=not-from-null-sender"), 2)
        self.assertEqual((self.site.place(parcel), self.site.state(parcel)), ("sent", before))
        self.assertEqual(len(self.submit.taken()), 1)

    def test_the_null_sender_as_a_pipe_may_say_it(self):
        self.ever_answered()
        for sender in ("<MAILER-DAEMON>", "<mailer-daemon@hub.domain.com>"):
            parcel = self.send(mark=sender[1])
            self.site.returned(self.token(), bounce(), sender)
            self.site.once()
            self.assertEqual(self.site.state(parcel)["bounces"], "1", sender)

    def test_automatic_replies_make_one_letter_an_hour(self):
        parcel = self.send()
        while time.time() % 3600 > 3590:
            time.sleep(1)
        for n in range(3):
            self.site.returned(self.token(), "From: x%d\nSubject: away\n\nback on Monday\n" % n)
        log = self.site.once() + self.site.once()
        self.assertEqual(log.count("action=no-report"), 3)
        letter, = [t for _, t in self.parsed() if t["To"] == "postmaster@hub.domain.com"]
        self.assertIn(parcel, letter.get_content())
        self.assertIn("action=no-report", letter.get_content())

    def test_a_refusal_of_a_second_copy_is_a_bounce(self):
        self.ever_answered()
        parcel = self.send()
        self.submit.script = lambda command, _: (
            "550 5.1.2 no such host" if "RCPT TO:<bsmtp@" in command else None)
        self.site.later(parcel, 6 * 3600)
        self.site.once()
        self.assertEqual(self.site.place(parcel), "sent")
        self.assertEqual(self.site.state(parcel)["bounces"], "1")
        self.assertEqual(self.reports(), [])

    def test_a_refusal_of_the_first_copy_is_final(self):
        self.submit.script = lambda command, _: (
            "550 5.7.1 you may not" if "RCPT TO:<bsmtp@" in command else None)
        self.site.put_three()
        self.site.once("--flush")
        self.assertEqual(len(self.site.parcels("failed")), 1)
        self.assert_told_once("5.7.1", "")
        self.assert_said("hub.domain.com", "smtp; 550 5.7.1 you may not")

    def test_a_refusal_after_a_lost_reply_is_not(self):
        answers = iter(["CLOSE"])
        self.submit.script = lambda command, _: (
            next(answers, None) if command == "<taken>" else None)
        self.site.put_three()
        self.site.once("--flush")
        parcel, = self.site.parcels("ready")
        self.submit.script = lambda command, _: (
            "550 5.1.2 no such host" if "RCPT TO:<bsmtp@" in command else None)
        time.sleep(1.1)
        self.site.once()
        self.assertEqual((self.site.place(parcel), self.reports()), ("sent", []))


class Splits(Case):
    messages_at_once = 8

    def put(self, count, size=0):
        for n in range(count):
            self.site.put(item("<s%d@domain.com>" % n, ["<bob%d@domain.co.uk>" % n],
                               text_of("x%d" % n) + (os.urandom(size * 3 // 4).hex().encode()
                                                     + b"\r\n" if size else b"")))

    def finish(self, runs=8):
        for _ in range(runs):
            self.site.set_next(-1, "peers", "remote1", "ready")
            self.site.once()

    def messages(self):
        return sorted(int(self.site.state(p)["messages"]) for p in self.site.parcels("sent"))

    def test_too_big_for_the_host_mta(self):
        self.submit.script = lambda command, session: (
            "552 5.3.4 Message size exceeds fixed limit"
            if command == "<text>" and session["octets"] > 9000 else None)
        self.put(8, 1500)
        log = self.site.once("--flush")
        self.finish()
        self.assertIn(": split ", log)
        self.assertEqual(sum(self.messages()), 8)
        self.assertGreater(len(self.messages()), 1)
        self.assertEqual((self.site.parcels("ready"), self.site.parcels("failed")), ([], []))
        self.assertEqual(self.site.names("peers", "remote1", "incoming"), [])
        self.assertEqual(self.reports(), [])

    def test_a_single_message_too_big_fails(self):
        self.submit.script = lambda command, _: (
            "552 5.3.4 too big" if command.startswith("MAIL FROM:<bsmtp+") else None)
        self.put(2)
        self.site.once("--flush")
        self.finish()
        self.assertEqual(sorted(r["To"] for r in self.reports()),
                         ["s0@domain.com", "s1@domain.com"])
        self.assertEqual(self.groups(self.reports()[0])[0]["Status"], "5.3.4")

    def test_the_refused_message_is_found(self):
        # The scanner judges by size: wherever the long message is, the parcel is refused.
        self.put(3)
        self.site.put(item("<virus@domain.com>", ["<bob@domain.co.uk>"],
                           text_of("v") + b"".join(os.urandom(35).hex().encode() + b"\r\n"
                                                   for _ in range(400))))
        self.put(4)
        self.submit.script = lambda command, session: (
            "550 5.7.1 content refused" if command == "<text>" and "bsmtp+" in session["mail"]
            and session["octets"] > 12000 else None)
        self.site.once("--flush")
        self.finish()
        self.assertEqual([r["To"] for r in self.reports()], ["virus@domain.com"])
        self.assertEqual(self.groups(self.reports()[0])[0]["Status"], "5.7.1")
        self.assertEqual(sum(self.messages()), 7)
        self.assertEqual(self.site.parcels("ready"), [])

    def test_a_relay_refusal_is_not_about_content(self):
        self.submit.script = lambda command, _: (
            "554 5.7.1 Relay access denied" if "RCPT TO:<bsmtp@" in command else None)
        self.put(3)
        log = self.site.once("--flush")
        self.assertNotIn(": split ", log)
        self.assertEqual(len(self.reports()), 3)

    def test_a_bounce_says_too_big(self):
        self.put(4)
        self.site.once("--flush")
        self.site.returned(self.token(), bounce(status="5.3.4", diagnostic="552 5.3.4 too big"))
        self.site.once()
        self.finish(1)
        self.assertEqual(self.messages(), [2, 2])
        self.assertEqual(self.reports(), [])

    def test_an_interrupted_split_goes_on(self):
        self.put(4)
        self.site.once("--flush")
        parcel, = self.site.parcels("sent")
        items = self.site.names("peers", "remote1", "sent", parcel, "items")
        self.site.set_state(parcel, splitting="5.3.4 too big", split_at=items[2])
        part = new_id()
        building = "%s/peers/remote1/building/%s" % (self.site.spool, part)
        os.makedirs(building + "/items")
        with open(building + "/state", "w", encoding="ascii") as out:
            out.write("version: 1\nsplit-of: %s\n" % parcel)
        os.rename("%s/peers/remote1/sent/%s/items/%s" % (self.site.spool, parcel, items[0]),
                  building + "/items/" + items[0])
        self.site.once()
        self.assertEqual(self.site.place(parcel), "gone")
        self.assertEqual(self.messages(), [2, 2])


class Orders(Case):
    def test_a_sent_parcel_goes_again_at_once(self):
        parcel = self.send()
        self.site.start()
        shown, code = self.site.ctl("parcel", "resend", parcel)
        self.assertEqual((shown["ordered"], code), ("resend", 0))
        self.site.wait(lambda: len(self.copies(parcel)) == 2)
        self.assertEqual(self.site.stop(), 0)
        self.assertIn("why=asked-for", self.site.logged())

    def test_one_that_never_left_fails_as_such(self):
        self.submit.script = lambda command, _: "451 4.3.0 later" if command == "<text>" else None
        self.site.put_three()
        self.site.once("--flush")
        parcel, = self.site.parcels("ready")
        self.site.set_state(parcel, next=3600)  # or it goes while the order is read
        self.assertEqual(self.site.ctl("parcel", "release", parcel)[1], 1)
        self.site.ctl("parcel", "fail", parcel)
        self.submit.script = lambda command, _: None
        self.site.once()
        self.assert_told_once("5.3.0", "administrator")

    def test_what_does_not_fit_any_more_is_forgotten(self):
        with open(self.site.spool + "/peers/remote1/order." + new_id(), "w",
                  encoding="ascii") as out:
            out.write("fail\n")
        self.assertIn("no such parcel waits", self.site.once())
        self.assertEqual([n for n in self.site.names("peers", "remote1") if "order" in n], [])
        self.assertEqual(self.site.ctl("parcel", "fail", new_id())[1], 1)


class WithoutReceipts(Case):
    def setUp(self):
        super().setUp()
        self.site.peers["remote1"] = self.site.peers["remote1"].replace("native", "rfc2442")
        self.site.write_config(self.submit.url(), "smtp://127.0.0.1:9")

    def test_the_mta_is_asked_to_report_and_is_heard(self):
        self.site.put_three()
        self.site.once()
        self.assertIn("NOTIFY=SUCCESS,FAILURE,DELAY", self.submit.taken()[0]["rcpts"][0])
        self.site.returned(self.token(), bounce("relayed", "2.0.0", "250 ok"))
        self.assertIn("action=relayed status=2.0.0", self.site.once())
        parcel, = self.site.parcels("sent")
        self.site.later(parcel, 5 * DAY)
        self.site.once()
        self.assertEqual(len(self.submit.taken()), 1)

    def test_a_bounce_fails_it(self):
        self.site.put_three()
        self.site.once()
        self.site.returned(self.token(), bounce(remote="mx2.domain.co.uk"))
        self.site.once()
        self.assert_told_once("5.1.1", "refused")
        self.assert_said("mx2.domain.co.uk", "smtp; 550 5.1.1 no such user")

    def test_a_bounce_of_the_host_mta_itself(self):
        self.site.put_three()
        self.site.once()
        self.site.returned(self.token(), bounce(status="5.4.4", reporting="hub.domain.com", diagnostic=
                                                "Host or domain name not found", kind="X-Postfix"))
        self.site.once()
        self.assert_told_once("5.4.4", "refused")
        self.assert_said(None, "x-postfix; Host or domain name not found")

    def test_a_receipt_is_not_asked_for(self):
        self.site.put_three()
        self.site.once()
        parcel, = self.site.parcels("sent")
        self.site.receipt(parcel)
        self.assertIn("why=not-asked", self.site.once())
        self.assertEqual(self.site.place(parcel), "sent")


class Clock(Case):
    def beat(self, seconds):
        from receipts_rig import iso
        with open(self.site.spool + "/heartbeat", "w", encoding="ascii") as out:
            out.write("version: 1\ntime: %s\n" % iso(time.time() + seconds))

    def test_after_a_jump_nothing_moves_until_an_admin_says_so(self):
        self.ever_answered()
        parcel = self.send()
        self.site.later(parcel, 16 * DAY)
        self.site.put_three("waits")
        self.beat(-31 * DAY)
        for _ in range(2):
            self.assertIn("clock: alarm", self.site.once("--flush", expect=75))
        self.assertEqual(self.site.place(parcel), "sent")
        self.assertEqual(len(self.copies(parcel)), 1)
        self.assertEqual(len(self.site.names("peers", "remote1", "incoming")), 3)
        self.assertTrue([p for p in self.site.ctl("status")[0]["problems"] if "clock" in p])
        self.assertEqual(self.site.ctl("clock", "accept")[1], 0)
        self.site.once("--flush")
        # While a gpg is being started its copy of a parcel's descriptor may keep the lock.
        time.sleep(1.1)
        self.site.once()
        self.assertEqual(len(self.copies(parcel)), 2)
        self.assertEqual(self.site.ctl("clock", "accept")[1], 1)

    def test_a_clock_that_comes_right_is_believed_again(self):
        self.beat(-31 * DAY)
        self.site.once(expect=75)
        self.beat(-29 * DAY)
        self.site.once()

    def test_a_running_dispatcher_stands_still_and_ends(self):
        self.beat(-31 * DAY)
        self.site.begin()
        self.site.wait(lambda: "clock: alarm" in self.site.logged())
        self.site.put_three()
        time.sleep(0.5)
        self.assertEqual(self.site.stop(), 0)
        self.assertEqual(self.submit.taken(), [])


class Restored(Case):
    def test_an_old_spool_sends_its_parcels_again_under_their_old_ids(self):
        parcel = self.send()
        shutil.copytree(self.site.spool, self.site.root + "/old")
        self.site.receipt(parcel)
        self.site.once()
        shutil.rmtree(self.site.spool)
        os.rename(self.site.root + "/old", self.site.spool)
        self.site.later(parcel, 6 * 3600)
        self.site.once()
        first, second = self.copies(parcel)
        self.assertEqual(first.get_payload()[0].as_bytes(), second.get_payload()[0].as_bytes())
        self.site.receipt(parcel)
        self.site.once()
        self.assertEqual((self.site.place(parcel), self.reports()), ("gone", []))


class Keys(Case):
    settings = "heartbeat = 1s\n"

    def expired_key(self):
        key = OwnKey(PROGRAMS, "1s")
        self.addCleanup(key.close)
        time.sleep(2)
        self.good, self.site.key = self.site.key, key
        self.site.write_config(self.submit.url(), "smtp://127.0.0.1:9", self.settings)

    def renewed_key(self):
        self.site.key = self.good
        self.site.write_config(self.submit.url(), "smtp://127.0.0.1:9", self.settings)

    def waiting(self):
        return self.site.names("peers", "remote1", "incoming")

    def old(self, days, number, notify=""):
        self.site.put(item("<s%d@domain.com>" % number, ["<bob%d@domain.co.uk>%s" % (number, notify)],
                           text_of(number)), when=time.time() - days * DAY)

    def test_an_expired_key_holds_mail_and_bounces_nothing(self):
        self.expired_key()
        self.site.put_three()
        log = self.site.once("--flush", expect=75)
        self.assertRegex(log, "remote1: alarm .*has expired")
        self.assertEqual(len(self.waiting()), 3)
        self.assertEqual(self.submit.taken(), [])
        self.renewed_key()
        self.site.once("--flush")
        self.assertEqual(len(self.copies()), 1)

    def test_once_tells_of_the_delay_and_of_late_mail(self):
        self.expired_key()
        self.old(0.5, 1)
        self.old(0.5, 2, " NOTIFY=NEVER")
        for _ in range(2):
            self.site.once(expect=75)
        report, = self.reports()
        self.assertEqual((report["To"], self.groups(report)[0]["Action"]),
                         ("s1@domain.com", "delayed"))
        self.assertEqual([t["Subject"] for _, t in self.parsed() if t is not report and
                          t["To"] == "postmaster@hub.domain.com"], ["Mail for peer remote1 is late"])
        with open(self.site.spool + "/heartbeat", encoding="ascii") as beat:
            self.assertIn("late.remote1", beat.read())
        self.assertEqual(len(self.waiting()), 2)

    def test_not_even_what_is_past_every_deadline(self):
        self.expired_key()
        self.old(6, 1)
        self.old(6, 2, " NOTIFY=FAILURE")
        self.old(15, 3)
        self.site.start()
        self.site.wait(lambda: len(self.reports()) == 2)
        time.sleep(3)  # some more watches, and another attempt
        self.assertEqual(self.site.stop(), 0)
        self.assertEqual(sorted((r["To"], self.groups(r)[0]["Action"]) for r in self.reports()),
                         [("s1@domain.com", "delayed"), ("s3@domain.com", "delayed")])
        self.assertEqual(len(self.waiting()), 3)
        self.assertNotIn(": expired ", self.site.logged())
        self.renewed_key()
        self.site.once("--flush")
        self.assertEqual((len(self.copies()), self.waiting()), (1, []))
        parcel, = self.site.parcels("sent")
        self.assertEqual(self.site.state(parcel)["messages"], "2")
        self.assertIn("peer=remote1", self.site.logged().split(": expired ")[1])
        self.assertEqual([r["To"] for r in self.reports() if
                          self.groups(r)[0]["Action"] == "failed"], ["s3@domain.com"])


if __name__ == "__main__":
    unittest.main()
