#!/usr/bin/env python3
"""Counts the system calls of an LMTP session: a message costs the spool no more than with the pipe form (see
out_syscalls_test.py), and is answered after its fsyncs, never before.

usage: lmtp_syscalls_test.py DIRECTORY-OF-PROGRAMS. Exit 77 where strace may not trace.
"""
import re
import shutil
import subprocess
import sys

from out_support import Site, spool_calls

MESSAGES = 20
EXPECTED = {"create": 1, "write": 1, "fsync": 2, "rename": 1, "unlink": 0}  # on spool files, a message
MAX_SPOOL_CALLS = 24  # a message: all calls that name or use a spool file
ORDER = ["write", "fsync", "rename", "fsync", "answer"]


def session():
    text = b"Received: by x\r\nSubject: s\r\n\r\n" + b"line of text\r\n" * 800 + b".\r\n"
    message = (b"MAIL FROM:<a@domain.com>\r\nRCPT TO:<u%domain.co.uk@remote1.bsmtp.invalid>\r\n"
               b"RCPT TO:<v%domain.co.uk@remote1.bsmtp.invalid>\r\nDATA\r\n")
    return b"LHLO mta\r\n" + (message + text) * MESSAGES + b"QUIT\r\n"


def main():
    if shutil.which("strace") is None or subprocess.run(
            ["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        print("skipped: strace is missing or may not trace")
        return 77
    with Site(sys.argv[1] + "/bsmtp-out") as site:
        trace = site.dir / "trace"
        done = subprocess.run(["strace", "-f", "-y", "-s", "4096", "-o", str(trace), site.program, "--config",
                               str(site.config), "--lmtp"], input=session(), capture_output=True, check=True,
                              timeout=120)
        assert len(site.items()) == MESSAGES, done.stdout
        calls = [line for line in trace.read_text().splitlines() if "execve(" not in line
                 and (str(site.spool) in line or 'write(1<' in line)]
        spool = [line for line in calls if str(site.spool) in line]
    text = "\n".join(spool)
    found = spool_calls(spool)
    print(f"bsmtp-out --lmtp, {MESSAGES} messages: {found}, {len(spool)} calls on the spool in all")
    expected = {name: count * MESSAGES for name, count in EXPECTED.items()}
    if found != expected or len(spool) > MAX_SPOOL_CALLS * MESSAGES:
        print(f"expected {expected} and at most {MAX_SPOOL_CALLS * MESSAGES}\n{text}")
        return 1
    order = []
    for line in calls:
        if "write(1<" not in line:
            order += re.findall(r"\b(write|fsync|rename)\w*\(", line)
        elif "250 2.0.0 <" in line:
            assert line.count("250 2.0.0 <") == 2, line
            order.append("answer")
    if order != ORDER * MESSAGES:
        print(f"wrong order: {order}")
        return 1
    return 0


sys.exit(main())
