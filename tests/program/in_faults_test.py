"""bsmtp-in is killed at its k-th call on files and sockets, gpg's included, or that call fails, or
a child of it is killed; then the MTA does what it must: sends again what it was not told "yes" for.
Whatever happened, bsmtp-dispatch then delivers every message of a parcel once and unchanged, a
bounce is kept whole, a parcel not to be trusted lies in quarantine once; a good one never does, and
nobody is told "never". "Yes" was said only after a sync; nothing stays in tmp.
Usage: in_faults_test.py PROGRAMS [--every N] [unittest arguments]; N = 1 is the soak."""

import errno
import os
import shutil
import subprocess
import sys
import time
import unittest

import gateway
from dispatch_rig import Smtp
from fault_rig import Fault, FaultCase, Trace
from lmtp_support import Session

PROGRAMS = sys.argv.pop(1)
EVERY = 200
if sys.argv[1:2] == ["--every"]:
    EVERY = int(sys.argv[2])
    del sys.argv[1:3]
RETURN = "bsmtp+c0ffee@" + gateway.HOST
BOUNCE = b"From: MAILER-DAEMON\r\nSubject: failed\r\n\r\nsorry\r\n"


def texts(*words):
    return {gateway.crlf("Subject: %s\n\nbody of %s\n.dot\n" % (word, word)): word
            for word in words}


def parcel_of(site, *words):
    return site.parcel([gateway.message("%s@domain.com" % word, ["bob@domain.co.uk"],
                                        "body of %s\r\n.dot\r\n" % word, "Subject: %s\r\n" % word)
                        for word in words])


class InFaults(FaultCase):
    fault_at = os.path.join(os.path.dirname(PROGRAMS.rstrip("/")), "test-tools", "fault_at")
    every = EVERY
    words, bounces, untrusted = (), 0, 0  # what must be there in the end

    def setUp(self):
        self.resubmit, self.nobody = Smtp(), Smtp()
        self.addCleanup(self.resubmit.close)
        self.nobody.close()
        self.site = gateway.Site(
            PROGRAMS, "retry-initial = 1s\nretry-maximum = 1s\nsubmit = %s\nresubmit = %s\n"
            "free-percent-quarantine = 0\nfree-percent-dispatch = 0\nagent-deadline = 5s\n"
            % (self.nobody.url(), self.resubmit.url()))
        self.addCleanup(self.site.close)
        self.prepare()
        self.below, self.log = self.site.root, self.site.root + "-calls"
        self.addCleanup(lambda: os.path.exists(self.log) and os.unlink(self.log))
        self.empty = self.site.root + "-empty"
        self.addCleanup(shutil.rmtree, self.empty, True)
        subprocess.run(["gpgconf", "--homedir", self.site.pgp + "/verify", "--kill", "gpg-agent"],
                       check=False, capture_output=True, timeout=60)
        for place in ("spool", "pgp"):
            shutil.copytree(self.site.root + "/" + place, self.empty + "/" + place,
                            ignore=shutil.ignore_patterns("S.*"))

    def prepare(self):
        """Makes the mails."""

    def fresh(self):
        for place in ("spool", "pgp"):
            shutil.rmtree(self.site.root + "/" + place, ignore_errors=True)
            shutil.copytree(self.empty + "/" + place, self.site.root + "/" + place)
        self.resubmit.messages.clear()

    def check_durable(self, target, fault, trace, where):
        """"Yes" was said: something was renamed there after a sync, and synced there again."""
        failed = fault.failed()
        synced = renamed = done = 0
        for k, call in enumerate(trace.calls, 1):
            if k == failed:
                continue
            if call.name in ("fsync", "fdatasync", "syncfs") and "/inbound/tmp" in call.path:
                synced = k
            if call.name.startswith("rename") and "/inbound/tmp/" in call.path:
                renamed = k
            if call.name == "fsync" and call.path.endswith("/inbound/" + target):
                done = k
        self.assertTrue(0 < synced < renamed < done,
                        "%s: sync %d, rename %d, sync %d" % (where, synced, renamed, done))

    def check_end(self, where):
        """Delivers and counts, after the MTA has done its part."""
        self.age_tmp()
        done = self.site.dispatch_once(check=False)
        where += "\n" + done.stderr.decode()
        wanted = texts(*self.words)
        got = []
        for message in self.resubmit.taken():
            at = message["text"].find(b"Subject: ")
            self.assertIn(message["text"][at:], wanted, where + ": changed")
            got.append(wanted[message["text"][at:]])
        self.assertEqual(sorted(got), sorted(self.words), where)
        self.assertEqual(self.left_over(), [], where)
        self.assertEqual(self.site.accepted(), [], where)
        kept = os.listdir(self.site.spool + "/inbound/quarantine")
        entries = [name for name in kept if len(name) == 44]
        self.assertEqual(len(entries), self.untrusted, "%s: quarantine %s" % (where, kept))

    def left_over(self):
        return self.site.leftovers()

    def age_tmp(self):
        old = time.time() - 2 * 86400
        base = self.site.spool + "/inbound/tmp"
        for name in os.listdir(base):
            os.utime(base + "/" + name, (old, old))

    def check_tidy(self, fault, trace, said):
        """A program that lived took its files away, unless taking away was what failed."""
        failed = trace[fault.k] if fault.k else None
        if not fault.kills() and (not failed or failed.name not in
                                  ("unlink", "unlinkat", "rmdir", "openat", "getdents64", "close",
                                   "newfstatat")):
            self.assertEqual(self.left_over(), [], said)

    def test_child_killed(self):
        self.run_all("--kill-caller")


