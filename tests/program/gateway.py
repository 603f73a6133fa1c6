"""A throw-away gateway for program tests: spool, configuration, GnuPG homes, and a peer whose
parcels are made with nothing of ours: gzip, gpg and string formatting. What our programs accept
is thereby what the documents say, not what our builder writes."""

import hashlib
import base64
import datetime
import gzip
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time

HOST = "athena.domain.co.uk"
PEER_HOST = "hub.domain.com"
ADDRESS = "bsmtp@" + HOST


def crlf(text):
    return re.sub(rb"\r?\n", b"\r\n", text if isinstance(text, bytes) else text.encode())


def iso(seconds):
    when = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return when.strftime("%Y%m%dT%H%M%SZ")


def parcel_id():
    return "%012x" % int(time.time() * 1000) + secrets.token_hex(16)


def message(sender, recipients, body="hello\r\n", headers="Subject: test\r\n"):
    """One transaction of a batch."""
    lines = "MAIL FROM:<%s>\r\n" % sender
    lines += "".join("RCPT TO:<%s>\r\n" % r for r in recipients)
    text = crlf(headers + "\r\n" + body)
    text = re.sub(rb"(?m)^\.", b"..", text)
    return lines.encode() + b"DATA\r\n" + text + b".\r\n"


def batch(messages):
    return b"EHLO " + PEER_HOST.encode() + b"\r\n" + b"".join(messages) + b"QUIT\r\n"


def batch_entity(octets, manifest, parameters="", media_type="application/batch-SMTP"):
    """`parameters` as they stand behind the type, from the semicolon on."""
    head = ("Content-Type: %s%s\r\nContent-Transfer-Encoding: 8bit\r\n"
            % (media_type, parameters)).encode()
    if manifest:
        head += b"BSMTP-Parcel: " + manifest.encode() + b"\r\n"
    return head + b"\r\n" + octets


def base64_lines(octets):
    return crlf(base64.encodebytes(octets))


