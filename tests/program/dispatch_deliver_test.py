"""bsmtp-dispatch delivers what bsmtp-in accepted: once, whole, with the truth to the sender."""

import email
import email.policy
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import unittest

from dispatch_rig import HOST, Gateway, Smtp, crlf, iso, new_id, text_of

PROGRAMS = sys.argv.pop(1)


class Case(unittest.TestCase):
    settings = ""

    def setUp(self):
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.resubmit = Smtp()
        self.addCleanup(self.resubmit.close)
        self.site = Gateway(PROGRAMS, self.submit.url(), self.resubmit.url(), self.settings)
        self.addCleanup(self.site.close)
        self.site.make_spool()

    def dsns(self):
        return [(m, email.message_from_bytes(m["text"], policy=email.policy.default))
                for m in self.submit.taken()]

    def fields(self, report):
        """Per-message and first per-recipient fields of a DSN, through Python's parser."""
        self.assertEqual(report.get_content_type(), "multipart/report")
        self.assertEqual(report.get_param("report-type"), "delivery-status")
        status = report.get_payload()[1]
        self.assertEqual(status.get_content_type(), "message/delivery-status")
        return status.get_payload()[0], status.get_payload()[1:]

    def assert_empty(self):
        self.assertEqual(self.site.names("inbound", "accepted"), [])
        self.assertEqual(self.site.names("inbound", "deferred"), [])
        self.assertEqual(self.site.names("inbound", "tmp"), [])


class Delivers(Case):
    def test_one_message_with_received_line_and_nothing_else_changed(self):
        text = text_of(1, "Authentication-Results: hub.domain.com; spf=pass\n"
                          "Authentication-Results: other.example; spf=pass\nX-Odd :  a\n")
        parcel = self.site.accept([("<ann@domain.co.uk> SIZE=300 BODY=8BITMIME RET=HDRS ENVID=Q1",
                                    ["<bob@domain.com> NOTIFY=FAILURE ORCPT=rfc822;Bob@d.com"],
                                    text)])
        self.site.once()
        taken, = self.resubmit.taken()
        self.assertTrue(taken["mail"].startswith("MAIL FROM:<ann@domain.co.uk>"), taken["mail"])
        for word in ("BODY=8BITMIME", "RET=HDRS", "ENVID=Q1"):
            self.assertIn(word, taken["mail"])
        self.assertEqual(taken["rcpts"],
                         ["RCPT TO:<bob@domain.com> NOTIFY=FAILURE ORCPT=rfc822;Bob@d.com"])
        head, rest = taken["text"].split(b"Received: from a by b", 1)
        expected = text.replace(b"Authentication-Results: hub.domain.com; spf=pass\r\n", b"")
        self.assertEqual(b"Received: from a by b" + rest, expected)
        line = email.message_from_bytes(head)["Received"]
        self.assertIn("from athena.domain.co.uk by hub.domain.com", line)
        self.assertIn("with BSMTP parcel " + parcel, line)
        self.assertIn("message 1/1", line)
        self.assertIn("with ESMTP", line)
        self.assertEqual(head.count(b"Received:"), 1)
        self.assert_empty()
        self.assertEqual(self.submit.taken(), [])

    def test_a_copy_of_the_parcel_is_dropped(self):
        message = ("<ann@domain.co.uk>", ["<bob@domain.com>"], text_of(1))
        parcel = self.site.accept([message])
        self.site.once()
        self.site.accept([message], parcel=parcel)
        log = self.site.once()
        self.assertEqual(len(self.resubmit.taken()), 1)
        self.assertIn("duplicate", log)
        self.assert_empty()

    def test_another_parcel_under_the_same_id_is_quarantined_with_alarm(self):
        parcel = self.site.accept([("<a@d>", ["<b@domain.com>"], text_of(1))])
        self.site.once()
        self.site.accept([("<a@d>", ["<b@domain.com>"], text_of(2))], parcel=parcel,
                         digest="ab" * 32)
        log = self.site.once()
        self.assertIn("alarm", log)
        self.assertEqual(len(self.resubmit.taken()), 1)
        self.assertEqual(len([n for n in self.site.names("inbound", "quarantine")
                              if len(n) == 44]), 1)
        self.assert_empty()

    def test_the_same_message_in_a_new_parcel_is_skipped_per_recipient(self):
        self.site.accept([("<a@d.co.uk>", ["<b@domain.com>"], text_of(1))])
        self.site.once()
        self.site.accept([("<a@d.co.uk>", ["<b@domain.com>", "<c@domain.com>"], text_of(1))])
        self.site.once()
        self.assertEqual([m["rcpts"] for m in self.resubmit.taken()],
                         [["RCPT TO:<b@domain.com>"], ["RCPT TO:<c@domain.com>"]])

    def test_the_same_message_in_two_parcels_at_once_goes_out_once(self):
        for _ in range(4):
            self.site.accept([("<a@d.co.uk>", ["<b@domain.com>"], text_of(1))])
        self.site.once()
        self.assertEqual(len(self.resubmit.taken()), 1)
        self.assert_empty()

    def test_two_peers_cannot_hide_each_others_mail(self):
        self.site.peers["remote2"] = ("host = two.example\nprofile = rfc2442\n"
                                      "recipient-domains = *\n")
        self.site.write_config(self.submit.url(), self.resubmit.url())
        self.site.once()
        for peer in ("remote1", "remote2"):
            self.site.accept([("<a@d>", ["<b@domain.com>"], text_of(1))], peer=peer)
        self.site.once()
        self.assertEqual(len(self.resubmit.taken()), 2)

    def test_a_thousand_messages_over_several_connections(self):
        for start in range(0, 1000, 100):
            self.site.accept([("<s%d@d.co.uk>" % n, ["<r%d@domain.com>" % n], text_of(n))
                              for n in range(start, start + 100)])
        self.site.once()
        texts = [m["text"].split(b"Message-ID", 1)[1] for m in self.resubmit.taken()]
        self.assertEqual(len(texts), 1000)
        self.assertEqual(len(set(texts)), 1000)
        self.assertLessEqual(self.resubmit.most_at_once, 4)
        self.assert_empty()
        self.assertEqual(self.site.ledger("select count(*) from recipient"), [(1000,)])
        self.assertEqual(self.site.ledger("select count(*) from attempt"), [(0,)])
        self.assertEqual(self.site.ledger("select count(*), min(done) from parcel"), [(10, 1)])


