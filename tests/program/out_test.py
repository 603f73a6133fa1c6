#!/usr/bin/env python3
"""bsmtp-out as an MTA calls it: exit status, the one line of output, what is in the spool.

usage: out_test.py DIRECTORY-OF-PROGRAMS [test names]
"""
import ctypes
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
import unittest

from out_support import Site, is_sanitized, needed_libraries, text_of

PROGRAM = os.path.join(sys.argv.pop(1), "bsmtp-out")
HEADER = b"Received: from x by y; now\nSubject: test\n\n"


def as_crlf(message):
    if not message.endswith(b"\n"):
        message += b"\n"
    return message.replace(b"\n", b"\r\n")


class Messages(unittest.TestCase):
    def check(self, message):
        with Site(PROGRAM) as site:
            done = site.run(message)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
            (item,) = site.items()
            self.assertEqual(text_of(item)[1], as_crlf(message))
            self.assertEqual(site.left_over(), [])
            self.assertEqual(item.stat().st_mode & 0o777, 0o660)

    def test_plain(self):
        self.check(HEADER + b"hello\n")

    def test_8_bit(self):
        self.check(HEADER + bytes(range(128, 256)) + b"\n" + bytes(range(1, 10)) + b"\n")

    def test_long_lines(self):
        self.check(HEADER + b"x" * 2500 + b"\n" + b"y" * 300000 + b"\n")

    def test_empty_body(self):
        self.check(HEADER)

    def test_header_only(self):
        self.check(b"Subject: x\n")

    def test_no_final_newline(self):
        self.check(HEADER + b"last line")

    def test_dots(self):
        self.check(HEADER + b".\n..\n.x\n.\n\n.\n")

    def test_from_line_in_body(self):
        self.check(HEADER + b"From here on\n>From there\n")

    def test_crlf_input(self):
        with Site(PROGRAM) as site:
            message = as_crlf(HEADER + b".x\nbody\n")
            self.assertEqual(site.run(message).returncode, 0)
            self.assertEqual(text_of(site.items()[0])[1], message)

    def test_random_bytes_come_back(self):
        rng = random.Random(20261122)
        for _ in range(25):
            body = bytes(rng.choice(b"ab.\n. \xe4\xff") for _ in range(rng.randrange(2000)))
            self.check(HEADER + body + b"\n")


class Envelopes(unittest.TestCase):
    def envelope(self, *recipients, **how):
        with Site(PROGRAM) as site:
            done = site.run(HEADER, *recipients, **how)
            self.assertEqual(done.returncode, 0, done.stdout)
            (item,) = site.items()
            return text_of(item)[0].decode().split("\r\n")

    def test_fifty_recipients_of_both_forms_in_one_item(self):
        recipients = [f"u{i}%domain.co.uk@remote1.bsmtp.invalid" for i in range(25)]
        recipients += [f"v{i}@domain.co.uk" for i in range(25)]
        lines = self.envelope(*recipients)
        self.assertEqual(lines[0], "MAIL FROM:<alice@domain.com> BODY=8BITMIME")
        self.assertEqual(lines[1:], [f"RCPT TO:<u{i}@domain.co.uk>" for i in range(25)]
                         + [f"RCPT TO:<v{i}@domain.co.uk>" for i in range(25)])

    def test_differing_notify(self):
        lines = self.envelope("a%x.org@never.remote1.bsmtp.invalid",
                              '"b c%x.org"@remote1.bsmtp.invalid')
        self.assertEqual(lines[1:], ["RCPT TO:<a@x.org> NOTIFY=NEVER", 'RCPT TO:<"b c"@x.org>'])

    def test_null_sender(self):
        self.assertEqual(self.envelope(sender="")[0], "MAIL FROM:<> BODY=8BITMIME")

    def test_dsn_parameters(self):
        line = self.envelope(options=["--envid", "QQ1", "--ret", "hdrs", "--queue-id", "4X"])[0]
        self.assertEqual(sorted(line.split()[2:]), ["BODY=8BITMIME", "ENVID=QQ1", "RET=HDRS"])

    def test_utf8(self):
        lines = self.envelope("j\u00f6rg@x.org")
        self.assertIn("SMTPUTF8", lines[0])
        self.assertEqual(lines[1], "RCPT TO:<j\u00f6rg@x.org>")

    def test_pseudo_domain_as_peer(self):
        self.envelope("u@x.org", peer="remote1.bsmtp.invalid")
        self.envelope("u%x.org@remote1.bsmtp.invalid", peer=None)


