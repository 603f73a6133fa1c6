"""bsmtpctl as an admin calls it: answers, exit codes, JSON, and whose files it leaves behind."""

import json
import os
import stat
import subprocess
import sys
import unittest

import gateway
from gateway import Keyring, Site, message

PROGRAMS = sys.argv.pop(1)
OK, NO, USAGE, TROUBLE = 0, 1, 2, 75
GOOD = [message("ann@domain.com", ["bob@domain.co.uk"], "first\n"),
        message("", ["carl@domain.co.uk"], ".second\n")]


class Case(unittest.TestCase):
    pin = True

    def setUp(self):
        self.site = Site(PROGRAMS, pin=self.pin)
        self.addCleanup(self.site.close)

    def text(self, *args, code=OK):
        done = self.site.ctl(*args)
        self.assertEqual(done.returncode, code, (args, done.stdout, done.stderr))
        return (done.stdout if code == OK else done.stdout + done.stderr).decode()

    def write(self, name, octets):
        path = self.site.root + "/" + name
        with open(path, "wb") as out:
            out.write(octets)
        return path


class Usage(Case):
    def test_every_command_has_help_and_refuses_nonsense(self):
        listing = self.text("--help")
        commands = [line[2:].split("  ")[0] for line in listing.splitlines()
                    if line.startswith("  ")]
        self.assertGreater(len(commands), 20)
        for command in commands:
            with self.subTest(command=command):
                words = command.split()
                self.assertIn("usage: bsmtpctl", self.text(*words, "--help"))
                self.text(*words, "--frobnicate", code=USAGE)

    def test_unknown_command_lists_its_group(self):
        found = self.text("queue", "frob", code=USAGE)
        self.assertIn("queue list", found)
        self.assertNotIn("key list", found)

    def test_missing_words_and_values(self):
        for words in (["key", "import"], ["parcel", "extract", "x"], ["key", "export", "--peer"],
                      ["quarantine", "show"], ["status", "extra"], []):
            with self.subTest(words=words):
                self.text(*words, code=USAGE)

    def test_version(self):
        self.assertRegex(self.text("--version"), r"^bsmtpctl \d+\.\d+")

    def test_trouble_is_75_and_names_the_file(self):
        os.unlink(self.site.config)
        self.assertIn("bsmtp.conf", self.text("status", code=TROUBLE))

    def test_completion_knows_every_command(self):
        script = self.text("completion")
        for word in ("quarantine) words='list show release drop'", "--fingerprint"):
            self.assertIn(word, script)
        subprocess.run(["bash", "-n"], input=script.encode(), check=True)
        packaged = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs",
                                "examples", "bsmtpctl.bash-completion")
        with open(packaged, encoding="ascii") as found:
            self.assertEqual(found.read(), script, "regenerate it with `bsmtpctl completion`")


