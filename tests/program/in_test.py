"""bsmtp-in as the MTA calls it: what is accepted, what is quarantined, what is 75."""

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import time
import unittest

import gateway
from gateway import Keyring, Site, batch, batch_entity, compressed_part, message, signed_mail

PROGRAMS = sys.argv.pop(1)
OK, DATA, POLICY, TEMPFAIL = 0, 65, 69, 75
GOOD = [message("ann@domain.com", ["bob@domain.co.uk"]),
        message("", ["carl@domain.co.uk", "dora@mail.domain.co.uk"], ".dots\n..\n")]


class Case(unittest.TestCase):
    settings = ""
    peer_settings = ""

    def setUp(self):
        self.site = Site(PROGRAMS, self.settings, self.peer_settings)
        self.addCleanup(self.site.close)

    def quarantined(self):
        entries, code = self.site.ctl_json("quarantine", "list")
        self.assertEqual(code, 0)
        return entries

    def assert_accepted(self, done, parcels=1):
        self.assertEqual((done.returncode, done.stdout), (OK, b""), done.stderr)
        self.assertEqual(len(self.site.accepted()), parcels)
        self.assertEqual(self.site.leftovers(), [])

    def assert_not_trusted(self, done, word, entries=1):
        self.assertEqual((done.returncode, done.stdout), (OK, b""), done.stderr)
        self.assertEqual(self.site.accepted(), [])
        self.assertEqual(self.site.leftovers(), [])
        found = self.quarantined()
        self.assertEqual(len(found), entries)
        self.assertIn(word, found[-1]["reason"])

    def assert_tempfail(self, done, word):
        self.assertEqual(done.returncode, TEMPFAIL, done.stdout)
        lines = done.stdout.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], r"^4\.\d+\.\d+ ")
        self.assertIn(word, lines[0])
        self.assertEqual(self.site.accepted(), [])


class Accept(Case):
    def test_native_parcel_with_crlf(self):
        mail = self.site.parcel(GOOD)
        self.assert_accepted(self.site.receive(mail))
        directory = self.site.spool + "/inbound/accepted/" + self.site.accepted()[0]
        self.assertEqual(sorted(os.listdir(directory)), ["messages", "meta"])
        self.assertEqual(gateway.accepted_messages(directory), GOOD)
        with open(directory + "/meta", encoding="ascii") as found:
            meta = found.read()
        self.assertIn("peer: remote1\n", meta)
        self.assertIn(self.site.peer_key, meta)

    def test_native_parcel_as_an_mta_pipe_gives_it_with_lf(self):
        mail = self.site.parcel(GOOD).replace(b"\r\n", b"\n")
        self.assert_accepted(self.site.receive(mail))

    def test_second_copy_is_success_and_changes_nothing(self):
        mail = self.site.parcel(GOOD)
        self.assert_accepted(self.site.receive(mail))
        self.assert_accepted(self.site.receive(b"Received: by a relay\r\n" + mail))
        self.assertEqual(self.quarantined(), [])

    def test_copy_of_a_deferred_parcel_is_success(self):
        mail = self.site.parcel(GOOD)
        self.assert_accepted(self.site.receive(mail))
        name = self.site.accepted()[0]
        os.rename(self.site.spool + "/inbound/accepted/" + name,
                  self.site.spool + "/inbound/deferred/" + name)
        self.assert_accepted(self.site.receive(mail), parcels=0)

    def test_same_id_with_other_content_is_quarantined(self):
        parcel = gateway.parcel_id()
        self.assert_accepted(self.site.receive(self.site.parcel(GOOD, id=parcel)))
        done = self.site.receive(self.site.parcel(GOOD[:1], id=parcel))
        self.assertEqual(done.returncode, OK)
        self.assertEqual(len(self.site.accepted()), 1)
        self.assertIn("id-conflict", self.quarantined()[0]["reason"])

    def test_upper_case_recipient(self):
        self.assert_accepted(self.site.receive(self.site.parcel(GOOD),
                                               recipient="BSMTP@ATHENA.domain.co.uk"))

    def test_quoted_boundary_with_preamble(self):
        mail = self.site.parcel(GOOD).replace(b"\r\n\r\n--=_test", b"\r\n\r\nhello\r\n--=_test", 1)
        self.assert_accepted(self.site.receive(mail))

    def test_message_without_recipient_is_consumed(self):
        empty = b"MAIL FROM:<ann@domain.com>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n"
        self.assert_accepted(self.site.receive(self.site.parcel([empty] + GOOD)))
        directory = self.site.spool + "/inbound/accepted/" + self.site.accepted()[0]
        self.assertEqual(gateway.accepted_messages(directory), GOOD)

    def test_odd_but_honest_messages_do_not_cost_the_parcel(self):
        """One message over a limit would make its whole parcel invalid."""
        same = "0000 all is well, nothing to report here\n"
        for name, text in (("line of 70 KB", "x" * 70000 + "\n"),
                           ("10 MB of equal lines", same * 250000),
                           ("10 MB in one line", "y" * 10000000 + "\n")):
            with self.subTest(name=name):
                odd = message("eve@domain.com", ["bob@domain.co.uk"], text)
                mail = self.site.parcel([GOOD[0], odd, GOOD[1]])
                before = set(self.site.accepted())
                self.assert_accepted(self.site.receive(mail), parcels=len(before) + 1)
                directory = "%s/inbound/accepted/%s/" % (
                    self.site.spool, (set(self.site.accepted()) - before).pop())
                self.assertTrue(
                    gateway.accepted_messages(directory) == [GOOD[0], odd, GOOD[1]])
                with open(directory + "meta", encoding="ascii") as found:
                    self.assertNotIn("refused:", found.read())
        self.assertEqual(self.quarantined(), [])