class Pipe(InFaults):
    words = ("ann", "ben", "cleo")
    recipient, target = gateway.ADDRESS, "accepted"

    def prepare(self):
        self.mail = parcel_of(self.site, *self.words)

    def call(self, under=()):
        return subprocess.run(
            [*under, PROGRAMS + "/bsmtp-in", "--config", self.site.config, "--queue-id", "4Q1",
             "--sender", "bsmtp+t@" + gateway.PEER_HOST, "--", self.recipient],
            input=self.mail, capture_output=True, timeout=60, check=False)

    def act(self, fault):
        return self.call(self.under(fault))

    def settle(self, told, fault, trace, where):
        said = "%s\nexit %d %s\n%s" % (where, told.returncode, told.stdout, told.stderr.decode())
        allowed = {"": (0,), "--fail": (0, 75), "--kill": (137,), "--kill-caller": (0, 75, 137)}
        self.assertIn(told.returncode, allowed[fault.option], said)
        if told.returncode == 0:
            self.check_durable(self.target, fault, trace, said)
        elif told.returncode == 75:
            self.assertRegex(told.stdout.decode(), r"\A4\.\d+\.\d+ [^\n]+\n\Z", said)
        if told.returncode != 137:
            self.check_tidy(fault, trace, said)
        if told.returncode != 0:
            again = self.call()
            self.assertEqual(again.returncode, 0, "%s\n%s" % (said, again.stdout))
        self.check_kept(told.returncode, said)
        self.check_end(said)

    def check_kept(self, code, where):
        pass

    def test_key_ring_that_cannot_be_read_for_a_moment(self):
        """gpg calls the key unknown then, or says nothing; neither is a word about the parcel."""
        if not self.words:
            return
        self.run_one(Fault())
        at = [k for k, call in enumerate(Trace(self.log).calls, 1)
              if call.path.endswith("/pubring.kbx") and call.name in ("access", "openat")]
        for k in at[-2:]:  # of gpg --verify, the last to be started
            for fault in (Fault("--fail", k, errno.EIO), Fault("--kill-caller", k)):
                with self.subTest(str(fault)):
                    self.assertTrue(self.run_one(fault))

    def test_a_gpg_that_hangs_leaves_nothing_at_the_deadline(self):
        if not self.words:
            return
        with open(self.site.config, encoding="ascii") as config:
            text = config.read().replace("agent-deadline = 5s", "agent-deadline = 2s")
        with open(self.site.config, "w", encoding="ascii") as config:
            config.write(text)
        self.run_one(Fault())
        at = [k for k, call in enumerate(Trace(self.log).calls, 1)
              if call.path.endswith("/gpg.conf") and call.name == "read"]
        self.fresh()
        told = self.act(Fault("--fail", at[-1], errno.EIO))  # which it reads for ever
        self.assertEqual(told.returncode, 75)
        self.assertIn(b"not done within 2 s", told.stdout)
        self.assertEqual(self.left_over(), [])


