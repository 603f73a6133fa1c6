"""Receipts, receiver's half, with the real bsmtp-in and bsmtp-dispatch: what is answered to a peer,
and what is taken from one. Parcels and receipts of the peer are made with gpg and string
formatting; ours are read with gpg and Python's email.
Usage: receipts_test.py PROGRAMS [--every N] [unittest arguments]; N = 1 tries every call."""

import email
import email.policy
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import unittest

import gateway
from dispatch_rig import Smtp
from gateway import ADDRESS, HOST, PEER_HOST, Keyring, Site, crlf, iso, message, signed_mail

PROGRAMS = sys.argv.pop(1)
EVERY = 30
if sys.argv[1:2] == ["--every"]:
    EVERY = int(sys.argv[2])
    del sys.argv[1:3]
FAULT_AT = os.path.join(os.path.dirname(PROGRAMS.rstrip("/")), "test-tools", "fault_at")
PEER_ADDRESS = "bsmtp@" + PEER_HOST
GOOD = [message("ann@domain.com", ["bob@domain.co.uk"])]
DIGEST = "0123456789abcdef" * 4


class Case(unittest.TestCase):
    settings = "receipt-delay = 0\n"
    peer_settings = ""
    signs = True

    def setUp(self):
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.resubmit = Smtp()
        self.addCleanup(self.resubmit.close)
        self.site = Site(PROGRAMS)
        self.addCleanup(self.site.close)
        self.key = ""
        if self.signs:
            self.key = self.site.ctl_json("key", "generate")[0]["fingerprint"]
        self.configure()
        self.log = ""

    def configure(self, settings=None, peer_settings=None, key=None):
        self.site.write_config(
            "submit = %s\nresubmit = %s\nretry-initial = 1s\nretry-maximum = 2s\n%s%s"
            % (self.submit.url(), self.resubmit.url(),
               "sign-key = %s\n" % (key or self.key) if self.key else "",
               self.settings if settings is None else settings),
            self.peer_settings if peer_settings is None else peer_settings)

    def names(self, place):
        return sorted(os.listdir("%s/%s" % (self.site.spool, place)))

    def receive(self, mail, expect=0):
        done = self.site.receive(mail)
        self.assertEqual((done.returncode, done.stdout), (expect, b""), done.stderr)

    def once(self, check=True):
        done = self.site.dispatch_once(check)
        self.log += done.stderr.decode()
        return done

    def ledger(self, sql, *args):
        base = sqlite3.connect(self.site.spool + "/ledger.sqlite")
        try:
            found = base.execute(sql, args).fetchall()
            base.commit()
            return found
        finally:
            base.close()

    def a_minute_later(self):
        self.ledger("UPDATE receipt_written SET at = at - 60")

    def receipts(self):
        """What went to the peer's parcel address: one {id: (state, action, status, digest)} each."""
        found = []
        for taken in self.submit.taken():
            if taken["rcpts"][0].startswith("RCPT TO:<postmaster@"):
                continue  # the digest of the quarantine
            self.assertEqual(taken["mail"].split(" ")[:2], ["MAIL", "FROM:<>"])
            self.assertEqual(taken["rcpts"], ["RCPT TO:<%s> NOTIFY=NEVER" % PEER_ADDRESS])
            found.append(self.read_receipt(taken["text"]))
        return found

    def read_receipt(self, text):
        mail = email.message_from_bytes(text, policy=email.policy.default)
        self.assertEqual(mail["Auto-Submitted"], "auto-replied")
        self.assertEqual((mail["From"].addresses[0].addr_spec, mail["To"].addresses[0].addr_spec),
                         (ADDRESS, PEER_ADDRESS))
        self.assertEqual(mail.get_content_type(), "multipart/signed")
        report, signature = mail.get_payload()
        self.verify(text, mail.get_boundary(), signature.get_payload())
        self.assertEqual((report.get_content_type(), report.get_param("report-type")),
                         ("multipart/report", "delivery-status"))
        human, status = report.get_payload()
        self.assertEqual(human.get_content_type(), "text/plain")
        self.assertIn(HOST, human.get_content())
        self.assertEqual(status.get_content_type(), "message/delivery-status")
        whole, *groups = status.get_payload()
        self.assertEqual(whole["Reporting-MTA"], "dns; " + HOST)
        tags = self.tags(whole["X-BSMTP-Receipt"])
        self.assertEqual((tags["v"], tags["from"], tags["to"]), ("1", HOST, PEER_HOST))
        self.assertLess(abs(time.time() - self.seconds(tags["t"])), 60)
        parcels = {}
        for group in groups:
            self.assertEqual(group["Final-Recipient"], "rfc822; " + ADDRESS)
            parcel = self.tags(group["X-BSMTP-Parcel"])
            parcels[parcel["id"]] = (parcel["s"], group["Action"], group["Status"], parcel["d"])
        self.assertEqual(len(parcels), len(groups))
        return parcels

    def verify(self, text, boundary, signature):
        """As RFC 1847 says, with nothing but gpg."""
        part = text.split(b"--" + boundary.encode() + b"\r\n")[1][:-2]
        ring = Keyring()
        try:
            public = subprocess.run(["gpg", "--homedir", self.site.pgp + "/sign", "--batch",
                                     "--armor", "--export", self.key], capture_output=True,
                                    check=True).stdout
            ring.gpg("--import", data=public)
            with open(ring.home + "/sig", "w", encoding="ascii") as out:
                out.write(signature)
            status = ring.gpg("--status-fd", "1", "--verify", ring.home + "/sig", "-", data=part)
            self.assertIn(b"VALIDSIG " + self.key.encode(), status)
        finally:
            ring.close()

    @staticmethod
    def tags(value):
        pairs = [tag.strip().split("=", 1) for tag in value.split(";") if tag.strip()]
        return dict((name.strip(), text.strip()) for name, text in pairs)

    @staticmethod
    def seconds(stamp):
        return time.mktime(time.strptime(stamp + " UTC", "%Y%m%dT%H%M%SZ %Z")) - time.timezone


