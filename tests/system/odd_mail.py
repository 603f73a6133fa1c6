#!/usr/bin/python3
"""odd_mail.py DIRECTORY: messages that mail software likes to "improve", one a file with CRLF line ends.

8-bit text in body and header, long lines, odd spacing in headers, fields that are missing or doubled, dots, blank
lines at the end, no body at all. What no MTA of the rig carries (NUL, bare CR or LF) is not among them.
"""
import pathlib
import sys

FROM = b"From: alice@domain.com\r\nTo: user@domain.co.uk\r\n"
DATE = b"Date: Sun, 22 Nov 2026 01:10:00 +0000\r\n"


def head(name, more=b""):
    return FROM + DATE + f"Message-ID: <odd-{name}@domain.com>\r\nSubject: {name}\r\n".encode() + more


EVERY_OCTET = bytes(octet for octet in range(1, 256) if octet not in (10, 13))
MESSAGES = {
    "octets": head("octets", b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
                             b"Content-Transfer-Encoding: 8bit\r\n")
    + b"\r\n" + EVERY_OCTET + b"\r\n" + EVERY_OCTET[::-1] + b"\r\n",
    "utf8": head("utf8", "X-Word: Grüße aus Köln – naïve café\r\n".encode()) + "\r\nЗдравствуй, 世界\r\n".encode(),
    "undeclared": head("undeclared") + b"\r\nlatin-1 without a MIME header: \xe4\xf6\xfc\xdf\r\n",
    "lines": head("lines") + b"\r\n" + b"".join(bytes([97 + n % 26]) * length + b"\r\n" for n, length in enumerate(
        (78, 990, 998, 999, 1000, 2046, 2047, 2048, 2049, 4096, 20000, 1))),
    "words": head("words") + b"\r\n" + b"some words of a long line, " * 200 + b"\r\nend\r\n",
    "spacing": head("spacing", b"X-Two:  two blanks before and after  \r\nX-Tab:\t a tab \t\r\nX-Fold:\r\n first on the second line\r\n"
                               b"X-Deep: one\r\n\t\ttwo tabs\r\n          ten blanks\r\nX-Case-iS-ODD: kept\r\n"
                               b"X-Many: a  b   c    d\r\n") + b"\r\nbody\r\n",
    "nospace": head("nospace", b"X-None:nothing behind the colon\r\nX-Void: \r\nX-Semi:;\r\n") + b"\r\nbody\r\n",
    "longheader": head("longheader", b"X-Long: " + b"word " * 180 + b"end\r\nReferences:" + b"".join(
        b"\r\n <%040d@example.net>" % n for n in range(30)) + b"\r\n") + b"\r\nbody\r\n",
    "doubled": head("doubled", b"X-Twice: one\r\nX-Other: between\r\nX-Twice: two\r\nReceived: from old (old [192.0.2.1]) by older; "
                               b"Sat, 21 Nov 2026 01:10:00 +0000\r\n") + b"\r\nbody\r\n",
    "missing": b"X-Only: no From, To, Date, Subject or Message-ID\r\n\r\nbody\r\n",
    "empty": head("empty") + b"\r\n",
    "nobody": head("nobody"),
    "blank": head("blank") + b"\r\n\r\n\r\n\r\n",
    "trailing": head("trailing") + b"\r\nline with blanks   \r\n\t\r\n  \r\n\r\n\r\n",
    "dots": head("dots") + b"\r\n.\r\n..\r\n...\r\n.x\r\n. \r\n.\r\n",
    "from": head("from") + b"\r\nFrom somebody Sun Nov 22 01:10:00 2026\r\n\r\nFrom the beginning\r\n>From\r\n",
    "mime": head("mime", b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b 1\"\r\n")
    + b"\r\npreamble\r\n--b 1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa4\r\n--b 1\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--b 1--  \r\nepilogue\r\n",
}


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in MESSAGES.items():
        (directory / f"{name}.eml").write_bytes(data)
    print(len(MESSAGES))


main()
