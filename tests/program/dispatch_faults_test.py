"""bsmtp-dispatch --once is killed at its k-th call that changes the disk or speaks to the MTA, or
that call fails; then it runs undisturbed. Every recipient must have his message once, or twice
when the log names it as ambiguous; who was refused is reported once; nothing stays behind.
Usage: dispatch_faults_test.py PROGRAMS [--every N] [unittest arguments]; N = 1 is the soak."""

import collections
import email
import email.policy
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

from dispatch_rig import Gateway, Smtp, crlf, item, text_of
from fault_rig import FaultCase

PROGRAMS = sys.argv.pop(1)
EVERY = 20
if sys.argv[1:2] == ["--every"]:
    EVERY = int(sys.argv[2])
    del sys.argv[1:3]

# One accepted parcel with a refused and a deferred recipient, a second one, and a parcel to send.
FIRST = [("<ann@domain.co.uk>", ["<one@domain.com>", "<two@domain.com>"], text_of("m1")),
         ("<ann@domain.co.uk>", ["<three@domain.com>", "<nobody@domain.com>", "<none@domain.com>",
                                 "<gone@domain.com>"], text_of("m2")),
         ("<eve@domain.co.uk>", ["<four@domain.com>", "<slow@domain.com>"], text_of("m3"))]
SECOND = [("<ann@domain.co.uk>", ["<five@domain.com>"], text_of("m4"))]
EXPECTED = [("m1", "one"), ("m1", "two"), ("m2", "three"), ("m3", "four"), ("m3", "slow"),
            ("m4", "five")]
PEER = "host = athena.domain.co.uk\nprofile = rfc2442\nrecipient-domains = *\nmax-messages = 2\n"


