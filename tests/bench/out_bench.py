#!/usr/bin/env python3
"""bsmtp-out from exec to exit, interleaved with a bare program and with procmail.

usage: out_bench.py BUILD-DIRECTORY [ROUNDS] [SPOOL-PARENT]

Each round runs each contender once on the same message (a file as standard input), in an order
that rotates. Printed: median and lower quartile of the wall time, and the ratio of the rates by
medians and by lower quartiles. SPOOL-PARENT chooses the file system (default: the temporary
directory; /dev/shm shows the programs' own cost without the disk's).
"""
import os
import pathlib
import shutil
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "program"))
from out_support import Site  # noqa: E402

# procmail itself syncs the file only: a power cut may take the message's name. This adds what is
# missing, from this process and so without a further exec.
DURABLE = "procmail + fsync(new)"
SIZES = {"10 KiB": 10 << 10, "1 MiB": 1 << 20}


def message_file(path, size):
    line = b"A line of mail text as long as lines in mail usually are, more or less.\n"
    path.write_bytes(b"Received: from a by b; now\nSubject: bench\n\n" + line * (size // len(line)))


def run_once(argv, stdin, directory=None):
    """Seconds from exec to exit; with `directory`, to the end of its fsync."""
    actions = [(os.POSIX_SPAWN_DUP2, stdin, 0)]
    os.lseek(stdin, 0, os.SEEK_SET)
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, {"PATH": "/usr/bin:/bin", "HOME": "/tmp"},
                         file_actions=actions)
    _, status = os.waitpid(pid, 0)
    if directory is not None:
        os.fsync(directory)
    took = time.perf_counter() - start
    if status != 0:
        sys.exit(f"{argv[0]} failed with status {os.waitstatus_to_exitcode(status)}")
    return took


def quartile(values):
    return statistics.quantiles(values, n=4)[0]


def main():
    build = pathlib.Path(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    parent = sys.argv[3] if len(sys.argv) > 3 else None
    with Site(build / "bin" / "bsmtp-out", parent=parent) as site:
        maildir = site.dir / "Maildir"
        procmailrc = site.dir / "procmailrc"
        procmailrc.write_text(f"MAILDIR={site.dir}\nDEFAULT={maildir}/\nLOGFILE=/dev/null\n"
                              ":0\nMaildir/\n")
        bare = site.dir / "bare"
        for name in ("tmp", "incoming"):
            (bare / name).mkdir(parents=True)
        programs = {
            "bsmtp-out": [str(a) for a in site.command(options=["--queue-id", "4ABC"])],
            "bare program": [str(build / "test-tools" / "out_bench_peer"), str(bare)],
        }
        if shutil.which("procmail"):
            programs["procmail, Maildir"] = [shutil.which("procmail"), str(procmailrc)]
            for name in ("tmp", "new", "cur"):
                (maildir / name).mkdir(parents=True)
            programs[DURABLE] = programs["procmail, Maildir"]
            new = os.open(maildir / "new", os.O_RDONLY | os.O_DIRECTORY)
        for label, size in SIZES.items():
            path = site.dir / "message"
            message_file(path, size)
            stdin = os.open(path, os.O_RDONLY)
            times = {name: [] for name in programs}
            names = list(programs)
            for i in range(rounds):
                for name in names[i % len(names):] + names[:i % len(names)]:
                    times[name].append(
                        run_once(programs[name], stdin, new if name == DURABLE else None))
            os.close(stdin)
            ours = times["bsmtp-out"]
            for name, values in times.items():
                print(f"{label:>7} {name:22} median {statistics.median(values) * 1e3:7.3f} ms"
                      f"  quartile {quartile(values) * 1e3:7.3f} ms"
                      f"  our rate / its rate {statistics.median(values) / statistics.median(ours):.3f}"
                      f" (quartiles {quartile(values) / quartile(ours):.3f})")


if __name__ == "__main__":
    main()