class Fails(Case):
    def refuse(self, replies):
        def script(command, _):
            for part, reply in replies.items():
                if part in command:
                    return reply
            return None
        self.resubmit.script = script

    def test_5xx_for_one_recipient_is_one_complete_dsn(self):
        self.refuse({"nobody": "550 5.1.1 <nobody@domain.com> no such user"})
        self.site.accept([("<ann@domain.co.uk> RET=HDRS ENVID=QQ+2B1",
                           ["<bob@domain.com>",
                            "<nobody@domain.com> NOTIFY=FAILURE ORCPT=rfc822;No+2Bbody@d.com"],
                           text_of(1))])
        self.site.once()
        self.assertEqual(len(self.resubmit.taken()), 1)
        (envelope, report), = self.dsns()
        self.assertTrue(envelope["mail"].startswith("MAIL FROM:<>"))
        self.assertEqual(envelope["rcpts"], ["RCPT TO:<ann@domain.co.uk> NOTIFY=NEVER"])
        message, recipients = self.fields(report)
        self.assertEqual(message["Reporting-MTA"], "dns; " + HOST)
        self.assertEqual(message["Original-Envelope-Id"], "QQ+1")
        self.assertTrue(message["Arrival-Date"])
        self.assertEqual(len(recipients), 1)
        self.assertEqual(recipients[0]["Original-Recipient"], "rfc822; No+body@d.com")
        self.assertEqual(recipients[0]["Final-Recipient"], "rfc822; nobody@domain.com")
        self.assertEqual(recipients[0]["Action"], "failed")
        self.assertEqual(recipients[0]["Status"], "5.1.1")
        self.assertIn("550 5.1.1", recipients[0]["Diagnostic-Code"])
        self.assertTrue(recipients[0]["Diagnostic-Code"].startswith("smtp;"))
        self.assertEqual(report["Auto-Submitted"], "auto-replied")
        self.assertEqual(report["To"], "ann@domain.co.uk")
        third = report.get_payload()[2]
        self.assertEqual(third.get_content_type(), "text/rfc822-headers")
        self.assertIn("Subject: mail 1", third.get_content())
        self.assertNotIn("body of", third.get_content())
        self.assert_empty()

    def test_all_that_fail_together_are_in_one_dsn(self):
        def script(command, _):
            if command.startswith("RCPT") and "bad" in command:
                return "550 5.1.1 no such user"
            return "450 4.2.1 later" if "later" in command else None
        self.resubmit.script = script
        rcpts = ["<bad%d@domain.com>" % n for n in range(30)] + ["<a@domain.com>"]
        self.site.accept([("<ann@d.co.uk>", rcpts + ["<later@domain.com>"], text_of(1)),
                          ("<ann@d.co.uk>", ["<b@domain.com>", "<bad@domain.com>"], text_of(2))])
        self.site.once()
        self.assertEqual(sorted(len(self.fields(r)[1]) for _, r in self.dsns()), [1, 30])
        self.resubmit.script = lambda command, _: "550 5.1.2 no" if "RCPT" in command else None
        self.site.set_next(-1, "inbound", "deferred")
        self.site.once()
        (_, report), = self.dsns()[2:]
        self.assertEqual([f["Final-Recipient"] for f in self.fields(report)[1]],
                         ["rfc822; later@domain.com"])
        self.assert_empty()

    def test_what_may_have_arrived_is_never_called_failed(self):
        """The final reply of the first attempt was lost; what follows is about another copy."""
        def once_at(command, reply, then):
            first = [reply]
            return lambda got, _: (first.pop() if got == command and first else
                                   None if first else then(got))
        refused = lambda got: "550 5.1.1 no such user" if got.startswith("RCPT") else None
        late = lambda got: "450 4.2.1 later" if got.startswith("RCPT") else None
        for name, then in (("refused", refused), ("late", late)):
            with self.subTest(name):
                self.resubmit.messages.clear()
                self.submit.messages.clear()
                self.resubmit.script = once_at("<taken>", "CLOSE", then)
                self.site.accept([("<ann@d.co.uk> ENVID=x", ["<a@domain.com>", "<b@domain.com>"],
                                   text_of(name))])
                log = self.site.once()
                self.assertEqual(len(self.resubmit.taken()), 1)
                self.assertEqual(self.submit.taken(), [])
                self.site.accepted_before(6 * 86400 if name == "late" else 60)
                log += self.site.once()
                (_, report), = self.dsns()
                for fields in self.fields(report)[1]:
                    self.assertEqual((fields["Action"], fields["Status"]), ("failed", "4.4.0"))
                    self.assertNotIn("Diagnostic-Code", fields)
                self.assertEqual(len(self.fields(report)[1]), 2)
                self.assertIn("may have been delivered", report.get_payload()[0].get_content())
                self.assertRegex(log, r"\.1: final-reply-lost outcome=ambiguous what=.*its sender is "
                                      r"told so")
                self.assert_empty()

    def test_who_was_surely_refused_is_told_so_whatever_became_of_the_others(self):
        first = ["CLOSE"]
        self.resubmit.script = lambda got, _: (
            first.pop() if got == "<taken>" and first else
            "550 5.1.1 no such user" if got.startswith("RCPT") and "bad" in got else None)
        self.site.accept([("<ann@d.co.uk>", ["<a@domain.com>", "<bad@domain.com>"], text_of(1))])
        self.assertIn("ambiguous", self.site.once())
        (_, report), = self.dsns()
        self.assertEqual([(f["Final-Recipient"], f["Status"]) for f in self.fields(report)[1]],
                         [("rfc822; bad@domain.com", "5.1.1")])

    def test_who_was_never_handed_over_is_in_no_doubt_after_a_crash(self):
        self.site.once()  # makes the ledger
        parcel = self.site.accept([("<ann@d.co.uk>", ["<a@domain.com>", "<b@else.example>"],
                                    text_of(1), "2 5.7.1 this peer may not send there")])
        ledger = sqlite3.connect(self.site.spool + "/ledger.sqlite")
        with ledger:
            ledger.execute("insert into attempt values ('remote1', ?, 1, ?)",
                           (parcel, int(time.time())))
        ledger.close()
        self.assertIn("ambiguous", self.site.once())
        (_, report), = self.dsns()
        self.assertEqual([(f["Final-Recipient"], f["Status"]) for f in self.fields(report)[1]],
                         [("rfc822; b@else.example", "5.7.1")])

    def test_ret_full_returns_the_message_below_the_cap_only(self):
        self.refuse({"RCPT": "550 5.1.1 no"})
        small, big = text_of(1), text_of(2) + (b"y" * 70 + b"\r\n") * 1000
        long = text_of(3) + b"z" * 999 + b"\r\n"
        for text in (small, big, long):
            self.site.accept([("<ann@d.co.uk> RET=FULL", ["<no@domain.com>"], text)])
            self.site.once()
        reports = [r for _, r in self.dsns()]
        full = reports[0].get_payload()[2]
        self.assertEqual(full.get_content_type(), "message/rfc822")
        self.assertIn("body of 1", full.get_payload()[0].get_content())
        for report in reports[1:]:
            self.assertEqual(report.get_payload()[2].get_content_type(), "text/rfc822-headers")

    def test_notify_never_and_success_only_get_no_failure_dsn(self):
        self.refuse({"RCPT": "550 5.1.1 no"})
        self.site.accept([("<ann@d.co.uk>", ["<a@domain.com> NOTIFY=NEVER",
                                             "<b@domain.com> NOTIFY=SUCCESS"], text_of(1))])
        self.site.once()
        self.assertEqual(self.submit.taken(), [])
        self.assert_empty()

    def test_null_sender_gets_no_dsn_but_the_postmaster_one_letter(self):
        self.refuse({"RCPT": "550 5.1.1 no"})
        self.site.accept([("<>", ["<a%d@domain.com>" % n], text_of(n)) for n in range(3)])
        self.site.once()
        letters = self.submit.taken()
        self.assertEqual(len(letters), 1)
        self.assertEqual(letters[0]["rcpts"], ["RCPT TO:<postmaster@%s> NOTIFY=NEVER" % HOST])

    def test_no_report_goes_to_an_address_of_the_tunnel_itself(self):
        senders = ("u%x.org@remote1.bsmtp.invalid", "bsmtp@athena.domain.co.uk",
                   "bsmtp+token@" + HOST, '"bsmtp"@athena.domain.co.uk')
        self.site.accept([("<%s>" % sender, ["<a@domain.com> NOTIFY=FAILURE,SUCCESS"], text_of(n),
                           "0 5.1.8 sender not allowed") for n, sender in enumerate(senders)])
        self.site.once()
        letter, = self.submit.taken()  # of an hour, as for the null sender
        self.assertEqual(letter["rcpts"], ["RCPT TO:<postmaster@%s> NOTIFY=NEVER" % HOST])
        self.assertTrue(any(b"Sender: <%s>" % sender.encode() in letter["text"]
                            for sender in senders))  # whichever connection was first
        self.assert_empty()

    def test_refusal_at_the_end_of_text_is_one_dsn_for_all(self):
        self.refuse({"<text>": "554 5.7.1 content refused"})
        self.site.accept([("<ann@d.co.uk>", ["<a@domain.com>", "<b@domain.com>"], text_of(1))])
        self.site.once()
        (_, report), = self.dsns()
        _, recipients = self.fields(report)
        self.assertEqual([r["Final-Recipient"] for r in recipients],
                         ["rfc822; a@domain.com", "rfc822; b@domain.com"])
        self.assertEqual({r["Status"] for r in recipients}, {"5.7.1"})

    def test_refusals_recorded_by_bsmtp_in_become_dsns_and_the_rest_is_delivered(self):
        self.site.accept([("<ann@d.co.uk>", ["<a@domain.com>", "<b@else.example>"], text_of(1),
                           "2 5.7.1 this peer may not send there"),
                          ("<eve@d.co.uk>", ["<c@domain.com>"], text_of(2),
                           "0 5.7.1 sender not allowed")])
        self.site.once()
        self.assertEqual([m["rcpts"] for m in self.resubmit.taken()], [["RCPT TO:<a@domain.com>"]])
        told = {m["rcpts"][0]: self.fields(r)[1] for m, r in self.dsns()}
        self.assertEqual(told["RCPT TO:<ann@d.co.uk> NOTIFY=NEVER"][0]["Final-Recipient"],
                         "rfc822; b@else.example")
        self.assertEqual(told["RCPT TO:<eve@d.co.uk> NOTIFY=NEVER"][0]["Status"], "5.7.1")
        self.assert_empty()

    def test_no_dsn_support_and_success_asked_gives_relayed(self):
        def script(command, _):
            return "250-test\r\n250 8BITMIME" if command.startswith("EHLO") else None
        self.resubmit.script = script
        self.site.accept([("<ann@d.co.uk>", ["<a@domain.com> NOTIFY=SUCCESS,FAILURE"],
                           text_of(1))])
        self.site.once()
        (_, report), = self.dsns()
        self.assertEqual(self.fields(report)[1][0]["Action"], "relayed")

    def test_without_8bitmime_only_what_needs_it_waits(self):
        for greeting in ("250 test", "500 5.5.1 EHLO what?"):
            word = greeting[:3]
            with self.subTest(greeting):
                self.resubmit.script = lambda command, _, greeting=greeting: (
                    greeting if command.startswith("EHLO") else
                    "250 test" if command.startswith("HELO") else None)
                self.site.accept([("<a@d.co.uk> BODY=8BITMIME", ["<%s@domain.com>" % name], text)
                                  for name, text in (("seven", text_of(word)),
                                                     ("eight", text_of("grün " + word)),
                                                     ("long", text_of(word) + b"x\r\n" * 50000))])
                log = self.site.once()
                self.assertEqual(sorted((m["mail"], m["rcpts"]) for m in self.resubmit.taken()),
                                 [("MAIL FROM:<a@d.co.uk>", ["RCPT TO:<%s@domain.com>" % name])
                                  for name in ("long", "seven")])
                self.assertRegex(log, r"to=<eight@domain.com> .*4\.6\.3.*8BITMIME")
                self.resubmit.script = lambda command, _: None
                self.site.set_next(-1, "inbound", "deferred")
                self.site.once()
                self.assertEqual(self.resubmit.taken()[-1]["mail"],
                                 "MAIL FROM:<a@d.co.uk> BODY=8BITMIME")
                self.assert_empty()
                self.resubmit.messages.clear()

    def test_the_size_that_is_announced_is_the_true_one(self):
        text = text_of(1)
        self.site.accept([("<a@d.co.uk> SIZE=1", ["<b@domain.com>"], text)])
        self.site.once()
        self.assertEqual(self.resubmit.taken()[0]["mail"],
                         "MAIL FROM:<a@d.co.uk> SIZE=%d" % len(crlf(text)))

    def test_eight_bit_and_utf8_addresses(self):
        self.refuse({"RCPT": "550 5.1.1 no"})
        self.site.accept([("<jörg@d.co.uk> SMTPUTF8 BODY=8BITMIME", ["<ünal@domain.com>"],
                           "Subject: grün\n\nb\n".encode())])
        self.site.once()
        (envelope, report), = self.dsns()
        self.assertIn("SMTPUTF8", envelope["mail"])
        self.assertIn("BODY=8BITMIME", envelope["mail"])
        self.assertEqual(report.get_payload()[1].get_content_type(),
                         "message/global-delivery-status")

    def test_where_the_mta_has_no_smtputf8_everybody_is_told_all_the_same(self):
        def script(command, _):
            return "250-test\r\n250-DSN\r\n250 8BITMIME" if command.startswith("EHLO") else None
        self.resubmit.script = self.submit.script = script
        subprocess.run([PROGRAMS + "/bsmtpctl", "--config", self.site.config, "rules", "export",
                        "--sendmail", "--write"], check=True, capture_output=True)
        text = "Subject: grün\n\nb\n".encode()
        self.site.accept([("<ann@domain.co.uk> SMTPUTF8 BODY=8BITMIME", ["<ünal@domain.com>"], text),
                          ("<jörg@domain.co.uk> SMTPUTF8 BODY=8BITMIME", ["<bob@domain.com>"], text),
                          ("<jörg@far.example> SMTPUTF8 BODY=8BITMIME", ["<bob@domain.com>"], text)])
        log = self.site.once()
        self.assertEqual(self.resubmit.taken(), [])
        (envelope, report), = self.dsns()
        self.assertEqual(envelope["rcpts"], ["RCPT TO:<ann@domain.co.uk> NOTIFY=NEVER"])
        status = self.fields(report)[1][0]
        self.assertEqual(status["Final-Recipient"], "utf-8; \\x{FC}nal@domain.com")
        self.assertEqual(status["Status"], "5.6.7")
        # An address that the MTA cannot write, but of a tunneled domain.
        waiting, = self.site.names("peers", "remote1", "incoming")
        self.assertIn("for remote1", log)
        with open("%s/peers/remote1/incoming/%s" % (self.site.spool, waiting), "rb") as spooled:
            item = spooled.read()
        self.assertTrue(item.startswith(b"MAIL FROM:<> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<"), item)
        self.assertIn("RCPT TO:<jörg@domain.co.uk> NOTIFY=NEVER\r\n".encode(), item)
        self.assertIn(b"\r\nAction: failed\r\n", item)
        # Nothing leads to the third: an alarm, and no second attempt.
        self.assertEqual(log.count("a notice could not be sent and was dropped"), 1)
        self.assertEqual(len(self.site.names("notices", "refused")), 1, "kept for a human")
        self.assertEqual(self.site.names("notices", "ready"), [])

    def test_a_notice_that_neither_way_takes_is_given_up_when_it_is_old(self):
        def script(command, _):
            return "250-test\r\n250-DSN\r\n250 8BITMIME" if command.startswith("EHLO") else None
        self.resubmit.script = self.submit.script = script
        self.site.accept([("<jörg@domain.co.uk> SMTPUTF8 BODY=8BITMIME", ["<bob@domain.com>"],
                           "Subject: grün\n\nb\n".encode())])
        log = self.site.once(expect=75)  # no exported map: whether a tunnel leads there cannot be said
        self.assertNotIn("was dropped", log)
        notice, = self.site.names("notices", "ready")
        old = time.time() - 31 * 86400
        os.utime("%s/notices/ready/%s" % (self.site.spool, notice), (old, old))
        log = self.site.once()
        self.assertEqual(log.count("a notice could not be sent and was dropped"), 1)
        self.assertEqual(self.site.names("notices", "ready"), [])


