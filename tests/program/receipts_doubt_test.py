"""What is told to the senders when a copy was refused and another one may have arrived: nothing but the
peer's receipt says that mail was not delivered while any copy of it is not accounted for."""

import os
import sys
import unittest

from receipts_rig import Case as Base
from receipts_rig import DAY, bounce, item, text_of

PROGRAMS = sys.argv.pop(1)
TOO_BIG = bounce(status="5.3.4", diagnostic="552 5.3.4 too big")
HOUR = 3600


def setUpModule():
    Base.begin(PROGRAMS)


def tearDownModule():
    Base.end()


class Case(Base):
    def refuse_parcels(self, reply):
        self.submit.script = lambda command, session: (
            reply if command == "<text>" and "bsmtp+" in session["mail"] else None)

    def take_parcels(self):
        self.submit.script = lambda command, _: None

    def again(self, runs=1):
        """As if each back-off were over."""
        for _ in range(runs):
            self.site.set_next(-1, "peers", "remote1", "ready")
            self.site.once()

    def tokens(self):
        return [self.site.state(p)["token"] for p in self.site.parcels("sent")]

    def assert_nobody_refused(self):
        """To a program that reads the DSN, what was said of a later copy would be a verdict."""
        for report in self.reports():
            group, = self.groups(report)
            self.assertEqual((group["Status"], group["Diagnostic-Code"], group["Remote-MTA"]),
                             ("4.4.0", None, None))

    def assert_unknown(self):
        self.assert_told_once("4.4.0", "may have been delivered or not")
        self.assert_nobody_refused()
        self.assertIn("outcome-unknown outcome=ambiguous", self.site.logged())
        self.assertNotIn("could not be delivered", str(self.reports()[0].get_payload()[0]))


class SplitInDoubt(Case):
    def silence_and_a_bounce(self):
        """The receipt of the first copy is lost, the second one comes back as too big: two parts."""
        parcel = self.send()
        self.site.later(parcel, 6 * HOUR)
        self.site.once()
        self.assertEqual(len(self.copies(parcel)), 2)
        self.site.returned(self.token(), TOO_BIG)
        self.site.once()
        self.again()
        self.assertEqual(len(self.site.parcels("sent")), 2)
        return parcel

    def test_parts_that_are_refused_at_their_handing_over(self):
        parcel = self.send()
        self.refuse_parcels("552 5.3.4 too big")
        self.site.later(parcel, 6 * HOUR)
        self.site.once()
        self.again(4)
        self.assert_unknown()
        self.assertEqual((self.site.parcels("ready"), self.site.parcels("sent")), ([], []))

    def test_a_lost_reply_before_the_refusal(self):
        answers = iter(["CLOSE"])
        self.submit.script = lambda command, _: (
            next(answers, None) if command == "<taken>" else None)
        self.site.put_three()
        self.site.once("--flush")
        self.refuse_parcels("552 5.3.4 too big")
        self.again(4)
        self.assert_unknown()

    def test_parts_refused_for_another_reason(self):
        self.silence_and_a_bounce()
        for parcel in self.site.parcels("sent"):
            self.assertEqual(self.site.state(parcel)["earlier-copy"], "yes")
            os.rename("%s/peers/remote1/sent/%s" % (self.site.spool, parcel),
                      "%s/peers/remote1/ready/%s" % (self.site.spool, parcel))
            self.site.set_state(parcel, handed=None, finished=None)
        self.submit.script = lambda command, _: (
            "550 5.1.2 no such host" if "RCPT TO:<bsmtp@" in command else None)
        self.site.once()
        self.assert_unknown()

    def test_parts_that_the_peer_refuses_or_calls_expired(self):
        self.silence_and_a_bounce()
        first, second = self.site.parcels("sent")
        self.site.receipt((first, "rejected", "5.6.0", "malformed"))
        self.site.receipt((second, "expired", "5.4.7", ""))
        self.site.once()
        self.assert_unknown()

    def test_a_split_after_a_crash_remembers(self):
        parcel = self.send()
        self.site.set_state(parcel, splitting="5.3.4 too big", earlier_copy="yes",
                            split_at=self.site.names("peers", "remote1", "sent", parcel, "items")[1])
        self.refuse_parcels("552 5.3.4 too big")
        self.site.once()
        self.again(4)
        self.assert_unknown()

    def test_given_up_by_an_admin(self):
        self.silence_and_a_bounce()
        for parcel in self.site.parcels("sent"):
            os.rename("%s/peers/remote1/sent/%s" % (self.site.spool, parcel),
                      "%s/peers/remote1/ready/%s" % (self.site.spool, parcel))
            self.site.set_state(parcel, handed=None, finished=None, next=HOUR)
            self.site.ctl("parcel", "fail", parcel)
        self.site.once()
        self.assert_unknown()

    def test_without_another_copy_it_is_a_failure(self):
        self.refuse_parcels("552 5.3.4 too big")
        self.site.put_three()
        self.site.once("--flush")
        self.again(4)
        self.assert_told_once("5.3.4", "could not be delivered")
        self.assertNotIn("ambiguous", self.site.logged())


