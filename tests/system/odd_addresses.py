#!/usr/bin/python3
"""odd_addresses.py --offer SERVER SOURCE MANIFEST COUNT SEED: offers that many odd recipients at domain.co.uk, one message each
odd_addresses.py --spool MANIFEST INCOMING MAILLOG: every recipient that the server took stands unaltered in one spool item
odd_addresses.py --account MANIFEST SINK MAILDIR: each message taken was handed over on the other side with that recipient, or
                                                 its sender has a delivery status notification about it: one of the two, once.
                                                 Refused are only those with a second route inside (% ! @), which
                                                 Postfix takes for relaying

"Unaltered" is the mailbox an SMTP server means: a source route and a trailing dot are not part of it, the domain's case
does not count, and quoting is compared by what it quotes (RFC 5321 4.1.2).
"""
import collections
import email
import email.policy
import json
import pathlib
import random
import re
import smtplib
import sys

ATEXT = "abcdefgXYZ0189!#$%&'*+-/=?^_`{|}~."
QTEXT = ATEXT + " ()<>[]:;@,\\\""
UTF8 = "äöüßéñçœøčłğжщяλπاשのユ用户한😀e\u0301\u200d"
# No local part at all. Postfix keeps it as two quote characters and quotes those wherever it hands the mail, to another
# host as to us; so it is never diverted, and this is what arrives.
EMPTY, EMPTY_AS_POSTFIX_WRITES_IT = '""@', '"\\"\\""@'


def quoted(text):
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def addresses(rng):
    yield from ("user", "User", "a.b", "user+tag", "user+", "+tag", "a%b", "a%b%c", "a!b", "%", "!", "user%domain.com",
                "user%", "owner-list", "=?x?=", "a/b=c", "x" * 64, "x" * 65, "never", "bsmtp", "bsmtp+abc", "postmaster")
    for text in ("a b", "a@b", "a\\b", 'a"b', "", " ", ".a", "a.", "a..b", "user@domain.co.uk", "<a>", "a%b c", "(x)", "-f"):
        yield quoted(text)
    # RFC 6531. Composed and decomposed are two addresses; 64 octets are fewer letters; and no UTF-8 at all.
    yield from ("jörg", "Jörg", "jo\u0308rg", "用户", "пользователь+tag", "😀", "ü%domain.com", "ü!ö", "%ü", "ü" * 32, "ü" * 33,
                "ο.σος", "\u202euser", "\ufeffuser", "j\udcf6rg", "\udcc3", "\udced\udca0\udc80", "\udcf4\udc90\udc80\udc80")
    for text in ("jörg schmidt", "用@户", "ö\\ö", 'ö"ö', ".ö", "ü%b c"):
        yield quoted(text)
    while True:
        length = rng.randrange(1, 40)
        kind = rng.random()
        if kind < 0.55:
            local = "".join(rng.choice(ATEXT) for _ in range(length))
        elif kind < 0.75:
            local = "".join(rng.choice(ATEXT + UTF8) for _ in range(length))
        elif kind < 0.9:
            local = quoted("".join(rng.choice(QTEXT) for _ in range(length)))
        else:
            local = quoted("".join(rng.choice(QTEXT + UTF8) for _ in range(length)))
        if local.startswith('"') or not (local.startswith((".", "-")) or local.endswith(".") or ".." in local):
            yield local


def domain(rng):
    return rng.choice(["domain.co.uk"] * 6 + ["Domain.CO.uk", "domain.co.uk.", "sub.domain.co.uk", "x-1.domain.co.uk"])


class Client(smtplib.SMTP):
    def send(self, s):
        super().send(s.encode("utf-8", "surrogateescape") if isinstance(s, str) else s)


def offer(server, source, manifest, count, seed):
    rng, result, smtp = random.Random(int(seed)), {}, None
    for number, local in zip(range(1, int(count) + 1), addresses(rng)):
        recipient = f"{local}@{domain(rng)}"
        if rng.random() < 0.05:
            recipient = "@relay.example:" + recipient
        if smtp is None:
            smtp = Client(server, 25, source_address=(source, 0), timeout=60)
            smtp.ehlo()
        identity = f"odd-{number:05d}"
        # Postfix takes UTF-8 addresses from clients that do not announce it, too.
        announce = not recipient.isascii() and rng.random() < 0.8
        smtp.docmd("MAIL", "FROM:<bob@domain.com>" + (" SMTPUTF8" if announce else ""))
        code, text = smtp.docmd("RCPT", f"TO:<{recipient}>")
        if code == 250:
            code, text = smtp.data(f"X-Rig-Id: {identity}\r\nSubject: {identity}\r\nFrom: bob@domain.com\r\n\r\nhello\r\n".encode())
        result[identity] = {"recipient": recipient, "smtputf8": announce, "code": code, "text": text.decode("utf-8", "replace")}
        if code == 421:
            smtp = None
        elif code != 250:
            smtp.docmd("RSET")
    pathlib.Path(manifest).write_text(json.dumps(result))
    codes = collections.Counter(item["code"] for item in result.values())
    utf8 = sum(item["code"] == 250 and not item["recipient"].isascii() for item in result.values())
    print(f"seed={seed} taken={codes[250]} utf8={utf8} codes={dict(codes)}")