class Keys(Case):
    pin = False

    def setUp(self):
        super().setUp()
        self.file = self.write("key.asc", self.site.peer_keys.export(self.site.peer_key))

    def config_file(self):
        return self.site.root + "/peers.d/remote1.conf"

    def test_import_without_fingerprint_shows_and_refuses(self):
        found = self.text("key", "import", self.file, "--peer", "remote1", code=NO)
        key = self.site.peer_key
        self.assertIn(" ".join(key[i:i + 4] for i in range(0, 20, 4)), found)
        self.assertFalse(os.path.exists(self.config_file()))
        self.assertFalse(os.path.exists(self.site.pgp + "/verify"))

    def test_import_with_the_wrong_fingerprint_changes_nothing(self):
        self.text("key", "import", self.file, "--peer", "remote1", "--fingerprint", "AB" * 20,
                  code=NO)
        self.assertFalse(os.path.exists(self.config_file()))

    def test_import_as_read_by_telephone(self):
        spoken = " ".join(self.site.peer_key[i:i + 4] for i in range(0, 40, 4)).lower()
        self.text("key", "import", self.file, "--peer", "remote1", "--fingerprint", spoken)
        with open(self.config_file(), encoding="ascii") as found:
            self.assertIn("openpgp-key = " + self.site.peer_key, found.read())
        self.assertEqual(self.site.receive(self.site.parcel(GOOD)).returncode, OK)
        self.assertEqual(len(self.site.accepted()), 1)
        # Again: nothing new, no second line.
        self.text("key", "import", self.file, "--peer", "remote1", "--fingerprint", spoken)
        with open(self.config_file(), encoding="ascii") as found:
            self.assertEqual(found.read().count("openpgp-key"), 1)

    def test_rollover_takes_a_second_key(self):
        self.site.import_peer()
        second = self.site.peer_keys.make("BSMTP gateway, next")
        path = self.write("next.asc", self.site.peer_keys.export(second))
        self.text("key", "import", path, "--peer", "remote1", "--fingerprint", second)
        for key in (self.site.peer_key, second):
            self.site.receive(self.site.parcel(GOOD, key))
        self.assertEqual(len(self.site.accepted()), 2)

    def test_one_key_names_one_peer(self):
        self.site.import_peer()
        self.text("peer", "add", "remote2", "--host", "zeus.domain.net", "--recipient-domains",
                  "domain.co.uk")
        found = self.text("key", "import", self.file, "--peer", "remote2", "--fingerprint",
                          self.site.peer_key, code=NO)
        self.assertIn("remote1", found)

    def test_file_with_two_keys_is_refused(self):
        other = self.site.peer_keys.make("another")
        path = self.write("two.asc", self.site.peer_keys.export(self.site.peer_key)
                          + self.site.peer_keys.export(other))
        self.text("key", "import", path, "--peer", "remote1", "--fingerprint",
                  self.site.peer_key, code=NO)

    def test_file_that_is_no_key(self):
        self.text("key", "import", self.write("no.asc", b"hello\n"), "--peer", "remote1", code=NO)

    def test_secret_key_never_enters_the_verify_home(self):
        secret = self.site.peer_keys.gpg("--armor", "--export-secret-keys", self.site.peer_key)
        self.text("key", "import", self.write("sec.asc", secret), "--peer", "remote1",
                  "--fingerprint", self.site.peer_key, code=NO)
        self.assertFalse(os.path.exists(self.config_file()))

    def test_unknown_peer_and_missing_file(self):
        self.assertIn("peer add", self.text("key", "import", self.file, "--peer", "x", code=NO))
        self.text("key", "import", "/nonexistent", "--peer", "remote1", code=TROUBLE)

    def test_generate_list_export_fingerprint(self):
        made, code = self.site.ctl_json("key", "generate", "--user-id", "gateway <g@h>")
        self.assertEqual(code, OK)
        key = made["fingerprint"]
        self.site.write_config("sign-key = %s\n" % key)
        listed, _ = self.site.ctl_json("key", "list")
        self.assertEqual([(k["fingerprint"], k["role"], k["secret"]) for k in listed],
                         [(key, "ours", True)])
        exported = self.text("key", "export")
        other = Keyring()
        self.addCleanup(other.close)
        other.gpg("--import", data=exported.encode())
        self.assertEqual(other.fingerprints(), [key])
        self.assertEqual(self.text("key", "fingerprint").split(),
                         [key[i:i + 4] for i in range(0, 40, 4)])
        self.text("key", "export", "--output", self.site.root + "/out.asc")
        with open(self.site.root + "/out.asc", encoding="ascii") as found:
            self.assertIn("BEGIN PGP PUBLIC KEY BLOCK", found.read())
        home = self.site.pgp + "/sign"
        self.assertEqual(stat.S_IMODE(os.stat(home).st_mode), 0o700)


