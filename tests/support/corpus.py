#!/usr/bin/python3
"""Messages for the system test and the benchmarks.

messages(count) yields (name, octets with CRLF line ends): real mail from ../shared/corpus/ham-550.tar.gz
beside the repository (or $BSMTP_CORPUS) when it is there, followed or replaced by generated mail: the
same for every run, in the shapes that break mail software (8-bit without MIME, lines over 998 octets,
dots at line starts, "From " lines, odd header spacing, empty bodies, MIME trees, no final newline).
What mail cannot carry (NUL, bare CR, bare LF) is mended here, so each message may arrive unchanged.
Command line: corpus.py DIRECTORY COUNT [--generated] writes them as 00001.eml ...
"""
import base64
import os
import pathlib
import random
import re
import sys
import tarfile

TOP = pathlib.Path(__file__).resolve().parents[2]
ARCHIVE = pathlib.Path(os.environ.get("BSMTP_CORPUS", TOP.parent / "shared/corpus/ham-550.tar.gz"))
WORDS = ("the quarterly figures of our plant are attached and the parcel left on Tuesday please call back "
         "when the samples arrive we have moved the meeting to room seven kind regards from all of us "
         "invoice order number delivery note schedule approved minutes draft contract").split()


def mend(data):
    """CRLF line ends, no NUL, no bare CR, no mbox separator, a header before anything else, and none of the
    fields that Postfix drops from submitted mail (message_drop_headers)."""
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\0", b"")
    if data.startswith(b"From "):
        data = data.split(b"\n", 1)[1]
    if not re.match(rb"[!-9;-~]+[ \t]*:", data):
        data = b"Subject: (no header)\n\n" + data
    head, empty, body = data.partition(b"\n\n")
    data = re.sub(rb"(?im)^(bcc|content-length|resent-bcc|return-path):.*\n(?:[ \t].*\n)*", b"", head + b"\n")[:-1] + empty + body
    if not data.endswith(b"\n"):
        data += b"\n"
    return data.replace(b"\n", b"\r\n")


def real():
    if not ARCHIVE.exists():
        return
    with tarfile.open(ARCHIVE) as archive:
        for member in sorted((m for m in archive.getmembers() if m.isfile()), key=lambda m: m.name):
            yield mend(archive.extractfile(member).read())


def text(rng, lines, width=72):
    result = []
    for _ in range(lines):
        line = ""
        while len(line) < width - 10:
            line += rng.choice(WORDS) + " "
        result.append(line.rstrip())
    return "\n".join(result)


def generate(number):
    rng = random.Random(number)
    kind = number % 12
    head = (f"From: \"{rng.choice(WORDS).title()} {number}\" <alice@domain.com>\n"
            f"To: user@domain.co.uk\nSubject: {text(rng, 1, 40)}\n"
            f"Date: Sun, 22 Nov 2026 {rng.randrange(24):02d}:{rng.randrange(60):02d}:00 +0000\n"
            f"Message-ID: <generated.{number}@domain.com>\n")
    body = text(rng, rng.randrange(3, 120))
    if kind == 0:
        return (head + "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
                "Content-Transfer-Encoding: 8bit\n\n" + body + "\nGrüße, naïve café, 日本語\n").encode()
    if kind == 1:  # 8-bit without any label
        return head.encode() + b"\n" + body.encode() + b"\nKoln \xfcber K\xf6ln\n"
    if kind == 2:  # lines far beyond 998 octets
        return (head + "\n" + "x" * 2500 + "\n" + body + "\n" + "y" * 999 + "\n").encode()
    if kind == 3:  # what transparency and mbox handling trip over
        return (head + "\n.\n..\n.hidden\nFrom here on\n>From there\n" + body + "\n.\n").encode()
    if kind == 4:  # header spacing that a DKIM "simple" signature keeps
        return (head + "X-Odd:no blank\nX-Tab:\ttab\nX-Two:  two\nX-Fold: one\n  two\n\tthree\n\n" + body + "\n").encode()
    if kind == 5:
        return (head + "\n").encode()
    if kind == 6:
        return (head + "\n" + body + "\n\n\n\n").encode()
    if kind in (7, 8):
        blob = base64.encodebytes(rng.randbytes(rng.randrange(2000, 60000))).decode()
        return (head + "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=_b1\"\n\npreamble\n--=_b1\n"
                "Content-Type: text/plain\n\n" + body + "\n--=_b1\nContent-Type: application/octet-stream; name=\"a b.bin\"\n"
                "Content-Transfer-Encoding: base64\n\n" + blob + "--=_b1--\nepilogue\n").encode()
    if kind == 9:
        return (head + "MIME-Version: 1.0\nContent-Type: text/html; charset=us-ascii\n"
                "Content-Transfer-Encoding: quoted-printable\n\n<p>" + body.replace(" ", "=20", 3) + "=\n soft</p>\n").encode()
    if kind == 10:
        return (head.replace("user@domain.co.uk", ",\n ".join(f"user{i}@domain.co.uk" for i in range(60))) + "\n" + body + "\n").encode()
    return (head + "Subject: =?utf-8?B?" + base64.b64encode("über".encode()).decode() + "?=\n\n" + body + "\n").encode()


def messages(count, only_generated=False):
    made = 0
    if not only_generated:
        for data in real():
            if made == count:
                return
            made += 1
            yield f"{made:05d}", data
    number = 0
    while made < count:
        made += 1
        number += 1
        yield f"{made:05d}", mend(generate(number))


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in messages(int(sys.argv[2]), "--generated" in sys.argv):
        (directory / f"{name}.eml").write_bytes(data)


if __name__ == "__main__":
    main()
