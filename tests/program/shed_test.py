"""What gives up first when the spool's file system fills up, by octets and by inodes: quarantine
at 10 % free, taking mail at 5 %, everything else at 1 %. Nothing is lost: the MTA keeps it."""

import os
import subprocess
import sys
import unittest

from dispatch_rig import Gateway, Smtp, item, text_of

PROGRAMS = sys.argv.pop(1)
UNSIGNED = (b"From: bsmtp@athena.domain.co.uk\nTo: bsmtp@hub.domain.com\nMIME-Version: 1.0\n"
            b"Content-Type: application/batch-smtp\nSubject: %d\n\n"
            b"EHLO x\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\nSubject: x\n\n.\nQUIT\n")


class Case(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to mount a small file system")
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.site = Gateway(PROGRAMS, self.submit.url(), "smtp://127.0.0.1:9", "",
                            {"remote1": "host = athena.domain.co.uk\nprofile = rfc2442\n"
                                        "recipient-domains = *\n"})
        self.addCleanup(self.site.close)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o",
                                  "size=20m,nr_inodes=2000,mode=0770", "none", self.site.spool],
                                 capture_output=True, check=False)
        if mounted.returncode != 0:
            self.skipTest("mounting is not allowed here: " + mounted.stderr.decode())
        self.addCleanup(subprocess.run, ["umount", "-l", self.site.spool], check=True)
        self.site.make_spool()
        os.mkdir(self.site.root + "/pgp/verify", mode=0o700)
        os.mkdir(self.site.spool + "/filler")
        self.number = 0

    def fill_octets(self, percent):
        """All but so much of the octets."""
        path = self.site.spool + "/filler/big"
        if os.path.exists(path):
            os.unlink(path)
        room = os.statvfs(self.site.spool)
        size = (room.f_bavail - room.f_blocks * percent // 100) * room.f_frsize
        with open(path, "wb") as out:
            out.write(bytes(size))

    def fill_inodes(self, percent):
        room = os.statvfs(self.site.spool)
        count = room.f_favail - room.f_files * percent // 100
        for _ in range(count):
            self.number += 1
            os.close(os.open("%s/filler/%d" % (self.site.spool, self.number), os.O_CREAT))

    def quarantines(self):
        """Whether an untrusted parcel is kept."""
        before = len(self.site.names("inbound", "quarantine"))
        self.number += 1
        done = subprocess.run([PROGRAMS + "/bsmtp-in", "--config", self.site.config, "--sender",
                               "x@y", "--", "bsmtp@hub.domain.com"], input=UNSIGNED % self.number,
                              capture_output=True, timeout=20, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return len(self.site.names("inbound", "quarantine")) > before

    def takes_mail(self):
        done = subprocess.run([PROGRAMS + "/bsmtp-out", "--config", self.site.config, "--peer",
                               "remote1", "--sender", "a@domain.com", "--",
                               "b%domain.co.uk@remote1.bsmtp.invalid"],
                              input=b"Subject: x\n\ny\n", capture_output=True, timeout=20,
                              check=False)
        self.assertIn(done.returncode, (0, 75))
        if done.returncode:
            self.assertIn(b"4.3.1", done.stdout)
        return done.returncode == 0

    def builds(self):
        before = len(self.submit.taken())
        self.site.put(item("<a@domain.com>", ["<b@x>"], text_of(1)))
        self.site.once("--flush", expect=None)
        return len(self.submit.taken()) > before

    def check_order(self, fill):
        found = {}
        for percent in (15, 8, 4):
            fill(percent)
            found[percent] = (self.quarantines(), self.takes_mail(), self.builds())
        self.assertEqual(found, {15: (True, True, True), 8: (False, True, True),
                                 4: (False, False, True)})
        self.site.put(item("<a@domain.com>", ["<b@x>"], text_of(2)))
        fill(0)
        log = self.site.once("--flush", expect=75)
        self.assertIn("no parcels are built until there is room", log)
        waiting = self.site.names("peers", "remote1", "incoming")
        self.assertEqual(len(waiting), 1)
        for name in os.listdir(self.site.spool + "/filler"):
            os.unlink(self.site.spool + "/filler/" + name)
        self.assertEqual((self.quarantines(), self.takes_mail(), self.builds()),
                         (True, True, True))
        self.assertEqual(self.site.names("peers", "remote1", "incoming"), [])

    def test_octets(self):
        self.check_order(self.fill_octets)

    def test_inodes(self):
        self.check_order(self.fill_inodes)


if __name__ == "__main__":
    unittest.main()
