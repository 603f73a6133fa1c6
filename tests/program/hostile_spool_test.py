"""Hostile peers over time, and hostile things in the spool, against the real programs: replays,
ids of other peers, floods of the quarantine, text that wants to get into reports, links and FIFOs
where files belong. docs/security.md lists these tests attack by attack."""

import base64
import os
import sys
import threading
import time
import unittest

import gateway
import hostile_rig
import processor_rig
from dispatch_rig import item, new_id, text_of
from gateway import iso, message
from hostile_rig import GOOD, PEER2_HOST, HostileSite, outer, packed, signed
from processor_rig import dsns, status_fields

PROGRAMS = sys.argv.pop(1)


class Processor(processor_rig.Processor):
    """bsmtp-in and bsmtp-dispatch, with two peers."""

    programs = PROGRAMS

    def make_site(self):
        return HostileSite(self.programs, self.settings, self.peer_settings)

    def letters(self):
        return self.submit.taken()


class Replay(Processor):
    def test_replay_while_it_waits(self):
        mail = signed(self.site, packed(self.site))
        for _ in range(3):
            self.take(mail)
        self.assertEqual(len(self.site.accepted()), 1)
        self.assertEqual(len(self.deliver()), 2)

    def test_replay_after_delivery(self):
        mail = signed(self.site, packed(self.site))
        self.take(mail)
        self.assertEqual(len(self.deliver()), 2)
        for _ in range(2):
            self.take(mail)
            self.assertEqual(len(self.deliver()), 2, "delivered again")

    def test_replay_after_expiry(self):
        now = time.time()
        mail = signed(self.site, packed(self.site, t=iso(now - 60), x=iso(now + 2)))
        self.take(mail)
        self.assertEqual(len(self.deliver()), 2)
        time.sleep(max(0.0, int(now + 2) + 1.1 - time.time()))
        self.assert_quarantined_beside(mail, "expired")

    def assert_quarantined_beside(self, mail, word):
        done = self.site.run_in(mail)
        self.assertEqual((done.code, self.site.accepted()), (0, []))
        self.assertIn(': quarantined', done.log[0])
        self.assertIn('reason="%s: ' % word, done.log[0])
        self.assertEqual(len(self.deliver()), 2, "delivered again")
        self.assertEqual(dsns(self.submit), [])

    def test_replay_with_another_signature(self):
        """The same id signed anew, with other mail in it: the first one counts."""
        parcel = gateway.parcel_id()
        self.take(signed(self.site, packed(self.site, id=parcel)))
        other = [message("ann@domain.com", ["bob@domain.co.uk"], "other\n")]
        done = self.site.run_in(signed(self.site, packed(self.site, other, id=parcel)))
        self.assertIn('reason="id-conflict: ', "".join(done.log))
        self.assertEqual(len(self.deliver()), 2)
        self.take(signed(self.site, packed(self.site, other, id=parcel)))
        self.assertEqual(len(self.deliver()), 2, "delivered although the id was used")

    def test_another_peer_burns_an_id(self):
        """An id belongs to its peer: whoever else uses it first takes nothing away."""
        parcel = gateway.parcel_id()
        evil = [message("eve@zeus.domain.net", ["bob@domain.co.uk"], "burnt\n")]
        change = {"from": PEER2_HOST, "id": parcel}
        self.take(signed(self.site, packed(self.site, evil, **change), self.site.key2))
        self.assertEqual(len(self.deliver()), 1)
        self.take(signed(self.site, packed(self.site, id=parcel)))
        self.assertEqual(sorted(sender for sender, _ in self.deliver()),
                         ["", "ann@domain.com", "eve@zeus.domain.net"])

    def test_another_peer_sends_the_same_parcel(self):
        """Both have it in their hands; each is answered for its own."""
        parcel = gateway.parcel_id()
        self.take(signed(self.site, packed(self.site, id=parcel)))
        self.take(signed(self.site, packed(self.site, id=parcel, **{"from": PEER2_HOST}),
                         self.site.key2))
        self.assertEqual([n.split(".")[0] for n in self.site.accepted()], ["remote1", "remote2"])


