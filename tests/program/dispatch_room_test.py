"""bsmtp-dispatch without room and without events: a full ledger, a full spool, an overflown event
queue. Mail stays where it is, the log says why and what to do, and all goes on by itself."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
import unittest

from dispatch_rig import Gateway, Smtp, item, new_id, text_of

PROGRAMS = sys.argv.pop(1)
FAULT_AT = os.path.join(os.path.dirname(PROGRAMS.rstrip("/")), "test-tools", "fault_at")
PEER = ("host = athena.domain.co.uk\nprofile = rfc2442\nrecipient-domains = *\n"
        "max-messages = %d\n")


def mail(number, size=0):
    """`size` octets that cannot be compressed by much."""
    body = "".join(random.choices("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW",
                                  k=size))
    lines = "".join(body[at:at + 72] + "\n" for at in range(0, size, 72))
    return item("<ann@domain.com>", ["<bob%s@domain.co.uk>" % number],
                "Subject: mail %s\n\n%s\n" % (number, lines))


class Case(unittest.TestCase):
    batch = 2
    settings = ""

    def setUp(self):
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.resubmit = Smtp()
        self.addCleanup(self.resubmit.close)
        self.site = Gateway(PROGRAMS, self.submit.url(), self.resubmit.url(), self.settings,
                            {"remote1": PEER % self.batch})
        self.addCleanup(self.site.close)
        self.prepare()
        self.site.make_spool()

    def prepare(self):
        pass

    def recipients(self):
        return sorted(r for m in self.resubmit.taken() for r in m["rcpts"])

    def assert_nothing_accepted_is_left(self):
        for place in ("accepted", "deferred"):
            self.assertEqual(self.site.names("inbound", place), [])


class FullLedger(Case):
    """Its file system is full for nobody else: only its writes fail, as long as `full` exists."""

    def start(self):
        try:
            self.site.start(under=[FAULT_AT, "--below", self.site.spool, "--only",
                                   "ledger.sqlite", "--while", self.full, "--error",
                                   str(errno.ENOSPC), "--"])
        except AssertionError:
            if "seccomp" in self.site.logged():
                self.skipTest("seccomp notifications are not allowed here")
            raise

    def prepare(self):
        self.full = self.site.root + "/full"

    def fill(self):
        open(self.full, "w", encoding="ascii").close()

    def make_room(self):
        os.unlink(self.full)

    def refuse_one(self, command, _):
        return "550 5.1.1 no" if command.startswith("RCPT") and "nobody" in command else None

    def deliver_with_ledger_full_from(self, moment):
        """`moment`: when the MTA sees such a command for the first time, the ledger is full."""
        begun, seen = [], []

        def script(command, session):
            if not begun and command.startswith("RCPT"):
                seen.append(command)
            if not begun and moment in command:
                begun.append(command)
                self.fill()
            return self.refuse_one(command, session)
        self.resubmit.script = script
        for n in range(0, 40, 10):
            self.site.accept([("<ann@d.co.uk>", ["<b%d@domain.com>" % i], text_of(i))
                              for i in range(n, n + 10)])
        self.site.accept([("<ann@d.co.uk>", ["<nobody@domain.com>"], text_of("x"))])
        self.start()
        self.site.wait(lambda: begun and "ledger" in self.site.logged())
        time.sleep(3)
        log = self.site.logged()
        self.assertRegex(log, r"alarm .*ledger\.sqlite: .*make room on its file system")
        self.assertLessEqual(log.count(": alarm "), 2, "not every worker every second\n" + log)
        # Those that had been begun; of each of 4 connections one more, and the four noted ahead.
        self.assertLessEqual(len(self.resubmit.taken()), len(seen) + 4 * 5)
        reports = len(self.submit.taken())
        self.assertLessEqual(reports, 1)
        self.make_room()
        self.site.wait(lambda: len(set(self.recipients())) == 40 and len(self.submit.taken()) == 1
                       and not self.site.names("inbound", "accepted")
                       and not self.site.names("inbound", "deferred"), 60)
        self.assertEqual(self.site.stop(), 0)
        self.site.once()
        self.assertEqual(self.recipients(),
                         sorted("RCPT TO:<b%d@domain.com>" % n for n in range(40)))
        self.assertEqual(len(self.submit.taken()), 1)
        self.assertNotIn("ambiguous", self.site.logged())
        self.assert_nothing_accepted_is_left()
        self.assertEqual(self.site.ledger("select count(*) from attempt"), [(0,)])

    def test_full_before_the_first_message(self):
        self.deliver_with_ledger_full_from("EHLO")

    def test_full_while_messages_are_handed_over(self):
        self.deliver_with_ledger_full_from("<b15@")

    def test_full_when_the_program_starts(self):
        self.fill()
        self.site.accept([("<ann@d.co.uk>", ["<b@domain.com>"], text_of(1))])
        self.start()
        self.site.wait(lambda: "free space of its directory" in self.site.logged())
        self.assertEqual(self.resubmit.taken(), [])
        self.make_room()
        self.site.wait(lambda: len(self.resubmit.taken()) == 1)
        self.assertEqual(self.site.stop(), 0)
        self.site.once()
        self.assertEqual(len(self.resubmit.taken()), 1)
        self.assert_nothing_accepted_is_left()

    def test_a_notice_is_not_sent_while_its_sending_cannot_be_noted(self):
        self.fill()
        name = new_id()
        with open(self.site.spool + "/notices/ready/" + name, "wb") as out:
            out.write(item("<>", ["<n@domain.com>"], text_of(1)))
        self.start()
        time.sleep(3)
        self.assertLessEqual(len(self.submit.taken()), 1)
        self.make_room()
        self.site.wait(lambda: not self.site.names("notices", "ready"))
        self.assertEqual(self.site.stop(), 0)
        self.assertEqual(len(self.submit.taken()), 1)


class FullSpool(Case):
    """The spool on a file system of 6 MiB."""

    def prepare(self):
        self.filler = None
        if os.geteuid() != 0:
            self.skipTest("needs root to mount a small file system")
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=0770", "none",
                                  self.site.spool], capture_output=True, check=False)
        if mounted.returncode != 0:
            self.skipTest("mounting is not allowed here: " + mounted.stderr.decode())
        self.addCleanup(subprocess.run, ["umount", "-l", self.site.spool], check=True)

    def fill(self, leave):
        """All but `leave` octets."""
        room = os.statvfs(self.site.spool)
        with open(self.site.spool + "/filler", "wb") as out:
            out.write(bytes(room.f_bavail * room.f_frsize - leave))

    def make_room(self):
        os.unlink(self.site.spool + "/filler")

    def waiting(self):
        return self.site.names("peers", "remote1", "incoming")

    def assert_nothing_half_built(self):
        for stage in ("building", "ready"):
            self.assertEqual(self.site.names("peers", "remote1", stage), [])
        self.assertEqual(self.site.names("peers", "remote1", "tmp"), [])

    def sent(self):
        return len(self.site.names("peers", "remote1", "sent"))

    def test_below_free_percent_dispatch_nothing_is_built(self):
        names = sorted(self.site.put(mail(n)) for n in range(2))
        self.fill(16 * 1024)
        log = self.site.once(expect=75)
        self.assertRegex(log, r"spool: alarm .*no parcels are built until there is room")
        self.assertEqual(self.waiting(), names)
        self.assert_nothing_half_built()
        # Its sign of life cannot be written either, so that bsmtp-out stops taking mail in time.
        self.site.begin()
        self.site.wait(lambda: self.site.logged().count("no parcels are built") == 2)
        time.sleep(2.5)
        self.assertEqual(self.waiting(), names)
        self.assertEqual(self.site.logged().count("no parcels are built"), 2, "once a process")
        self.make_room()
        self.site.wait(lambda: self.sent() == 1)
        self.assertEqual(self.site.stop(), 0)
        self.assertEqual(len(self.submit.taken()), 1)
        self.assertEqual(self.waiting(), [])

    def test_no_space_in_mid_parcel_leaves_nothing_half_built(self):
        names = sorted(self.site.put(mail(n, 700000)) for n in range(2))
        self.fill(400 * 1024)
        log = self.site.once(expect=75)
        self.assertRegex(log, r"remote1: alarm .*no parcel can be built .*[Nn]o space")
        self.assertEqual(self.waiting(), names)
        self.assert_nothing_half_built()
        self.site.start()
        time.sleep(2.5)
        self.assertEqual(self.submit.taken(), [])
        self.make_room()
        self.site.wait(lambda: self.sent() == 1)
        self.assertEqual(self.site.stop(), 0)
        self.assertEqual(len(self.submit.taken()), 1)
        self.assertEqual(self.waiting(), [])
        self.assert_nothing_half_built()

    def test_not_one_octet_free(self):
        names = sorted(self.site.put(mail(n)) for n in range(2))
        self.site.accept([("<ann@d.co.uk>", ["<b%d@domain.com>" % n], text_of(n))
                          for n in range(5)])
        self.fill(0)
        log = self.site.once(expect=75)
        self.assertIn("make room", log)
        self.assertEqual(self.waiting(), names)
        self.assertEqual(self.resubmit.taken(), [])
        self.make_room()
        self.site.once()
        self.assertEqual(len(self.recipients()), 5)
        self.assertEqual(len(self.submit.taken()), 1)
        self.assert_nothing_accepted_is_left()

    def agent(self, octets):
        return subprocess.run([PROGRAMS + "/bsmtp-out", "--config", self.site.config, "--peer",
                               "remote1", "--sender", "ann@domain.com", "--",
                               "bob%domain.co.uk@remote1.bsmtp.invalid"], input=octets,
                              capture_output=True, timeout=20, check=False)

    def test_agent_answers_75_while_there_is_no_room(self):
        self.site.once()
        message = b"Subject: x\n\n" + b"text\n" * 40000
        for leave in (100 * 1024, 0):
            self.fill(leave)
            done = self.agent(message)
            self.assertEqual(done.returncode, 75, done.stdout)
            self.assertIn(b"4.3.1", done.stdout)
            self.assertEqual(self.waiting(), [])
            self.assertEqual(self.site.names("peers", "remote1", "tmp"), [])
            self.make_room()
        self.assertEqual(self.agent(message).returncode, 0)
        self.assertEqual(len(self.waiting()), 1)


class LostEvents(Case):
    def overflow(self):
        """More events than the kernel keeps, of names that mean nothing."""
        with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as f:
            most = int(f.read())
        if most > 300000:
            self.skipTest("fs.inotify.max_queued_events is %d" % most)
        for n in range(most // 2 + 100):  # created and deleted
            path = "%s/peers/remote1/junk%d" % (self.site.spool, n)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            os.unlink(path)

    def test_what_arrived_meanwhile_is_found(self):
        self.site.start()
        self.site.process.send_signal(signal.SIGSTOP)
        self.overflow()
        for n in range(4):
            self.site.put(mail(n))
        self.site.accept([("<ann@d.co.uk>", ["<b@domain.com>"], text_of(1))])
        with open(self.site.spool + "/notices/ready/" + new_id(), "wb") as out:
            out.write(item("<>", ["<n@domain.com>"], text_of(2)))
        self.site.process.send_signal(signal.SIGCONT)
        self.site.wait(lambda: len(self.submit.taken()) == 3 and len(self.resubmit.taken()) == 1)
        self.assertEqual(self.site.stop(), 0)
        self.assertEqual(self.site.names("peers", "remote1", "incoming"), [])
        self.assertEqual(len(self.site.names("peers", "remote1", "sent")), 2)
        self.assert_nothing_accepted_is_left()

    def test_a_request_to_flush_is_found(self):
        self.site.put(mail(1))
        self.site.start()
        self.site.process.send_signal(signal.SIGSTOP)
        self.overflow()
        open(self.site.spool + "/peers/remote1/flush", "w", encoding="ascii").close()
        self.site.process.send_signal(signal.SIGCONT)
        self.site.wait(lambda: len(self.submit.taken()) == 1)
        self.assertEqual(self.site.stop(), 0)

    def test_what_left_meanwhile_is_not_built_again(self):
        name = self.site.put(mail(1))
        self.site.start()
        self.site.process.send_signal(signal.SIGSTOP)
        self.overflow()
        os.unlink("%s/peers/remote1/incoming/%s" % (self.site.spool, name))
        self.site.put(mail(2))
        self.site.process.send_signal(signal.SIGCONT)
        time.sleep(2)
        self.assertEqual(self.submit.taken(), [], "one waits, two make a batch")
        self.site.put(mail(3))
        self.site.wait(lambda: len(self.submit.taken()) == 1)
        self.assertEqual(self.site.stop(), 0)


if __name__ == "__main__":
    unittest.main()
