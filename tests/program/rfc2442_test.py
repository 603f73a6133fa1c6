"""RFC 2442, rows T1 and P of the checklist in docs/parcel-format.md, on the real programs.
P10 and T2 have rfc2442_interrupted_test.py."""

import itertools
import re
import sys
import time
import unittest

import gateway
import processor_rig
from dispatch_rig import iso
from gateway import Keyring, batch, batch_entity, message
from processor_rig import dsns, status_fields

PROGRAMS = sys.argv.pop(1)
MESSAGES = [message("ann@domain.com", ["bob@domain.co.uk"], "one\n"),
            message("eve@domain.com", ["carl@domain.co.uk"], ".two\n"),
            message("", ["dora@mail.domain.co.uk"], "three\n")]


class Processor(processor_rig.Processor):
    programs = PROGRAMS


class Rows(Processor):
    def test_T1_the_same_object_by_mail_by_pipe_and_by_file(self):
        mail = self.site.parcel(MESSAGES)
        path = self.site.root + "/file"
        with open(path, "wb") as out:
            out.write(mail)
        self.site.ctl("parcel", "extract", path, "--to", self.site.root + "/out", check=True)
        self.take(mail)
        self.take(mail.replace(b"\r\n", b"\n"))  # known already: a copy
        name, = self.site.accepted()
        by_mail = gateway.accepted_messages(self.site.spool + "/inbound/accepted/" + name)
        for number in (1, 2, 3):
            with open("%s/out/%06d.eml" % (self.site.root, number), "rb") as by_file:
                stuffed = re.sub(rb"(?m)^\.", b"..", by_file.read()) + b".\r\n"
            self.assertTrue(by_mail[number - 1].endswith(b"DATA\r\n" + stuffed))
        self.assertEqual(len(self.deliver()), 3)

    def test_P1_another_type_is_not_processed(self):
        for media_type in ("application/batch-SMTP2", "message/rfc822", "text/plain"):
            entity = batch_entity(batch(MESSAGES), self.site.manifest(), media_type=media_type)
            with self.subTest(media_type=media_type):
                self.assert_quarantined(self.site.signed(entity), "unsupported")

    def test_P1_P2_an_unsupported_extension_goes_to_the_postmaster_and_nothing_is_executed(self):
        entity = batch_entity(batch(MESSAGES), self.site.manifest(),
                              '; required-extensions="8bitMIME,FOO"')
        entry = self.assert_quarantined(self.site.signed(entity), "unsupported")
        self.assertIn("FOO", entry["reason"])
        letter, = self.submit.taken()
        self.assertEqual(letter["mail"].split()[:2], ["MAIL", "FROM:<>"])
        self.assertIn("<postmaster@" + gateway.HOST, letter["rcpts"][0])
        text = letter["text"].decode()
        for word in (entry["id"], "unsupported", "FOO"):
            self.assertIn(word, text)

    def test_P1_the_three_defaults_and_meaningless_keywords_are_supported(self):
        for value in ("8bitMIME,SIZE,NOTARY", "8bitmime", "DSN,PIPELINING", "SMTPUTF8"):
            with self.subTest(value=value):
                self.take(self.site.signed(batch_entity(
                    batch([message("ann@domain.com", ["bob@domain.co.uk"], value + "\n")]),
                    self.site.manifest(), '; required-extensions="%s"' % value)))
        self.assertEqual(len(self.deliver()), 4)

    def test_P3_any_greeting(self):
        for number, hello in enumerate(("EHLO x", "HELO x", "ehlo [192.0.2.1]", "EHLO a_b.-x",
                                        "EHLO [IPv6:::1]", "HELO a\r\nEHLO b")):
            one = message("ann@domain.com", ["bob@domain.co.uk"], "text %d\n" % number)
            with self.subTest(hello=hello):
                self.assertEqual(len(self.run_batch(hello.encode() + b"\r\n" + one + b"QUIT\r\n")),
                                 number + 1)

    def test_P4_a_sender_that_the_site_refuses_costs_its_own_message_only(self):
        self.refuse("550 5.7.1 not you", "MAIL FROM:<bad@")
        senders = ["ann@domain.com", "bad@domain.com", "\"a b\"@domain.com", "a%b@domain.com", ""]
        self.take(self.site.parcel([
            message(s, ["bob@domain.co.uk", "carl@domain.co.uk"], "from %s\n" % s) for s in senders]))
        self.assertEqual(sorted(s for s, _ in self.deliver()),
                         sorted(s for s in senders if not s.startswith("bad")))
        (envelope, report), = dsns(self.submit)
        self.assertEqual(envelope["rcpts"], ["RCPT TO:<bad@domain.com> NOTIFY=NEVER"])
        self.assertEqual([r["Final-Recipient"] for r in status_fields(report)[1]],
                         ["rfc822; bob@domain.co.uk", "rfc822; carl@domain.co.uk"])

    def test_P5_of_three_recipients_one_is_refused(self):
        self.refuse("550 5.1.1 unknown", "RCPT TO:<nobody@")
        recipients = ["bob@domain.co.uk", "nobody@domain.co.uk", "carl@domain.co.uk"]
        self.take(self.site.parcel([message("ann@domain.com", recipients)]))
        self.assertEqual(self.deliver(), [("ann@domain.com", [recipients[0], recipients[2]])])
        (envelope, report), = dsns(self.submit)
        self.assertEqual(envelope["rcpts"], ["RCPT TO:<ann@domain.com> NOTIFY=NEVER"])
        refused, = status_fields(report)[1]
        self.assertEqual((refused["Final-Recipient"], refused["Action"], refused["Status"]),
                         ("rfc822; nobody@domain.co.uk", "failed", "5.1.1"))

    def test_P6_every_parameter_of_the_three_extensions(self):
        matrix = list(itertools.product(
            ("", " BODY=7BIT", " BODY=8BITMIME"), ("", " SIZE=40"), ("", " RET=FULL", " RET=HDRS"),
            ("", " ENVID=e+2B1"), ("", " ORCPT=rfc822;b+40x"),
            ("", " NOTIFY=NEVER", " NOTIFY=SUCCESS", " NOTIFY=FAILURE,DELAY")))
        octets = b"".join(
            ("MAIL FROM:<ann@domain.com>%s\r\nRCPT TO:<bob@domain.co.uk>%s\r\n"
             "DATA\r\nSubject: %d\r\n\r\nx\r\n.\r\n"
             % (body + size + ret + envid, orcpt + notify, number)).encode()
            for number, (body, size, ret, envid, orcpt, notify) in enumerate(matrix))
        self.run_batch(b"EHLO x\r\n" + octets + b"QUIT\r\n")
        taken = {int(re.search(rb"(?m)^Subject: (\d+)\r$", m["text"]).group(1)): m
                 for m in self.resubmit.taken()}
        self.assertEqual(sorted(taken), list(range(len(matrix))))
        for number, (_, _, ret, envid, orcpt, notify) in enumerate(matrix):
            for word in (ret + envid).split():
                self.assertIn(word, taken[number]["mail"])
            for word in (orcpt + notify).split():
                self.assertIn(word, taken[number]["rcpts"][0])

    def test_P7_data_without_a_valid_recipient_keeps_step(self):
        self.refuse("550 5.1.1 unknown", "RCPT TO:<nobody")
        nobody = [message("ann@domain.com", ["nobody%d@domain.co.uk" % n for n in range(3)])]
        self.take(self.site.parcel(
            nobody + [b"MAIL FROM:<eve@domain.com>\r\nDATA\r\nQUIT\r\n.\r\n"] + MESSAGES))
        self.assertEqual(sorted(self.deliver()), sorted([
            ("ann@domain.com", ["bob@domain.co.uk"]), ("eve@domain.com", ["carl@domain.co.uk"]),
            ("", ["dora@mail.domain.co.uk"])]))
        told = [r["Final-Recipient"] for _, report in dsns(self.submit)
                for r in status_fields(report)[1]]
        self.assertEqual(sorted(told), ["rfc822; nobody%d@domain.co.uk" % n for n in range(3)])

    def test_P8_eight_bit_text_arrives_identical(self):
        octets = bytes(n for n in range(1, 256) if n not in (10, 13))
        text = b"Subject: x\r\n\r\n.\r\n" + octets + b"\r\n" + octets * 40 + b"\r\n"
        stuffed = re.sub(rb"(?m)^\.", b"..", text)
        self.run_batch(b"EHLO x\r\nMAIL FROM:<ann@domain.com> BODY=8BITMIME\r\n"
                       b"RCPT TO:<bob@domain.co.uk>\r\nDATA\r\n" + stuffed + b".\r\nQUIT\r\n")
        taken, = self.resubmit.taken()
        self.assertEqual(taken["text"][taken["text"].index(b"Subject: x"):], text)

    def test_P9_rset_drops_only_its_transaction(self):
        octets = (b"EHLO x\r\n" + MESSAGES[0] + b"MAIL FROM:<dropped@domain.com>\r\n"
                  b"RCPT TO:<dropped@domain.co.uk>\r\nRSET\r\n" + MESSAGES[1] + b"RSET\r\n"
                  + MESSAGES[2] + b"QUIT\r\n")
        self.assertEqual(sorted(s for s, _ in self.run_batch(octets)),
                         ["", "ann@domain.com", "eve@domain.com"])


