#!/usr/bin/python3
"""oracle.py: the parcel format by other means than ours: Python's email and gzip, and the gpg program.

  open   --keys FILE... --manifest FILE [--from H --to H] [--sendmail] PARCEL...
         takes parcels apart (mail files as a Maildir holds them), verifies each by `gpg --verify` over the exact
         octets between the boundaries (text-mode, CRLF), gunzips, splits the batch, and compares every message
         that bears an X-Rig-Id with what was sent. Prints one JSON line; exit 0 when all agree.
  receipt --keys FILE... --from H --to H --parcel ID RECEIPT...
         the same for receipts: verified, a delivery report by email's parser, from and to; exit 0 when exactly one
         of them says that this parcel was accepted, with the digest that --of PARCEL has.
  list   PARCEL...    envelope and id of every message, without verifying
  make   --gnupghome DIR --key FPR --from H --to H [--id X] [--created S --expires S] [--sender A --recipient A --mark ID --text FILE]
         [--message SENDER RECIPIENT,... ID]... [--unsigned] [--rfc2442]   writes a parcel (entity with headers) to stdout, for the hostile tests
"""
import argparse
import base64
import datetime
import email
import email.policy
import gzip
import hashlib
import json
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import zlib

from refold import refolded


class Bad(Exception):
    pass


def crlf(data):
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def parts_of(data):
    """The two parts of a multipart/signed message as exact octets (RFC 1847 2.1, RFC 3156 5): CRLF, without the
    line end that belongs to the boundary line."""
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    if message.get_content_type() != "multipart/signed":
        raise Bad(f"is {message.get_content_type()}, not multipart/signed")
    if message.get_param("protocol") != "application/pgp-signature":
        raise Bad("protocol is not application/pgp-signature")
    if message.get_param("micalg", "").lower() not in ("pgp-sha256", "pgp-sha384", "pgp-sha512"):
        raise Bad(f"micalg is {message.get_param('micalg')}")
    body = crlf(data).split(b"\r\n\r\n", 1)[1]
    boundary = re.escape(message.get_boundary().encode())
    pieces = re.split(rb"(?:\A|\r\n)--" + boundary + rb"(?:--)?[ \t]*(?:\r\n|\Z)", body)
    # preamble, signed, signature, epilogue; the split swallowed the line end after each delimiter line
    if len(pieces) != 4:
        raise Bad(f"{len(pieces) - 2} parts between the boundaries")
    if any(octet > 127 for octet in data):
        raise Bad("not pure 7-bit")
    return pieces[1], pieces[2]


def gpg(home, *arguments, data=None):
    return subprocess.run(["gpg", "--homedir", home, "--batch", "--no-tty", "--status-fd", "1", *arguments],
                          input=data, capture_output=True, check=False)


def verify(home, signed, signature):
    payload = email.message_from_bytes(signature).get_payload(decode=True)
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory, "sig").write_bytes(payload)
        pathlib.Path(directory, "data").write_bytes(signed)
        done = gpg(home, "--verify", f"{directory}/sig", f"{directory}/data")
    match = re.search(rb"VALIDSIG (\S+) \S+ \S+ \S+ \S+ \S+ \S+ (\d+) (\S+)", done.stdout)
    if done.returncode != 0 or not match:
        raise Bad("gpg --verify refuses: " + done.stderr.decode(errors="replace").strip().splitlines()[-1])
    if int(match.group(2)) not in (8, 9, 10):
        raise Bad(f"digest algorithm {match.group(2)!r} is weaker than SHA-256")
    return match.group(1).decode()


def batch_of(signed):
    """Inner entity (headers, batch octets)."""
    outer = email.message_from_bytes(signed)
    data = outer.get_payload(decode=True)
    if outer.get_content_type() == "application/compressed-bsmtp":
        data = gzip.decompress(data)
    elif outer.get_content_type() == "application/batch-smtp":
        return outer, data
    else:
        raise Bad(f"signed part is {outer.get_content_type()}")
    head, body = crlf(data).split(b"\r\n\r\n", 1) if b"\r\n\r\n" not in data else data.split(b"\r\n\r\n", 1)
    inner = email.message_from_bytes(head + b"\r\n\r\n")
    if inner.get_content_type() != "application/batch-smtp":
        raise Bad(f"compressed entity is {inner.get_content_type()}")
    encoding = inner.get("Content-Transfer-Encoding", "7bit").strip().lower()
    if encoding == "base64":
        body = base64.b64decode(body)
    return inner, body