@unittest.skipIf(shutil.which("strace") is None, "strace is missing")
class Sandbox(Case):
    """What is inside a parcel is parsed by a child in a cage."""

    def traced(self, *options, config=""):
        with open(self.site.config, "r+", encoding="utf-8") as conf:
            text = conf.read()
            conf.seek(0)
            conf.write(config + text)
        trace = self.site.root + "/trace"
        done = self.site.run(
            "bsmtp-in", "--queue-id", "4Q1", "--sender", "", "--client", "192.0.2.1", "--",
            gateway.ADDRESS, data=self.site.parcel(GOOD),
            under=["strace", "-f", "-o", trace, *options])
        with open(trace, encoding="utf-8", errors="replace") as found:
            return done, found.read()

    def setUp(self):
        super().setUp()
        if subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", "trace=landlock_restrict_self",
                           "true"], capture_output=True, check=False).returncode:
            self.skipTest("strace may not trace here, or does not know Landlock")
        found, _ = self.site.ctl_json("config", "check")
        self.about = [f for f in found["findings"] if f["about"] == "sandbox"][0]
        if self.about["level"] != "ok":
            self.skipTest(self.about["text"])

    def test_both_walls_stand_before_the_first_octet_is_parsed(self):
        done, trace = self.traced("-e", "trace=landlock_restrict_self,prctl,pread64,openat,exit_group",
                                  config="sandbox = on\n")
        self.assert_accepted(done)
        child, = {line.split()[0] for line in trace.splitlines() if "landlock_restrict_self" in line}
        lines = [line for line in trace.splitlines() if line.split()[0] == child]
        calls = [line.split(None, 1)[1] for line in lines]
        walls = [i for i, call in enumerate(calls) if " = 0" in call and
                 ("landlock_restrict_self" in call or "PR_SET_SECCOMP" in call)]
        reads = [i for i, call in enumerate(calls) if call.startswith("pread64")]
        self.assertEqual(len(walls), 2, calls)
        self.assertTrue(reads and max(walls) < min(reads), calls)
        self.assertFalse([call for call in calls[walls[0]:] if call.startswith("openat")], calls)

    def test_a_parcel_that_kills_the_parser_is_kept_and_not_tried_again(self):
        done, _ = self.traced("-e", "trace=landlock_restrict_self",
                              "-e", "inject=landlock_restrict_self:signal=SEGV")
        self.assert_not_trusted(done, "malformed")
        self.assertIn("died", self.quarantined()[0]["reason"])
        self.assertEqual(self.quarantined()[0]["peer"], "remote1")

    def test_an_admin_looks_at_a_parcel_through_the_same_cage(self):
        path = self.site.root + "/mail"
        with open(path, "wb") as out:
            out.write(self.site.parcel(GOOD))
        for inject, problem in (("", ""), ("signal=SEGV", "the parser died on it")):
            done = self.site.run(
                "bsmtpctl", "parcel", "inspect", path, "--json",
                under=["strace", "-f", "-o", "/dev/null", "-e", "trace=landlock_restrict_self",
                       *(["-e", "inject=landlock_restrict_self:" + inject] if inject else [])])
            found = json.loads(done.stdout)
            self.assertEqual((done.returncode, found["messages"]), (1, 0) if inject else (0, 2))
            self.assertTrue(found["problem"].startswith(problem), found["problem"])

    def test_a_parser_that_is_killed_from_outside_is_tried_again(self):
        done, _ = self.traced("-e", "trace=landlock_restrict_self",
                              "-e", "inject=landlock_restrict_self:signal=KILL")
        self.assert_tempfail(done, "signal 9")
        self.assertEqual(self.quarantined(), [])
        self.assertEqual(self.site.leftovers(), [])

    def test_a_wall_that_does_not_stand_is_75(self):
        done, _ = self.traced("-e", "trace=landlock_restrict_self",
                              "-e", "inject=landlock_restrict_self:error=EPERM")
        self.assert_tempfail(done, "landlock_restrict_self")

    def test_a_kernel_without_landlock(self):
        lacks = ("-e", "trace=landlock_create_ruleset",
                 "-e", "inject=landlock_create_ruleset:error=ENOSYS")
        done, _ = self.traced(*lacks)
        self.assert_accepted(done)
        done, _ = self.traced(*lacks, config="sandbox = on\n")
        self.assertEqual(done.returncode, TEMPFAIL)
        self.assertIn(b"Landlock", done.stdout)

    def test_off_is_without_a_child(self):
        done, trace = self.traced("-e", "trace=landlock_restrict_self,landlock_create_ruleset",
                                  config="sandbox = off\n")
        self.assert_accepted(done)
        self.assertNotIn("landlock", trace)