class Reports(Processor):
    def test_line_ends_in_xtext_do_not_get_into_a_report(self):
        """ENVID and ORCPT stand in it decoded."""
        self.refuse("550 5.1.1 no\r\n", "RCPT TO:")
        for number, text in enumerate(("+0D+0ATo:+20root", "+0A+0Aboundary", "+00+7F+1B[2J")):
            octets = ("EHLO x\r\nMAIL FROM:<ann@domain.com> ENVID=%s\r\nRCPT TO:<bob@domain.co.uk> "
                      "ORCPT=rfc822;%s\r\nDATA\r\nSubject: %d\r\n\r\nx\r\n.\r\nQUIT\r\n"
                      % (text, text, number)).encode()
            self.assertEqual(self.run_batch(octets), [])
        reports = dsns(self.submit)
        self.assertEqual(len(reports), 3)
        for envelope, report in reports:
            self.assertEqual(envelope["rcpts"], ["RCPT TO:<ann@domain.com> NOTIFY=NEVER"])
            fields, (recipient,) = status_fields(report)
            self.assertIsNone(report["Bcc"])
            self.assertEqual(report["To"], "ann@domain.com")
            self.assertEqual([fields["To"], recipient["To"]], [None, None])
            for value in (fields["Original-Envelope-Id"], recipient["Original-Recipient"]):
                self.assertRegex(value, r"^[ -~]+$")

    def test_words_of_a_server_do_not_get_into_a_report_as_fields(self):
        self.refuse("550-5.1.1 no\r\n550-\x1b[2JTo: root\r\n550 5.1.1 \x07 x", "RCPT TO:")
        self.take(signed(self.site, packed(self.site, GOOD[:1])))
        self.assertEqual(self.deliver(), [])
        (_, report), = dsns(self.submit)
        recipient, = status_fields(report)[1]
        self.assertIsNone(recipient["To"])
        self.assertRegex(recipient["Diagnostic-Code"].replace("\n", ""), r"^[ -~]+$")


class Flood(Processor):
    settings = ("retry-initial = 1s\nretry-maximum = 1s\nquarantine-count = 8\n"
                "quarantine-bytes = 40K\nquarantine-digest = 1h\n")

    def test_ring_holds_its_caps_and_letters_are_few(self):
        for number in range(20):
            mail = outer(b"application/batch-SMTP", b"flood %d\r\n" % number)
            done = self.site.run_in(mail)
            self.assertEqual(done.code, 0)
            self.assertLessEqual(len(self.site.quarantined()), 8)
        self.assertEqual(len(self.site.quarantined()), 8)
        for number in range(6):
            self.site.run_in(outer(b"application/batch-SMTP", b"%d" % number + b"x\r\n" * 4000))
        sizes = [os.path.getsize(self.site.spool + "/inbound/quarantine/%s/parcel" % name)
                 for name in self.site.quarantined()]
        self.assertLessEqual(sum(sizes), 40 << 10)
        for _ in range(4):
            self.site.run_in(outer(b"application/batch-SMTP", b"between %f\r\n" % time.time()))
            self.site.dispatch_once()
        self.assertEqual(len(self.letters()), 1, "a letter for each attack")
        self.assertEqual(self.letters()[0]["rcpts"], ["RCPT TO:<postmaster@athena.domain.co.uk> NOTIFY=NEVER"])
        status = self.site.ctl_json("status")[0]["quarantine"]
        self.assertGreater(status["evicted"], 12)

    def test_the_same_parcel_is_kept_once(self):
        for _ in range(30):
            self.site.run_in(outer(b"application/batch-SMTP", b"the same\r\n"))
        self.assertEqual(len(self.site.quarantined()), 1)
        self.assertEqual(self.site.ctl_json("quarantine", "list")[0][0]["copies"], 30)

    def test_flood_of_ordinary_mail_leaves_nothing(self):
        for number in range(10):
            done = self.site.run_in(b"Subject: spam %d\r\n\r\nx\r\n" % number)
            self.assertIn('dropped ', done.log[0])
            self.assertLess(done.cpu, 0.5)
        self.assertEqual(self.site.quarantined(), [])
        self.site.dispatch_once()
        self.assertEqual(self.letters(), [])