def split_batch(body):
    """[(mail line, [rcpt lines], text)] of a batch; refuses what RFC 2442 and 5321 do not know."""
    lines = body.split(b"\r\n")
    if lines and lines[-1] == b"":
        lines.pop()
    messages, position = [], 0
    while position < len(lines):
        line = lines[position]
        position += 1
        verb = line[:4].upper()
        if verb in (b"EHLO", b"HELO", b"RSET", b"NOOP"):
            continue
        if verb == b"QUIT":
            if position != len(lines):
                raise Bad("text after QUIT")
            break
        if verb != b"MAIL":
            raise Bad(f"verb {line[:20]!r} in the batch")
        recipients = []
        while lines[position][:4].upper() == b"RCPT":
            recipients.append(lines[position].decode("utf-8", "surrogateescape"))
            position += 1
        if lines[position].upper() != b"DATA" or not recipients:
            raise Bad("no DATA after RCPT")
        position += 1
        text = []
        while lines[position] != b".":
            text.append(lines[position][1:] if lines[position].startswith(b".") else lines[position])
            position += 1
        position += 1
        messages.append((line.decode("utf-8", "surrogateescape"), recipients, b"\r\n".join(text) + b"\r\n" if text else b""))
    return messages


def rig_id(text):
    match = re.search(rb"(?m)^X-Rig-Id: (\S+)\r\n", text)
    return (match.group(1).decode(), text[match.start():]) if match else (None, text)


def tags(field):
    return dict(item.strip().split("=", 1) for item in re.sub(r"\s+", "", field or "").split(";") if "=" in item)


def open_parcels(args):
    expected = json.loads(pathlib.Path(args.manifest).read_text()) if args.manifest else {}
    result = {"parcels": 0, "verified": 0, "messages": 0, "identical": 0, "wire_bytes": 0, "mail_bytes": 0,
              "dkim_lines": 0, "missing": 0}
    found, ids, problems = {}, set(), []
    home = tempfile.mkdtemp(prefix="rig-oracle.")
    try:
        gpg(home, "--import", *args.keys)
        for path in args.parcel:
            data = pathlib.Path(path).read_bytes()
            try:
                signed, signature = parts_of(data)
                verify(home, signed, signature)
                inner, body = batch_of(signed)
                manifest = tags(inner.get("BSMTP-Parcel"))
                if getattr(args, "from") and manifest.get("from") != getattr(args, "from"):
                    continue
                result["verified"] += 1
                if not re.fullmatch(r"[0-9a-f]{44}", manifest.get("id", "")):
                    raise Bad(f"parcel id {manifest.get('id')!r}")
                if manifest["id"] in ids:
                    raise Bad("the same parcel id twice")
                ids.add(manifest["id"])
                if args.to and manifest.get("to") != args.to:
                    raise Bad(f"manifest says to={manifest.get('to')}")
                result["parcels"] += 1
                result["wire_bytes"] += len(crlf(data))
                for line, recipients, text in split_batch(body):
                    result["messages"] += 1
                    identity, rest = rig_id(text)
                    if identity is None or identity not in expected:
                        continue
                    result["mail_bytes"] += len(text)
                    result["dkim_lines"] += b"DKIM-Signature:" in text[:len(text) - len(rest)]
                    found[identity] = found.get(identity, 0) + 1
                    sent = expected[identity]
                    rest = rest.replace(b"\r\n", b"\n")
                    same = hashlib.sha256(rest).hexdigest() == sent["sha256"]
                    if not same and not (args.sendmail and refolded(rest) == sent["refolded"]):
                        raise Bad(f"{identity}: octets differ")
                    if f"<{sent['sender']}>" not in line or not any(f"<{sent['recipient']}>" in r for r in recipients):
                        raise Bad(f"{identity}: envelope differs: {line} {recipients}")
                    result["identical"] += same
            except (Bad, OSError, ValueError, IndexError, EOFError, zlib.error) as error:
                problems.append(f"{path}: {error}")
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True, check=False)
        shutil.rmtree(home, ignore_errors=True)
    result["missing"] = len(set(expected) - set(found))
    print(json.dumps(result))
    for line in problems[:5] + [f"in two parcels: {i}" for i, n in found.items() if n > 1][:5]:
        print(line, file=sys.stderr)
    return 0 if not problems and not result["missing"] and result["parcels"] else 1