class Refusals(unittest.TestCase):
    def refuse(self, status, code, message=HEADER, *recipients, site=None, **how):
        with site or Site(PROGRAM) as used:
            done = used.run(message, *recipients, **how)
            self.assertEqual(done.returncode, status, done.stdout)
            self.assertRegex(done.stdout.decode(), rf"\A{re.escape(code)} [^\n]+\n\Z")
            self.assertEqual(done.stderr, b"")
            incoming = used.peer / "incoming"
            self.assertEqual(list(incoming.iterdir()) if incoming.exists() else [], [])
            self.assertEqual(used.left_over() if (used.peer / "tmp").exists() else [], [])

    def test_octets_that_mail_cannot_carry(self):
        for bad in (b"a\0b\n", b"a\rb\n", b"a\r\nb\n", b"a\r"):
            self.refuse(65, "5.6.1", HEADER + bad)
        self.refuse(65, "5.6.1", as_crlf(HEADER) + b"a\nb\r\n")

    def test_refused_after_much_input_is_drained(self):
        self.refuse(65, "5.6.1", HEADER + b"a\0b\n" + b"x" * 5000000)

    def test_hop_limit(self):
        self.refuse(69, "5.4.6", b"Received: by x\n" * 51 + b"\n")

    def test_third_round_through_our_tunnel(self):
        own = b"Received: from r by hub.domain.com\n\t(with BSMTP parcel 1) with ESMTP id 2; now\n"
        self.refuse(69, "5.4.6", own * 3 + b"\n")

    def test_empty_input(self):
        self.refuse(75, "4.3.0", b"")

    def test_usage(self):
        with Site(PROGRAM) as site:
            for argv in ([], ["--bogus"], ["--sender", "a@b"], ["--sender"]):
                done = subprocess.run([PROGRAM, *argv], input=HEADER, capture_output=True,
                                      timeout=60, check=False)
                self.assertEqual(done.returncode, 75, argv)
                self.assertRegex(done.stdout.decode(), r"\A4\.3\.5 [^\n]+\n\Z")
            self.assertEqual(site.items(), [])

    def test_configuration(self):
        for text in ("nonsense\n", "host = x\nsurprise = 1\n", ""):
            site = Site(PROGRAM)
            site.config.write_text(text)
            self.refuse(75, "4.3.5", site=site)
        site = Site(PROGRAM)
        site.config.unlink()
        with site:
            self.assertEqual(site.run(HEADER).returncode, 75)

    def test_unknown_peer_and_other_peers_recipient(self):
        self.refuse(75, "4.3.5", peer="remote3")
        self.refuse(75, "4.3.5", HEADER, "u%x.org@remote2.bsmtp.invalid")
        self.refuse(75, "4.3.5", HEADER, "u%x.org@remote1.bsmtp.invalid",
                    "u%x.org@remote2.bsmtp.invalid", peer=None)

    def test_plain_recipient_without_peer_and_map(self):
        self.refuse(75, "4.3.5", HEADER, "u@x.org", peer=None,
                    site=Site(PROGRAM, "export-map = /nonexistent/map"))

    def test_peer_off(self):
        site = Site(PROGRAM)
        site.config.write_text(site.config.read_text().replace(
            "host = athena", "state = off\nhost = athena"))
        self.refuse(75, "4.3.2", site=site)

    def test_no_spool_other_version_unwritable(self):
        site = Site(PROGRAM)
        (site.spool / "VERSION").unlink()
        self.refuse(75, "4.3.5", site=site)
        site = Site(PROGRAM)
        (site.spool / "VERSION").write_text("bsmtp-spool 2\n")
        self.refuse(75, "4.3.5", site=site)
        site = Site(PROGRAM)
        (site.peer / "tmp").rmdir()
        self.refuse(75, "4.3.0", site=site)

    def test_space(self):
        site = Site(PROGRAM)
        site.config.write_text(site.config.read_text().replace(
            "free-percent-enqueue = 0", "free-percent-enqueue = 99"))
        self.refuse(75, "4.3.1", site=site)

    def test_full_disk(self):
        if os.geteuid() != 0:
            self.skipTest("needs root to mount a small file system")
        with Site(PROGRAM) as site:
            tmp = site.peer / "tmp"
            mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0770", "none", str(site.peer)],
                check=False, capture_output=True)
            if mounted.returncode != 0:
                self.skipTest("mounting is not allowed here")
            try:
                tmp.mkdir()
                (site.peer / "incoming").mkdir()
                done = site.run(HEADER + b"x" * 1000000)
                self.assertEqual(done.returncode, 75)
                self.assertRegex(done.stdout.decode(), r"\A4\.3\.1 .*No space left")
                self.assertEqual((site.items(), site.left_over()), ([], []))
            finally:
                subprocess.run(["umount", str(site.peer)], check=True)

    def test_stalled_dispatcher(self):
        site = Site(PROGRAM)
        (site.spool / "heartbeat").write_text("version: 1\ntime: 20200101T000000Z\n")
        self.refuse(75, "4.3.2", site=site)