class Connections(Case):
    def test_where_the_mta_grants_one_connection_all_goes_by_it(self):
        greetings = iter([None])
        busy = "421 4.7.0 too many connections"
        self.resubmit.script = lambda command, _: (
            next(greetings, busy) if command == "<connect>" else None)
        self.site.accept([("<s%d@d.co.uk>" % n, ["<r%d@domain.com>" % n], text_of(n))
                          for n in range(60)])
        log = self.site.once()
        self.assertEqual(len(self.resubmit.taken()), 60)
        self.assertNotIn("trouble", log)
        self.assert_empty()

    def test_while_connections_are_refused_one_worker_tries(self):
        # A limit of connections a minute counts the refused ones, too.
        refuse = threading.Event()
        refuse.set()
        self.resubmit.script = lambda command, _: (
            "421 4.7.0 rate limit" if command == "<connect>" and refuse.is_set() else None)
        self.site.accept([("<s%d@d.co.uk>" % n, ["<r%d@domain.com>" % n], text_of(n))
                          for n in range(60)])
        self.site.start()
        self.site.wait(lambda: self.resubmit.sessions >= 6)
        self.assertGreaterEqual(self.site.logged().count("rate limit"), 2)
        refuse.clear()
        self.site.wait(lambda: len(self.resubmit.taken()) == 60)
        self.site.wait(lambda: not self.site.names("inbound", "accepted"))

    def test_it_says_the_loopback_address_unless_told_otherwise(self):
        self.site.accept([("<a@d.co.uk>", ["<b@domain.com>"], text_of(1))])
        self.site.once()
        self.assertIn("EHLO [127.0.0.1]", self.resubmit.commands)
        self.site.write_config(self.submit.url(), self.resubmit.url(),
                               "resubmit-helo = inner.domain.com\n")
        self.site.accept([("<a@d.co.uk>", ["<b@domain.com>"], text_of(2))])
        self.site.once()
        self.assertIn("EHLO inner.domain.com", self.resubmit.commands)