class Links(Processor):
    """Whoever can write into the spool must not lead a program out of it."""

    settings = "retry-initial = 1s\nretry-maximum = 1s\n"
    peer_settings = "profile = rfc2442\nmax-age = 0s\n"

    def setUp(self):
        super().setUp()
        self.outside = self.site.root + "-outside"
        os.mkdir(self.outside)
        self.secret = self.outside + "/0000000000000000000000000000000000000000000a"
        with open(self.secret, "wb") as out:
            out.write(item("<ann@domain.com>", ["<bob@domain.com>"], text_of("secret")))
        os.utime(self.secret, (1, 1))
        self.addCleanup(self.drop_outside)

    def drop_outside(self):
        self.assertEqual(os.listdir(self.outside), [os.path.basename(self.secret)],
                         "something was made, moved or removed outside the spool")
        os.unlink(self.secret)
        os.rmdir(self.outside)

    def path(self, *names):
        return "/".join((self.site.spool,) + names)

    def instead_of(self, *names):
        """A directory of the spool becomes a link to one outside."""
        path = self.path(*names)
        os.rename(path, path + "-was")
        os.symlink(self.outside, path)

    def queue(self, name=None, octets=None):
        name = name or new_id(time.time() - 60)
        with open(self.path("peers/remote1/incoming", name), "wb") as out:
            out.write(octets or item("<ann@domain.com>", ["<bob@domain.com>"], text_of(name)))
        return name

    def sent(self):
        """Texts of all parcels that the host MTA took."""
        return [m["text"] for m in self.submit.taken() if "+" in m["mail"]]

    def assert_held(self, name):
        """It is set aside and the other message of the same queue travels."""
        other = self.queue()
        for _ in range(3):
            log = self.site.dispatch_once(check=False).stderr.decode()
            if self.sent():
                break
        self.assertEqual(os.listdir(self.path("peers/remote1/held")), [name + ".item"], log)
        self.assertEqual(len(self.sent()), 1, log)
        self.assertEqual(os.listdir(self.path("peers/remote1/incoming")), [])
        body = base64.b64decode(self.sent()[0].split(b"\r\n\r\n", 1)[1])
        self.assertIn(b"body of " + other.encode(), body)
        self.assertNotIn(b"secret", body)

    def test_link_as_queued_message(self):
        name = new_id(time.time() - 90)
        os.symlink(self.secret, self.path("peers/remote1/incoming", name))
        self.assert_held(name)

    def test_fifo_as_queued_message(self):
        name = new_id(time.time() - 90)
        os.mkfifo(self.path("peers/remote1/incoming", name))
        self.assert_held(name)

    def test_directory_as_queued_message(self):
        name = new_id(time.time() - 90)
        os.mkdir(self.path("peers/remote1/incoming", name))
        self.assert_held(name)

    def test_strangers_file_as_queued_message(self):
        """Another's file is taken for what is in it; what is no message is set aside."""
        name = self.queue(octets=b"root:x:0:0:root\n")
        path = self.path("peers/remote1/incoming", name)
        if os.geteuid() == 0:
            os.chown(path, 12345, 12345)
        os.chmod(path, 0o4777)
        self.assert_held(name)

    def test_link_as_accepted_parcel(self):
        os.symlink(self.outside, self.path("inbound/accepted/remote1." + new_id()))
        self.take(self.site.parcel(GOOD))
        for _ in range(3):
            self.site.dispatch_once(check=False)
        self.assertEqual(len(self.handed_over()), 2)

    def test_link_as_notice_and_as_return(self):
        for place in ("notices/ready", "inbound/returns"):
            os.symlink(self.secret, self.path(place, new_id()))
        self.site.dispatch_once(check=False)
        self.assertEqual([m for m in self.submit.taken() if b"secret" in m["text"]], [])

    def test_links_in_tmp_are_removed_not_followed(self):
        for place in ("inbound/tmp", "notices/tmp", "peers/remote1/tmp"):
            path = self.path(place, new_id())
            os.symlink(self.outside, path)
            os.utime(path, (1, 1), follow_symlinks=False)
        self.site.dispatch_once(check=False)
        self.assertEqual(self.site.leftovers(), [])

    def test_directories_that_became_links(self):
        """The sweep removes what is old; it must not do so elsewhere. bsmtp-in stores nothing."""
        for place in ("inbound/tmp", "notices/tmp", "peers/remote1/tmp", "peers/remote1/sent",
                      "peers/remote1", "inbound", "inbound/quarantine", "inbound/accepted"):
            with self.subTest(place=place):
                self.instead_of(place)
                done = self.site.dispatch_once(check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(self.path(place), done.stderr.decode())
                if place.startswith("inbound"):
                    taken = self.site.run_in(signed(self.site, packed(self.site)))
                    self.assertEqual(taken.code, 75, taken.log)
                    dropped = self.site.run_in(outer(b"application/batch-SMTP", b"x\r\n"))
                    self.assertEqual(dropped.code, 75)
                os.unlink(self.path(place))
                os.rename(self.path(place) + "-was", self.path(place))

    def test_bsmtp_out_into_links(self):
        mail = b"Subject: x\n\nx\n"
        for place in ("peers/remote1/tmp", "peers/remote1/incoming", "peers/remote1"):
            with self.subTest(place=place):
                self.instead_of(place)
                done = self.site.run("bsmtp-out", "--sender", "ann@domain.co.uk", "--peer", "remote1",
                                     "--", "bob@domain.com", data=mail)
                self.assertEqual(done.returncode, 75, done.stdout)
                os.unlink(self.path(place))
                os.rename(self.path(place) + "-was", self.path(place))

    def test_fifos_where_the_programs_read(self):
        """Nobody waits for a writer that never comes."""
        for place in ("VERSION", "heartbeat"):
            path = self.path(place)
            if os.path.exists(path):
                os.rename(path, path + "-was")
            os.mkfifo(path)
            guard = threading.Timer(60, os.close, [os.open(path, os.O_RDWR)])
            guard.start()
            try:
                done = self.site.run("bsmtp-out", "--sender", "ann@domain.co.uk", "--peer", "remote1",
                                     "--", "bob@domain.com", data=b"Subject: x\n\nx\n")
                self.assertEqual(done.returncode, 75, done.stdout)
                if place == "VERSION":
                    self.assertEqual(self.site.run_in(b"x").code, 75)
                    self.assertNotEqual(self.site.ctl("queue", "list").returncode, 0)
            finally:
                guard.cancel()
                os.unlink(path)
                if os.path.exists(path + "-was"):
                    os.rename(path + "-was", path)

    def test_bsmtpctl_follows_no_link(self):
        self.site.run_in(outer(b"application/batch-SMTP", b"x\r\n"))
        name, = self.site.quarantined()
        parcel = self.path("inbound/quarantine", name, "parcel")
        os.unlink(parcel)
        os.symlink(self.secret, parcel)
        for command in (("quarantine", "show", name), ("quarantine", "release", name)):
            done = self.site.ctl(*command)
            self.assertNotIn(b"secret", done.stdout, command)
        self.site.ctl("quarantine", "drop", name, check=True)
        self.assertEqual(self.site.quarantined(), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
