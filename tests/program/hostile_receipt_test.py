"""Forged, repeated and monstrous receipts against the real bsmtp-in. docs/security.md lists these
tests attack by attack."""

import sys
import time
import unittest
from email import policy
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.mime.text import MIMEText
from email.parser import BytesParser

import gateway
import hostile_rig
from gateway import crlf, iso
from hostile_rig import PEER2_HOST, SIGNATURE_HEAD, SIGNED, armour_of, multipart, outer, packed, signed

PROGRAMS = sys.argv.pop(1)
DIGEST = "d" * 64


class Hostile(hostile_rig.Hostile):
    programs = PROGRAMS

    def records(self):
        return hostile_rig.os.listdir(self.site.spool + "/inbound/receipts")

    def take(self, mail, parcels=1):
        """The counter-test: this one counts."""
        before = len(self.records())
        done = self.site.run_in(mail)
        self.assertEqual((done.code, done.stdout), (0, b""), done.log)
        self.assertRegex(done.log[0], r": receipt-received .*\bparcels=%d\b" % parcels)
        self.assertEqual(self.site.leftovers(), [])
        self.assert_cheap(done)
        return len(self.records()) - before


def fields(tags, groups, host=gateway.PEER_HOST):
    """The delivery-status part, as text."""
    text = "Reporting-MTA: dns; %s\n" % host
    text += "".join("X-BSMTP-Receipt: %s\n" % line for line in tags)
    for action, status, parcel in groups:
        text += ("\nFinal-Recipient: rfc822; bsmtp@%s\nAction: %s\nStatus: %s\n"
                 % (host, action, status)) + "".join("X-BSMTP-Parcel: %s\n" % p for p in parcel)
    return text


def tags(**changes):
    found = {"v": "1", "from": gateway.PEER_HOST, "to": gateway.HOST, "t": iso(time.time())}
    found.update(changes)
    return "; ".join("%s=%s" % pair for pair in found.items())


def group(parcel=None, digest=DIGEST, state="accepted"):
    return ("relayed" if state == "accepted" else "failed", "2.0.0" if state == "accepted" else "5.6.0",
            ["v=1; id=%s; d=%s; s=%s" % (parcel or gateway.parcel_id(), digest, state)])


def report(status, *more):
    """What is signed, composed by Python's email."""
    mail = MIMEMultipart("report", boundary="=_r", report_type="delivery-status")
    mail.attach(MIMEText("A receipt between gateways.\n", "plain", "us-ascii"))
    part = MIMENonMultipart("application", "x-status")  # email would parse what it may not touch
    part.set_payload(status)
    mail.attach(part)
    for extra in more:
        mail.attach(extra)
    for entity in mail.walk():
        del entity["MIME-Version"]
    return crlf(mail.as_bytes()).replace(b"application/x-status", b"message/delivery-status")


def receipt(groups=None, host=gateway.PEER_HOST, **changes):
    return report(fields([tags(**changes)], groups or [group()], host))