class Waits(Case):
    def test_4xx_waits_in_deferred_and_is_tried_again(self):
        answers = iter(["450 4.7.1 greylisted"])
        self.resubmit.script = lambda command, _: (
            next(answers, None) if "slow@" in command else None)
        self.site.accept([("<a@d.co.uk>", ["<fast@domain.com>", "<slow@domain.com>"],
                           text_of(1)), ("<a@d.co.uk>", ["<x@domain.com>"], text_of(2))])
        self.site.once()
        name, = self.site.names("inbound", "deferred")
        self.assertEqual(self.site.names("inbound", "deferred", name), ["messages", "meta", "state"])
        with open("%s/inbound/deferred/%s/state" % (self.site.spool, name), encoding="ascii") as state:
            self.assertIn("open: 1\n", state.read())
        self.site.set_next(60, "inbound", "deferred")
        self.site.once()
        self.assertEqual(len(self.resubmit.taken()), 2, "tried before its time")
        self.site.set_next(-1, "inbound", "deferred")
        self.site.once()
        self.assertEqual(sorted(r for m in self.resubmit.taken() for r in m["rcpts"]),
                         ["RCPT TO:<fast@domain.com>", "RCPT TO:<slow@domain.com>",
                          "RCPT TO:<x@domain.com>"])
        self.assert_empty()

    def test_after_delivery_expire_the_sender_is_told(self):
        self.resubmit.script = lambda command, _: "450 4.2.0 busy" if "RCPT" in command else None
        self.site.accept([("<ann@d.co.uk>", ["<a@domain.com>"], text_of(1))],
                         accepted=time.time() - 6 * 86400)
        self.site.once()
        (_, report), = self.dsns()
        recipient = self.fields(report)[1][0]
        self.assertEqual((recipient["Action"], recipient["Status"]), ("failed", "4.4.7"))
        self.assertIn("450 4.2.0", recipient["Diagnostic-Code"])
        self.assert_empty()

    def test_a_long_delay_is_told_once(self):
        self.resubmit.script = lambda command, _: "450 4.2.0 busy" if "RCPT" in command else None
        self.site.accept([("<ann@d.co.uk>", ["<a@domain.com> NOTIFY=DELAY"], text_of(1))],
                         accepted=time.time() - 5 * 3600)
        for _ in range(2):
            self.site.once()
            time.sleep(1.2)
        (_, report), = self.dsns()
        recipient = self.fields(report)[1][0]
        self.assertEqual(recipient["Action"], "delayed")
        self.assertTrue(recipient["Will-Retry-Until"])

    def test_host_mta_down_keeps_parcels_accepted_and_exits_75(self):
        port = self.resubmit.port
        self.resubmit.close()
        self.site.accept([("<a@d.co.uk>", ["<b@domain.com>"], text_of(1))])
        self.site.once(expect=75)
        self.assertEqual(len(self.site.names("inbound", "accepted")), 1)
        self.resubmit = Smtp(port=port)
        self.site.once()
        self.assertEqual(len(self.resubmit.taken()), 1)
        self.assert_empty()

    def test_too_many_recipients_split_and_all_are_delivered(self):
        for reply in ("452 4.5.3 too many recipients", "552 too many", "550 5.5.3 too many"):
            with self.subTest(reply):
                self.resubmit.script = lambda command, session, reply=reply: (
                    reply if command.startswith("RCPT") and len(session["rcpts"]) >= 20 else None)
                self.resubmit.messages.clear()
                self.site.accept([("<a@d.co.uk>", ["<r%d@domain.com>" % n for n in range(70)],
                                   text_of(reply))])
                self.site.once()
                sizes = [len(m["rcpts"]) for m in self.resubmit.taken()]
                self.assertEqual(sizes, [20, 20, 20, 10])
                self.assertEqual(len({r for m in self.resubmit.taken() for r in m["rcpts"]}), 70)
                self.assertEqual(self.submit.taken(), [])
                self.assert_empty()

    def test_a_mailbox_over_quota_is_told_although_others_have_room(self):
        self.resubmit.script = lambda command, _: ("552 5.2.2 mailbox full" if "full@" in command
                                                   else None)
        self.site.accept([("<a@d.co.uk>", ["<b@domain.com>", "<full@domain.com>"], text_of(1))])
        self.site.once()
        (_, report), = self.dsns()
        self.assertEqual(self.fields(report)[1][0]["Status"], "5.2.2")

    def test_lost_connection_before_the_text_ends_costs_nothing(self):
        answers = iter(["CLOSE"])
        self.resubmit.script = lambda command, _: (
            next(answers, None) if command == "DATA" else None)
        self.site.accept([("<a@d.co.uk>", ["<b@domain.com>"], text_of(1))])
        log = self.site.once()
        self.assertEqual(len(self.resubmit.taken()), 1)
        self.assertNotIn("ambiguous", log)
        self.assert_empty()

    def test_lost_final_reply_is_logged_ambiguous_and_repeated(self):
        answers = iter(["CLOSE"])
        self.resubmit.script = lambda command, _: (
            next(answers, None) if command == "<taken>" else None)
        self.site.accept([("<a@d.co.uk>", ["<b@domain.com>"], text_of(1))])
        log = self.site.once()
        self.assertIn("ambiguous", log)
        time.sleep(1.2)
        self.site.once()
        self.assertEqual(len(self.resubmit.taken()), 2)
        self.assert_empty()

    def test_421_in_mid_batch_loses_nothing(self):
        count = [0]

        def script(command, _):
            if command.startswith("MAIL"):
                count[0] += 1
                if count[0] % 5 == 0:
                    return "421 4.3.2 shutting down"
            return None
        self.resubmit.script = script
        self.site.accept([("<a@d.co.uk>", ["<b%d@domain.com>" % n], text_of(n))
                          for n in range(40)])
        for _ in range(5):
            self.site.once(expect=None)
            time.sleep(1.1)
        self.assertEqual(sorted(r for m in self.resubmit.taken() for r in m["rcpts"]),
                         sorted("RCPT TO:<b%d@domain.com>" % n for n in range(40)))
        self.assert_empty()

    def test_notice_waits_for_the_host_mta_and_is_sent_once(self):
        self.resubmit.script = lambda command, _: "550 5.1.1 no" if "RCPT" in command else None
        port = self.submit.port
        self.submit.close()
        self.site.accept([("<ann@d.co.uk>", ["<a@domain.com>"], text_of(1))])
        self.site.once(expect=75)
        self.assertEqual(len(self.site.names("notices", "ready")), 1)
        self.submit = Smtp(port=port)
        self.site.once()
        self.site.once()
        self.assertEqual(len(self.submit.taken()), 1)
        self.assertEqual(self.site.names("notices", "ready"), [])


