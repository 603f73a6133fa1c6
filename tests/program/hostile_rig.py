"""What the hostile_*_test.py stand on: a gateway with two peers, keys of every bad kind, and one
function that gives a mail to the real bsmtp-in and then looks at everything it may have done.
Parcels are made by Python's email and gzip and by gpg; nothing of the product makes them."""

import gzip
import hashlib
import os
import subprocess
import threading
import time
import unittest

import gateway
from gateway import Keyring, Site, base64_lines, batch, batch_entity, crlf, message

PEER2_HOST = "zeus.domain.net"
GOOD = [message("ann@domain.com", ["bob@domain.co.uk"]),
        message("", ["carl@domain.co.uk"], ".dots\n..\n")]
# What an attack may cost at most, gpg and all; the machine may be busy, so it is CPU time.
CPU_SECONDS = 4.0
MEBIBYTES = 32


def has_room(path, octets):
    if not os.access(path, os.W_OK):
        return False
    about = os.statvfs(path)
    return about.f_bavail * about.f_frsize >= octets


class Outcome:
    """What bsmtp-in said and did with one mail."""

    def __init__(self, code, stdout, stderr, log, cpu, mebibytes):
        self.code, self.stdout, self.stderr = code, stdout, stderr
        self.log, self.cpu, self.mebibytes = log, cpu, mebibytes


class HostileSite(Site):
    """athena with peers remote1 = hub.domain.com and remote2 = zeus.domain.net. All keys, good and
    bad, lie in one ring on the attackers' side."""

    # Hundreds of mails, each with its fsyncs: memory keeps other programs' disk load out of it.
    place = "/dev/shm" if has_room("/dev/shm", 512 << 20) else "/tmp"

    def __init__(self, programs, settings="", peer_settings=""):
        self.pins = {"remote1": [], "remote2": []}
        super().__init__(programs, settings, peer_settings, pin=False)
        self.keys = self.peer_keys
        self.key2 = self.keys.make("BSMTP gateway <bsmtp@%s>" % PEER2_HOST)
        os.mkdir(self.pgp + "/verify", 0o700)
        self.pin("remote1", self.peer_key)
        self.pin("remote2", self.key2)
        self.write_config(settings, peer_settings)
        self.shim = os.path.join(programs, "..", "test-tools", "libsyslog_to_file.so")
        self.log_file = self.root + "-log"

    def pin(self, peer, fingerprint):
        """As an administrator who trusts it; `key import` would refuse some of the bad ones."""
        subprocess.run(["gpg", "--homedir", self.pgp + "/verify", "--batch", "--quiet", "--import"],
                       input=self.peer_keys.export(fingerprint), check=True, capture_output=True)
        self.pins[peer].append(fingerprint)

    def write_config(self, settings="", peer_settings=""):
        super().write_config(settings, peer_settings
                             + "".join("openpgp-key = %s\n" % k for k in self.pins["remote1"])
                             + "[peer.remote2]\nhost = %s\nrecipient-domains = domain.co.uk\n"
                             % PEER2_HOST
                             + "".join("openpgp-key = %s\n" % k for k in self.pins["remote2"]))

    def run_in(self, mail, *args, recipient=gateway.ADDRESS, sender="bsmtp+tok@" + gateway.PEER_HOST,
               program="bsmtp-in"):
        """The real program on a pipe's worth of mail; `mail` may be an open file."""
        with open(self.log_file, "wb"):
            pass
        path = self.root + "-mail"
        if isinstance(mail, bytes):
            with open(path, "wb") as out:
                out.write(mail)
        else:
            path = mail.name
        argv = [self.programs + "/" + program, "--config", self.config, "--queue-id", "4Q1",
                "--sender", sender, "--client", "192.0.2.66", *args, "--", recipient]
        environment = dict(os.environ, LD_PRELOAD=self.shim, BSMTP_TEST_LOG=self.log_file)
        with open(path, "rb") as source, open(self.root + "-out", "w+b") as stdout, \
                open(self.root + "-err", "w+b") as stderr:
            process = subprocess.Popen(argv, stdin=source, stdout=stdout, stderr=stderr,
                                       env=environment)
            watchdog = threading.Timer(100, process.kill)
            watchdog.start()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            watchdog.cancel()
            stdout.seek(0)
            stderr.seek(0)
            said, errors = stdout.read(), stderr.read()
        with open(self.log_file, encoding="utf-8") as text:
            lines = text.read().splitlines()
        peaks = [int(n) for line in lines if line.startswith("VmHWM ") for n in line.split()[1:]]
        return Outcome(process.returncode, said, errors,
                       [line for line in lines if not line.startswith("VmHWM ")],
                       usage.ru_utime + usage.ru_stime, max(peaks, default=0) / 1024)

    def surroundings(self):
        """Everything that no mail may change: the site's files but inbound/quarantine and
        inbound/tmp, with their sizes, times and modes; of the key rings the keys."""
        found = {}
        skip = {self.spool + "/inbound/quarantine", self.spool + "/inbound/tmp"}
        for base, directories, files in os.walk(self.root):
            directories[:] = [d for d in directories if base + "/" + d not in skip]
            for name in files + directories:
                path = base + "/" + name
                about = os.lstat(path)
                if base.startswith(self.pgp):
                    if name == "pubring.kbx":
                        with open(path, "rb") as ring:
                            found[path] = hashlib.sha256(ring.read()).hexdigest()
                elif path not in skip:
                    found[path] = (about.st_mode, about.st_uid, about.st_size, about.st_mtime_ns)
        return found

    def quarantined(self):
        """Ids in the ring."""
        return sorted(n for n in os.listdir(self.spool + "/inbound/quarantine") if len(n) == 44)

    def close(self):
        super().close()
        for name in ("-log", "-mail", "-out", "-err"):
            if os.path.exists(self.root + name):
                os.unlink(self.root + name)


