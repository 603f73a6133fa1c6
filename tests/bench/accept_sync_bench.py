#!/usr/bin/python3
"""How the messages of one parcel get on disk: three layouts in interleaved rounds. bsmtp-in does the third.

usage: accept_sync_bench.py [DIRECTORY]     on the file system that is to be measured
"""

import ctypes
import os
import shutil
import statistics
import sys
import tempfile
import time

LIBC = ctypes.CDLL(None, use_errno=True)
TEXT = b"x" * 8000
META = b"x" * 100
ROUNDS = 7


def write(path, octets=TEXT):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, octets)
    os.close(fd)


def fsync_path(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def files_fsync(directory, count):
    for n in range(count):
        write("%s/%06d" % (directory, n))
    write(directory + "/meta", META * count)
    for n in range(count):
        fsync_path("%s/%06d" % (directory, n))
    fsync_path(directory + "/meta")
    fsync_path(directory)


def files_syncfs(directory, count):
    fd = os.open(directory, os.O_RDONLY)
    for n in range(count):
        write("%s/%06d" % (directory, n))
    write(directory + "/meta", META * count)
    if LIBC.syncfs(fd) != 0:
        raise OSError(ctypes.get_errno(), "syncfs")
    os.close(fd)


def one_file(directory, count):
    fd = os.open(directory + "/messages", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    for _ in range(0, count, 8):
        os.write(fd, TEXT * min(8, count))
    os.close(fd)
    write(directory + "/meta", META * count)
    fsync_path(directory + "/messages")
    fsync_path(directory + "/meta")
    fsync_path(directory)


def main():
    root = tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None)
    ways = (files_fsync, files_syncfs, one_file)
    try:
        for count in (1, 4, 10, 100, 1000):
            times = {way: [] for way in ways}
            for turn in range(ROUNDS):
                for way in ways:
                    directory = "%s/%d-%d-%s" % (root, count, turn, way.__name__)
                    os.mkdir(directory)
                    begin = time.monotonic()
                    way(directory, count)
                    times[way].append(time.monotonic() - begin)
            best = statistics.median(times[one_file])
            print("%5d messages: " % count + ", ".join(
                "%s %.1f ms (%.1f)" % (way.__name__, statistics.median(times[way]) * 1000,
                                       statistics.median(times[way]) / best) for way in ways))
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
