#!/usr/bin/python3
"""The order in which bsmtp-dispatch touches disk and host MTA: no text leaves before the note that
it is under way is on disk, and the next commands share the segment of the end of a text.
Usage: dispatch_order_test.py BIN-DIRECTORY; exit 77 where strace may not trace."""
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

from dispatch_rig import Gateway, Smtp, text_of

PROGRAMS = sys.argv.pop(1)
NOTED_AHEAD = 4
MESSAGES = 40


class Order(unittest.TestCase):
    def setUp(self):
        self.resubmit = Smtp()
        self.addCleanup(self.resubmit.close)
        self.site = Gateway(PROGRAMS, "smtp://127.0.0.1:9", self.resubmit.url(),
                            "resubmit-connections = 1\n")
        self.addCleanup(self.site.close)
        self.site.make_spool()

    def trace(self):
        """Events of delivering MESSAGES over one connection: "text", "dot and more", "sync"."""
        self.site.accept([("<s%d@d.co.uk>" % n, ["<r%d@domain.com>" % n], text_of(n))
                          for n in range(MESSAGES)])
        out = self.site.spool + "/strace"
        self.site.begin("--once", under=["strace", "-f", "-y", "-s", "100000", "-e",
                                         "trace=fdatasync,sendto", "-o", out])
        process, self.site.process = self.site.process, None
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(len(self.resubmit.taken()), MESSAGES)
        events = []
        with open(out, encoding="latin-1") as lines:
            for line in lines:
                if "fdatasync(" in line and "ledger.sqlite-wal" in line:
                    events.append("sync")
                elif re.search(r'sendto\([^"]*"Received: ', line):
                    events.append("text and more" if r"\r\n.\r\nMAIL FROM:" in line else "text")
        return events

    def test_notes_are_on_disk_before_texts(self):
        events = self.trace()
        texts = [event for event in events if event.startswith("text")]
        self.assertEqual(len(texts), MESSAGES)
        self.assertIn("sync", events[:events.index(texts[0])], "a text without any note on disk")
        between = 0
        for event in events:
            between = 0 if event == "sync" else between + 1
            self.assertLessEqual(between, NOTED_AHEAD + 1, "texts since the last sync")

    def test_the_next_messages_commands_leave_with_the_end_of_this_one(self):
        events = self.trace()
        self.assertGreaterEqual(events.count("text and more"), MESSAGES - 2)

    def test_a_parcel_that_comes_meanwhile_leaves_no_message_open(self):
        opened = []

        def script(command, _):
            if command.startswith("DATA"):
                self.data += 1
                if self.data == 2:
                    self.site.accept([("<t%d@d.co.uk>" % n, ["<r@domain.com>"], text_of(1000 + n))
                                      for n in range(3 * MESSAGES)])
                    time.sleep(0.5)  # the keeper opens it
                opened.append(self.messages_open())

        self.data = 0
        self.resubmit.script = script
        self.site.accept([("<s%d@d.co.uk>" % n, ["<r@domain.com>"], text_of(n)) for n in range(3)])
        self.site.start()
        self.site.wait(lambda: len(self.resubmit.taken()) == 3 * MESSAGES + 3, 60)
        self.assertEqual(self.site.stop(), 0)
        self.assertLess(max(opened), 30)

    def messages_open(self):
        directory = "/proc/%d/fd" % self.site.process.pid
        count = 0
        for name in os.listdir(directory):
            try:
                count += bool(re.search(r"/\d{6}( \(deleted\))?$", os.readlink(directory + "/" + name)))
            except OSError:
                pass  # closed meanwhile
        return count


if __name__ == "__main__":
    if shutil.which("strace") is None or subprocess.run(
            ["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        print("skipped: strace may not trace here")
        sys.exit(77)
    unittest.main()