def receipt_of(home, data, args):
    """{parcel id: (state, digest)} of a receipt that is all right."""
    signed, signature = parts_of(data)
    verify(home, signed, signature)
    report = email.message_from_bytes(signed, policy=email.policy.default)
    if report.get_content_type() != "multipart/report" or report.get_param("report-type") != "delivery-status":
        raise Bad(f"signed part is {report.get_content_type()}")
    human, status = report.get_payload()
    if (human.get_content_type(), status.get_content_type()) != ("text/plain", "message/delivery-status"):
        raise Bad("not the two parts of a report")
    whole, *groups = status.get_payload()
    said = tags(whole["X-BSMTP-Receipt"])
    if (said.get("v"), said.get("from"), said.get("to")) != ("1", getattr(args, "from"), args.to):
        raise Bad(f"X-BSMTP-Receipt says {said}")
    found = {}
    for group in groups:
        parcel = tags(group["X-BSMTP-Parcel"])
        taken = parcel["s"] == "accepted"
        if group["Action"] != ("relayed" if taken else "failed") or group["Status"][0] != ("2" if taken else "5"):
            raise Bad(f"{parcel['id']}: {parcel['s']}, {group['Action']}, {group['Status']}")
        found[parcel["id"]] = (parcel["s"], parcel["d"])
    return found


def read_receipts(args):
    digest = hashlib.sha256(parts_of(pathlib.Path(args.of).read_bytes())[0]).hexdigest()
    home = tempfile.mkdtemp(prefix="rig-oracle.")
    said = []
    try:
        gpg(home, "--import", *args.keys)
        for path in args.receipt:
            said.append(receipt_of(home, pathlib.Path(path).read_bytes(), args).get(args.parcel))
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True, check=False)
        shutil.rmtree(home, ignore_errors=True)
    print(said)
    return 0 if [one for one in said if one] == [("accepted", digest)] else 1


def list_parcels(args):
    for path in args.parcel:
        signed, _ = parts_of(pathlib.Path(path).read_bytes())
        inner, body = batch_of(signed)
        print("parcel", path, re.sub(r"\s+", " ", inner.get("BSMTP-Parcel", "-")))
        for line, recipients, text in split_batch(body):
            print(" ", rig_id(text)[0], line, " ".join(recipients))
    return 0


def wrapped(data):
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def stamp(offset):
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset)
    return now.strftime("%Y%m%dT%H%M%SZ")


def transaction(args, sender, recipients, mark):
    if args.text:
        text = crlf(pathlib.Path(args.text).read_bytes())
    else:
        text = (f"X-Rig-Id: {mark}\r\nFrom: {args.author or sender}\r\nSubject: {mark}\r\n"
                f"Message-ID: <{mark}@rig.example.net>\r\nDate: Sun, 22 Nov 2026 01:10:00 +0000\r\n\r\nhello\r\n").encode()
    return (f"MAIL FROM:<{sender}>\r\n".encode() + b"".join(f"RCPT TO:<{r}>\r\n".encode() for r in recipients) +
            b"DATA\r\n" + re.sub(rb"(?m)^\.", b"..", text) + b".\r\n")


