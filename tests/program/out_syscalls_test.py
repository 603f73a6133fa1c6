#!/usr/bin/env python3
"""Counts the system calls with which bsmtp-out makes one message durable.

usage: out_syscalls_test.py DIRECTORY-OF-PROGRAMS. Exit 77 where strace may not trace.
"""
import re
import shutil
import subprocess
import sys

from out_support import Site, spool_calls

EXPECTED = {  # on spool files, for a message below 64 KiB
    "create": 1, "write": 1, "fsync": 2, "rename": 1, "unlink": 0,
}
MAX_SPOOL_CALLS = 24  # all calls that name or use a spool file, reads and closes included


def main():
    program = sys.argv[1] + "/bsmtp-out"
    if shutil.which("strace") is None or subprocess.run(
            ["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        print("skipped: strace is missing or may not trace")
        return 77
    with Site(program) as site:
        trace = site.dir / "trace"
        message = b"Received: by x\nSubject: s\n\n" + b"line of text\n" * 800
        subprocess.run(["strace", "-f", "-y", "-o", str(trace), *site.command()], input=message,
                       check=True, timeout=120)
        assert len(site.items()) == 1
        calls = [line for line in trace.read_text().splitlines() if str(site.spool) in line
                 and "execve(" not in line]
    text = "\n".join(calls)
    found = spool_calls(calls)
    print(f"bsmtp-out: {found}, {len(calls)} calls on the spool in all")
    if found != EXPECTED or len(calls) > MAX_SPOOL_CALLS:
        print(f"expected {EXPECTED} and at most {MAX_SPOOL_CALLS}\n{text}")
        return 1
    order = re.findall(r"\b(write|fsync|rename)\w*\(", text)
    if order != ["write", "fsync", "rename", "fsync"]:
        print(f"wrong order: {order}")
        return 1
    return 0


sys.exit(main())