class Faults(FaultCase):
    fault_at = os.path.join(os.path.dirname(PROGRAMS.rstrip("/")), "test-tools", "fault_at")
    every = EVERY
    reads = False
    workers = 1

    def setUp(self):
        self.slow = True
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.resubmit = Smtp(self.answer)
        self.addCleanup(self.resubmit.close)
        self.site = Gateway(PROGRAMS, self.submit.url(), self.resubmit.url(),
                            "resubmit-connections = %d\nsubmit-connections = %d\n"
                            "build-workers = %d\n" % ((self.workers,) * 3), {"remote1": PEER})
        self.addCleanup(self.site.close)
        self.site.make_spool()
        self.below, self.log = self.site.spool, self.site.root + "/calls"
        self.empty = self.site.root + "/empty"
        os.rename(self.site.spool, self.empty)
        # The ledger's creation is under test too.
        for name in os.listdir(self.empty):
            if name.startswith("ledger"):
                os.unlink(self.empty + "/" + name)

    def answer(self, command, _):
        if command.startswith("RCPT") and ("nobody@" in command or "none@" in command):
            return "550 5.1.1 no such user"
        if command.startswith("RCPT") and "gone@" in command:
            # Refused together with the others or later, as the fault has it.
            self.asked_for_gone += 1
            return "450 4.2.1 not now" if self.asked_for_gone == 1 else "550 5.1.6 gone"
        if command.startswith("RCPT") and "slow@" in command and self.slow:
            return "450 4.7.1 greylisted"
        return None

    def fresh(self):
        shutil.rmtree(self.site.spool, ignore_errors=True)
        shutil.copytree(self.empty, self.site.spool)
        self.slow = True
        self.asked_for_gone = 0
        for server in (self.submit, self.resubmit):
            server.messages.clear()
        self.parcels = {self.site.accept(FIRST): ["m1", "m2", "m3"],
                        self.site.accept(SECOND): ["m4"]}
        for n in range(2):
            self.site.put(item("<bob@domain.com>", ["<o%d@domain.co.uk>" % n], text_of("o%d" % n)))

    def act(self, fault):
        return subprocess.run([*self.under(fault), *self.site.argv("--once")], capture_output=True,
                              timeout=60, check=False)

    def recover(self):
        """Undisturbed runs, until also the deferred one is due; their log."""
        end = time.time() + 10
        while (self.submit.open or self.resubmit.open) and time.time() < end:
            time.sleep(0.002)  # what was on the wire when the process died
        self.slow = False
        log = ""
        for _ in range(2):
            self.site.set_next(-1, "inbound", "deferred")
            self.site.set_next(-1, "peers", "remote1", "ready")
            log += self.site.once()
        return log

    def check(self, log, where):
        ambiguous = set(re.findall(r"(\S+): final-reply-lost outcome=ambiguous", log))
        doubtful = set()
        for parcel, messages in self.parcels.items():
            for number, name in enumerate(messages, 1):
                if "%s.%d" % (parcel, number) in ambiguous:
                    doubtful.add(name)
        got = collections.Counter()
        for message in self.resubmit.taken():
            name = re.search(rb"Subject: mail (\w+)", message["text"]).group(1).decode()
            original, = [t for m in (FIRST, SECOND) for _, _, t in m if crlf(text_of(name)) == t]
            self.assertTrue(message["text"].endswith(original), where)
            for rcpt in message["rcpts"]:
                got[name, re.search("<(.*)@", rcpt).group(1)] += 1
        for key in EXPECTED:
            most = 2 if key[0] in doubtful else 1
            self.assertTrue(1 <= got[key] <= most, "%s: %s came %d times\n%s"
                            % (where, key, got[key], log))
        self.assertEqual(set(got), set(EXPECTED), where)
        self.check_submitted(log, where)
        self.check_nothing_left(where)

    def check_submitted(self, log, where):
        reports = collections.Counter()
        parcels = collections.Counter()
        for message in self.submit.taken():
            parsed = email.message_from_bytes(message["text"], policy=email.policy.default)
            if parsed.get_content_type() == "multipart/report":
                status = parsed.get_payload()[1].get_payload()
                reports[(message["rcpts"][0],
                         *(fields["Final-Recipient"] for fields in status[1:]))] += 1
            else:
                parcels[parsed.get_content_type()] += 1
                self.assertEqual(parsed.get_payload(decode=True).count(b"\r\nDATA\r\n"), 2, where)
        self.assertEqual({report[0] for report in reports},
                         {"RCPT TO:<ann@domain.co.uk> NOTIFY=NEVER"}, where)
        self.assertEqual(sorted(rcpt for report in reports for rcpt in report[1:]),
                         ["rfc822; %s@domain.com" % name for name in ("gone", "nobody", "none")],
                         "%s: %s\n%s" % (where, reports, log))
        self.assertEqual(list(parcels), ["application/batch-smtp"], where)
        extra = sum(reports.values()) - len(reports) + sum(parcels.values()) - 1
        if extra:
            said = [line for line in log.splitlines() if "outcome=ambiguous" in line]
            self.assertLessEqual(extra, len(said), "%s: sent twice and not said\n%s" % (where, log))

    def check_nothing_left(self, where):
        for place in (("inbound", "accepted"), ("inbound", "deferred"), ("notices", "ready"),
                      ("peers", "remote1", "incoming"), ("peers", "remote1", "building"),
                      ("peers", "remote1", "ready"), ("peers", "remote1", "failed"),
                      ("peers", "remote1", "held"), ("inbound", "quarantine")):
            left = [n for n in self.site.names(*place) if re.search("[0-9a-f]{44}", n)]
            self.assertEqual(left, [], "%s: %s" % (where, "/".join(place)))
        self.assertEqual(len(self.site.names("peers", "remote1", "sent")), 1, where)
        self.assertEqual(self.site.ledger("select count(*) from attempt"), [(0,)], where)
        self.assertEqual(self.site.ledger("select count(*), min(done) from parcel"), [(2, 1)],
                         where)
        self.assertEqual(self.site.ledger("pragma integrity_check"), [("ok",)], where)

    def settle(self, told, fault, trace, where):
        code, log = told.returncode, told.stderr.decode()
        if fault.kills():
            self.assertEqual(code, 137, where + "\n" + log)
        else:
            self.assertIn(code, (0, 75) if fault.k else (0,), where + "\n" + log)
            self.check_exit_code(code, where, log)
        log += "--- restarted\n" + self.recover()
        self.check(log, where)

    def check_exit_code(self, code, where, log):
        left = sum(len(self.site.names(*place)) for place in
                   (("inbound", "accepted"), ("notices", "ready"), ("peers", "remote1", "incoming"),
                    ("peers", "remote1", "building")))
        if left:
            self.assertEqual(code, 75, "%s: %d left, and exit 0\n%s" % (where, left, log))


