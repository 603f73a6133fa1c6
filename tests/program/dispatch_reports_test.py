"""Reports about mail that came out of a parcel: every field as Python's parser reads it, whom
dsn-for and dsn-limit let have one, and what no report may say."""

import email
import email.policy
import email.utils
import re
import sys
import time
import unittest

from dispatch_rig import HOST, Gateway, Smtp, item, text_of

PROGRAMS = sys.argv.pop(1)
PEER = "host = athena.domain.co.uk\nprofile = rfc2442\nrecipient-domains = *\n"


class Case(unittest.TestCase):
    def setUp(self):
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.resubmit = Smtp(lambda command, _: (
            "550 5.1.1 <%s>: no such user" % re.search("<(.*?)>", command).group(1)
            if command.startswith("RCPT") and "bad" in command else None))
        self.addCleanup(self.resubmit.close)
        self.site = Gateway(PROGRAMS, self.submit.url(), self.resubmit.url(), "",
                            {"remote1": PEER})
        self.addCleanup(self.site.close)

    def set_peer(self, lines):
        self.site.peers["remote1"] = PEER + lines
        self.site.write_config(self.submit.url(), self.resubmit.url())
        self.site.make_spool()

    def letters(self):
        return [(re.search("<(.*?)>", m["rcpts"][0]).group(1), m["mail"], m["rcpts"][0],
                 email.message_from_bytes(m["text"], policy=email.policy.default))
                for m in self.submit.taken()]

    def reports(self):
        return [(to, letter) for to, _, _, letter in self.letters()
                if letter.get_content_type() == "multipart/report"]

    def digests(self):
        return [letter.get_content() for to, _, _, letter in self.letters()
                if to == "postmaster@" + HOST and "not told" in letter["Subject"]]


class Fields(Case):
    def one(self, mail, rcpt, text=None, accepted=None):
        self.set_peer("")
        self.site.accept([(mail, [rcpt], text or text_of(1))], accepted=accepted)
        self.site.once()
        (_, sender, rcpt, report), = self.letters()
        self.assertEqual(sender, "MAIL FROM:<>")
        self.assertTrue(rcpt.endswith(" NOTIFY=NEVER"))
        return report

    def check_common(self, report, kind):
        self.assertEqual(report["To"], "ann@d.co.uk")
        self.assertEqual(email.utils.parseaddr(report["From"])[1], "postmaster@" + HOST)
        self.assertEqual(report["Auto-Submitted"], "auto-replied")
        self.assertRegex(report["Message-ID"], r"^<[0-9a-f]{44}@hub\.domain\.com>$")
        self.assertLess(abs(time.time() - email.utils.parsedate_to_datetime(
            report["Date"]).timestamp()), 60)
        human, status, original = report.get_payload()
        self.assertEqual(human.get_content_type(), "text/plain")
        self.assertEqual(status.get_content_type(), "message/delivery-status")
        message, recipient = status.get_payload()
        self.assertEqual(message["Reporting-MTA"], "dns; " + HOST)
        self.assertTrue(email.utils.parsedate_to_datetime(message["Arrival-Date"]))
        self.assertTrue(email.utils.parsedate_to_datetime(recipient["Last-Attempt-Date"]))
        self.assertEqual(recipient["Action"], kind)
        return human.get_content(), message, recipient, original

    def test_failed(self):
        report = self.one("<ann@d.co.uk> RET=HDRS ENVID=QQ+2B1",
                          "<bad@domain.com> NOTIFY=FAILURE ORCPT=rfc822;Bad+2Bx@d.com")
        human, message, recipient, original = self.check_common(report, "failed")
        self.assertEqual(sorted(message.keys()),
                         ["Arrival-Date", "Original-Envelope-Id", "Reporting-MTA"])
        self.assertEqual(message["Original-Envelope-Id"], "QQ+1")
        self.assertEqual(sorted(recipient.keys()),
                         ["Action", "Diagnostic-Code", "Final-Recipient", "Last-Attempt-Date",
                          "Original-Recipient", "Remote-MTA", "Status"])
        self.assertEqual(recipient["Original-Recipient"], "rfc822; Bad+x@d.com")
        self.assertEqual(recipient["Final-Recipient"], "rfc822; bad@domain.com")
        self.assertEqual(recipient["Status"], "5.1.1")
        self.assertEqual(recipient["Remote-MTA"], "dns; " + HOST)
        self.assertEqual(recipient["Diagnostic-Code"],
                         "smtp; 550 5.1.1 <bad@domain.com>: no such user")
        self.assertIn("bad@domain.com", human)
        self.assertEqual(original.get_content_type(), "text/rfc822-headers")
        self.assertIn("Subject: mail 1", original.get_payload())
        self.assertNotIn("body of 1", original.get_payload())

    def test_failed_with_the_whole_message_up_to_the_cap(self):
        small = self.one("<ann@d.co.uk> RET=FULL", "<bad@domain.com>")
        original = self.check_common(small, "failed")[3]
        self.assertEqual(original.get_content_type(), "message/rfc822")
        self.assertIn("body of 1", original.get_payload()[0].get_payload())

    def test_a_large_message_is_returned_as_its_header(self):
        large = self.one("<ann@d.co.uk> RET=FULL", "<bad@domain.com>",
                         text_of(1) + (b"z" * 70 + b"\r\n") * 900)
        self.assertEqual(self.check_common(large, "failed")[3].get_content_type(),
                         "text/rfc822-headers")

    def test_delayed(self):
        self.resubmit.script = lambda command, _: "450 4.2.0 busy" if "RCPT" in command else None
        report = self.one("<ann@d.co.uk>", "<b@domain.com> NOTIFY=DELAY",
                          accepted=time.time() - 5 * 3600)
        _, message, recipient, _ = self.check_common(report, "delayed")
        self.assertEqual(recipient["Status"], "4.2.0")
        arrival = email.utils.parsedate_to_datetime(message["Arrival-Date"]).timestamp()
        until = email.utils.parsedate_to_datetime(recipient["Will-Retry-Until"]).timestamp()
        self.assertGreater(until, arrival)

    def test_relayed_where_the_mta_reports_nothing(self):
        self.resubmit.script = lambda command, _: (
            "250-test\r\n250 8BITMIME" if command.startswith("EHLO") else None)
        report = self.one("<ann@d.co.uk>", "<b@domain.com> NOTIFY=SUCCESS")
        _, _, recipient, _ = self.check_common(report, "relayed")
        self.assertRegex(recipient["Status"], r"^2\.\d\.\d$")