class Truncated(Processor):
    peer_settings = "require = transport\nprofile = rfc2442\n"

    def test_P11_cut_at_every_octet_nothing_is_executed(self):
        """Without signature and gzip only the batch itself shows that its end is missing."""
        octets = batch(MESSAGES[:2])
        head = (b"From: x\r\nMIME-Version: 1.0\r\nContent-Type: application/batch-SMTP\r\n"
                b"Content-Transfer-Encoding: 7bit\r\n\r\n")
        for cut in range(len(octets) - len(b"\r\n")):
            self.take(head + octets[:cut], "--peer", "remote1")
            self.assertEqual(self.site.accepted(), [], "cut at %d" % cut)
        entries, _ = self.site.ctl_json("quarantine", "list")
        self.assertEqual({e["reason"].split(":")[0] for e in entries}, {"malformed"})
        # Mail is lines, so two neighbouring cuts may be the same mail.
        self.assertEqual(sum(e["copies"] for e in entries), len(octets) - 2)
        self.assertEqual(self.deliver(), [])
        self.take(head + octets, "--peer", "remote1")
        self.assertEqual(len(self.deliver()), 2)


class Authorised(Processor):
    def test_P12_only_authorised_generators(self):
        stranger = Keyring()
        self.addCleanup(stranger.close)
        key = stranger.make("stranger")
        unsigned = b"MIME-Version: 1.0\r\n" + gateway.compressed_part(
            batch_entity(batch(MESSAGES), self.site.manifest()))
        for name, mail, word in (
                ("unsigned", unsigned, "unsigned"),
                ("key of a stranger", self.site.parcel(MESSAGES, key, stranger), "unknown-key"),
                ("in the name of another host",
                 self.site.parcel(MESSAGES, **{"from": "zeus.domain.net"}), "wrong-sender"),
                ("for another host", self.site.parcel(MESSAGES, to="zeus.domain.net"),
                 "not-for-me"),
                ("too old", self.site.parcel(MESSAGES, t=iso(time.time() - 9000),
                                             x=iso(time.time() - 4000)), "expired")):
            with self.subTest(name=name):
                self.assert_quarantined(mail, word)

    def test_P12_the_key_of_a_peer_expires(self):
        soon = self.site.peer_keys.make("soon", expire="seconds=4")
        path = self.site.root + "/soon.asc"
        with open(path, "wb") as out:
            out.write(self.site.peer_keys.export(soon))
        self.site.ctl("key", "import", path, "--peer", "remote1", "--fingerprint", soon, check=True)
        mail = self.site.parcel(MESSAGES, soon)
        time.sleep(5)
        self.assert_quarantined(mail, "expired-key")

    def test_P12_a_sender_or_recipient_that_is_not_the_peers_is_refused_for_itself(self):
        self.site.write_config(self.settings, "sender-domains = domain.com\n")
        self.take(self.site.parcel([
            message("ann@domain.com", ["bob@domain.co.uk", "victim@example.org"]),
            message("forged@other.example", ["bob@domain.co.uk"], "forged\n"),
            message("eve@domain.com", ["bob@domain.co.uk"])]))
        self.assertEqual(sorted(self.deliver()), [("ann@domain.com", ["bob@domain.co.uk"]),
                                                  ("eve@domain.com", ["bob@domain.co.uk"])])
        told = {e["rcpts"][0]: status_fields(r)[1][0] for e, r in dsns(self.submit)}
        self.assertEqual(set(told), {"RCPT TO:<ann@domain.com> NOTIFY=NEVER",
                                     "RCPT TO:<forged@other.example> NOTIFY=NEVER"})
        self.assertEqual({f["Status"] for f in told.values()}, {"5.7.1"})
        self.assertEqual(told["RCPT TO:<ann@domain.com> NOTIFY=NEVER"]["Final-Recipient"],
                         "rfc822; victim@example.org")