class Receipts(Hostile):
    def test_good_receipt_counts(self):
        groups = [group(), group(state="rejected"), group(state="expired")]
        self.assertEqual(self.take(signed(self.site, receipt(groups)), 3), 1)

    def test_unsigned_receipt(self):
        part = receipt()
        self.attack(b"From: x\r\nMIME-Version: 1.0\r\n" + part, "not-a-parcel", event="dropped")

    def test_receipt_with_the_key_of_another_peer(self):
        self.attack(signed(self.site, receipt(), self.site.key2), "wrong-sender")

    def test_receipt_with_the_key_of_a_stranger(self):
        stranger = self.site.keys.make("stranger")
        self.attack(signed(self.site, receipt(), stranger), "unknown-key")

    def test_receipt_in_the_name_of_another_peer(self):
        mail = signed(self.site, receipt(host=PEER2_HOST, **{"from": PEER2_HOST}))
        self.attack(mail, "wrong-sender")

    def test_receipt_for_another_host(self):
        self.attack(signed(self.site, receipt(to=PEER2_HOST)), "not-for-me")

    def test_receipt_with_a_weak_digest(self):
        part = receipt()
        armour = self.site.keys.gpg(
            "--armor", "--textmode", "--allow-weak-digest-algos", "--digest-algo", "SHA1",
            "--local-user", self.site.peer_key, "--detach-sign", data=part)
        self.attack(outer(SIGNED, multipart(part, SIGNATURE_HEAD + crlf(armour))), "weak-digest")

    def test_changed_receipt(self):
        mail = signed(self.site, receipt())
        self.attack(mail.replace(b"d" * 64, b"e" * 64), "bad-signature")
        self.attack(mail.replace(b"s=accepted", b"s=rejected"), "bad-signature")

    def test_signature_of_a_parcel_on_a_receipt(self):
        part = SIGNATURE_HEAD + armour_of(self.site, packed(self.site))
        self.attack(outer(SIGNED, multipart(receipt(), part)), "bad-signature")

    def test_wrapped_receipt(self):
        good = BytesParser(policy=policy.SMTP).parsebytes(signed(self.site, receipt()))
        mixed, attached = MIMEMultipart("mixed"), MIMEMessage(good)
        mixed.attach(good)
        mixed.attach(MIMEText("a footer"))
        self.attack(b"From: x\r\n" + crlf(mixed.as_bytes(policy=policy.SMTP)), "unsupported")
        self.attack(b"From: x\r\n" + crlf(attached.as_bytes(policy=policy.SMTP)), "not-a-parcel",
                    event="dropped")

    def test_receipt_inside_a_parcel(self):
        """In gzip only a batch counts."""
        self.attack(signed(self.site, hostile_rig.compressed(receipt())), "unsupported")

    def test_receipt_beside_a_batch(self):
        """More parts than a receipt has, whichever comes first."""
        status = fields([tags()], [group()])
        for extra in (MIMENonMultipart("application", "batch-SMTP"),
                      MIMENonMultipart("application", "x-status")):
            extra.set_payload(status)
            self.attack(signed(self.site, report(status, extra)), "malformed")

    def test_two_receipts_in_one(self):
        for lines in ([tags(), tags()], [tags() + "; to=" + PEER2_HOST], [tags() + "; crit=zz; zz=1"],
                      [tags(v="2")], [tags(t="yesterday")], [tags(to="")]):
            self.attack(signed(self.site, report(fields(lines, [group()]))), "malformed")

    def test_signed_report_that_is_no_receipt(self):
        self.attack(signed(self.site, report(fields([], [group()]))), "not-a-parcel", event="dropped")

    def test_groups_that_contradict_themselves(self):
        parcel = gateway.parcel_id()
        action, status, lines = group(parcel)
        for groups in ([(action, "5.1.1", lines)], [("failed", status, lines)], [("delivered", status, lines)],
                       [(action, status, lines * 2)], [group(parcel), group(parcel)],
                       [group(parcel), group(parcel, state="rejected")], [group("../../../etc/passwd")],
                       [group(digest="x")], [group(state="maybe")]):
            self.attack(signed(self.site, report(fields([tags()], groups))), "malformed")

    def test_more_groups_than_two_hundred(self):
        groups = [group("%044x" % n) for n in range(200)]
        self.assertEqual(self.take(signed(self.site, receipt(groups)), 200), 1)
        done = self.site.run_in(signed(self.site, receipt(groups + [group()])))
        self.assertRegex(done.log[0], r'quarantined .*reason="(malformed|too-big): ')

    def test_a_hundred_thousand_groups(self):
        groups = [group("%044x" % n) for n in range(100000)]
        self.attack(signed(self.site, receipt(groups)), "too-big")

    def test_monstrous_fields(self):
        for lines in ([tags() + "; x=" + "y" * 900], [tags() + "; x%d=1" % n for n in range(1000)],
                      ["; ".join([tags()] + ["x%d=1" % n for n in range(90)])]):
            status = fields(lines, [group()]).replace("; ", ";\n ")
            done = self.site.run_in(signed(self.site, report(status)))
            self.assertEqual(done.code, 0)
            self.assertRegex(done.log[0], r": (quarantined|receipt-received) ")
            self.assert_cheap(done)

    def test_repeated_receipt(self):
        """It says what it said: nothing grows with it but the dispatcher's work."""
        mail = signed(self.site, receipt())
        self.assertEqual(self.take(mail), 1)
        self.assertLessEqual(self.take(mail) + self.take(mail), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