class ABounceAgainstAReceipt(Case):
    """Anybody can write a bounce; only the peer can sign a receipt."""

    messages_at_once = 1

    def refused(self, status="5.3.4", diagnostic="552 5.3.4 too big"):
        self.site.put(item("<s0@domain.com>", ["<bob0@domain.co.uk>"], text_of("0")))
        self.site.once("--flush")
        parcel, = self.site.parcels("sent")
        for _ in range(2):  # repeated, it makes nothing longer or shorter
            self.site.returned(self.token(), bounce(
                status=status, diagnostic=diagnostic, remote="mx.domain.co.uk",
                human="(in reply to end of DATA command)"))
            self.site.once()
            self.site.later(parcel, 300)
        self.assertEqual((self.reports(), self.site.place(parcel)), ([], "sent"))
        self.assertEqual(self.site.state(parcel)["refused"], status)
        return parcel

    def assert_failed(self, status):
        report, = self.reports()
        group, = self.groups(report)
        self.assertEqual((report["To"], group["Action"], group["Status"], group["Remote-MTA"]),
                         ("s0@domain.com", "failed", status, "dns; mx.domain.co.uk"))

    def test_a_receipt_that_comes_first_ends_it_well(self):
        parcel = self.refused()
        self.site.receipt(parcel)
        self.assertIn("acknowledged", self.site.once())
        self.assertEqual((self.site.place(parcel), self.reports()), ("gone", []))
        self.assertNotIn("ambiguous", self.site.logged())

    def test_without_one_it_fails_with_the_status_of_the_bounce(self):
        for status, diagnostic in (("5.3.4", "552 5.3.4 too big"), ("5.7.1", "554 5.7.1 a virus")):
            with self.subTest(status):
                self.setUp()
                parcel = self.refused(status, diagnostic)
                self.site.later(parcel, 301)  # 2 * receipt-delay in all
                for _ in range(2):
                    self.site.once()
                self.assertEqual(self.site.place(parcel), "failed")
                self.assert_failed(status)
                self.assertEqual(len(self.copies()), 1)

    def test_receipts_off_in_the_meantime(self):
        parcel = self.refused()
        self.site.peers["remote1"] += "receipts = no\n"
        self.site.write_config(self.submit.url(), "smtp://127.0.0.1:9")
        self.site.later(parcel, 10 * DAY)
        self.site.once()
        self.assert_failed("5.3.4")

    def test_sent_once_more_by_an_admin_it_is_a_parcel_like_others(self):
        parcel = self.refused()
        self.site.ctl("parcel", "resend", parcel)
        self.site.once()
        self.assertEqual((len(self.copies()), self.site.state(parcel).get("refused")), (2, None))
        self.site.returned(self.token(), TOO_BIG)
        self.site.once()
        self.site.later(parcel, HOUR)
        self.site.once()
        self.assertEqual((len(self.copies()), self.reports()), (3, []))

    def test_the_part_of_a_parcel_that_may_have_arrived(self):
        parcel = self.refused()
        self.site.set_state(parcel, earlier_copy="yes")
        self.site.later(parcel, HOUR)
        self.site.once()
        self.assert_nobody_refused()
        self.assertIn("too big", str(self.reports()[0].get_payload()[0]))
        self.assertIn("outcome-unknown outcome=ambiguous", self.site.logged())


class ADamagedEntity(Case):
    def test_it_is_not_sent_again_but_its_mail_in_a_parcel_that_remembers(self):
        """The peer would drop a copy with a flipped bit without a word."""
        parcel = self.send()
        with open("%s/peers/remote1/sent/%s/entity" % (self.site.spool, parcel), "r+b") as entity:
            octet = entity.read()[-100]
            entity.seek(-100, os.SEEK_END)
            entity.write(bytes([octet ^ 1]))
        self.site.later(parcel, 6 * HOUR)
        self.site.once()
        self.site.once()
        self.assertRegex(self.site.logged(), parcel + ": alarm .*entity is missing or not as it was")
        self.assertEqual((self.site.place(parcel), len(self.copies(parcel))), ("gone", 1))
        another, = self.site.parcels("sent")
        self.assertEqual((self.site.state(another)["earlier-copy"], len(self.copies(another))),
                         ("yes", 1))


class WithoutReceipts(Case):
    peer = "receipts = no\n"

    def lose_a_reply(self):
        answers = iter(["CLOSE"])
        self.submit.script = lambda command, _: (
            next(answers, None) if command == "<taken>" else None)
        self.site.put_three()
        self.site.once("--flush")

    def test_a_refusal_after_a_lost_reply(self):
        self.lose_a_reply()
        self.refuse_parcels("550 5.7.1 no")
        self.again()
        self.assert_unknown()

    def test_its_time_is_over(self):
        """Apart, the younger messages would forget that they may have arrived."""
        self.lose_a_reply()
        self.refuse_parcels("451 4.3.0 later")
        parcel, = self.site.parcels("ready")
        self.site.set_state(parcel, oldest=-6 * DAY)
        self.again()
        self.assertEqual((self.site.place(parcel), len(self.copies())), ("failed", 1))
        self.refuse_parcels("550 5.1.2 no such host")
        self.site.once("--flush")
        self.assert_unknown()

    def test_a_damaged_entity(self):
        self.lose_a_reply()
        parcel, = self.site.parcels("ready")
        os.truncate("%s/peers/remote1/ready/%s/entity" % (self.site.spool, parcel), 100)
        self.refuse_parcels("550 5.1.2 no such host")
        self.again(2)
        self.assertEqual(self.site.place(parcel), "gone")
        self.assert_unknown()

    def test_a_bounce_of_one_of_two_copies(self):
        self.lose_a_reply()
        self.take_parcels()
        self.again()
        self.site.returned(self.token(), bounce())
        self.site.once()
        self.assert_unknown()


if __name__ == "__main__":
    unittest.main()