class Peers(Case):
    def test_add_and_list(self):
        self.text("peer", "add", "remote2", "--host", "zeus.domain.net", "--recipient-domains",
                  "domain.co.uk .domain.co.uk", "--profile", "pmdf-gzip")
        listed, _ = self.site.ctl_json("peer", "list")
        self.assertEqual([p["peer"] for p in listed], ["remote1", "remote2"])
        self.assertTrue(os.path.isdir(self.site.spool + "/peers/remote2/incoming"))

    def test_bad_values_change_nothing(self):
        for words in (["remote2", "--host", "a b", "--recipient-domains", "x"],
                      ["remote2", "--host", "z.net\nstate = off", "--recipient-domains", "x.net"],
                      ["remote2", "--host", "z.net", "--recipient-domains", "x",
                       "--profile", "best"],
                      ["Remote2", "--host", "z.net", "--recipient-domains", "x"],
                      ["../x", "--host", "z.net", "--recipient-domains", "x"],
                      ["remote1", "--host", "z.net", "--recipient-domains", "x"]):
            with self.subTest(words=words):
                self.text("peer", "add", *words, code=NO)
                self.assertEqual(os.listdir(self.site.root + "/peers.d"), ["remote1.conf"])


class Parcels(Case):
    def test_inspect_verify_extract(self):
        path = self.write("mail", self.site.parcel(GOOD).replace(b"\r\n", b"\n"))
        seen, code = self.site.ctl_json("parcel", "inspect", path)
        self.assertEqual((code, seen["messages"], seen["problem"]), (OK, 2, ""))
        judged, code = self.site.ctl_json("parcel", "verify", path)
        self.assertEqual((code, judged["accepted"], judged["peer"]), (OK, True, "remote1"))
        target = self.site.root + "/out"
        self.text("parcel", "extract", path, "--to", target)
        self.assertEqual(sorted(os.listdir(target)),
                         ["000001.eml", "000001.envelope", "000002.eml", "000002.envelope"])
        with open(target + "/000002.eml", "rb") as found:
            self.assertEqual(found.read(), b"Subject: test\r\n\r\n.second\r\n")
        self.text("parcel", "extract", path, "--to", target, code=NO)  # is there already
        self.assertEqual(self.site.accepted(), [])

    def test_nothing_unverified_is_extracted(self):
        path = self.write("mail", self.site.parcel(GOOD, to="zeus.x.y"))
        judged, code = self.site.ctl_json("parcel", "verify", path)
        self.assertEqual((code, judged["verdict"]), (NO, "not-for-me"))
        self.text("parcel", "extract", path, "--to", self.site.root + "/out", code=NO)
        self.assertFalse(os.path.exists(self.site.root + "/out"))

    def test_inspect_says_what_is_wrong(self):
        path = self.write("mail", b"Subject: x\r\n\r\nhello\r\n")
        seen, code = self.site.ctl_json("parcel", "inspect", path)
        self.assertEqual(code, NO)
        self.assertNotEqual(seen["problem"], "")

    def test_list_and_show_an_accepted_parcel(self):
        self.site.receive(self.site.parcel(GOOD))
        listed, _ = self.site.ctl_json("parcel", "list")
        self.assertEqual([(p["stage"], p["messages"]) for p in listed], [("accepted", 2)])
        shown, _ = self.site.ctl_json("parcel", "show", listed[0]["id"][:16])
        self.assertEqual([m["sender"] for m in shown["messages"]], ["ann@domain.com", ""])
        self.assertEqual([m["finished"] for m in shown["messages"]], [False, False])
        self.assertEqual(listed[0]["octets"], len(b"".join(GOOD)))
        self.text("parcel", "show", "ffffffff", code=NO)