def make(args):
    identity = args.id or f"{secrets.randbits(176):044x}"
    messages = [(args.sender, args.recipient, args.mark)] if args.recipient else []
    messages += [(sender, recipients.split(","), mark) for sender, recipients, mark in args.message]
    batch = (f"EHLO {args.from_}\r\n".encode() +
             b"".join(transaction(args, *message) for message in messages) + b"QUIT\r\n")
    manifest = (f"BSMTP-Parcel: v=1; id={identity}; from={args.from_}; to={args.to};\r\n"
                f" t={stamp(args.created)}; x={stamp(args.expires)}; rr=0\r\n").encode()
    entity = b"Content-Type: application/batch-SMTP\r\n" + manifest + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + batch
    if args.rfc2442:
        part = b"Content-Type: application/batch-SMTP\r\nContent-Transfer-Encoding: base64\r\n\r\n" + wrapped(batch)
    else:
        part = (b"Content-Type: application/compressed-bsmtp\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
                wrapped(gzip.compress(entity)))
    if args.unsigned:
        sys.stdout.buffer.write(b"MIME-Version: 1.0\r\n" + part)
        return 0
    # RFC 3156 5: the line end before the boundary is not part of what is signed.
    signed = part[:-2] if part.endswith(b"\r\n") else part
    done = gpg(args.gnupghome, "--local-user", args.key, "--digest-algo", "SHA256", "--textmode", "--armor",
               "--pinentry-mode", "loopback", "--passphrase", "", "--detach-sign", "-o", "-", data=signed)
    armor = re.search(rb"-----BEGIN PGP SIGNATURE-----.*?-----END PGP SIGNATURE-----\r?\n", done.stdout, re.S)
    if not armor:
        sys.exit("gpg did not sign: " + done.stderr.decode(errors="replace"))
    boundary = "=_" + secrets.token_hex(12)
    out = (b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; micalg=pgp-sha256;\r\n"
           b" protocol=\"application/pgp-signature\"; boundary=\"" + boundary.encode() + b"\"\r\n\r\n--" +
           boundary.encode() + b"\r\n" + signed + b"\r\n--" + boundary.encode() +
           b"\r\nContent-Type: application/pgp-signature\r\n\r\n" + crlf(armor.group(0)) + b"\r\n--" + boundary.encode() + b"--\r\n")
    sys.stdout.buffer.write(out)
    return 0


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("open")
    sub.set_defaults(function=open_parcels)
    sub.add_argument("--keys", nargs="+", default=[])
    sub.add_argument("--manifest", default="")
    sub.add_argument("--from", dest="from", default="")
    sub.add_argument("--to", default="")
    sub.add_argument("--sendmail", action="store_true", help="accept what sendmail does to long address fields")
    sub.add_argument("parcel", nargs="+")
    sub = commands.add_parser("receipt")
    sub.set_defaults(function=read_receipts)
    sub.add_argument("--keys", nargs="+", default=[])
    sub.add_argument("--from", dest="from", required=True)
    sub.add_argument("--to", required=True)
    sub.add_argument("--parcel", required=True)
    sub.add_argument("--of", required=True, help="that parcel's mail")
    sub.add_argument("receipt", nargs="+")
    sub = commands.add_parser("list")
    sub.set_defaults(function=list_parcels)
    sub.add_argument("parcel", nargs="+")
    sub = commands.add_parser("make")
    sub.set_defaults(function=make)
    sub.add_argument("--gnupghome", default="")
    sub.add_argument("--key", default="")
    sub.add_argument("--from", dest="from_", required=True)
    sub.add_argument("--to", required=True)
    sub.add_argument("--id", default="")
    sub.add_argument("--created", type=int, default=0, help="seconds from now")
    sub.add_argument("--expires", type=int, default=86400)
    sub.add_argument("--sender", default="alice@domain.com")
    sub.add_argument("--recipient", action="append", default=[])
    sub.add_argument("--mark", default="forged")
    sub.add_argument("--message", nargs=3, action="append", default=[], help="SENDER RECIPIENT,... ID: one more")
    sub.add_argument("--author", default="", help="header From: (default: the sender)")
    sub.add_argument("--text", default="")
    sub.add_argument("--unsigned", action="store_true")
    sub.add_argument("--rfc2442", action="store_true")
    args = parser.parse_args()
    os.umask(0o077)
    sys.exit(args.function(args))


main()
