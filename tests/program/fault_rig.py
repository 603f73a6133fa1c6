"""Exhaustive faults: a program runs under fault_at once for each call that it makes and each way
in which that call can end badly. A test says what is done, how it is recovered from, and what must
be true afterwards; this module finds the calls, goes through them, and counts."""

import errno
import os
import subprocess
import time
import unittest

SHORT = -1  # a write that ends after its first half
ERRORS = {SHORT: "short"} | {number: name for number, name in errno.errorcode.items()
                             if name in ("ENOSPC", "EIO", "EINTR", "EMFILE", "ECONNRESET")}

_WRITES = (errno.ENOSPC, errno.EIO, errno.EINTR, SHORT)
_NAMES = (errno.ENOSPC, errno.EIO)
_READS = (errno.EIO, errno.EINTR)
FITTING = {
    "write": _WRITES, "pwrite64": _WRITES, "writev": (errno.ENOSPC, errno.EIO),
    "sendto": (errno.EINTR, errno.ECONNRESET, SHORT), "sendmsg": (errno.EINTR, errno.ECONNRESET),
    "recvfrom": (errno.EINTR, errno.ECONNRESET),
    "fsync": (errno.EIO, errno.ENOSPC, errno.EINTR),
    "fdatasync": (errno.EIO, errno.ENOSPC, errno.EINTR), "syncfs": _NAMES,
    "ftruncate": _NAMES, "fallocate": _NAMES,
    "openat": (errno.ENOSPC, errno.EIO, errno.EINTR, errno.EMFILE),
    "mkdir": _NAMES, "mkdirat": _NAMES, "link": _NAMES, "linkat": _NAMES,
    "rename": _NAMES, "renameat": _NAMES, "renameat2": _NAMES,
    "unlink": (errno.EIO,), "unlinkat": (errno.EIO,), "rmdir": (errno.EIO,),
    "chmod": (errno.EIO,), "fchmod": (errno.EIO,), "fchmodat": (errno.EIO,),
    "read": _READS, "pread64": _READS, "close": _READS, "getdents64": (errno.EIO,),
    "flock": (errno.EINTR,), "fstat": (errno.EIO,), "fstatfs": (errno.EIO,),
    "statfs": (errno.EIO,), "newfstatat": (errno.EIO,), "statx": (errno.EIO,),
    "access": (errno.EIO,), "faccessat": (errno.EIO,),
}


class Call:
    """One line of fault_at's log."""

    def __init__(self, line):
        _, self.name, self.path = (line + " ").split(" ", 2)
        self.path = self.path.strip()

    def __str__(self):
        return "%s %s" % (self.name, self.path)

    def fitting(self):
        if self.path.startswith("socket:") and self.name == "write":
            return errno.EINTR, errno.ECONNRESET, SHORT
        if self.path.startswith("socket:") and self.name == "read":
            return errno.EINTR, errno.ECONNRESET
        return FITTING[self.name]


class Trace:
    """What a run under fault_at did."""

    def __init__(self, path):
        self.calls = []
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as log:
                self.calls = [Call(line) for line in log.read().splitlines()]

    def __getitem__(self, k):
        return self.calls[k - 1]

    def __len__(self):
        return len(self.calls)

    def has(self, name, part, failed=0):
        """Was there such a call that succeeded; `failed` is the number of the one that did not."""
        return any(call.name == name and part in call.path
                   for k, call in enumerate(self.calls, 1) if k != failed)


class Fault:
    """At the `k`-th call: option is --kill, --kill-caller or --fail; with the last an error."""

    def __init__(self, option="", k=0, error=0):
        self.option, self.k, self.error = option, k, error

    def kills(self):
        return self.option.startswith("--kill")

    def failed(self):
        """The call that did not do its work."""
        whole = self.error in (SHORT, errno.EINTR)  # the program goes on with it
        return 0 if whole else self.k

    def arguments(self):
        if self.error == SHORT:
            return ["--short", str(self.k)]
        return [self.option, str(self.k), "--error", str(self.error)] if self.option else []

    def __str__(self):
        return "%s %d %s" % (self.option, self.k, ERRORS.get(self.error, ""))


class FaultCase(unittest.TestCase):
    """One scene. Subclasses give `fresh`, `act`, `settle` and may lessen what is counted."""

    fault_at = ""
    every = 1        # of the points only each N-th is tried
    reads = True     # also calls that change nothing
    below = ""       # files that count, set in setUp
    log = ""

    def fresh(self):
        """The site as it was before the first run."""
        raise NotImplementedError

    def act(self, fault):
        """What the MTA does once; returns what it was told (never None) after running
        `self.under(fault)` in front of the program."""
        raise NotImplementedError

    def settle(self, told, fault, trace, where):
        """Recovers as the MTA and the machine would, and checks."""
        raise NotImplementedError

    def under(self, fault):
        if os.path.exists(self.log):
            os.unlink(self.log)
        return [self.fault_at, "--below", self.below, "--reads", "yes" if self.reads else "no",
                "--log", self.log, *fault.arguments(), "--"]

    def run_one(self, fault):
        self.fresh()
        told = self.act(fault)
        trace = Trace(self.log)
        if len(trace) < fault.k:
            return False  # children in another order, one call less
        where = "%s: %s" % (fault, trace[fault.k]) if fault.k else "undisturbed"
        self.settle(told, fault, trace, where)
        return True

    def points(self, option):
        """All faults of that kind, found in a run without any."""
        probe = subprocess.run([self.fault_at, "--below", "/nowhere", "--", "/bin/true"],
                               capture_output=True, check=False)
        if probe.returncode == 77:
            self.skipTest(probe.stderr.decode())
        self.run_one(Fault())
        calls = Trace(self.log).calls
        self.assertGreater(len(calls), 5)
        if option != "--fail":
            # Of calls that only look, death before one is death before the next that does not.
            return [Fault(option, k) for k in range(1, len(calls) + 1)]
        return [Fault(option, k, error) for k, call in enumerate(calls, 1)
                for error in call.fitting()]

    def run_all(self, option):
        points = self.points(option)
        first = sum(self.id().encode()) % self.every
        tried = bad = 0
        slow = []
        for fault in points[first::self.every]:
            began = time.monotonic()
            with self.subTest(str(fault)):
                try:
                    tried += self.run_one(fault)
                except Exception as error:
                    bad += 1
                    print("%s: %s" % (self.id(), error), flush=True)  # a soak is long
                    raise
            if time.monotonic() - began > 4:  # a deadline ended it
                slow.append(str(fault))
        print("%s: %d of %d points, %d failed%s" % (
            self.id(), tried, len(points), bad, slow and "; slow: " + ", ".join(slow) or ""),
              flush=True)

    def test_killed(self):
        self.run_all("--kill")

    def test_call_fails(self):
        self.run_all("--fail")