class VerifyHome(Case):
    """gpg only reads it, so that nothing there can make it wait; who writes keeps readers out."""

    @unittest.skipIf(shutil.which("strace") is None, "strace is missing")
    def test_nothing_is_written_there(self):
        home, trace = self.site.pgp + "/verify", self.site.root + "/trace"
        before = (sorted(os.listdir(home)), os.stat(home).st_mtime_ns)
        done = self.site.run("bsmtp-in", "--queue-id", "4Q1", "--sender", "", "--", gateway.ADDRESS,
                             data=self.site.parcel(GOOD),
                             under=["strace", "-f", "-o", trace, "-e", "trace=%file,flock"])
        self.assert_accepted(done)
        self.assertEqual((sorted(os.listdir(home)), os.stat(home).st_mtime_ns), before)
        with open(trace, encoding="utf-8", errors="replace") as found:
            calls = [line.split(" ", 1)[1].strip() for line in found if home in line]
        self.assertGreater(len(calls), 10)
        for call in calls:
            self.assertRegex(call, r"\A(execve|access|newfstatat|stat|statx|readlink|openat)\(")
            if call.startswith("openat("):
                self.assertRegex(call, r"\bO_RDONLY\b")
                self.assertNotRegex(call, "O_CREAT|O_TRUNC|O_WRONLY|O_RDWR")

    def test_keys_come_while_parcels_are_verified(self):
        ring = Keyring()
        self.addCleanup(ring.close)
        keys = [ring.make("new%d" % n) for n in range(3)]
        mails = [self.site.parcel(GOOD) for _ in range(12)]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            verified = [pool.submit(self.site.receive, mail) for mail in mails]
            for key in keys:
                path = self.site.root + "/" + key
                with open(path, "wb") as out:
                    out.write(ring.export(key))
                self.site.ctl("key", "import", path, "--peer", "remote1", "--fingerprint", key,
                              check=True)
        for done in verified:
            self.assertEqual((done.result().returncode, done.result().stdout), (OK, b""))
        self.assertEqual((len(self.site.accepted()), self.quarantined()), (len(mails), []))
        listed = self.site.ctl_json("key", "list")[0]
        self.assertEqual({key["fingerprint"] for key in listed if not key["secret"]},
                         {self.site.peer_key, *keys})
        self.assert_accepted(self.site.receive(self.site.parcel(GOOD, keys[0], ring)),
                             parcels=len(mails) + 1)