class Answers(Case):
    def test_accepted_parcel_is_acknowledged_at_once(self):
        parcel = gateway.parcel_id()
        self.receive(self.site.parcel(GOOD, id=parcel, rr="2"))
        self.once()
        receipt, = self.receipts()
        self.assertEqual(list(receipt), [parcel])
        state, action, status, digest = receipt[parcel]
        self.assertEqual((state, action, status), ("accepted", "relayed", "2.0.0"))
        self.assertEqual(self.ledger("SELECT digest FROM parcel"), [(digest,)])
        self.assertIn("%s: answered peer=remote1" % parcel, self.log)
        self.assertEqual(len(self.resubmit.taken()), 1)
        self.a_minute_later()
        self.once()
        self.assertEqual(len(self.receipts()), 1, "one parcel, one receipt")

    def test_parcels_are_merged_and_a_minute_lies_between_two_receipts(self):
        first = [gateway.parcel_id() for _ in range(3)]
        for parcel in first:
            self.receive(self.site.parcel(GOOD, id=parcel, rr="1"))
        self.once()
        self.assertEqual([sorted(r) for r in self.receipts()], [sorted(first)])
        parcel = gateway.parcel_id()
        self.receive(self.site.parcel(GOOD, id=parcel, rr="2"))
        self.once()
        self.assertEqual(len(self.receipts()), 1)
        self.a_minute_later()
        self.once()
        self.assertEqual(list(self.receipts()[1]), [parcel])

    def test_eight_parcels_do_not_wait_for_the_minute(self):
        self.receive(self.site.parcel(GOOD, id=gateway.parcel_id(), rr="2"))
        self.once()
        self.ledger("UPDATE receipt_written SET at = at - 5")
        parcels = [gateway.parcel_id() for _ in range(8)]
        for parcel in parcels[:7]:
            self.receive(self.site.parcel(GOOD, id=parcel, rr="1"))
        self.once()
        self.assertEqual(len(self.receipts()), 1)
        self.receive(self.site.parcel(GOOD, id=parcels[7], rr="1"))
        self.once()
        self.assertEqual(sorted(self.receipts()[1]), sorted(parcels))

    def test_copy_of_a_finished_parcel_is_acknowledged_again(self):
        parcel = gateway.parcel_id()
        mail = self.site.parcel(GOOD, id=parcel, rr="1")
        self.receive(mail)
        self.once()
        self.a_minute_later()
        self.receive(mail)
        self.once()
        self.assertEqual([list(r) for r in self.receipts()], [[parcel]] * 2)
        self.assertEqual(len(self.resubmit.taken()), 1)

    def test_receipts_do_not_wait_for_delivery(self):
        self.resubmit.close()
        self.addCleanup(setattr, self, "resubmit", self.resubmit)
        self.resubmit.close = lambda: None
        parcels = [gateway.parcel_id() for _ in range(4)]
        mails = [self.site.parcel(GOOD, id=p, rr="2") for p in parcels]
        for mail in mails:
            self.receive(mail)
        self.once(check=False)
        self.assertEqual([sorted(r) for r in self.receipts()], [sorted(parcels)])
        self.a_minute_later()
        self.receive(mails[3])  # it waits still: asked for
        self.assertEqual(len(self.names("inbound/asked")), 1)
        self.once(check=False)
        self.assertEqual(list(self.receipts()[1]), [parcels[3]])
        self.assertEqual(self.names("inbound/asked"), [])

    def test_expired_and_never_seen_is_buried(self):
        parcel, now = gateway.parcel_id(), time.time()
        self.receive(self.site.parcel(GOOD, id=parcel, rr="1", t=iso(now - 172800),
                                      x=iso(now - 86400)))
        self.assertEqual(self.site.accepted(), [])
        self.assertEqual(self.names("inbound/quarantine"), [])
        self.once()
        receipt, = self.receipts()
        self.assertEqual(receipt[parcel][:3], ("expired", "failed", "5.4.7"))
        self.assertEqual(self.ledger("SELECT parcel FROM tombstone"), [(parcel,)])
        self.assertIn("%s: tombstoned peer=remote1 state=expired" % parcel, self.log)

    def test_expired_copy_of_a_taken_parcel_is_accepted(self):
        parcel, now = gateway.parcel_id(), time.time()
        mail = self.site.parcel(GOOD, id=parcel, rr="1", t=iso(now - 60), x=iso(now + 3))
        self.receive(mail)
        self.once()
        self.a_minute_later()
        time.sleep(max(0, now + 4.2 - time.time()))
        self.receive(mail)
        self.once()
        self.assertEqual([r[parcel][0] for r in self.receipts()], ["accepted"] * 2)
        self.assertEqual(self.ledger("SELECT * FROM tombstone"), [])

    def test_buried_parcel_that_comes_again_is_never_delivered(self):
        parcel, now = gateway.parcel_id(), time.time()
        mail = self.site.parcel(GOOD, id=parcel, rr="1")
        self.receive(mail)
        name, = self.site.accepted()
        place = self.site.spool + "/inbound/accepted/" + name
        with open(place + "/meta", encoding="ascii") as meta:
            digest = [line.split()[1] for line in meta if line.startswith("digest:")][0]
        shutil.move(place, self.site.root + "/later")
        self.asked(parcel, digest, "expired", "5.4.7", now - 60)
        self.once()
        shutil.move(self.site.root + "/later", place)  # as if the clock had been set back
        self.a_minute_later()
        self.once()
        self.assertEqual(self.resubmit.taken(), [])
        self.assertEqual(self.site.accepted(), [])
        self.assertIn("%s: tombstoned peer=remote1 state=dropped" % parcel, self.log)
        self.assertEqual([r[parcel][0] for r in self.receipts()], ["expired"] * 2)

    def asked(self, parcel, digest, state, code, expires, name=None):
        with open("%s/inbound/asked/%s" % (self.site.spool, name or "remote1.%s.%s"
                                           % (parcel, digest[:16])), "w", encoding="ascii") as out:
            out.write("version: 1\npeer: remote1\nparcel: %s\ndigest: %s\nstate: %s\ncode: %s\n"
                      "reason: a test\nwanted: 2\nexpires: %s\nreceived: %s\nqueue-id: \n"
                      % (parcel, digest, state, code, iso(expires), iso(time.time())))

    def test_rejected_for_good_is_answered_so_and_quarantined(self):
        parcel = gateway.parcel_id()
        wrong = [GOOD[0], b"MAIL FROM:<ann@domain.com>\r\nFROB\r\n"]
        self.receive(self.site.parcel(wrong, id=parcel, rr="2"))
        self.assertEqual(len(self.site.ctl_json("quarantine", "list")[0]), 1)
        self.once()
        receipt, = self.receipts()
        self.assertEqual(receipt[parcel][:3], ("rejected", "failed", "5.6.0"))
        self.assertEqual(self.resubmit.taken(), [])

    def test_releasing_what_the_peer_was_told_is_refused(self):
        parcel = gateway.parcel_id()
        lines = b"".join(os.urandom(30).hex().encode() + b"\r\n" for _ in range(4000))
        big = [GOOD[0][:-3] + lines + b".\r\n"]
        self.configure(self.settings + "max-inflated-bytes = 64K\n")
        self.receive(self.site.parcel(big, id=parcel, rr="2"))
        entry, = self.site.ctl_json("quarantine", "list")[0]
        self.once()
        receipt, = self.receipts()
        self.assertEqual(receipt[parcel][0], "rejected")
        self.configure()
        for words in ((), ("--json",)):
            done = self.site.ctl("quarantine", "release", entry["id"], *words)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(b"tombstoned" if words else b"was told that it is not delivered (rejected",
                          done.stdout)
            self.once()
            self.assertIn("%s: tombstoned peer=remote1 state=dropped" % parcel, self.log)
        self.assertEqual(self.resubmit.taken(), [])
        self.assertEqual(len(self.site.ctl_json("quarantine", "list")[0]), 1, "it stays")

    def test_another_parcel_under_a_known_id_gets_no_receipt(self):
        parcel = gateway.parcel_id()
        self.receive(self.site.parcel(GOOD, id=parcel, rr="2"))
        self.once()
        self.a_minute_later()
        now = time.time()
        self.receive(self.site.parcel(GOOD * 2, id=parcel, rr="2", t=iso(now - 9), x=iso(now - 5)))
        self.once()
        self.assertEqual(len(self.receipts()), 1)
        self.assertRegex(self.log, "alarm .*two different parcels under one id")
        self.assertEqual(self.ledger("SELECT * FROM tombstone"), [])

    def test_what_is_not_surely_the_peers_and_for_us_is_never_answered(self):
        now = time.time()
        old = {"rr": "2", "t": iso(now - 172800), "x": iso(now - 86400)}
        stranger = Keyring()
        self.addCleanup(stranger.close)
        key = stranger.make("stranger")
        for mail in (self.site.parcel(GOOD, to="zeus.domain.co.uk", **old),
                     self.site.parcel(GOOD, **{"from": "zeus.domain.co.uk"}, **old),
                     self.site.parcel(GOOD, key, stranger, **old),
                     self.site.parcel(GOOD, **old).replace(b"H4sI", b"H4sJ"),
                     self.site.parcel(GOOD, **dict(old, rr="0"))):
            self.receive(mail)
        self.assertFalse(os.path.exists(self.site.spool + "/inbound/asked")
                         and self.names("inbound/asked"))
        self.once()
        self.assertEqual(self.receipts(), [])
        self.assertEqual(self.ledger("SELECT * FROM tombstone"), [])

    def test_none_wanted_or_none_given(self):
        self.receive(self.site.parcel(GOOD, rr="0"))
        self.configure(peer_settings="receipts = no\n")
        self.receive(self.site.parcel(GOOD, rr="2"))
        self.once()
        self.assertEqual(self.receipts(), [])
        self.assertEqual(len(self.resubmit.taken()), 1, "the same message twice")

    def test_status_shows_what_is_owed_and_what_is_buried(self):
        def peer(*args):
            found, code = self.site.ctl_json("status", *args)
            shown = [p for p in found["peers"] if p["peer"] == "remote1"][0]
            return (shown["receipts_due"], shown["tombstones"]), found, code

        self.assertEqual(peer()[0], (0, 0), "before there is a ledger")
        self.configure(settings="receipt-delay = 1h\n")
        self.asked(gateway.parcel_id(), DIGEST, "expired", "5.4.7", time.time())
        self.assertEqual(peer()[1]["inbound"]["questions"], 1)
        self.once()
        for _ in range(2):
            self.receive(self.site.parcel(GOOD, rr="1"))
        self.once()
        shown, found, _ = peer("--check")
        self.assertEqual((shown, found["inbound"]["questions"], found["problems"]), ((2, 1), 0, []))
        self.assertEqual(self.receipts()[0].popitem()[1][0], "expired", "at once, the others wait")
        page = self.site.ctl("status").stdout.decode()
        self.assertRegex(page, r"receipts\nPEER .* DUE TO IT .*TOMBSTONES\nremote1 +0 +- +- +2 +\S+ +1\n")
        self.ledger("UPDATE receipt_due SET due = due - 7200")
        _, found, code = peer("--check")
        self.assertRegex(found["problems"][0], "remote1: 2 answers to it are due since .* no receipt")
        self.assertEqual(code, 1)
        with open(self.site.spool + "/ledger.sqlite", "r+b") as ledger:
            ledger.write(b"no ledger any more")
        _, found, code = peer("--check")
        self.assertIn("ledger.sqlite", found["problems"][0])
        self.assertEqual((code, len(found["problems"])), (1, 1))

    def test_receipts_switched_off_later_are_dropped(self):
        self.configure(settings="receipt-delay = 1h\n")
        self.receive(self.site.parcel(GOOD, rr="1"))
        self.once()
        self.assertEqual(len(self.ledger("SELECT * FROM receipt_due")), 1)
        self.configure(peer_settings="receipts = no\n")
        self.asked(gateway.parcel_id(), DIGEST, "expired", "5.4.7", time.time())
        self.once()
        self.assertEqual(self.ledger("SELECT * FROM receipt_due"), [])
        self.assertEqual(self.names("inbound/asked"), [])
        self.assertEqual(self.receipts(), [])

    def test_a_receipt_waits_for_others_but_eight_do_not_wait(self):
        self.configure(settings="receipt-delay = 1h\n")
        parcels = [gateway.parcel_id() for _ in range(8)]
        for parcel in parcels[:7]:
            self.asked(parcel, DIGEST, "accepted", "2.0.0", time.time() + 60)
        self.ledger_rows_wait()
        self.asked(parcels[7], DIGEST, "accepted", "2.0.0", time.time() + 60)
        self.once()
        self.assertEqual([sorted(r) for r in self.receipts()], [sorted(parcels)])

    def ledger_rows_wait(self):
        """All questions become answers that are due in an hour."""
        for name in self.names("inbound/asked"):
            path = "%s/inbound/asked/%s" % (self.site.spool, name)
            with open(path, encoding="ascii") as record:
                text = record.read().replace("wanted: 2", "wanted: 1")
            with open(path, "w", encoding="ascii") as record:
                record.write(text)
        self.once()
        self.assertEqual(self.receipts(), [])

    def test_unusable_own_key_is_an_alarm_and_the_answers_wait(self):
        parcel = gateway.parcel_id()
        self.receive(self.site.parcel(GOOD, id=parcel, rr="2"))
        self.configure(key="AB" * 20)
        self.assertEqual(self.once(check=False).returncode, 75)
        self.assertRegex(self.log, "alarm .*remote1: 1 answers wait")
        self.configure()
        self.once()
        self.assertEqual([list(r) for r in self.receipts()], [[parcel]])

    def test_a_damaged_question_is_set_aside_and_keeps_nobody_waiting(self):
        parcel = gateway.parcel_id()
        bad = "remote1.%s.00" % ("0" * 44)
        with open("%s/inbound/asked/%s" % (self.site.spool, bad), "w", encoding="ascii") as out:
            out.write("version: 1\npeer: remote1\n")
        self.asked(parcel, DIGEST, "expired", "5.4.7", time.time())
        self.once()
        self.assertEqual([list(r) for r in self.receipts()], [[parcel]])
        self.assertEqual(self.names("inbound/asked"), [])
        self.assertEqual(self.names("inbound/tmp"), [bad + ".bad"])
        self.assertIn("alarm", self.log)

    def test_killed_or_failing_anywhere_on_the_way_to_the_receipt(self):
        """Whatever happens, the answer comes, with no other state, and nothing is left behind."""
        self.receive(self.site.parcel(GOOD, rr="2"))
        self.once()  # the ledger and the tree are there
        self.submit.messages.clear()
        clean = self.site.root + "/clean"
        shutil.move(self.site.spool, clean)
        parcel = gateway.parcel_id()
        calls = self.fault_run(clean, parcel)
        points = range(EVERY // 2 + 1, len(calls) + 1, EVERY)
        print("%s: %d of %d calls, killed and failing" % (self.id(), len(points), len(calls)))
        for k in points:
            for fault in (["--kill", str(k)], ["--fail", str(k)]):
                with self.subTest(fault=fault, call=calls[k - 1]):
                    self.submit.messages.clear()
                    self.fault_run(clean, parcel, *fault)
                    self.a_minute_later()
                    self.once(check=False)
                    self.a_minute_later()
                    self.once()
                    states = [r[parcel][0] for r in self.receipts()]
                    # Killed between the sending of it and both notes about that (Q5 and N3 of
                    # docs/spool.md), it is sent again and written once more.
                    self.assertIn(states, [["expired"] * n for n in (1, 2, 3)], calls[k - 1])
                    self.assertEqual(self.names("inbound/asked"), [])
                    self.assertEqual(self.names("notices/ready"), [])
                    self.assertEqual(self.ledger("SELECT * FROM receipt_due"), [])

    def fault_run(self, clean, parcel, *fault):
        shutil.rmtree(self.site.spool, ignore_errors=True)
        shutil.copytree(clean, self.site.spool)
        self.a_minute_later()
        self.asked(parcel, DIGEST, "expired", "5.4.7", time.time())
        trace = self.site.root + "/calls"
        done = subprocess.run([FAULT_AT, "--below", self.site.spool, "--log", trace, *fault, "--",
                               PROGRAMS + "/bsmtp-dispatch", "--config", self.site.config,
                               "--foreground", "--once"], capture_output=True, timeout=60,
                              check=False)
        if done.returncode == 77:
            self.skipTest(done.stderr.decode())
        with open(trace, encoding="utf-8", errors="replace") as calls:
            return calls.read().splitlines()


def group(parcel, digest=DIGEST, state="accepted", action="relayed", status="2.0.0", more=""):
    return ("Final-Recipient: rfc822;bsmtp@%s\r\nAction: %s\r\nStatus: %s\r\n%s"
            "X-BSMTP-Parcel: v=1; id=%s; d=%s;\r\n\ts=%s\r\n"
            % (PEER_HOST, action, status, more, parcel, digest, state))


def report(groups, sender=PEER_HOST, to=HOST, when=None):
    return crlf("Content-Type: multipart/report; report-type=delivery-status; boundary=rr\r\n\r\n"
                "--rr\r\nContent-Type: text/plain\r\n\r\nA receipt.\r\n"
                "--rr\r\nContent-Type: message/delivery-status\r\n\r\n"
                "Reporting-MTA: dns;%s\r\nX-BSMTP-Receipt: v=1; from=%s; to=%s; t=%s\r\n\r\n%s"
                "\r\n--rr--\r\n" % (sender, sender, to, iso(when or time.time()),
                                    "\r\n".join(groups)))


class Taken(Case):
    signs = False

    def signed(self, octets, key=None, keyring=None):
        part = octets[:-2]
        signature = (keyring or self.site.peer_keys).sign(key or self.site.peer_key, part)
        return signed_mail(part, signature)

    def records(self):
        found = {}
        for name in self.names("inbound/receipts"):
            self.assertRegex(name, "^[0-9a-f]{44}$")
            with open("%s/inbound/receipts/%s" % (self.site.spool, name), encoding="ascii") as text:
                found[name] = text.read()
        return found

    def assert_nothing(self, mail, quarantined):
        before = len(self.site.ctl_json("quarantine", "list")[0])
        self.receive(mail)
        self.assertEqual(self.records(), {})
        self.assertEqual(self.site.leftovers(), [])
        entries = self.site.ctl_json("quarantine", "list")[0]
        self.assertEqual(len(entries) - before, 1 if quarantined else 0)
        if quarantined:
            self.assertIn(quarantined, [e["reason"].split(":")[0] for e in entries])

    def test_a_receipt_is_kept_as_it_was_signed(self):
        one, two = gateway.parcel_id(), gateway.parcel_id()
        mail = self.signed(report([group(one), group(two, state="rejected", action="failed",
                                                     status="5.3.4", more="Diagnostic-Code: "
                                                     "X-BSMTP; too big\r\n")]))
        self.receive(mail)
        (_, text), = self.records().items()
        lines = text.splitlines()
        for line in ("version: 1", "peer: remote1", "key: " + self.site.peer_key,
                     "from: " + PEER_HOST, "to: " + HOST, "queue-id: 4Q1",
                     "parcel.1: %s %s accepted 2.0.0 " % (one, DIGEST),
                     "parcel.2: %s %s rejected 5.3.4 too big" % (two, DIGEST)):
            self.assertIn(line, lines)
        self.assertEqual(self.site.leftovers(), [])
        self.assertEqual(self.site.accepted(), [])
        self.receive(b"Received: by a relay\r\n" + mail)
        self.receive(mail.replace(b"\r\n", b"\n"))
        self.assertEqual(len(self.records()), 1, "a replay leaves one file")

    def test_what_no_pinned_key_of_the_right_peer_signed_is_none(self):
        good = report([group(gateway.parcel_id())])
        stranger = Keyring()
        self.addCleanup(stranger.close)
        key = stranger.make("stranger")
        self.assert_nothing(b"From: x\r\nMIME-Version: 1.0\r\n" + good, None)
        self.assert_nothing(self.signed(good, key, stranger), "unknown-key")
        self.assert_nothing(self.signed(good).replace(b"d=0123", b"d=1123"), "bad-signature")
        self.assert_nothing(self.signed(report([group(gateway.parcel_id())], to="zeus.domain.com")),
                            "not-for-me")
        self.assert_nothing(self.signed(report([group(gateway.parcel_id())],
                                               sender="zeus.domain.com")), "wrong-sender")
        self.assert_nothing(self.signed(report([group("0" * 43)])), "malformed")
        self.assert_nothing(self.signed(report([])), "malformed")
        self.assert_nothing(self.signed(report([group(gateway.parcel_id())]).replace(
            b"X-BSMTP-Receipt", b"X-Other-Receipt")), None)

    def test_two_receipts_in_one_mail_are_none(self):
        forged = report([group(gateway.parcel_id(), digest="f" * 64)])
        good = self.signed(report([group(gateway.parcel_id())]))
        first = good.index(b"--=_test\r\n")
        self.assert_nothing(good[:first] + b"--=_test\r\n" + forged + good[first:], "malformed")

    def test_of_a_peer_without_receipts_is_dropped(self):
        self.configure(peer_settings="receipts = no\n")
        self.assert_nothing(self.signed(report([group(gateway.parcel_id())])), None)

    def test_a_spool_of_an_earlier_release_gets_the_directory(self):
        os.rmdir(self.site.spool + "/inbound/receipts")
        self.receive(self.signed(report([group(gateway.parcel_id())])))
        self.assertEqual(len(self.records()), 1)

    def test_killed_or_failing_anywhere_while_a_receipt_is_taken(self):
        """Success means that the record is there; anything else, that the MTA tries again."""
        mail = self.signed(report([group(gateway.parcel_id())]))
        calls = self.faulty(mail)[1]
        self.assertEqual(len(self.records()), 1)
        points = range(1, len(calls) + 1, max(1, EVERY // 10))
        print("%s: %d of %d calls, killed and failing" % (self.id(), len(points), len(calls)))
        for k in points:
            for fault in ("--kill", "--fail"):
                with self.subTest(fault=fault, call=calls[k - 1]):
                    for name in self.records():
                        os.unlink(self.site.spool + "/inbound/receipts/" + name)
                    code, _ = self.faulty(mail, fault, str(k))
                    self.assertIn(code, (0, 75, 137))
                    if code == 0:
                        self.assertEqual(len(self.records()), 1)
                    self.receive(mail)
                    self.assertEqual(len(self.records()), 1)
                    self.assertEqual(self.names("inbound/quarantine"), [])

    def faulty(self, mail, *fault):
        trace = self.site.root + "/calls"
        done = subprocess.run([FAULT_AT, "--below", self.site.spool, "--log", trace, *fault, "--",
                               PROGRAMS + "/bsmtp-in", "--config", self.site.config, "--sender",
                               "", "--", ADDRESS], input=mail, capture_output=True, timeout=60,
                              check=False)
        if done.returncode == 77:
            self.skipTest(done.stderr.decode())
        with open(trace, encoding="utf-8", errors="replace") as calls:
            return done.returncode, calls.read().splitlines()

    def test_no_receipt_is_ever_answered(self):
        self.receive(self.signed(report([group(gateway.parcel_id())])))
        self.assertEqual(self.names("inbound/asked"), [])


if __name__ == "__main__":
    unittest.main()
