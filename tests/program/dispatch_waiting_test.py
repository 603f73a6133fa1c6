"""10^5 messages wait for one peer: the other peers' mail does not wait for them, one more costs as
much as the first, and memory does not grow. Gates on counts and resident memory, not on time."""

import collections
import os
import re
import subprocess
import sys
import time
import unittest

from dispatch_rig import Gateway, Smtp, item, new_id, text_of

PROGRAMS = sys.argv.pop(1)
WAITING = int(os.environ.get("BSMTP_WAITING", "100000"))
PEERS = {  # in the order in which they are read
    "big": "host = big.example\nprofile = rfc2442\nrecipient-domains = *\n"
           "max-messages = 10000\nmax-bytes = 1G\nmax-age = 7d\nmax-unacked = 1\n",
    "small": "host = small.example\nprofile = rfc2442\nrecipient-domains = *\nmax-messages = 1\n"}


def mail(number):
    return item("<ann@domain.com>", ["<bob%s@domain.co.uk>" % number], text_of(number))


class Waiting(unittest.TestCase):
    def setUp(self):
        if subprocess.run(["which", "strace"], capture_output=True, check=False).returncode != 0:
            self.skipTest("strace is not installed")
        self.submit = Smtp(lambda command, _: "451 4.3.0 later" if "@big." in command else None)
        self.addCleanup(self.submit.close)
        self.site = Gateway(PROGRAMS, self.submit.url(), "smtp://127.0.0.1:9", "", PEERS)
        self.addCleanup(self.site.close)
        self.site.make_spool()
        # One parcel that the MTA does not take: all others wait unbuilt.
        self.site.put(mail("first"), peer="big")
        self.site.once("--flush")
        self.assertEqual(len(self.site.names("peers", "big", "ready")), 1)
        incoming = self.site.spool + "/peers/big/incoming/"
        now = time.time() - 3600
        for n in range(WAITING):
            if n % 20000 == 0:  # a file has 65,000 names at most
                one = incoming + self.site.put(mail(n), peer="big", when=now)
            else:
                os.link(one, incoming + new_id(now + n / 1000))
        self.trace = self.site.root + "/trace"

    def calls(self):
        """Call -> directory of its path, or what its descriptor is -> count."""
        counts = collections.defaultdict(collections.Counter)
        with open(self.trace, encoding="ascii", errors="replace") as f:
            for line in f:
                found = (re.search(r'(\w+)\(.*?"([^"]*)/[^/"]*"', line)
                         or re.search(r"(\w+)\(\d+<([^>]*)", line))
                if found:
                    counts[found.group(1)][found.group(2)[len(self.site.spool) + 1:]] += 1
        return counts

    def resident(self, process):
        with open("/proc/%d/status" % process.pid, encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))

    def small_peer_has_sent(self):
        return self.site.names("peers", "small", "sent") != []

    def test_a_small_peer_does_not_wait_for_the_scan(self):
        self.site.put(mail("s"), peer="small")
        self.site.begin(under=["strace", "-f", "-y", "--seccomp-bpf", "-e",
                               "trace=newfstatat,mkdir,mkdirat", "-o", self.trace])
        self.site.wait(self.small_peer_has_sent, 60)
        strace, self.site.process = self.site.process, None
        children = "/proc/%d/task/%d/children" % (strace.pid, strace.pid)
        with open(children, encoding="ascii") as f:
            os.kill(int(f.read().split()[0]), 9)
        strace.wait()
        seen = 0
        with open(self.trace, encoding="ascii", errors="replace") as f:
            for line in f:
                if "newfstatat" in line and "/big/incoming/" in line:
                    seen += 1
                # A worker has begun with it. How long the disk then takes to sync is another matter.
                if "mkdir" in line and "/small/building/" in line:
                    break
            else:
                self.fail("the small peer's item was not taken into a parcel")
        print("%d of %d items looked at before the small peer's was begun with" % (seen, WAITING))
        self.assertLess(seen, 5000)

    def test_one_more_costs_as_much_as_the_first(self):
        process = self.site.start()
        self.site.put(mail("warm"), peer="small")
        self.site.wait(self.small_peer_has_sent)
        before = 0
        while self.resident(process) != before:  # the scan goes on beside all else
            before = self.resident(process)
            time.sleep(0.5)
        tracer = subprocess.Popen(["strace", "-f", "-y", "-e",
                                   "trace=getdents64,newfstatat,statx,openat", "-o",
                                   self.trace, "-p", str(process.pid)], stderr=subprocess.PIPE)
        tracer.stderr.readline()  # attached
        added = 50
        for n in range(added):
            self.site.put(mail(n), peer="big")
            time.sleep(0.02)
        self.site.put(mail("s"), peer="small")
        self.site.wait(lambda: len(self.site.names("peers", "small", "sent")) == 2)
        time.sleep(0.5)
        tracer.terminate()
        tracer.wait()
        tracer.stderr.close()
        after = self.resident(process)
        counts = self.calls()
        looked = counts["newfstatat"]["peers/big/incoming"]
        print("%d waiting: %d looks, resident %d KiB, afterwards %d KiB, read: %s"
              % (WAITING, looked, before, after, dict(counts["getdents64"])))
        self.assertEqual(counts["getdents64"]["peers/big/incoming"], 0)
        self.assertTrue(added <= looked <= 2 * added, "one look for each that arrived: %d" % looked)
        self.assertLess(after - before, 2048)
        self.assertLess(after, 20480 + WAITING * 300 // 1024)
        self.assertEqual(self.site.stop(), 0)

    @unittest.skipUnless(os.environ.get("BSMTP_SOAK"), "in tests/soak/dispatch_waiting")
    def test_all_leave_without_reading_the_directory_again(self):
        process = self.site.start()
        tracer = subprocess.Popen(["strace", "-f", "-y", "--seccomp-bpf", "-e",
                                   "trace=getdents64", "-o", self.trace, "-p", str(process.pid)],
                                  stderr=subprocess.PIPE)
        tracer.stderr.readline()
        self.submit.script = lambda command, _: None
        open(self.site.spool + "/peers/big/flush", "w", encoding="ascii").close()
        self.site.wait(lambda: len(self.site.names("peers", "big", "sent")) > WAITING // 10000, 900)
        tracer.terminate()
        tracer.wait()
        tracer.stderr.close()
        self.assertEqual(self.calls()["getdents64"]["peers/big/incoming"], 0)
        self.assertEqual(self.site.names("peers", "big", "incoming"), [])
        print("resident %d KiB at the end" % self.resident(process))
        self.assertEqual(self.site.stop(), 0)


if __name__ == "__main__":
    unittest.main()
