#!/usr/bin/python3
"""Packs and opens a big parcel and looks at the peak resident memory of the process (VmHWM) and of its children.
Usage: parcel_memory_test.py BIN-DIRECTORY [MEBIBYTES]    (default 256; tests/soak uses 1024)"""
import os
import random
import shutil
import subprocess
import sys
import tempfile

LIMIT_KIB = 16 * 1024
MESSAGES = 64


def write_items(folder, octets):
    """Compressible text that is not trivial: words in random order."""
    rng = random.Random(1)
    words = [("%x" % rng.getrandbits(40)).encode() for _ in range(2000)]
    block = b"".join(b" ".join(rng.choices(words, k=7)) + b"\r\n" for _ in range(20000))
    names = []
    for number in range(MESSAGES):
        name = os.path.join(folder, "item%03d" % number)
        with open(name, "wb") as item:
            item.write(b"MAIL FROM:<ann@domain.com>\r\nRCPT TO:<bob@domain.co.uk>\r\nDATA\r\n")
            item.write(b"Subject: %d\r\n\r\n" % number)
            left = octets // MESSAGES
            while left > 0:
                item.write(block[:left - left % 2] if left < len(block) else block)
                left -= len(block)
            item.write(b"\r\n.\r\n")
        names.append(name)
    return names


def main():
    tool = os.path.join(sys.argv[1], "..", "test-tools", "parcel_tool")
    octets = int(sys.argv[2] if len(sys.argv) > 2 else 256) << 20
    # gpg-agent's sockets need a short path; the big files go where there is room.
    home = tempfile.mkdtemp(prefix="bk", dir="/tmp")
    work = tempfile.mkdtemp(prefix="parcel-memory-")
    try:
        if shutil.disk_usage(work).free < 3 * octets:
            print("skipped: needs %d MiB in %s" % (3 * octets >> 20, work))
            return 77
        with open(home + "/gpg.conf", "w", encoding="ascii") as conf:
            conf.write("digest-algo SHA256\n")
        gpg = ["gpg", "--homedir", home, "--batch", "--no-tty", "--passphrase", ""]
        subprocess.run(gpg + ["--quick-generate-key", "T <t@example.com>", "ed25519", "sign", "never"],
                       check=True, capture_output=True)
        listing = subprocess.run(gpg + ["--with-colons", "--list-keys"], check=True,
                                 capture_output=True, text=True).stdout
        key = next(l.split(":")[9] for l in listing.splitlines() if l.startswith("fpr:"))
        items = write_items(work, octets)
        plain = sum(os.path.getsize(name) for name in items)
        entity = work + "/entity"
        peaks = {}
        for action, args in (("build", [home, key, entity] + items),
                             ("open", [home, key, entity, work + "/out"])):
            line = subprocess.run([tool, action] + args, check=True, capture_output=True,
                                  text=True).stdout.split()
            peaks[action] = (int(line[3]), int(line[4]))
            print("%s: %s s, %.0f MiB of mail, peak %.1f MiB, of a child %.1f MiB" %
                  (action, line[0], plain / 2**20, peaks[action][0] / 1024, peaks[action][1] / 1024))
            if action == "build":
                for name in items:
                    os.unlink(name)
        bad = [action for action, peak in peaks.items() if max(peak) > LIMIT_KIB]
        if bad:
            print("FAILED: more than 16 MiB resident: %s" % ", ".join(bad))
            return 1
        return 0
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=False)
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
