#!/usr/bin/python3
"""odd_addresses.py SERVER SOURCE MANIFEST COUNT: offers that many odd recipients at domain.co.uk, one message each
odd_addresses.py --check MANIFEST INCOMING MAILLOG: every recipient that the server took stands unaltered in one spool item.

"Unaltered" is the mailbox an SMTP server means: a source route and a trailing dot are not part of it, the domain's case
does not count, and quoting is compared by what it quotes (RFC 5321 4.1.2).
"""
import json
import pathlib
import random
import re
import smtplib
import sys

ATEXT = "abcdefgXYZ0189!#$%&'*+-/=?^_`{|}~."
QTEXT = ATEXT + " ()<>[]:;@,\\\""


def quoted(text):
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def addresses(count):
    rng = random.Random(7)
    fixed = ["user", "User", "a.b", "user+tag", "user+", "+tag", "a%b", "a%b%c", "a!b", "%", "!", "user%domain.com",
             "user%", "owner-list", "=?x?=", "a/b=c", "x" * 64, "x" * 65, "never", "bsmtp", "bsmtp+abc", "postmaster"]
    for local in fixed:
        yield local
    for text in ("a b", "a@b", "a\\b", 'a"b', "", " ", ".a", "a.", "a..b", "user@domain.co.uk", "<a>", "a%b c", "(x)", "-f"):
        yield quoted(text)
    while True:
        length = rng.randrange(1, 40)
        if rng.random() < 0.7:
            local = "".join(rng.choice(ATEXT) for _ in range(length))
            if local.startswith((".", "-")) or local.endswith(".") or ".." in local:
                continue
            yield local
        else:
            yield quoted("".join(rng.choice(QTEXT) for _ in range(length)))


def domains(rng):
    return rng.choice(["domain.co.uk"] * 6 + ["Domain.CO.uk", "domain.co.uk.", "sub.domain.co.uk", "x-1.domain.co.uk"])


def offer(server, source, manifest, count):
    rng, result, smtp, number = random.Random(8), {}, None, 0
    for local in addresses(count):
        number += 1
        if number > count:
            break
        recipient = f"{local}@{domains(rng)}"
        if rng.random() < 0.05:
            recipient = "@relay.example:" + recipient
        if smtp is None:
            smtp = smtplib.SMTP(server, 25, source_address=(source, 0), timeout=60)
            smtp.ehlo()
        identity = f"odd-{number:05d}"
        smtp.docmd("MAIL", "FROM:<bob@domain.com>")
        code, text = smtp.docmd("RCPT", f"TO:<{recipient}>")
        if code == 250:
            code, text = smtp.data(f"X-Rig-Id: {identity}\r\nSubject: {identity}\r\nFrom: bob@domain.com\r\n\r\nhello\r\n".encode())
        result[identity] = {"recipient": recipient, "code": code, "text": text.decode("utf-8", "replace")}
        if code == 421:
            smtp = None
        elif code != 250:
            smtp.docmd("RSET")
    pathlib.Path(manifest).write_text(json.dumps(result))
    codes = {}
    for item in result.values():
        codes[item["code"]] = codes.get(item["code"], 0) + 1
    print(f"taken={codes.get(250, 0)} codes={codes}")


def meaning(address):
    address = re.sub(r"^@[^:]*:", "", address)
    local, domain = address.rsplit("@", 1)
    if local.startswith('"') and local.endswith('"') and len(local) > 1:
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    return local, domain.rstrip(".").lower()


def check(manifest, incoming, log):
    expected = {k: v for k, v in json.loads(pathlib.Path(manifest).read_text()).items() if v["code"] == 250}
    found, wrong = {}, []
    for path in pathlib.Path(incoming).iterdir():
        data = path.read_bytes()
        identity = re.search(rb"(?m)^X-Rig-Id: (odd-\d+)\r$", data)
        if identity:
            recipients = [r.decode("utf-8", "surrogateescape") for r in re.findall(rb"(?m)^RCPT TO:<(.*)>[^>\r]*\r$", data)]
            found.setdefault(identity.group(1).decode(), []).extend(recipients)
    elsewhere = []
    text = pathlib.Path(log).read_text(encoding="utf-8", errors="replace")
    for identity, item in expected.items():
        got = found.get(identity, [])
        if not got:
            elsewhere.append(identity)
        elif item["recipient"].startswith('""@'):
            continue  # never diverted (no local part); Postfix itself hands it to pipe(8) as "\"\""@...
        elif len(got) != 1 or meaning(got[0]) != meaning(item["recipient"]):
            wrong.append(f"{identity}: {item['recipient']!r} became {got}")
    direct = re.findall(r"postfix/smtp\[.*to=<(?!bsmtp[@+]|postmaster@athena|abuse@athena)[^>]*domain\.co\.uk>.*", text)
    print(f"offered and taken {len(expected)}, in the spool {len(found)}, not diverted {len(elsewhere)}")
    for identity in elsewhere[:20]:
        print("  not in the spool:", expected[identity]["recipient"])
    for line in wrong[:20]:
        print("  altered:", line)
    for line in direct[:5]:
        print("  left directly:", line)
    # What is not in the spool may only be mail that Postfix bounced (e.g. an unknown local user it resolved to).
    return 1 if wrong or direct or len(elsewhere) > len(expected) // 10 else 0


if sys.argv[1] == "--check":
    sys.exit(check(*sys.argv[2:5]))
offer(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