def meaning(address):
    address = re.sub(r"^@[^:]*:", "", address)
    local, _, host = address.rpartition("@")
    if local.startswith('"') and local.endswith('"') and len(local) > 1:
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    return local, host.rstrip(".").lower()


def expected_of(item):
    recipient = item["recipient"]
    if EMPTY in recipient and meaning(recipient)[0] == "":
        recipient = recipient.replace(EMPTY, EMPTY_AS_POSTFIX_WRITES_IT)
    return meaning(recipient)


def path_of(line):
    """What stands between the angle brackets of an SMTP command; a quoted local part may hold brackets itself."""
    match = re.match(r'[^<]*<((?:"(?:\\.|[^"\\])*"|[^">])*)>', line)
    return match.group(1) if match else line


def taken(manifest):
    return {k: v for k, v in json.loads(pathlib.Path(manifest).read_text()).items() if v["code"] == 250}


def text_of(path):
    return path.read_bytes().replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")


def identity_of(text):
    match = re.search(r"(?m)^X-Rig-Id: (odd-\d+)$", text)
    return match.group(1) if match else None


def spool(manifest, incoming, log):
    expected, found, problems = taken(manifest), collections.defaultdict(list), []
    for path in pathlib.Path(incoming).iterdir():
        text = text_of(path)
        found[identity_of(text)] += [path_of(r) for r in re.findall(r"(?m)^RCPT TO:(.*)$", text.split("\nDATA\n")[0])]
    for identity, item in expected.items():
        got = [meaning(recipient) for recipient in found[identity]]
        if got != [expected_of(item)]:
            problems.append(f"{identity}: {item['recipient']!r} became {found[identity]}")
    text = pathlib.Path(log).read_text(encoding="utf-8", errors="replace")
    direct = re.findall(r"postfix/smtp\[.*to=<(?!bsmtp[@+]|postmaster@athena|abuse@athena)[^>]*domain\.co\.uk>.*", text)
    problems += ["left directly: " + line for line in direct]
    diverted = len(re.findall(r"(?m): to=<.*@remote1\.bsmtp\.invalid>.*(?:relay=bsmtp-out|private/bsmtp-out-agent).*status=sent", text))
    print(f"taken {len(expected)}, wrong {len(problems)}; the milter diverted {diverted}, the static map took the others")
    return problems


def account(manifest, sink, maildir):
    expected, problems = taken(manifest), []
    delivered, told, why = collections.defaultdict(list), collections.defaultdict(list), collections.Counter()
    for path in pathlib.Path(sink).glob("*.eml"):
        text = text_of(path)
        delivered[identity_of(text)] += [path_of(r) for r in re.findall(r"(?m)^X-Sink-To: (.*)$", text)
                                         if path_of(r) != "archive@localhost"]  # the rig's copy of parcels
    for path in pathlib.Path(maildir).iterdir():
        report = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        if report.get_content_type() != "multipart/report":
            continue
        text = text_of(path)
        for kind, recipient in re.findall(r"(?mi)^Final-Recipient: *([a-z0-9-]+); *(.*)$", text):
            if kind == "utf-8":  # RFC 6533 3
                recipient = re.sub(r"\\x\{([0-9A-F]+)\}", lambda m: chr(int(m.group(1), 16)), recipient)
            told[identity_of(text)].append(recipient)
        why[re.search(r"(?mi)^Status: *(\S+)", text).group(1)] += 1
    for identity, item in expected.items():
        got = [meaning(recipient) for recipient in delivered[identity] + told[identity]]
        if got != [expected_of(item)]:
            problems.append(f"{identity}: {item['recipient']!r}: delivered to {delivered[identity]}, reported {told[identity]}")
        elif told[identity] and not set(got[0][0]) & set("%!@"):
            problems.append(f"{identity}: {item['recipient']!r} was refused, and athena's Postfix has no reason to look into it")
    for identity in (set(delivered) | set(told)) - set(expected):
        if delivered[identity] or told[identity]:
            problems.append(f"{identity}: was not taken, but delivered to {delivered[identity]}, reported {told[identity]}")
    print(f"taken {len(expected)}: delivered {sum(map(bool, delivered.values()))}, reported to the sender "
          f"{sum(map(bool, told.values()))} {dict(why)}, unaccounted for or altered {len(problems)}")
    return problems


def main():
    mode, *arguments = sys.argv[1:]
    if mode == "--offer":
        return offer(*arguments)
    problems = {"--spool": spool, "--account": account}[mode](*arguments)
    for problem in problems[:20]:
        print("  " + problem.encode("utf-8", "backslashreplace").decode())
    return 1 if problems else 0


sys.exit(main())