class Queue(Case):
    def item(self, name=None):
        name = name or gateway.parcel_id()
        with open(self.site.spool + "/peers/remote1/incoming/" + name, "wb") as out:
            out.write(message("ann@domain.co.uk", ["bob@domain.com", "eve@domain.com"],
                              "\x1b[31mred\n"))
        return name

    def test_list_and_show(self):
        name = self.item()
        listed, _ = self.site.ctl_json("queue", "list", "--peer", "remote1.bsmtp.invalid")
        self.assertEqual([(i["id"], i["recipients"]) for i in listed],
                         [(name, ["bob@domain.com", "eve@domain.com"])])
        shown = self.text("queue", "show", name[:14], "--text")
        self.assertIn("bob@domain.com", shown)
        self.assertIn("?[31mred", shown)  # no escape sequence reaches the terminal
        self.text("queue", "show", name[:3], code=NO)
        self.text("queue", "list", "--peer", "nobody", code=NO)

    @unittest.skipUnless(os.path.exists(PROGRAMS + "/bsmtp-dispatch"), "bsmtp-dispatch not built")
    def test_flush_builds_what_waits_and_says_when_the_mta_is_away(self):
        key = self.site.ctl_json("key", "generate")[0]["fingerprint"]
        away = "submit = smtp://127.0.0.1:1\nresubmit = smtp://127.0.0.1:1\n"
        self.site.write_config("sign-key = %s\n%s" % (key, away))
        name = self.item()
        self.text("queue", "flush", "--peer", "remote1", code=TROUBLE)
        listed, _ = self.site.ctl_json("parcel", "list")
        self.assertEqual([(p["stage"], p["messages"]) for p in listed], [("ready", 1)])
        shown, _ = self.site.ctl_json("parcel", "show", listed[0]["id"])
        self.assertEqual([m["item"] for m in shown["messages"]], [name])
        self.assertNotIn("token", shown["state"])
        self.assertEqual(self.site.ctl_json("queue", "list"), ([], OK))

    def test_two_ids_with_one_beginning(self):
        self.item("0123456789ab" + "0" * 32)
        self.item("0123456789ab" + "1" * 32)
        self.assertIn("several", self.text("queue", "show", "0123456789ab", code=NO))


class Quarantine(Case):
    def test_release_when_the_key_is_pinned_later(self):
        late = Keyring()
        self.addCleanup(late.close)
        key = late.make("late")
        self.site.receive(self.site.parcel(GOOD, key, late))
        entry = self.site.ctl_json("quarantine", "list")[0][0]
        shown, _ = self.site.ctl_json("quarantine", "show", entry["id"])
        self.assertEqual((shown["client"], shown["inspection"]["messages"]), ("192.0.2.1", 2))
        refused, code = self.site.ctl_json("quarantine", "release", entry["id"])
        self.assertEqual((code, refused["outcome"]), (NO, "refused"))
        path = self.write("late.asc", late.export(key))
        self.text("key", "import", path, "--peer", "remote1", "--fingerprint", key)
        released, code = self.site.ctl_json("quarantine", "release", entry["id"][:20])
        self.assertEqual((code, released["outcome"]), (OK, "accepted"))
        self.assertEqual(len(self.site.accepted()), 1)
        self.assertEqual(self.site.ctl_json("quarantine", "list"), ([], OK))

    def test_drop_all_or_nothing(self):
        for host in ("a.x.y", "b.x.y"):
            self.site.receive(self.site.parcel(GOOD, to=host))
        ids = [e["id"] for e in self.site.ctl_json("quarantine", "list")[0]]
        self.text("quarantine", "drop", ids[0], "0" * 44, code=NO)
        self.assertEqual(len(self.site.ctl_json("quarantine", "list")[0]), 2)
        self.text("quarantine", "drop", *ids)
        self.assertIn("empty", self.text("quarantine", "list"))


class Status(Case):
    def test_page_and_check(self):
        self.site.receive(self.site.parcel(GOOD))
        page = self.text("status")
        self.assertIn("1 accepted", page)
        self.assertIn("never ran", page)
        answer, code = self.site.ctl_json("status", "--check")
        self.assertEqual((code, answer["inbound"]["accepted"]), (NO, 1))