class FaultsOfManyThreads(Faults):
    workers = 3


class FaultsOfDamage(Faults):
    """A parcel past its time with a message whose text is damaged, and one whose envelope is."""

    every = EVERY if EVERY == 1 else 2 * EVERY

    def setUp(self):
        super().setUp()
        shutil.copytree(self.empty, self.site.spool)
        self.parcel = self.site.accept(
            [("<%s@domain.co.uk>" % n, ["<%s@domain.com>" % n], text_of(n)) for n in ("ok", "bad",
                                                                                     "env")])
        path = "%s/inbound/accepted/remote1.%s/messages" % (self.site.spool, self.parcel)
        with open(path, "rb") as file:
            octets = file.read()
        with open(path, "wb") as file:
            file.write(octets.replace(b"body of bad", b"body of bat").replace(b"<env@", b"<enw@"))
        self.site.once(expect=None)
        self.site.accepted_before(6 * 86400)
        shutil.rmtree(self.empty)
        os.rename(self.site.spool, self.empty)

    def fresh(self):
        shutil.rmtree(self.site.spool, ignore_errors=True)
        shutil.copytree(self.empty, self.site.spool)
        for server in (self.submit, self.resubmit):
            server.messages.clear()

    def recover(self):
        log = ""
        for _ in range(3):  # told; the digest of that run; whatever a fault put off
            self.site.set_next(-1, "inbound", "deferred")
            log += self.site.once(expect=None)
        return log

    def check(self, log, where):
        self.assertEqual(self.resubmit.taken(), [], where)
        reports, letters = [], []
        for message in self.submit.taken():
            parsed = email.message_from_bytes(message["text"], policy=email.policy.default)
            if parsed.get_content_type() == "multipart/report":
                self.assertIn("bad@domain.com", str(parsed), where)
                self.assertIn("Status: 5.3.0", str(parsed), where)
                reports.append(message["rcpts"][0])
            else:
                self.assertIn("parcel %s message 3" % self.parcel, str(parsed), where)
                letters.append(message["rcpts"][0])
        self.assertEqual(set(reports), {"RCPT TO:<bad@domain.co.uk> NOTIFY=NEVER"},
                         where + "\n" + log)
        self.assertEqual(len(set(letters)), 1, "%s: %s\n%s" % (where, letters, log))
        if len(reports) > 1:
            self.assertIn("outcome=ambiguous", log, where)
        self.assertEqual(self.site.names("peers", "remote1", "held"), [self.parcel + ".parcel"],
                         where + "\n" + log)
        for place in (("inbound", "accepted"), ("inbound", "deferred"), ("notices", "ready")):
            self.assertEqual([n for n in self.site.names(*place) if re.search("[0-9a-f]{44}", n)],
                             [], "%s: %s\n%s" % (where, "/".join(place), log))
        self.assertEqual(self.site.ledger("select count(*) from attempt"), [(0,)], where)
        self.assertEqual(self.site.ledger("select count(*), min(done) from parcel"), [(1, 1)],
                         where)
        self.assertEqual(self.site.ledger("select outcome, count(*) from recipient group by 1"),
                         [(1, 1), (2, 1)], where)

    def settle(self, told, fault, trace, where):
        log = told.stderr.decode()
        self.check(log + "--- restarted\n" + self.recover(), where)


del FaultCase  # has no tests of its own
if __name__ == "__main__":
    unittest.main()