class Ledger(Case):
    def damage(self):
        for suffix in ("-wal", "-shm"):
            if os.path.exists(self.site.spool + "/ledger.sqlite" + suffix):
                os.unlink(self.site.spool + "/ledger.sqlite" + suffix)

    def test_damaged_ledger_stops_delivery_with_an_alarm(self):
        self.site.accept([("<a@d>", ["<b%d@domain.com>" % n], text_of(n)) for n in range(50)])
        self.site.once()
        self.damage()
        with open(self.site.spool + "/ledger.sqlite", "r+b") as base:
            base.seek(4096)
            base.write(b"\xff" * 8192)
        self.site.accept([("<a@d>", ["<c@domain.com>"], text_of("c"))])
        log = self.site.once(expect=75)
        self.assertIn("damaged", log)
        self.assertEqual(len(self.resubmit.taken()), 50)
        self.assertEqual(len(self.site.names("inbound", "accepted")), 1)

    def test_vanished_ledger_is_not_recreated(self):
        self.damage()
        os.unlink(self.site.spool + "/ledger.sqlite")
        self.site.accept([("<a@d>", ["<c@domain.com>"], text_of("c"))])
        log = self.site.once(expect=75)
        self.assertIn("created", log)
        self.assertFalse(os.path.exists(self.site.spool + "/ledger.sqlite"))
        self.assertEqual(self.resubmit.taken(), [])