class Configuration(Case):
    def test_show_describe(self):
        shown, _ = self.site.ctl_json("config", "show")
        self.assertIn(gateway.HOST, json.dumps(shown))
        described, _ = self.site.ctl_json("config", "describe")
        self.assertIn("max-parcel-bytes", [k["key"] for k in described["global"]])
        self.assertIn("sign-key", self.text("config", "describe"))

    def findings(self):
        answer, code = self.site.ctl_json("config", "check")
        problems = {f["about"]: f for f in answer["findings"] if f["level"] == "problem"}
        self.assertEqual(code, NO if problems else OK)
        for finding in problems.values():
            self.assertTrue(finding["remedy"] and finding["text"], finding)
        return problems

    def complete(self, more="", peer=""):
        key = self.site.ctl_json("key", "generate")[0]["fingerprint"]
        self.site.write_config("sign-key = %s\n%s" % (key, more), peer)
        self.site.ctl("rules", "export", "--postfix", "--write", check=True)

    def test_complete_site_has_no_problems(self):
        self.complete()
        self.assertEqual(self.findings(), {})

    def test_each_defect_is_found_and_named(self):
        self.complete()
        key = self.site.ctl_json("key", "list")[0][0]["fingerprint"]
        sign = "sign-key = %s\n" % key
        cases = [
            ("", "", "sign-key", "not set"),
            ("sign-key = %s\n" % ("AB" * 20), "", "sign-key", "AB" * 20),
            (sign, "openpgp-key = %s\n" % ("AB" * 20), "verify keys", "AB" * 20),
            (sign, "openpgp-key = %s\n" % key, "peer remote1", "own sign-key"),
            (sign + "heartbeat = 1h\naccept-while-stalled = 1h\n", "", "timers", "accept-while-stalled"),
            (sign + "clock-skew = 1d\nparcel-lifetime = 1h\n", "", "timers", "parcel-lifetime"),
            (sign + "host = x\n", "", "configuration", "host"),
            (sign + "frob = 1\n", "", "configuration", "frob"),
            (sign, "openpgp-key = %s\n[peer.two]\nhost = h2.example\nrecipient-domains = x.y\n"
             "openpgp-key = %s\n" % (self.site.peer_key, self.site.peer_key), "configuration",
             "another peer"),
        ]
        for settings, peer, about, word in cases:
            with self.subTest(about=about, word=word):
                self.site.write_config(settings, peer)
                found = self.findings()
                self.assertIn(about, found)
                self.assertIn(word, found[about]["text"])

    def test_a_gpg_home_of_an_earlier_build(self):
        self.complete()
        for home, about in (("verify", "verify keys"), ("sign", "sign-key")):
            with self.subTest(home=home):
                self.check_locks(self.site.pgp + "/%s/gpg.conf" % home, about)

    def check_locks(self, conf, about):
        def warnings():
            answer, _ = self.site.ctl_json("config", "check")
            return [f["text"] for f in answer["findings"] if (f["about"], f["level"]) == (about, "warning")]

        self.assertEqual(warnings(), [])
        with open(conf, "r+", encoding="ascii") as found:
            text = found.read()
            self.assertIn("\nlock-never\n", text)
            found.seek(0)
            found.truncate()
            found.write(text.replace("\nlock-never\n", "\n"))
        self.assertIn("lock files", warnings()[0])
        os.unlink(conf)
        self.assertIn("lock files", warnings()[0])

    def test_defects_of_the_host(self):
        self.complete()
        with self.subTest("spool"):
            os.rename(self.site.spool, self.site.spool + "x")
            self.assertIn("spool", self.findings())
            os.rename(self.site.spool + "x", self.site.spool)
        with self.subTest("rules"):
            self.write("rewrite", b"domain.com $U@NOWHERE\n")
            self.assertIn("rewrite-rules", self.findings())
        with self.subTest("export map"):
            self.write("rewrite", b"domain.com $U%$H@BSOUT-REMOTE1\n")
            os.unlink(self.site.root + "/transport")
            self.assertIn("export-map", self.findings())


if __name__ == "__main__":
    unittest.main(verbosity=2)