class Authorise(Case):
    """A refusal stands in meta with its recipient; it never costs the parcel."""

    def refused(self, *messages):
        self.assert_accepted(self.site.receive(self.site.parcel(list(messages))))
        directory = self.site.spool + "/inbound/accepted/" + self.site.accepted()[0]
        with open(directory + "/meta", encoding="utf-8") as found:
            return [line for line in found if line.startswith("refused:")]

    def test_foreign_recipient_only(self):
        found = self.refused(message("ann@domain.com", ["bob@domain.co.uk", "eve@elsewhere.org"]))
        self.assertEqual(len(found), 1)
        self.assertIn("5.7.1", found[0])
        self.assertIn("eve@elsewhere.org", found[0])

    def test_sender_of_our_own_host(self):
        found = self.refused(message("root@athena.domain.co.uk", ["bob@domain.co.uk"]))
        self.assertEqual(len(found), 1)
        self.assertIn("sender", found[0])

    def test_null_sender_is_welcome(self):
        self.assertEqual(self.refused(message("", ["bob@domain.co.uk"])), [])

    def test_parcel_address_inside_a_parcel(self):
        found = self.refused(message("ann@domain.com", ["bsmtp+x@athena.domain.co.uk"]))
        self.assertEqual(len(found), 1)

    def test_hop_limit(self):
        headers = "Received: from a by b; Sun, 22 Nov 2026 01:10:00 +0000\r\n" * 51
        found = self.refused(message("ann@domain.com", ["bob@domain.co.uk"], "x\r\n", headers))
        self.assertEqual(len(found), 1)
        self.assertIn("5.4.6", found[0])

    def test_hop_count_ignores_the_body(self):
        body = "Received: from a by b\r\n" * 60
        self.assertEqual(self.refused(message("ann@domain.com", ["bob@domain.co.uk"], body)), [])


class SplitHorizon(Case):
    peer_settings = "recipient-domains = *\n"

    def setUp(self):
        super().setUp()
        self.site.ctl("rules", "export", "--postfix", "--write", check=True)

    def test_nothing_goes_back_to_the_peer_it_came_from(self):
        mail = self.site.parcel([message("x@other.org", ["ann@domain.com"]),
                                 message("x@other.org", ["bob@domain.co.uk"])])
        self.assert_accepted(self.site.receive(mail))
        directory = self.site.spool + "/inbound/accepted/" + self.site.accepted()[0]
        with open(directory + "/meta", encoding="utf-8") as found:
            refused = [line for line in found if line.startswith("refused:")]
        self.assertEqual(len(refused), 1)
        self.assertIn("5.4.6", refused[0])


