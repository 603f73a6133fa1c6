"""Who may write what: each program as root, as the agents' user and as the dispatcher's."""

import os
import stat
import subprocess
import sys
import unittest

from gateway import Site, message

PROGRAMS = sys.argv.pop(1)
OK, NO, TROUBLE = 0, 1, 75
GOOD = [message("ann@domain.com", ["bob@domain.co.uk"], "first\n")]
SPOOL, SIGN = 60001, 60002  # as bsmtp and bsmtp-sign; the group is SPOOL's


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@unittest.skipUnless(os.geteuid() == 0, "only root changes identity")
class Case(unittest.TestCase):
    def setUp(self):
        self.site = Site(PROGRAMS)
        self.addCleanup(self.site.close)
        self.addCleanup(os.umask, os.umask(0o077))  # as a careful admin's shell has it
        os.chmod(self.site.root, 0o755)
        for directory, _, files in os.walk(self.site.spool):
            os.chown(directory, SPOOL, SPOOL)
            for name in files:
                os.chown(os.path.join(directory, name), SPOOL, SPOOL)
        os.makedirs(self.site.pgp + "/sign", mode=0o700)
        os.chown(self.site.pgp + "/sign", SIGN, SPOOL)
        for directory, _, files in os.walk(self.site.pgp + "/verify"):
            for name in [directory] + [os.path.join(directory, f) for f in files]:
                os.chown(name, SPOOL, SPOOL, follow_symlinks=False)
        os.chmod(self.site.pgp, 0o755)
        for name in ("bsmtp.conf", "rewrite"):
            os.chmod(os.path.join(self.site.root, name), 0o644)

    def text(self, *args, code=OK):
        done = self.site.ctl(*args)
        self.assertEqual(done.returncode, code, (args, done.stdout, done.stderr))
        return (done.stdout + done.stderr).decode()

    def write(self, name, octets):
        path = self.site.root + "/" + name
        with open(path, "wb") as out:
            out.write(octets)
        return path

    def users(self, level):
        answer, _ = self.site.ctl_json("config", "check", "--offline")
        return [f["text"] for f in answer["findings"]
                if f["about"] == "users" and f["level"] == level]

    def owners(self, top):
        return {os.lstat(os.path.join(d, f)).st_uid for d, dirs, files in os.walk(top)
                for f in dirs + files}