class Reports(Processor):
    def test_P13_what_cannot_be_delivered_is_reported_as_asked(self):
        self.refuse("550 5.1.1 unknown", "RCPT TO:")
        octets = b"".join(
            ("MAIL FROM:<%s> RET=HDRS ENVID=Q+2B%d\r\nRCPT TO:<to%d@domain.co.uk>%s ORCPT=rfc822;"
             "Old+2B%d@d.uk\r\nDATA\r\nSubject: %d\r\n\r\nbody\r\n.\r\n"
             % (sender, n, n, notify, n, n)).encode()
            for n, (sender, notify) in enumerate((
                ("asked@domain.com", " NOTIFY=FAILURE"), ("plain@domain.com", ""),
                ("never@domain.com", " NOTIFY=NEVER"), ("success@domain.com", " NOTIFY=SUCCESS"),
                ("", " NOTIFY=FAILURE"))))
        self.assertEqual(self.run_batch(b"EHLO x\r\n" + octets + b"QUIT\r\n"), [])
        reports = dsns(self.submit)
        self.assertEqual(sorted(e["rcpts"][0] for e, _ in reports),
                         ["RCPT TO:<asked@domain.com> NOTIFY=NEVER",
                          "RCPT TO:<plain@domain.com> NOTIFY=NEVER"])
        for envelope, report in reports:
            number = 0 if "asked" in envelope["rcpts"][0] else 1
            self.assertTrue(envelope["mail"].startswith("MAIL FROM:<>"))
            self.assertNotIn("RET=", envelope["mail"])
            per_message, (recipient,) = status_fields(report)
            self.assertEqual(per_message["Original-Envelope-Id"], "Q+%d" % number)
            self.assertEqual(recipient["Original-Recipient"], "rfc822; Old+%d@d.uk" % number)
            self.assertEqual(recipient["Final-Recipient"], "rfc822; to%d@domain.co.uk" % number)
            self.assertEqual((recipient["Action"], recipient["Status"]), ("failed", "5.1.1"))
            self.assertEqual(report.get_payload()[2].get_content_type(), "text/rfc822-headers")


if __name__ == "__main__":
    unittest.main(verbosity=2)
