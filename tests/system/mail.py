#!/usr/bin/python3
"""mail.py: a user's mail program and the test's eyes.

  send   one message (in a host):  --server A --source A --from A --to A ... [--id X] [--body T] [--file F]
         prints one line per recipient: "250 addr" or "5xx text addr"; exit 0 when the message was accepted
  many   small messages (in a host), a line "ID FROM TO..." each on standard input ("<>": the null sender), by one
         connection; prints refusals; exit 0 when every recipient was taken
  bulk   many messages from a corpus (in a host), each marked X-Rig-Id, and a manifest of what was sent
  verify manifest against Maildirs (outside): counts delivered, identical, doubled, DKIM passed
  dialogue raw SMTP lines (in a host), prints the replies
Plain smtplib and files; nothing of the product.
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import smtplib
import socket
import sys
import threading

from refold import refolded

LF_ID = re.compile(rb"(?m)^X-Rig-Id: (\S+)\n")
# What MTAs and filters may put above the message on its way. Anything else is an alteration.
TRACE = {"return-path", "x-original-to", "delivered-to", "received", "dkim-signature", "dkim-filter",
         "authentication-results", "x-content-mic-check"}


def connect(args):
    source = (args.source, 0) if args.source else None
    smtp = smtplib.SMTP(args.server, args.port, timeout=120, source_address=source, local_hostname="client.example.net")
    smtp.command_encoding = "utf-8"  # RFC 6531 addresses, where MAIL says SMTPUTF8
    smtp.ehlo()
    return smtp


def options_for(data):
    return ["BODY=8BITMIME"] if any(octet > 127 for octet in data) else []


def marked(identity, data):
    return b"X-Rig-Id: " + identity.encode() + b"\r\n" + data


def send(args):
    if args.file:
        data = pathlib.Path(args.file).read_bytes()
    else:
        data = small(args.sender, args.id, args.body, args.subject)
    if args.id:
        data = marked(args.id, data)
    smtp = connect(args)
    code, text = smtp.docmd("MAIL", f"FROM:<{args.sender}>" + "".join(" " + o for o in options_for(data) + args.mail_option))
    if code != 250:
        print(code, text.decode("utf-8", "replace").replace("\n", " "), args.sender)
        return 1
    taken = 0
    for recipient in args.to:
        code, text = smtp.docmd("RCPT", f"TO:<{recipient}>" + "".join(" " + o for o in args.rcpt_option))
        taken += code in (250, 251)
        print(code, text.decode("utf-8", "replace").replace("\n", " ") if code > 251 else "", recipient)
    if taken:
        code, text = smtp.data(data)
        print(code, text.decode("utf-8", "replace").replace("\n", " "), "DATA")
        taken = code == 250
    smtp.close() if code == 421 else smtp.quit()
    return 0 if taken else 1


def small(sender, identity, body, subject=""):
    return (f"From: {sender or 'MAILER-DAEMON@example.net'}\r\nTo: undisclosed-recipients:;\r\nSubject: {subject or identity}\r\n"
            f"Date: Sun, 22 Nov 2026 01:10:00 +0000\r\nMessage-ID: <{identity}@rig.example.net>\r\n\r\n{body}\r\n").encode()


def many(args):
    smtp, refused = connect(args), {}
    for line in sys.stdin:
        identity, sender, *recipients = line.split()
        sender = sender.replace("<>", "")
        refused.update(smtp.sendmail(sender, recipients, marked(identity, small(sender, identity, "hello"))))
    smtp.quit()
    for recipient, (code, text) in refused.items():
        print(code, text.decode("utf-8", "replace"), recipient)
    return 1 if refused else 0


def bulk(args):
    files = sorted(pathlib.Path(args.corpus).glob("*.eml"))[args.offset:]
    jobs = []
    for number in range(args.count):
        identity = f"{args.prefix}-{number:05d}"
        data = marked(identity, files[number % len(files)].read_bytes())
        jobs.append((identity, args.sender.split(",")[number % len(args.sender.split(","))],
                     args.to[number % len(args.to)], data))
    lock = threading.Lock()
    manifest, queue, failures = {}, list(reversed(jobs)), []

    def worker():
        smtp = connect(args)
        while True:
            with lock:
                if not queue:
                    break
                identity, sender, recipient, data = queue.pop()
            try:
                smtp.sendmail(sender, [recipient], data, mail_options=options_for(data))
            except smtplib.SMTPException as error:
                with lock:
                    failures.append(f"{identity}: {error}")
                smtp = connect(args)
                continue
            with lock:
                manifest[identity] = {
                    "sender": sender, "recipient": recipient, "size": len(data),
                    "sha256": hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest(),
                    "refolded": refolded(data.replace(b"\r\n", b"\n"))}
        smtp.quit()

    threads = [threading.Thread(target=worker) for _ in range(args.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pathlib.Path(args.manifest).write_text(json.dumps(manifest, indent=0))
    for failure in failures[:5]:
        print("not sent:", failure)
    print(f"sent={len(manifest)} bytes={sum(m['size'] for m in manifest.values())} refused={len(failures)}")
    return 1 if failures else 0


def field_names(head):
    return [line.split(b":", 1)[0].strip().decode("latin-1").lower()
            for line in head.splitlines() if line and line[:1] not in b" \t"]


def by_the_mta_alone(args):
    """What an MTA made of the same messages without a tunnel: [(number, text, host, header above)] of --control PREFIX."""
    found = []
    for directory in args.control_maildir:
        for path in sorted(pathlib.Path(directory).glob("new/*")):
            data = path.read_bytes()
            match = LF_ID.search(data)
            if match and match.group(1).decode().startswith(args.control + "-"):
                found.append((match.group(1).decode()[-5:], data[match.end():], path.parts[:4], field_names(data[:match.start()])))
    return found


def verify(args):
    """Every message of the manifest in exactly one file, from its X-Rig-Id line on the octets that were sent."""
    controls = by_the_mta_alone(args) if args.control else []
    expected = json.loads(pathlib.Path(args.manifest).read_text())
    seen, identical, dkim_signed, dkim_pass, problems = {}, set(), 0, 0, []
    through = folded = altered = 0
    for directory in args.maildir:
        for path in sorted(pathlib.Path(directory).glob("new/*")):
            data = path.read_bytes()
            match = LF_ID.search(data)
            if not match or match.group(1).decode() not in expected:
                continue
            identity = match.group(1).decode()
            seen[identity] = seen.get(identity, 0) + 1
            if hashlib.sha256(data[match.start():]).hexdigest() == expected[identity]["sha256"]:
                identical.add(identity)
            elif args.sendmail and refolded(data[match.start():]) == expected[identity]["refolded"]:
                folded += 1
            elif (identity[-5:], data[match.end():]) in [control[:2] for control in controls]:
                altered += 1
            else:
                problems.append(f"{identity}: octets differ ({path})")
            head = data[:match.start()]
            # What the MTA of this host adds to any mail that it delivers.
            added = {name for number, _, host, names in controls if number == identity[-5:] and host == path.parts[:4] for name in names}
            strange = [name for name in field_names(head) if name not in TRACE | added]
            if strange:
                problems.append(f"{identity}: unexpected header {strange} above the message")
            through += bool(re.search(args.trace.encode(), head)) if args.trace else 0
            dkim_signed += b"DKIM-Signature:" in head
            dkim_pass += bool(re.search(rb"Authentication-Results:[^\n]*\n?(?:[ \t][^\n]*\n)*?[^\n]*dkim=pass", head))
    missing = sorted(set(expected) - set(seen))
    doubled = sorted(i for i, n in seen.items() if n > 1)
    result = {"expected": len(expected), "delivered": len(seen), "identical": len(identical),
              "refolded": folded, "altered": altered, "missing": len(missing), "doubled": len(doubled), "dkim_signed": dkim_signed, "dkim_pass": dkim_pass,
              "bytes": sum(m["size"] for m in expected.values()), "through": through}
    print(json.dumps(result))
    for line in ([f"missing: {missing[:5]}"] if missing else []) + ([f"doubled: {doubled[:5]}"] if doubled else []) + problems[:5]:
        print(line, file=sys.stderr)
    return 0 if len(identical) + folded + altered == len(expected) and not doubled and not problems else 1


def dialogue(args):
    source = (args.source, 0) if args.source else None
    connection = socket.create_connection((args.server, args.port), timeout=60, source_address=source)
    stream = connection.makefile("rb")

    def reply():
        lines = []
        while line := stream.readline():
            lines.append(line.decode("utf-8", "replace").rstrip())
            if line[3:4] != b"-":
                break
        print("<", " | ".join(lines))

    reply()
    for line in args.line:
        if line.startswith("BODY:"):
            octets = line[5:].encode().decode("unicode_escape").encode("latin-1")
            connection.sendall(octets + b"\r\n.\r\n")
        else:
            connection.sendall(os.fsencode(line) + b"\r\n")
        print(">", line)
        reply()
    return 0


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in (("send", send), ("many", many), ("bulk", bulk), ("dialogue", dialogue)):
        sub = commands.add_parser(name)
        sub.set_defaults(function=function)
        sub.add_argument("--server", required=True)
        sub.add_argument("--port", type=int, default=25)
        sub.add_argument("--source", default="")
        if name == "dialogue":
            sub.add_argument("line", nargs="+")
        if name in ("dialogue", "many"):
            continue
        sub.add_argument("--from", dest="sender", default="")
        sub.add_argument("--to", action="append", required=True)
        if name == "send":
            sub.add_argument("--id", default="")
            sub.add_argument("--subject", default="")
            sub.add_argument("--body", default="hello")
            sub.add_argument("--file", default="")
            sub.add_argument("--mail-option", action="append", default=[])
            sub.add_argument("--rcpt-option", action="append", default=[])
        else:
            sub.add_argument("--corpus", required=True)
            sub.add_argument("--count", type=int, required=True)
            sub.add_argument("--offset", type=int, default=0)
            sub.add_argument("--prefix", required=True)
            sub.add_argument("--manifest", required=True)
            sub.add_argument("--connections", type=int, default=4)
    sub = commands.add_parser("verify")
    sub.set_defaults(function=verify)
    sub.add_argument("--manifest", required=True)
    sub.add_argument("--trace", default="", help="regular expression that a delivered message's new header must match")
    sub.add_argument("--sendmail", action="store_true", help="accept what sendmail does to long address fields")
    sub.add_argument("--control", default="", help="prefix of the same messages sent without a tunnel: what the MTA itself changes")
    sub.add_argument("--control-maildir", action="append", default=[])
    sub.add_argument("maildir", nargs="+")
    args = parser.parse_args()
    sys.exit(args.function(args))


main()
