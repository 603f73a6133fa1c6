"""bsmtp-out is killed at its k-th call on files and sockets, or that call fails; then the MTA does
what it must: calls again for whom it was not told "yes". Every recipient who was told so has the
message once, whole and synced; the others at least once after the repeat, and twice only where the
death or the lost answer came after the rename (docs/spool.md S2), with the same octets, which the
peer's ledger knows. Nobody is told "never"; nothing stays in tmp.
Usage: out_faults_test.py PROGRAMS [--every N] [unittest arguments]; N = 1 is the soak."""

import os
import pathlib
import shutil
import subprocess
import sys
import time
import unittest

from dispatch_rig import Gateway, Smtp, crlf
from fault_rig import FaultCase
from lmtp_support import Session
from out_support import text_of

PROGRAMS = sys.argv.pop(1)
EVERY = 9
if sys.argv[1:2] == ["--every"]:
    EVERY = int(sys.argv[2])
    del sys.argv[1:3]
PEERS = {name: "host = %s.domain.co.uk\nprofile = rfc2442\nrecipient-domains = *\n" % host
         for name, host in (("remote1", "athena"), ("remote2", "zeus"))}
SHORT = b"Received: from x by y; now\nSubject: short\n\nhello\n.dot\n"
LONG = (b"Received: from x by y; now\nSubject: long\n\n" + b"line of a longer text\n" * 9000
        + b".\n..\n")


class OutFaults(FaultCase):
    fault_at = os.path.join(os.path.dirname(PROGRAMS.rstrip("/")), "test-tools", "fault_at")
    every = EVERY

    def setUp(self):
        self.nobody = Smtp()  # its port answers no more: what the sweep finds stays in the spool
        self.nobody.close()
        self.site = Gateway(PROGRAMS, self.nobody.url(), self.nobody.url(),
                            "free-percent-enqueue = 0\n", PEERS)
        self.addCleanup(self.site.close)
        self.site.once(expect=None)
        subprocess.run([PROGRAMS + "/bsmtpctl", "--config", self.site.config, "rules", "export",
                        "--postfix", "--write"], check=True, capture_output=True, timeout=60)
        self.empty = self.site.root + "/empty"
        os.rename(self.site.spool, self.empty)
        self.below, self.log = self.site.root, self.site.root + "-calls"
        self.addCleanup(lambda: os.path.exists(self.log) and os.unlink(self.log))
        self.in_window = 0

    def fresh(self):
        shutil.rmtree(self.site.spool, ignore_errors=True)
        shutil.copytree(self.empty, self.site.spool)

    def items(self, peer):
        base = pathlib.Path(self.site.spool, "peers", peer, "incoming")
        return [text_of(path) for path in sorted(base.iterdir())]

    def left_over(self):
        return [n for peer in PEERS for n in self.site.names("peers", peer, "tmp")]

    def check_durable(self, fault, trace, peer, where):
        """"Yes" was said: the file, then the directory, were synced after the last change."""
        failed = fault.failed()
        at = {}
        for k, call in enumerate(trace.calls, 1):
            if k != failed and "/peers/%s/" % peer in call.path:
                at[call.name + call.path.split("/peers/%s/" % peer)[1].split("/")[0]] = k
        order = [at.get(step, 0) for step in ("writetmp", "fsynctmp", "renametmp", "fsyncincoming")]
        self.assertTrue(all(order) and order == sorted(order), "%s: synced? %s" % (where, at))

    def check_items(self, expected, lost_answers, where):
        """`expected`: {(peer, message): copies wanted}."""
        for peer in PEERS:
            found = self.items(peer)
            wanted = {text: n for (p, text), n in expected.items() if p == peer}
            for head, text in found:
                self.assertIn(text, wanted, "%s: changed" % where)
                self.assertEqual(found.count((head, text)), [t for _, t in found].count(text),
                                 "%s: copies differ, no ledger knows them for one" % where)
            for text, most in wanted.items():
                copies = [t for _, t in found].count(text)
                self.assertTrue(1 <= copies <= most, "%s: %d copies for %s" % (where, copies, peer))
                self.in_window += copies - 1
                if not lost_answers:
                    self.assertEqual(copies, 1, where)

    def check_swept(self, where):
        """What is left in tmp goes with the sweep, and nothing else does."""
        left = self.left_over()
        if not left:
            return
        before = [sorted(self.items(peer)) for peer in PEERS]
        old = time.time() - 2 * 86400
        for peer in PEERS:
            base = "%s/peers/%s/tmp/" % (self.site.spool, peer)
            for name in os.listdir(base):
                os.utime(base + name, (old, old))
        log = self.site.once(expect=None)
        self.assertEqual(self.left_over(), [], "%s\n%s" % (where, log))
        self.assertEqual([sorted(self.items_anywhere(peer)) for peer in PEERS], before, where)

    def items_anywhere(self, peer):
        base = pathlib.Path(self.site.spool, "peers", peer)
        return [text_of(path) for place in ("incoming/*", "*/*/items/*")
                for path in base.glob(place)]