class Process(unittest.TestCase):
    def test_needs_no_shared_library(self):
        if is_sanitized(PROGRAM):
            self.skipTest("sanitizers bring libraries of their own")
        self.assertEqual(needed_libraries(PROGRAM), [])
        headers = subprocess.run(["readelf", "-l", PROGRAM], capture_output=True, text=True,
                                 check=True).stdout
        self.assertIn("LOAD", headers)
        self.assertNotIn("INTERP", headers)

    def test_100_mb_in_constant_memory(self):
        with Site(PROGRAM) as site:
            agent = subprocess.Popen(site.command(), stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE)
            block = (b"x" * 76 + b"\n") * 13617  # 1 MiB
            agent.stdin.write(HEADER)
            for _ in range(100):
                agent.stdin.write(block)
            agent.stdin.flush()
            status = pathlib.Path(f"/proc/{agent.pid}/status").read_text(encoding="ascii")
            agent.stdin.close()
            self.assertEqual(agent.wait(timeout=300), 0)
            agent.stdout.close()
            (item,) = site.items()
            self.assertGreater(item.stat().st_size, 100 << 20)
            peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
            print(f"bsmtp-out: 100 MB message, VmHWM {peak} kB", file=sys.stderr)
            if not is_sanitized(PROGRAM):
                self.assertLess(peak, 8192)

    def test_deadline(self):
        with Site(PROGRAM, "agent-deadline = 1s") as site:
            agent = subprocess.Popen(site.command(), stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE)
            agent.stdin.write(HEADER)
            agent.stdin.flush()
            self.assertEqual(agent.wait(timeout=60), 75)
            self.assertRegex(agent.stdout.read(), rb"\A4\.3\.2 [^\n]+\n\Z")
            agent.stdin.close()
            agent.stdout.close()
            self.assertEqual((site.items(), site.left_over()), ([], []))

    def test_death_of_the_mta_drops_the_half_message(self):
        pr_set_child_subreaper = 36
        self.assertEqual(ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0), 0)
        with Site(PROGRAM) as site:
            report_read, report_write = os.pipe()
            mta = os.fork()
            if mta == 0:
                agent = subprocess.Popen(site.command(), stdin=subprocess.PIPE,
                                         stdout=subprocess.DEVNULL)
                agent.stdin.write(HEADER + b"first half\n")
                agent.stdin.flush()
                os.write(report_write, str(agent.pid).encode())
                time.sleep(60)
                os._exit(0)
            os.close(report_write)
            agent_pid = int(os.read(report_read, 32))
            os.close(report_read)
            for _ in range(200):  # until the agent is past its start: it has read its input
                if site.left_over():
                    break
                time.sleep(0.05)
            time.sleep(0.1)
            os.kill(mta, signal.SIGKILL)
            os.waitpid(mta, 0)
            _, status = os.waitpid(agent_pid, 0)
            self.assertEqual(os.waitstatus_to_exitcode(status), 75)
            self.assertEqual((site.items(), site.left_over()), ([], []))

    def test_becomes_the_spools_owner_as_sendmail_starts_it(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        with Site(PROGRAM) as site:
            subprocess.run(["chown", "-R", "65534:65534", str(site.dir)], check=True)
            os.chmod(site.dir, 0o755)

            def like_sendmail():  # F=S: real uid 0, someone's leftover groups
                os.setgroups([1002])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(0, 65534, 65534)

            done = subprocess.run(site.command(), input=HEADER, capture_output=True,
                                  preexec_fn=like_sendmail, timeout=60, check=False)
            self.assertEqual((done.returncode, done.stdout), (0, b""))
            (item,) = site.items()
            self.assertEqual((item.stat().st_uid, item.stat().st_gid), (65534, 65534))

    def test_many_at_once(self):
        with Site(PROGRAM) as site:
            running = [subprocess.Popen(site.command(f"u{i}@x.org"), stdin=subprocess.PIPE)
                       for i in range(20)]
            for i, agent in enumerate(running):
                agent.communicate(HEADER + b"number %d\n" % i, timeout=120)
                self.assertEqual(agent.returncode, 0)
            self.assertEqual(len(site.items()), 20)
            found = sorted(text_of(item)[1].split()[-1] for item in site.items())
            self.assertEqual(found, sorted(b"%d" % i for i in range(20)))


if __name__ == "__main__":
    unittest.main()