class Deadline(Case):
    def test_no_delivery_is_tried_beyond_the_parcels_expiry(self):
        self.resubmit.script = lambda command, _: "450 4.2.0 busy" if "RCPT" in command else None
        self.set_peer("")
        for who, age in (("ann", 86400 + 60), ("bea", 86400 - 600)):  # the rig's expire after a day
            self.site.accept([("<%s@d.co.uk>" % who, ["<b@domain.com> NOTIFY=FAILURE"],
                               text_of(who))], accepted=time.time() - age)
        self.site.once()
        (to, report), = self.reports()
        self.assertEqual(to, "ann@d.co.uk")
        status = report.get_payload()[1].get_payload()[1]
        self.assertEqual((status["Action"], status["Status"]), ("failed", "4.4.7"))
        self.assertEqual(len(self.site.names("inbound", "deferred")), 1)


class Restricted(Case):
    def fail(self, senders, first=0):
        self.site.accept([("<%s>" % sender, ["<bad%d@domain.com>" % n], text_of("%d-%d" % (n, first)))
                          for n, sender in enumerate(senders, first)])
        return self.site.once()

    def test_dsn_for_leaves_others_to_the_postmaster(self):
        self.set_peer("dsn-for = d.co.uk .d.co.uk\n")
        log = self.fail(["ann@d.co.uk", "bea@x.d.co.uk", "cid@strange.example", ""])
        self.assertEqual(sorted(to for to, _ in self.reports()), ["ann@d.co.uk", "bea@x.d.co.uk"])
        self.assertEqual(log.count("dsn-withheld"), 1)
        self.assertRegex(log, "dsn-withheld peer=remote1 from=cid@strange.example why=dsn-for")
        self.site.once()
        digest, = self.digests()
        self.assertIn("<cid@strange.example> -> <bad2@domain.com>  5.1.1", digest)
        self.site.once()
        self.assertEqual(len(self.digests()), 1, "told once")

    def test_dsn_limit_counts_over_a_restart(self):
        if time.time() % 3600 > 3560:
            time.sleep(41)  # the hour counts
        self.set_peer("dsn-limit = 3\n")
        self.fail(["s%d@d.co.uk" % n for n in range(2)])
        log = self.fail(["s%d@d.co.uk" % n for n in range(2, 7)], first=2)
        self.assertEqual(len(self.reports()), 3)
        self.assertEqual(log.count("why=dsn-limit"), 4)
        self.site.once()
        digest, = self.digests()
        self.assertEqual(digest.count("dsn-limit  parcel"), 4)
        self.assertEqual(self.site.names("inbound", "accepted"), [])

    def test_own_users_are_not_counted(self):
        self.set_peer("dsn-limit = 1\nstate = off\n")
        for n in range(3):
            self.site.put(item("<s%d@domain.com>" % n, ["<b@x>"], text_of(n)),
                          when=time.time() - 6 * 86400)
        self.site.once()
        self.assertEqual(len(self.reports()), 3)


class Words(Case):
    def test_no_report_names_a_file_of_ours(self):
        self.set_peer("max-age = 0s\n")
        self.site.put(item("<ann@domain.com> SMTPUTF8", ["<ünal@domain.co.uk>"], text_of(1)))
        self.site.put(item("<ann@domain.com>", ["<b@x>"], b"Subject: x\n\nbad \x00 octet\n"))
        log = self.site.once()
        self.assertEqual(len(self.reports()), 2, log)
        for _, report in self.reports():
            self.assertNotIn(self.site.root, report.as_string())
            self.assertNotIn("/incoming", report.as_string())


if __name__ == "__main__":
    unittest.main()