def compressed_part(entity):
    return (b"Content-Type: application/compressed-bsmtp\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + base64_lines(gzip.compress(entity, mtime=0)))


def signed_mail(part, signature, boundary=b"=_test"):
    """`part` without the CRLF that belongs to the boundary line."""
    return (b"From: <bsmtp@" + PEER_HOST.encode() + b">\r\nTo: <" + ADDRESS.encode()
            + b">\r\nSubject: BSMTP parcel\r\nMIME-Version: 1.0\r\n"
            b"Content-Type: multipart/signed; micalg=pgp-sha256;\r\n"
            b' protocol="application/pgp-signature"; boundary="' + boundary + b'"\r\n\r\n'
            b"--" + boundary + b"\r\n" + part + b"\r\n--" + boundary
            + b"\r\nContent-Type: application/pgp-signature\r\n\r\n" + crlf(signature)
            + b"\r\n--" + boundary + b"--\r\n")


class Keyring:
    """A GnuPG home of its own, short enough for gpg-agent's sockets."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="g", dir="/tmp")

    def gpg(self, *args, data=None):
        command = ["gpg", "--homedir", self.home, "--batch", "--no-tty", "--quiet",
                   "--pinentry-mode", "loopback", "--passphrase", ""] + list(args)
        done = subprocess.run(command, input=data, capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())
        return done.stdout

    def make(self, user, *, expire="never", when=None):
        extra = ["--faked-system-time", when] if when else []
        self.gpg(*extra, "--quick-gen-key", user, "ed25519", "sign", expire)
        return self.fingerprints(user)[-1]

    def fingerprints(self, user=""):
        out = self.gpg("--with-colons", "--list-keys", *([user] if user else [])).decode()
        found, take = [], False
        for line in out.splitlines():
            if line.startswith("pub:"):
                take = True
            elif line.startswith("fpr:") and take:
                found.append(line.split(":")[9])
                take = False
        return found

    def export(self, fingerprint):
        return self.gpg("--armor", "--export", fingerprint)

    def sign(self, fingerprint, data, *options):
        return self.gpg("--armor", "--textmode", "--digest-algo", "SHA256", "--local-user",
                        fingerprint, *options, "--detach-sign", data=data)

    def close(self):
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "gpg-agent"], check=False,
                       capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)


def accepted_messages(directory):
    """The transactions in an accepted parcel's one file, cut as its meta says."""
    with open(directory + "/meta", encoding="utf-8") as found:
        lines = [line.split() for line in found if line.startswith("message: ")]
    with open(directory + "/messages", "rb") as found:
        messages = [found.read(int(line[4])) for line in lines]
        assert found.read() == b"", "more octets than meta says"
    for line, message in zip(lines, messages):
        head = message[:message.index(b"\r\nDATA\r\n") + len(b"\r\nDATA\r\n")]
        assert line[5] == hashlib.sha256(head).hexdigest(), "digest of the envelope"
    assert sorted(os.listdir(directory)) in (["messages", "meta"], ["messages", "meta", "state"])
    return messages


class Site:
    """The receiving gateway, with peer remote1 = hub.domain.com."""

    place = "/tmp"  # where its directory is made

    def __init__(self, programs, settings="", peer_settings="", pin=True):
        self.programs = programs
        self.root = tempfile.mkdtemp(prefix="s", dir=self.place)
        self.peer_keys = Keyring()
        self.peer_key = self.peer_keys.make("BSMTP gateway <bsmtp@%s>" % PEER_HOST)
        self.spool = self.root + "/spool"
        self.pgp = self.root + "/pgp"
        os.makedirs(self.pgp)
        self.config = self.root + "/bsmtp.conf"
        with open(self.root + "/rewrite", "w", encoding="ascii") as out:
            out.write("domain.com  $U%$H@BSOUT-REMOTE1$Nbsout_remote1\n"
                      ".domain.com  $U%$H$D@BSOUT-REMOTE1$Nbsout_remote1\n")
        self.write_config(settings, peer_settings)
        self.ctl("spool", "create", check=True)
        if pin:
            self.import_peer()

    def write_config(self, settings="", peer_settings=""):
        with open(self.config, "w", encoding="ascii") as out:
            out.write("host = %s\nspool-directory = %s\nopenpgp-directory = %s\n"
                      "rewrite-rules = %s/rewrite\nexport-map = %s/transport\n"
                      "milter-socket = unix:%s/milter.sock\n%s\n"
                      "[peer.remote1]\nhost = %s\nrecipient-domains = domain.co.uk "
                      ".domain.co.uk\n%s\n"
                      % (HOST, self.spool, self.pgp, self.root, self.root, self.root, settings,
                         PEER_HOST, peer_settings))

    def import_peer(self):
        path = self.root + "/peer.asc"
        with open(path, "wb") as out:
            out.write(self.peer_keys.export(self.peer_key))
        self.ctl("key", "import", path, "--peer", "remote1", "--fingerprint", self.peer_key,
                 check=True)

    def run(self, program, *args, data=b"", check=False, under=()):
        done = subprocess.run([*under, self.programs + "/" + program, "--config", self.config, *args],
                              input=data, capture_output=True, check=False, timeout=120)
        if check and done.returncode != 0:
            raise AssertionError("%s %s: %d\n%s%s" % (program, args, done.returncode,
                                                      done.stdout.decode(), done.stderr.decode()))
        return done

    def ctl(self, *args, data=b"", check=False):
        return self.run("bsmtpctl", *args, data=data, check=check)

    def ctl_json(self, *args):
        done = self.ctl(*args, "--json")
        try:
            return json.loads(done.stdout), done.returncode
        except ValueError as error:
            raise AssertionError("%s: %s: %r %s" % (args, error, done.stdout, done.stderr))

    def receive(self, mail, *args, recipient=ADDRESS, sender="bsmtp+tok@" + PEER_HOST):
        return self.run("bsmtp-in", "--queue-id", "4Q1", "--sender", sender, "--client",
                        "192.0.2.1", *args, "--", recipient, data=mail)

    def manifest(self, **changes):
        now = time.time()
        tags = {"v": "1", "id": parcel_id(), "from": PEER_HOST, "to": HOST, "t": iso(now),
                "x": iso(now + 86400), "rr": "0"}
        tags.update(changes)
        return "; ".join("%s=%s" % item for item in tags.items())

    def parcel(self, messages, key=None, keyring=None, **changes):
        """A native parcel as the peer would send it."""
        return self.signed(batch_entity(batch(messages), self.manifest(**changes)), key, keyring)

    def signed(self, entity, key=None, keyring=None):
        """Any inner entity, compressed and signed."""
        part = compressed_part(entity)[:-2]
        signature = (keyring or self.peer_keys).sign(key or self.peer_key, part)
        return signed_mail(part, signature)

    def dispatch_once(self, check=True):
        return self.run("bsmtp-dispatch", "--foreground", "--once", check=check)

    def accepted(self):
        return sorted(os.listdir(self.spool + "/inbound/accepted"))

    def leftovers(self):
        return os.listdir(self.spool + "/inbound/tmp")

    def close(self):
        self.peer_keys.close()
        for home in ("sign", "verify"):
            subprocess.run(["gpgconf", "--homedir", self.pgp + "/" + home, "--kill", "gpg-agent"],
                           check=False, capture_output=True)
        shutil.rmtree(self.root, ignore_errors=True)