class Commands(Case):
    """Root's calls leave no root-owned file where the services work."""

    def test_all_commands(self):
        path = self.write("mail", self.site.parcel(GOOD))
        os.chmod(path, 0o600)  # root's own: read before the identity changes
        self.text("key", "generate")
        self.text("key", "list")
        self.text("parcel", "verify", path)
        self.text("parcel", "extract", path, "--to", self.site.root + "/out")
        done = self.site.receive(self.site.parcel(GOOD, to="zeus.x.y"))
        self.assertEqual(done.returncode, OK, done.stdout)
        entry = self.site.ctl_json("quarantine", "list")[0][0]["id"]
        self.text("quarantine", "release", entry, code=NO)
        self.text("quarantine", "drop", entry)
        self.text("peer", "add", "remote2", "--host", "z.net", "--recipient-domains", "x.net")
        self.site.ctl("config", "check")
        self.text("status")
        self.assertEqual(self.owners(self.site.spool), {SPOOL})
        self.assertEqual(self.owners(self.site.pgp + "/verify"), {SPOOL})
        self.assertEqual(self.owners(self.site.pgp + "/sign"), {SIGN})

    def test_the_spool_user_cannot_read_the_signing_key(self):
        self.text("key", "generate")
        self.assertEqual(len(self.users("ok")), 1)
        os.chmod(self.site.pgp + "/sign", 0o755)
        self.assertEqual(len(self.users("problem")), 1)

    def test_what_others_read_they_can_read(self):
        self.text("key", "generate")
        self.text("rules", "export", "--write")
        self.assertEqual(mode(self.site.root + "/transport"), 0o644)
        fingerprint = self.site.ctl_json("key", "list")[0][0]["fingerprint"]
        with open(self.site.config, encoding="ascii") as found:
            text = found.read()
        with open(self.site.config, "w", encoding="ascii") as out:
            out.write("sign-key = %s\n%s" % (fingerprint, text))
        self.text("key", "export", "--output", self.site.root + "/ours.asc")
        self.assertEqual(mode(self.site.root + "/ours.asc"), 0o644)
        self.assertEqual(self.users("problem"), [])
        for name in ("bsmtp.conf", "transport"):
            with self.subTest(name=name):
                os.chmod(self.site.root + "/" + name, 0o600)
                self.assertTrue(all(name in text for text in self.users("problem")))
                self.assertNotEqual(self.users("problem"), [])
                os.chmod(self.site.root + "/" + name, 0o644)

    def test_a_file_of_roots_in_a_key_home_is_named(self):
        self.assertEqual(self.users("problem"), [])
        os.chown(self.site.pgp + "/verify/pubring.kbx", 0, 0)
        self.assertIn("pubring.kbx belongs to user id 0", self.users("problem")[0])

    def test_root_makes_nothing_as_root_beside_the_services_places(self):
        os.rename(self.site.pgp + "/sign", self.site.pgp + "/away")
        said = self.text("key", "generate", code=TROUBLE)
        self.assertIn("/sign: is not there", said)
        self.assertFalse(os.path.exists(self.site.pgp + "/sign"))
        os.chown(self.site.spool, 0, 0)
        before = self.owners(self.site.spool)
        for words in (["spool", "create"], ["status"], ["queue", "list"],
                      ["peer", "add", "remote2", "--host", "z.net", "--recipient-domains", "x.net"]):
            with self.subTest(words=words):
                self.assertIn("/spool: belongs to root", self.text(*words, code=TROUBLE))
        self.assertEqual(self.owners(self.site.spool), before)
        self.assertFalse(os.path.exists(self.site.root + "/peers.d/remote2.conf"))

    def test_a_verify_home_is_made_for_its_reader(self):
        home = self.site.pgp + "/verify"
        subprocess.run(["rm", "-r", home], check=True)
        os.chown(self.site.pgp, SIGN, SPOOL)
        os.chmod(self.site.pgp, 0o2750)
        self.site.import_peer()
        self.assertEqual((os.lstat(home).st_uid, mode(home) & 0o777), (SPOOL, 0o700))
        self.assertEqual(self.owners(home), {SPOOL})
        subprocess.run(["rm", "-r", home], check=True)
        os.chmod(self.site.root + "/peer.asc", 0o644)
        done = self.site.run("bsmtpctl", "key", "import", self.site.root + "/peer.asc", "--peer",
                             "remote1", "--fingerprint", self.site.peer_key, under=as_user(SIGN))
        self.assertEqual(done.returncode, TROUBLE)
        self.assertFalse(os.path.exists(home))


def as_user(uid):
    return ["setpriv", "--reuid=%d" % uid, "--regid=%d" % SPOOL, "--clear-groups", "--"]