class Hostile(unittest.TestCase):
    """One site for all cases of a class: an attack leaves nothing behind but quarantine."""

    programs = ""
    settings = "max-inflated-bytes = 40M\n"
    peer_settings = ""

    @classmethod
    def setUpClass(cls):
        cls.site = HostileSite(cls.programs, cls.settings, cls.peer_settings)
        cls.prepare()

    @classmethod
    def prepare(cls):
        """More keys, say."""

    @classmethod
    def tearDownClass(cls):
        cls.site.close()

    def attack(self, mail, verdict, *args, event="quarantined", code=0, cpu=CPU_SECONDS,
               mebibytes=MEBIBYTES, **how):
        """The mail is not trusted, for this reason, and nothing else has happened."""
        before, held = self.site.surroundings(), self.site.quarantined()
        done = self.site.run_in(mail, *args, **how)
        self.assertEqual(done.code, code, (done.stdout, done.log))
        if code == 0:
            self.assertEqual(done.stdout, b"")
            self.assertEqual(len(done.log), 1, done.log)
            self.assertRegex(done.log[0], r'^\S+: %s .*reason="%s: ' % (event, verdict))
        else:
            self.assertIn(verdict, done.stdout.decode())
        self.assertEqual(self.site.surroundings(), before)
        self.assertEqual(self.site.leftovers(), [])
        new = [name for name in self.site.quarantined() if name not in held]
        self.assertEqual(len(new), 1 if event == "quarantined" and code == 0 else 0, new)
        self.assert_cheap(done, cpu, mebibytes)
        return done

    def assert_cheap(self, done, cpu=CPU_SECONDS, mebibytes=MEBIBYTES):
        self.assertLess(done.cpu, cpu)
        self.assertGreater(done.mebibytes, 0)
        self.assertLess(done.mebibytes, mebibytes)

    def welcome(self, mail, *args, parcels=1, **how):
        """The counter-test: what differs from an attack in one point only is accepted."""
        before = set(self.site.accepted())
        done = self.site.run_in(mail, *args, **how)
        self.assertEqual((done.code, done.stdout), (0, b""), done.log)
        new = sorted(set(self.site.accepted()) - before)
        self.assertEqual(len(new), parcels, done.log)
        self.assertEqual(self.site.leftovers(), [])
        self.assert_cheap(done)
        return new


def packed(site, messages=None, **changes):
    """The part of a good parcel that is signed, from its header on."""
    return compressed(batch_entity(batch(messages or GOOD), site.manifest(**changes)))


def compressed(entity):
    return part_of(gzip.compress(entity, 1, mtime=0))


def part_of(octets):
    return (b"Content-Type: application/compressed-bsmtp\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + base64_lines(octets))[:-2]


def armour_of(site, part, key=None, *options):
    return crlf(site.keys.sign(key or site.peer_key, part, *options))


def outer(content_type, body, extra=b""):
    """A whole mail with these words behind "Content-Type: "."""
    return (b"Received: from relay by athena; now\r\nFrom: <bsmtp@hub.domain.com>\r\nTo: <"
            + gateway.ADDRESS.encode() + b">\r\nSubject: BSMTP parcel\r\nMIME-Version: 1.0\r\n" + extra
            + b"Content-Type: " + content_type + b"\r\n\r\n" + body)


SIGNED = (b'multipart/signed; micalg=pgp-sha256; protocol="application/pgp-signature"; '
          b'boundary="=_x"')
SIGNATURE_HEAD = b"Content-Type: application/pgp-signature\r\n\r\n"


def multipart(*parts, boundary=b"=_x", preamble=b"", epilogue=b""):
    return (preamble + b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
            + b"--" + boundary + b"--\r\n" + epilogue)


def signed(site, part, key=None, *options):
    """A whole signed parcel mail around `part`."""
    return outer(SIGNED, multipart(part, SIGNATURE_HEAD + armour_of(site, part, key, *options)))