class Pipe(OutFaults):
    RECIPIENTS = ("user%domain.co.uk@remote1.bsmtp.invalid", "b@domain.co.uk")
    text = SHORT

    def call(self, under=()):
        return subprocess.run(
            [*under, PROGRAMS + "/bsmtp-out", "--config", self.site.config, "--peer", "remote1",
             "--sender", "alice@domain.com", "--", *self.RECIPIENTS],
            input=self.text, capture_output=True, timeout=60, check=False)

    def act(self, fault):
        return self.call(self.under(fault))

    def settle(self, told, fault, trace, where):
        said = "%s\nexit %d %s" % (where, told.returncode, told.stdout)
        self.assertIn(told.returncode, (137,) if fault.kills() else (0, 75), said)
        if told.returncode == 0:
            self.check_durable(fault, trace, "remote1", said)
        elif told.returncode == 75:
            self.assertRegex(told.stdout.decode(), r"\A4\.\d+\.\d+ [^\n]+\n\Z", said)
            self.assertEqual(self.items("remote1"), [], said + ": refused and taken")
        window = fault.kills() and trace.has("rename", "/tmp/", fault.k)
        if told.returncode != 0:
            self.assertEqual(self.call().returncode, 0, where)
        self.check_items({("remote1", crlf(self.text)): 2 if window else 1}, window, said)
        if not fault.kills() and not trace[fault.k or 1].name.startswith("unlink"):
            self.assertEqual(self.left_over(), [], said)
        self.check_swept(said)


class LongPipe(Pipe):
    text = LONG


class Lmtp(OutFaults):
    """One session: a message for two peers, then one for the first of them."""
    MAILS = (
        ((("user@domain.co.uk", "remote1"), ("u%domain.net@remote2.bsmtp.invalid", "remote2")),
         SHORT),
        ((("again%domain.co.uk@remote1.bsmtp.invalid", "remote1"),), LONG))

    def call(self, wanted, under=()):
        """What became of each wanted (mail, peer): "250 ...", "4xx ...", or "" without an answer."""
        said = {}
        argv = [*under, PROGRAMS + "/bsmtp-out", "--config", self.site.config, "--lmtp"]
        with Session(argv) as session:
            try:
                session.hello()
                for n, (recipients, text) in enumerate(self.MAILS):
                    chosen = [(a, p) for a, p in recipients if (n, p) in wanted]
                    if chosen:
                        self.transaction(session, n, chosen, text, said)
                session.say("QUIT")
            except (IndexError, OSError):
                pass  # it ended
            code = session.end()
        return {key: said.get(key, "") for key in wanted}, code

    def transaction(self, session, n, chosen, text, said):
        session.send(b"MAIL FROM:<alice@domain.com>\r\n")
        first = session.reply()[-1]
        taken = []
        for address, peer in chosen:
            session.send(b"RCPT TO:<%s>\r\n" % address.encode())
            reply = session.reply()[-1]
            if not reply.startswith("250"):
                said[n, peer] = reply if first.startswith("250") else first
            if reply.startswith("250"):
                taken.append(peer)
        if not taken:
            return
        session.send(b"DATA\r\n")
        reply = session.reply()[-1]
        if not reply.startswith("354"):
            said.update({(n, peer): reply for peer in taken})
            return
        session.send(crlf(text).replace(b"\r\n.", b"\r\n..") + b".\r\n")
        for peer in taken:
            said[n, peer] = session.reply()[-1]

    ALL = ((0, "remote1"), (0, "remote2"), (1, "remote1"))

    def act(self, fault):
        return self.call(self.ALL, self.under(fault))

    def settle(self, told, fault, trace, where):
        answers, code = told
        said = "%s\nexit %d %s" % (where, code, answers)
        self.assertIn(code, (137,) if fault.kills() else (0, 75, 1), said)
        lost = fault.kills() or "socket:" in trace[fault.k or 1].path
        for (n, peer), answer in answers.items():
            self.assertRegex(answer, r"\A(250 .*|4\d\d .*|)\Z", said)
            text = crlf(self.MAILS[n][1])
            there = [t for _, t in self.items(peer)].count(text)
            if answer.startswith("250"):
                self.assertEqual(there, 1, said)
            elif not lost:  # else a 421 may stand where the answer could not be written
                self.assertEqual(there, 0, "%s: not told, but taken" % said)
        if all(a.startswith("250") for a in answers.values()):
            for peer in PEERS:
                self.check_durable(fault, trace, peer, said)
        left = [key for key, answer in answers.items() if not answer.startswith("250")]
        if left:
            again, _ = self.call(left)
            self.assertTrue(all(a.startswith("250") for a in again.values()), (said, again))
        self.check_items({(peer, crlf(self.MAILS[n][1])):
                          1 if answers[n, peer].startswith("250") or not lost else 2
                          for n, peer in self.ALL}, lost, said)
        self.check_swept(said)


del FaultCase, OutFaults  # no tests of their own
if __name__ == "__main__":
    unittest.main()
