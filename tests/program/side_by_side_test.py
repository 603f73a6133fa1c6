"""Several programs on one spool by accident: two dispatchers, a dispatcher and bsmtpctl, a program
of another release. None hurts another; each message goes once."""

import email
import os
import re
import subprocess
import sys
import threading
import time
import unittest

from dispatch_rig import Gateway, Smtp, item, text_of

PROGRAMS = sys.argv.pop(1)


class Case(unittest.TestCase):
    peer = "max-messages = 5\nmax-age = 1s\n"

    def setUp(self):
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.resubmit = Smtp()
        self.addCleanup(self.resubmit.close)
        self.site = Gateway(PROGRAMS, self.submit.url(), self.resubmit.url(),
                            "submit-connections = 4\nheartbeat = 1s\n",
                            {"remote1": "host = athena.domain.co.uk\nprofile = rfc2442\n"
                                        "recipient-domains = *\n" + self.peer})
        self.addCleanup(self.site.close)
        self.site.make_spool()

    def put(self, count, first=0):
        for n in range(first, first + count):
            self.site.put(item("<ann@domain.com>", ["<bob%d@domain.co.uk>" % n], text_of(n)))

    def ctl(self, *args):
        return subprocess.run([PROGRAMS + "/bsmtpctl", "--config", self.site.config, *args],
                              capture_output=True, check=False, timeout=30)

    def sent(self):
        out = []
        for m in self.submit.taken():
            if "bsmtp+" in m["mail"]:
                batch = email.message_from_bytes(m["text"]).get_payload(decode=True)
                out += re.findall(rb"(?m)^RCPT TO:<bob(\d+)@", batch)
        return sorted(int(n) for n in out)


class Two(Case):
    def second(self):
        log = open(self.site.root + "/log2", "ab")
        self.addCleanup(log.close)
        process = subprocess.Popen(self.site.argv(), stderr=log, stdout=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_two_dispatchers_send_and_deliver_each_message_once(self):
        self.submit.script = lambda command, _: time.sleep(0.01) if command == "<text>" else None
        self.site.start()
        other = self.second()
        for n in range(0, 100, 10):
            self.put(10, n)
            self.site.accept([("<a@d.co.uk>", ["<r%d@domain.com>" % k], text_of("in%d" % k))
                              for k in range(n, n + 10)])
        self.site.wait(lambda: self.sent() == list(range(100)))
        self.site.wait(lambda: len(self.resubmit.taken()) >= 100
                       and not self.site.names("inbound", "accepted"))
        self.assertEqual(self.site.stop(), 0)
        other.terminate()
        self.assertEqual(other.wait(60), 0)
        self.assertEqual(self.sent(), list(range(100)))
        got = [r for m in self.resubmit.taken() for r in m["rcpts"]]
        with open(self.site.root + "/log2", encoding="utf-8", errors="replace") as text:
            ambiguous = (text.read() + self.site.logged()).count("outcome=ambiguous")
        self.assertEqual(len(set(got)), 100)
        self.assertLessEqual(len(got) - 100, ambiguous)
        self.assertEqual(self.site.names("inbound", "deferred"), [])

    def test_bsmtpctl_beside_a_dispatcher_changes_nothing(self):
        self.site.start()
        stop = threading.Event()
        codes = set()

        def look():
            while not stop.is_set():
                for words in (["status"], ["parcel", "list"], ["queue", "list"],
                              ["queue", "flush"], ["spool", "create"]):
                    codes.add((words[0], self.ctl(*words).returncode))
        thread = threading.Thread(target=look)
        thread.start()
        self.put(40)
        self.site.wait(lambda: self.sent() == list(range(40)))
        stop.set()
        thread.join()
        self.assertEqual(self.site.stop(), 0)
        self.assertEqual(self.sent(), list(range(40)))
        self.assertEqual({code for word, code in codes}, {0})


class Releases(Case):
    def test_a_spool_of_another_version_is_left_alone_by_every_program(self):
        self.put(1)
        with open(self.site.spool + "/VERSION", "w", encoding="ascii") as out:
            out.write("bsmtp-spool 2\n")
        log = self.site.once("--flush", expect=75)
        self.assertIn("spool version is 'bsmtp-spool 2'", log)
        done = self.ctl("queue", "list")
        self.assertEqual(done.returncode, 75)
        self.assertIn(b"finish the old queue with the release that wrote it", done.stderr)
        agents = (["bsmtp-out", "--peer", "remote1", "--sender", "a@b", "--",
                   "b%x@remote1.bsmtp.invalid"],
                  ["bsmtp-in", "--sender", "a@b", "--", "bsmtp@hub.domain.com"])
        for program, *args in agents:
            done = subprocess.run([PROGRAMS + "/" + program, "--config", self.site.config, *args],
                                  input=b"Content-Type: application/batch-smtp\n\nx\n",
                                  capture_output=True, check=False, timeout=20)
            self.assertEqual(done.returncode, 75, program)
            self.assertIn(b"4.3.5", done.stdout)
        self.assertEqual(len(self.site.names("peers", "remote1", "incoming")), 1)

    def test_keys_of_a_newer_release_stay_in_the_state(self):
        self.submit.script = lambda command, _: "450 4.2.1 no" if "RCPT" in command else None
        self.put(1)
        self.site.once("--flush")
        parcel, = self.site.names("peers", "remote1", "ready")
        path = "%s/peers/remote1/ready/%s/state" % (self.site.spool, parcel)
        with open(path, "a", encoding="ascii") as out:
            out.write("of-tomorrow: 42\n")
        self.submit.script = lambda command, _: None
        self.site.set_next(-1, "peers", "remote1", "ready")
        self.site.once()
        with open(path.replace("/ready/", "/sent/"), encoding="ascii") as text:
            self.assertIn("of-tomorrow: 42\n", text.read())

    def test_stale_temporary_files_are_swept_by_age(self):
        old = time.time() - 2 * 86400
        places = ("peers/remote1/tmp", "inbound/tmp", "notices/tmp")
        for place in places:
            for name, age in (("old", old), ("new", time.time())):
                path = "%s/%s/%s" % (self.site.spool, place, name)
                with open(path, "w", encoding="ascii") as out:
                    out.write("x")
                os.utime(path, (age, age))
            os.makedirs("%s/%s/dir/below" % (self.site.spool, place))
            os.utime("%s/%s/dir" % (self.site.spool, place), (old, old))
        self.site.once()
        for place in places:
            self.assertEqual(self.site.names(place), ["new"], place)


if __name__ == "__main__":
    unittest.main()