@unittest.skipUnless(os.path.exists(PROGRAMS + "/bsmtp-dispatch"), "bsmtp-dispatch not built")
@unittest.skipUnless(os.geteuid() == 0, "only root changes identity")
class Dispatcher(Case):
    LEDGER = "/ledger.sqlite"

    def setUp(self):
        super().setUp()
        os.chmod(self.site.spool, 0o2770)

    def once(self, *args, under=(), code=OK):
        done = self.site.run("bsmtp-dispatch", "--once", *args, under=under)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        return done.stderr.decode()

    def ledger(self):
        info = os.lstat(self.site.spool + self.LEDGER)
        return info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)

    def test_root_becomes_the_owner_of_the_signing_key(self):
        self.once()
        self.assertEqual(self.ledger(), (SIGN, SPOOL, 0o660))
        self.text("queue", "flush")
        self.text("status")
        self.assertEqual(self.owners(self.site.spool), {SPOOL, SIGN})

    def test_a_key_home_of_roots_is_refused(self):
        os.chown(self.site.pgp + "/sign", 0, 0)
        self.assertIn("/sign: belongs to root", self.once(code=TROUBLE))
        self.assertEqual(self.owners(self.site.spool), {SPOOL})

    def test_whoever_of_the_group_was_first_the_others_can_write(self):
        self.once(under=as_user(SPOOL))
        self.assertEqual(self.ledger(), (SPOOL, SPOOL, 0o660))
        for under in ((), as_user(SIGN), as_user(SPOOL)):
            self.once(under=under)

    def test_a_message_that_root_copied_there_stops_no_other(self):
        key = self.site.ctl_json("key", "generate")[0]["fingerprint"]
        away = "submit = smtp://127.0.0.1:1\nresubmit = smtp://127.0.0.1:1\n"
        self.site.write_config("sign-key = %s\n%s" % (key, away))
        for text in (b"first", b"second"):
            self.site.run("bsmtp-out", "--peer", "remote1", "--sender", "ann@domain.co.uk", "--",
                          "bob@domain.com", data=b"Subject: x\n\n" + text + b"\n", check=True)
        peer = self.site.spool + "/peers/remote1"
        copied, other = sorted(os.listdir(peer + "/incoming"))
        os.chown(peer + "/incoming/" + copied, 0, SPOOL)
        os.chmod(peer + "/incoming/" + copied, 0o600)
        self.once("--flush", code=TROUBLE)
        self.assertEqual(os.listdir(peer + "/held"), [copied + ".item"])
        ready, = os.listdir(peer + "/ready")
        self.assertEqual(os.listdir(peer + "/ready/" + ready + "/items"), [other])
        os.chown(peer + "/held/" + copied + ".item", SPOOL, SPOOL)  # as the letter says
        os.rename(peer + "/held/" + copied + ".item", peer + "/incoming/" + copied)
        self.once("--flush", code=TROUBLE)
        self.assertEqual(os.listdir(peer + "/held"), [])

    def test_a_ledger_of_another_user_is_named_with_the_remedy(self):
        self.once(under=as_user(SPOOL))
        os.chmod(self.site.spool + self.LEDGER, 0o640)  # as an earlier release left it
        self.assertIn("chown", self.once(code=TROUBLE))
        answer, _ = self.site.ctl_json("config", "check", "--offline")
        self.assertIn("ledger.sqlite is not writable",
                      " ".join(f["text"] for f in answer["findings"] if f["level"] == "problem"))


@unittest.skipUnless(os.path.exists(PROGRAMS + "/bsmtp-milter"), "bsmtp-milter not built")
@unittest.skipUnless(os.geteuid() == 0, "only root changes identity")
class Milter(Case):
    MILTER = 60003

    def start(self, under=()):
        """A milter whose socket is there, and whose that is."""
        milter = subprocess.Popen([*under, PROGRAMS + "/bsmtp-milter", "--foreground", "--config",
                                   self.site.config], stderr=subprocess.PIPE)
        self.addCleanup(milter.stderr.close)
        self.addCleanup(milter.wait)
        self.addCleanup(milter.kill)
        line = milter.stderr.readline().decode()
        self.assertIn("started", line)
        return milter, os.lstat(self.socket).st_uid

    def test_what_root_started_the_service_can_replace(self):
        directory = self.site.root + "/run"
        os.mkdir(directory, 0o755)
        os.chown(directory, self.MILTER, self.MILTER)
        self.socket = directory + "/milter.sock"
        with open(self.site.config, encoding="ascii") as found:
            text = found.read()
        with open(self.site.config, "w", encoding="ascii") as out:
            out.write(text.replace("/milter.sock", "/run/milter.sock"))
        milter, owner = self.start()
        self.assertEqual(owner, self.MILTER)
        with open("/proc/%d/status" % milter.pid, encoding="ascii") as found:
            uids = next(line for line in found if line.startswith("Uid:")).split()[1:]
        self.assertEqual(set(uids), {str(self.MILTER)})
        milter.kill()
        milter.wait()
        _, owner = self.start(["setpriv", "--reuid=%d" % self.MILTER, "--clear-groups", "--"])
        self.assertEqual(owner, self.MILTER)


if __name__ == "__main__":
    unittest.main(verbosity=2)