class Untrusted(Pipe):
    words, untrusted, target = (), 1, "quarantine"

    def prepare(self):
        mail = bytearray(parcel_of(self.site, "ann", "ben"))
        at = mail.index(b"H4sI") + 60
        mail[at] = ord("A") if mail[at] != ord("A") else ord("B")
        self.mail = bytes(mail)

    def check_durable(self, target, fault, trace, where):
        pass  # docs/spool.md promises nothing for what is not trusted


class Bounce(Pipe):
    words, bounces = (), 1
    recipient, target = RETURN, "returns"

    def prepare(self):
        self.mail = BOUNCE

    test_child_killed = None  # there is none

    def check_kept(self, code, where):
        base = self.site.spool + "/inbound/returns/"
        kept = os.listdir(base)
        self.assertTrue(1 <= len(kept) <= (1 if code in (0, 75) else 2), "%s: %s" % (where, kept))
        for name in kept:
            with open(base + name, "rb") as found:
                self.assertEqual(found.read(), b"MAIL FROM:<bsmtp+t@%s>\r\nRCPT TO:<%s>\r\nDATA\r\n"
                                 b"%s.\r\n" % (gateway.PEER_HOST.encode(), RETURN.encode(), BOUNCE)
                                 , where)


class Lmtp(InFaults):
    """One session: a parcel, a bounce, and a second parcel."""
    words = ("ann", "ben", "cleo")
    bounces = 1

    def prepare(self):
        self.mails = ((gateway.ADDRESS, parcel_of(self.site, "ann", "ben")), (RETURN, BOUNCE),
                      (gateway.ADDRESS, parcel_of(self.site, "cleo")))

    def call(self, wanted, under=()):
        """What became of each wanted mail: "250 ...", "4xx ...", or "" without an answer."""
        said = dict.fromkeys(wanted, "")
        argv = [*under, PROGRAMS + "/bsmtp-in", "--config", self.site.config, "--lmtp"]
        with Session(argv) as session:
            try:
                session.hello()
                for n in wanted:
                    address, text = self.mails[n]
                    commands = (b"MAIL FROM:<>\r\n", b"RCPT TO:<%s>\r\n" % address.encode(),
                                b"DATA\r\n", text.replace(b"\r\n.", b"\r\n..") + b".\r\n")
                    for command in commands:
                        session.send(command)
                        reply = session.reply()[-1]
                        if not reply.startswith(("2", "354")):
                            said[n] = reply
                            break
                        if command is commands[-1]:
                            said[n] = reply
                session.say("QUIT")
            except (IndexError, OSError):
                pass  # it ended
            code = session.end()
        return said, code

    def act(self, fault):
        return self.call((0, 1, 2), self.under(fault))

    def settle(self, told, fault, trace, where):
        answers, code = told
        said = "%s\nexit %d %s" % (where, code, answers)
        allowed = {"": (0,), "--fail": (0, 75, 1), "--kill": (137,),
                   "--kill-caller": (0, 75, 1, 137)}
        self.assertIn(code, allowed[fault.option], said)
        for answer in answers.values():
            self.assertRegex(answer, r"\A(250 .*|4\d\d .*|)\Z", said)
        if answers[2].startswith("250"):
            self.check_durable("accepted", fault, trace, said)
        if code != 137:
            self.check_tidy(fault, trace, said)
        left = [n for n, answer in answers.items() if not answer.startswith("250")]
        if left:
            again, _ = self.call(left)
            self.assertTrue(all(a.startswith("250") for a in again.values()), (said, again))
        kept = len(os.listdir(self.site.spool + "/inbound/returns"))
        self.assertTrue(kept == 1 or (kept == 2 and 1 in left), "%s: %d bounces" % (said, kept))
        self.check_end(said)


del FaultCase, InFaults  # no tests of their own
if __name__ == "__main__":
    unittest.main()