class BusyLedger(Case):
    def test_a_ledger_that_is_only_busy_is_opened_later(self):
        self.site.once()
        self.site.accept([("<a@d>", ["<b@domain.com>"], text_of(1))])
        base = sqlite3.connect(self.site.spool + "/ledger.sqlite", isolation_level=None)
        self.addCleanup(base.close)
        base.execute("BEGIN IMMEDIATE")
        self.site.start()
        self.assertIn("accepted mail waits undelivered", self.site.logged())
        self.assertEqual(self.resubmit.taken(), [])
        base.execute("COMMIT")
        self.site.wait(lambda: len(self.resubmit.taken()) == 1, 30)
        self.assertEqual(self.site.stop(), 0)


class Killed(Case):
    def test_killed_at_random_each_message_arrives_once_or_is_logged_ambiguous(self):
        def slow(command, _):
            if command == "<taken>":
                time.sleep(0.002)
            return None
        self.resubmit.script = slow
        rng = random.Random(4711)
        total = 300
        for start in range(0, total, 50):
            self.site.accept([("<s%d@d.co.uk>" % n, ["<r%d@domain.com>" % n], text_of(n))
                              for n in range(start, start + 50)])
        kills = 0
        while self.site.names("inbound", "accepted") and kills < 40:
            process = self.site.start()
            time.sleep(rng.uniform(0.02, 0.3))
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.site.process = None
            kills += 1
        self.site.once()
        got = {}
        for message in self.resubmit.taken():
            got[message["rcpts"][0]] = got.get(message["rcpts"][0], 0) + 1
        self.assertEqual(len(got), total)
        double = sum(count - 1 for count in got.values())
        ambiguous = self.site.logged().count("outcome=ambiguous")
        print("kills %d, delivered twice %d, logged ambiguous %d" % (kills, double, ambiguous))
        self.assertGreater(kills, 1)
        self.assertLessEqual(double, ambiguous)
        self.assert_empty_but_tmp()

    def assert_empty_but_tmp(self):
        self.assertEqual(self.site.names("inbound", "accepted"), [])
        self.assertEqual(self.site.names("inbound", "deferred"), [])


if __name__ == "__main__":
    unittest.main()