class Distrust(Case):
    def test_tampered_body(self):
        mail = bytearray(self.site.parcel(GOOD))
        at = mail.index(b"H4sI") + 60
        mail[at] = ord("A") if mail[at] != ord("A") else ord("B")
        self.assert_not_trusted(self.site.receive(bytes(mail)), "bad-signature")

    def test_unsigned(self):
        part = compressed_part(batch_entity(batch(GOOD), self.site.manifest()))
        self.assert_not_trusted(self.site.receive(b"From: x\r\nMIME-Version: 1.0\r\n" + part),
                                "unsigned")

    def test_key_that_nobody_pinned(self):
        stranger = Keyring()
        self.addCleanup(stranger.close)
        key = stranger.make("stranger")
        self.assert_not_trusted(self.site.receive(self.site.parcel(GOOD, key, stranger)),
                                "unknown-key")

    def test_parcel_for_another_host(self):
        self.assert_not_trusted(self.site.receive(self.site.parcel(GOOD, to="zeus.domain.co.uk")),
                                "not-for-me")

    def test_manifest_of_another_host(self):
        done = self.site.receive(self.site.parcel(GOOD, **{"from": "zeus.domain.co.uk"}))
        self.assert_not_trusted(done, "wrong-sender")

    def test_expired(self):
        now = time.time()
        done = self.site.receive(self.site.parcel(GOOD, t=gateway.iso(now - 172800),
                                                  x=gateway.iso(now - 86400)))
        self.assert_not_trusted(done, "expired")

    def test_made_in_the_future_waits_for_the_clocks(self):
        now = time.time()
        done = self.site.receive(self.site.parcel(GOOD, t=gateway.iso(now + 86400),
                                                  x=gateway.iso(now + 172800)))
        self.assert_tempfail(done, "future")

    def test_no_manifest(self):
        part = compressed_part(batch_entity(batch(GOOD), None))[:-2]
        mail = signed_mail(part, self.site.peer_keys.sign(self.site.peer_key, part))
        self.assert_not_trusted(self.site.receive(mail), "no-manifest")

    def test_broken_batch_executes_nothing(self):
        wrong = [GOOD[0], b"MAIL FROM:<ann@domain.com>\r\nFROB\r\n"]
        self.assert_not_trusted(self.site.receive(self.site.parcel(wrong)), "malformed")

    def test_truncated_anywhere(self):
        mail = self.site.parcel(GOOD)
        # Every offset takes too long with processes (the unit tests do that); some of each part.
        for cut in range(40, len(mail) - 30, max(len(mail) // 12, 1)):
            with self.subTest(cut=cut):
                done = self.site.receive(mail[:cut])
                self.assertEqual(done.returncode, OK, done.stdout)
                self.assertEqual(self.site.accepted(), [])
                self.assertEqual(self.site.leftovers(), [])

    def test_peer_that_is_switched_off(self):
        self.site.write_config("", "state = off\n")
        self.assert_not_trusted(self.site.receive(self.site.parcel(GOOD)), "unknown-key")

    def test_ordinary_mail_is_dropped_and_counted(self):
        done = self.site.receive(b"From: spam@x.org\r\nSubject: buy\r\n\r\nbuy\r\n")
        self.assertEqual(done.returncode, OK)
        self.assertEqual(self.quarantined(), [])
        self.assertEqual(self.site.ctl_json("status")[0]["quarantine"]["shapeless"], 1)

    def test_the_same_content_is_kept_once(self):
        mail = self.site.parcel(GOOD, to="zeus.domain.co.uk")
        for _ in range(3):
            self.site.receive(mail)
        found = self.quarantined()
        self.assertEqual((len(found), found[0]["copies"]), (1, 3))


class Transport(Case):
    peer_settings = "require = transport\nprofile = rfc2442\nannotate = true\n"

    def plain(self):
        return (b"From: x\r\nMIME-Version: 1.0\r\nContent-Type: application/batch-SMTP\r\n"
                b"Content-Transfer-Encoding: base64\r\n\r\n"
                + gateway.base64_lines(batch(GOOD)))

    def test_unsigned_is_taken_from_the_restricted_transport_only(self):
        self.assert_not_trusted(self.site.receive(self.plain()), "unsigned")
        self.assert_accepted(self.site.receive(self.plain(), "--peer", "remote1"))
        directory = self.site.spool + "/inbound/accepted/" + self.site.accepted()[0]
        with open(directory + "/meta", encoding="utf-8") as found:
            self.assertIn("\nannotate: ", found.read())


class TransportForeign(Case):
    def test_signature_is_still_required_from_the_others(self):
        part = (b"From: x\r\nMIME-Version: 1.0\r\nContent-Type: application/batch-SMTP\r\n"
                b"Content-Transfer-Encoding: base64\r\n\r\n"
                + gateway.base64_lines(batch(GOOD)))
        self.assert_not_trusted(self.site.receive(part, "--peer", "remote1"), "unsigned")


class Trouble(Case):
    """Trouble of ours is 75: the MTA keeps the mail."""

    def test_missing_key_ring(self):
        shutil.rmtree(self.site.pgp + "/verify")
        self.assert_tempfail(self.site.receive(self.site.parcel(GOOD)), "verify")

    def test_damaged_key_ring(self):
        home = self.site.pgp + "/verify"
        for name in os.listdir(home):
            if name.startswith("pubring"):
                with open(home + "/" + name, "wb") as out:
                    out.write(b"garbage" * 100)
        self.assert_tempfail(self.site.receive(self.site.parcel(GOOD)), "")

    def test_pinned_key_that_is_not_there(self):
        self.site.write_config("", "openpgp-key = %s\n" % ("AB" * 20))
        self.assert_tempfail(self.site.receive(self.site.parcel(GOOD)), "AB" * 20)

    def test_unknown_configuration_key(self):
        self.site.write_config("max-parcel-byte = 1\n")
        self.assert_tempfail(self.site.receive(b""), "max-parcel-bytes")

    def test_missing_configuration(self):
        os.unlink(self.site.config)
        self.assert_tempfail(self.site.receive(b""), "bsmtp.conf")

    def test_missing_spool(self):
        os.unlink(self.site.spool + "/VERSION")
        self.assert_tempfail(self.site.receive(self.site.parcel(GOOD)), "VERSION")

    def test_disk_nearly_full(self):
        self.site.write_config("free-percent-dispatch = 99\n")
        self.assert_tempfail(self.site.receive(self.site.parcel(GOOD)), "%")

    def test_quarantine_is_shed_first(self):
        self.site.write_config("free-percent-quarantine = 99\n")
        done = self.site.receive(self.site.parcel(GOOD, to="zeus.domain.co.uk"))
        self.assertEqual(done.returncode, OK)
        self.assertEqual(self.quarantined(), [])
        self.assertEqual(self.site.ctl_json("status")[0]["quarantine"]["shed"], 1)

    def test_unknown_option(self):
        self.assert_tempfail(self.site.receive(b"", "--frobnicate"), "frobnicate")

    def test_unknown_peer(self):
        self.assert_tempfail(self.site.receive(b"", "--peer", "nobody"), "nobody")

    def test_no_recipient_and_two_recipients(self):
        self.assert_tempfail(self.site.run("bsmtp-in"), "recipient")
        self.assert_tempfail(self.site.run("bsmtp-in", "--", gateway.ADDRESS, gateway.ADDRESS),
                             "recipient")

    def test_recipient_that_is_no_parcel_address(self):
        self.assert_tempfail(self.site.receive(b"", recipient="bob@domain.co.uk"), "bob@")

    def test_too_large_is_permanent(self):
        self.site.write_config("max-parcel-bytes = 1K\n")
        done = self.site.receive(self.site.parcel(GOOD) + b"x" * 2000)
        self.assertIn(done.returncode, (DATA, POLICY))
        self.assertTrue(done.stdout.startswith(b"5.3.4 "), done.stdout)
        self.assertEqual(self.site.leftovers(), [])

    def test_mta_that_died_in_mid_copy(self):
        # A shell starts bsmtp-in on a pipe and dies; what arrives then is complete and ends, but
        # nobody is left to be told.
        path, pipe = self.site.root + "/mail", self.site.root + "/pipe"
        with open(path, "wb") as out:
            out.write(self.site.parcel(GOOD))
        script = ('mkfifo "$2"; sh -c \'"$@" <"$0" >"$0.out" & sleep 0.5\' "$2" '
                  '"$3" --config "$4" -- "$5" & exec 3>"$2"; cat "$1" >&3; sleep 1.2; exec 3>&-; '
                  'for i in 1 2 3 4 5 6 7 8 9 10; do [ -s "$2.out" ] && break; sleep 0.5; done')
        subprocess.run(["sh", "-c", script, "x", path, pipe, PROGRAMS + "/bsmtp-in",
                        self.site.config, gateway.ADDRESS], check=True, capture_output=True,
                       timeout=60)
        with open(pipe + ".out", encoding="ascii") as answer:
            self.assertRegex(answer.read(), r"^4\.3\.\d ")
        self.assertEqual(self.site.accepted(), [])
        self.assertEqual(self.site.leftovers(), [])


class Returns(Case):
    def test_bounce_is_kept_as_an_item(self):
        bounce = b"From: MAILER-DAEMON\nSubject: failed\n\nsorry\0\rx\n.\n"
        done = self.site.receive(bounce, recipient="bsmtp+c0ffee@" + gateway.HOST, sender="")
        self.assertEqual((done.returncode, done.stdout), (OK, b""))
        names = os.listdir(self.site.spool + "/inbound/returns")
        self.assertEqual(len(names), 1)
        with open(self.site.spool + "/inbound/returns/" + names[0], "rb") as found:
            self.assertEqual(found.read(),
                             b"MAIL FROM:<>\r\nRCPT TO:<bsmtp+c0ffee@athena.domain.co.uk>\r\n"
                             b"DATA\r\nFrom: MAILER-DAEMON\r\nSubject: failed\r\n\r\n"
                             b"sorry??x\r\n..\r\n.\r\n")

    def test_only_the_head_of_a_large_one_is_kept(self):
        done = self.site.receive(b"Subject: x\n\n" + b"y" * 70 + b"\n" + b"line\n" * 400000,
                                 recipient="bsmtp+c0ffee@" + gateway.HOST)
        self.assertEqual(done.returncode, OK)
        names = os.listdir(self.site.spool + "/inbound/returns")
        size = os.path.getsize(self.site.spool + "/inbound/returns/" + names[0])
        self.assertTrue(1000000 < size <= (1 << 20) + 200, size)


if __name__ == "__main__":
    unittest.main(verbosity=2)
