"""RFC 2442, rows P10 and T2 of the checklist in docs/parcel-format.md: killed at each step in turn
(not at random), refused, bounced, expired. Nothing is executed twice, nothing by half, and nobody
is told twice or never."""

import collections
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

import gateway
import processor_rig
from dispatch_rig import Gateway, Smtp, item, text_of
from gateway import message
from processor_rig import dsns, status_fields

PROGRAMS = sys.argv.pop(1)
DELIVERY_EXPIRE = 5 * 86400  # seconds: the default


class Interrupted(processor_rig.Processor):
    """P10. Killed at each step in turn, not at random."""

    programs = PROGRAMS
    settings = processor_rig.Processor.settings + "resubmit-connections = 1\n"

    CHANGES = ("openat", "mkdir", "chmod", "write", "pwrite64", "ftruncate", "fsync", "fdatasync",
               "syncfs", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir")

    def three(self, mark):
        return [message("s%d@domain.com" % n, ["r%d@domain.co.uk" % n], "%s %d\n" % (mark, n))
                for n in (1, 2, 3)]

    def counts(self):
        """How often each message text was handed over."""
        return collections.Counter(m["text"].rsplit(b"\r\n\r\n", 1)[1].decode().strip()
                                   for m in self.resubmit.taken())

    def agent(self, path, *tracer):
        with open(path, "rb") as mail:
            return subprocess.run([*tracer, PROGRAMS + "/bsmtp-in", "--config", self.site.config,
                                   "--", gateway.ADDRESS], stdin=mail, capture_output=True,
                                  check=False, timeout=120)

    def steps(self, path):
        """(system call, n): the n-th call of that name changes the spool, for each such call. To
        die between two of them is, on disk, to die before the second."""
        trace = self.site.root + "/trace"
        done = self.agent(path, "strace", "-y", "-o", trace)
        if shutil.which("strace") is None or done.returncode != 0:
            self.skipTest("strace may not trace: %r" % done.stderr)
        seen, found = collections.Counter(), []
        with open(trace, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name = re.match(r"(\w+)\(", line)
                if name:
                    seen[name.group(1)] += 1
                    if self.site.spool in line and name.group(1) in self.CHANGES:
                        found.append((name.group(1), seen[name.group(1)]))
        return found + [("exit_group", 1)]

    @unittest.skipIf(shutil.which("strace") is None, "strace is missing")
    def test_P10_agent_killed_before_each_call_accepts_all_or_nothing_and_executes_once(self):
        path = self.site.root + "/mail"

        def write(mark):
            with open(path, "wb") as out:
                out.write(self.site.parcel(self.three(mark)))

        write("whole")
        steps = self.steps(path)
        names = {name for name, _ in steps}
        self.assertTrue({"openat", "write", "fsync", "mkdir", "renameat2"} <= names, names)
        complete, marks = 0, ["whole"]
        for call, number in steps:
            with self.subTest(killed_before="%s-%d" % (call, number)):
                for attempt in (1, 2, 3):
                    mark = "%s-%d-%d" % (call, number, attempt)
                    marks.append(mark)
                    write(mark)
                    known = set(self.site.accepted())
                    done = self.agent(path, "strace", "-o", "/dev/null", "-e", "trace=" + call,
                                      "-e", "inject=%s:signal=KILL:when=%d" % (call, number))
                    if done.returncode != 0:  # 0: fewer calls this time, gpg's answers vary
                        break
                self.assertEqual(done.returncode, -signal.SIGKILL, done.stderr)
                there = set(self.site.accepted()) - known
                for name in there:
                    self.assertEqual(
                        len(gateway.accepted_messages(self.site.spool + "/inbound/accepted/" + name)), 3)
                complete += len(there)
                # The MTA got no answer: it brings the same parcel again.
                done = self.agent(path)
                self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)
                self.assertEqual(len(set(self.site.accepted()) - known), 1)
        self.assertTrue(0 < complete < len(steps), complete)
        self.assertEqual(self.site.ctl_json("quarantine", "list")[0], [])
        self.deliver()
        self.assertEqual(self.counts(), {"%s %d" % (mark, n): 1 for mark in marks for n in (1, 2, 3)})
        print("bsmtp-in killed before %d calls; %d times it had accepted" % (len(steps), complete))

    def test_P10_dispatcher_killed_at_each_step_of_each_message_goes_on_behind_the_last(self):
        points = [(verb, k) for k in (1, 2, 3) for verb in ("MAIL", "RCPT", "DATA", "<text>",
                                                            "<taken>")] + [("QUIT", 1)]
        for verb, k in points:
            mark = "%s-%d" % (verb.strip("<>"), k)
            with self.subTest(killed_at=mark):
                self.take(self.site.parcel(self.three(mark)))
                parcel, = (name.split(".")[1] for name in self.site.accepted())
                self.kill_at(verb, k)
                self.deliver()
                found = {text: n for text, n in self.counts().items() if text.startswith(mark)}
                self.assertEqual(set(found), {"%s %d" % (mark, n) for n in (1, 2, 3)})
                # In doubt are those whose replies had come or were under way when we died: the
                # notes of up to four messages may still be on their way to the disk.
                last_taken = 3 if verb == "QUIT" else k if verb == "<taken>" else k - 1
                for n in (1, 2, 3):
                    times = found["%s %d" % (mark, n)]
                    said = re.search(r"%s\.%d: \S+ outcome=ambiguous" % (parcel, n), self.log)
                    self.assertLessEqual(times, 2 if n <= last_taken else 1, "message %d" % n)
                    self.assertTrue(times == 1 or said, "delivered twice and not said: %d" % n)
        self.assertEqual(dsns(self.submit), [])

    def kill_at(self, verb, k):
        """Runs the dispatcher once and kills it when the server hears the k-th such command."""
        seen, process = [0], []

        def script(command, _):
            seen[0] += command.startswith(verb)
            if seen[0] == k and command.startswith(verb):
                process[0].kill()
                process[0].wait()
                return None if verb == "<taken>" else "CLOSE"
            return None

        with open(self.site.root + "/log", "ab") as log:
            # The server's thread must find the process when the first command arrives.
            process.append(subprocess.Popen(
                ["sh", "-c", 'sleep 0.1; exec "$@"', "x", PROGRAMS + "/bsmtp-dispatch", "--config",
                 self.site.config, "--foreground", "--once"], stderr=log))
            self.resubmit.script = script
            process[0].wait(timeout=60)
        self.resubmit.script = lambda command, session: None
        self.assertEqual(process[0].returncode, -signal.SIGKILL)


class Transport(unittest.TestCase):
    """T2. The sending host: a parcel that fails is a report for each sender in it, once."""

    SENDERS = ["<ann@domain.com> RET=HDRS ENVID=E0", "<eve@domain.com>", "<>",
               "<never@domain.com>"]

    def setUp(self):
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.site = Gateway(PROGRAMS, self.submit.url(), "smtp://127.0.0.1:9", "", {
            "remote1": "host = athena.domain.co.uk\nprofile = rfc2442\nrecipient-domains = *\n"
                       "max-messages = 4\n"})
        self.addCleanup(self.site.close)
        self.site.make_spool()

    def put_four(self, when=None):
        for number, sender in enumerate(self.SENDERS):
            notify = " NOTIFY=NEVER" if "never" in sender else ""
            self.site.put(item(sender, ["<to%d@domain.co.uk>%s" % (number, notify)],
                               text_of(number)), when=when)

    def assert_each_told_once(self, status):
        for _ in range(2):
            self.site.once()
        told = collections.Counter()
        for envelope, report in dsns(self.submit):
            self.assertTrue(envelope["mail"].startswith("MAIL FROM:<>"))
            recipient, = status_fields(report)[1]
            if recipient["Action"] == "delayed":
                continue  # before it is too late a sender hears that his mail is late
            told[envelope["rcpts"][0].split()[1]] += 1
            self.assertEqual((recipient["Action"], recipient["Status"]), ("failed", status))
        self.assertEqual(told, {"TO:<ann@domain.com>": 1, "TO:<eve@domain.com>": 1})
        self.assertEqual(self.site.names("peers", "remote1", "ready"), [])
        self.assertEqual(self.site.names("notices", "ready"), [])

    def test_T2_refused_parcel(self):
        self.submit.script = lambda command, _: (
            "550 5.1.2 no such host" if "RCPT TO:<bsmtp@" in command else None)
        self.put_four()
        self.site.once()
        self.assert_each_told_once("5.1.2")

    def test_T2_bounced_parcel(self):
        self.put_four()
        self.site.once()
        address = re.search(r"<(bsmtp\+[0-9a-f]+@.*?)>", self.submit.taken()[0]["mail"]).group(1)
        bounce = ("From: MAILER-DAEMON\nMIME-Version: 1.0\nContent-Type: multipart/report;"
                  " report-type=delivery-status; boundary=b\n\n--b\n\nSorry.\n--b\nContent-Type:"
                  " message/delivery-status\n\nReporting-MTA: dns; mx\n\nFinal-Recipient: rfc822;"
                  " bsmtp@athena.domain.co.uk\nAction: failed\nStatus: 5.4.4\n\n--b--\n")
        for _ in range(2):  # as the MTA hands it to bsmtp-in, twice
            subprocess.run([PROGRAMS + "/bsmtp-in", "--config", self.site.config, "--sender", "",
                            "--", address], input=bounce.encode(), check=True, timeout=60)
        self.assert_each_told_once("5.4.4")

    def test_T2_expired_parcel(self):
        self.submit.script = lambda command, _: (
            "451 4.3.0 later" if "RCPT TO:<bsmtp@" in command else None)
        began = time.time()
        self.put_four(when=began - DELIVERY_EXPIRE + 3)
        self.site.once()
        self.assertEqual(len(self.site.names("peers", "remote1", "ready")), 1)
        self.assertEqual(dsns(self.submit), [])
        time.sleep(max(0.0, began + 3.2 - time.time()))
        self.site.once()
        self.assert_each_told_once("5.4.7")

    def test_T2_dispatcher_killed_before_each_report(self):
        def refuse(command, _):
            return "550 5.1.2 no such host" if "RCPT TO:<bsmtp@" in command else None

        for k in (1, 2):
            with self.subTest(report=k):
                process, seen = [], [0]

                def script(command, session, process=process, seen=seen, k=k):
                    seen[0] += command.startswith("MAIL FROM:<>")
                    if seen[0] == k and command.startswith("MAIL FROM:<>"):
                        process[0].kill()
                        process[0].wait()
                        return "CLOSE"
                    return refuse(command, session)

                del self.submit.messages[:]
                self.put_four()
                # The server's thread must find the process when the first command arrives.
                process.append(subprocess.Popen(["sh", "-c", 'sleep 0.1; exec "$@"', "x"]
                                                + self.site.argv("--once"),
                                                stderr=subprocess.DEVNULL))
                self.submit.script = script
                process[0].wait(timeout=60)
                self.submit.script = refuse
                self.assertEqual(process[0].returncode, -signal.SIGKILL)
                time.sleep(1.1)
                self.assert_each_told_once("5.1.2")


if __name__ == "__main__":
    unittest.main(verbosity=2)
