"""Mail that waits: quota, alarm, delay warnings and the one deadline of a message. One peer's
trouble is nobody else's."""

import email
import email.policy
import email.utils
import os
import re
import subprocess
import sys
import time
import unittest

from dispatch_rig import Gateway, Smtp, item, text_of

PROGRAMS = sys.argv.pop(1)
HOUR, DAY = 3600, 86400
BASE = "host = %s.domain.co.uk\nprofile = rfc2442\nrecipient-domains = *\n"


class Case(unittest.TestCase):
    peer = "state = off\n"
    settings = ""

    def setUp(self):
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.site = Gateway(PROGRAMS, self.submit.url(), "smtp://127.0.0.1:9", self.settings,
                            {"remote1": BASE % "athena" + self.peer, "remote2": BASE % "zeus"})
        self.addCleanup(self.site.close)
        self.site.make_spool()

    def set_peer(self, lines):
        self.site.peers["remote1"] = BASE % "athena" + lines
        self.site.write_config(self.submit.url(), "smtp://127.0.0.1:9", self.settings)

    def put(self, age, sender="<ann@domain.com>", recipient="<bob@domain.co.uk>", peer="remote1",
            number=1):
        return self.site.put(item(sender, [recipient], text_of(number)), peer=peer,
                             when=time.time() - age)

    def waiting(self, peer="remote1"):
        return self.site.names("peers", peer, "incoming")

    def letters(self):
        """(recipient, message) of everything but parcels."""
        return [(re.search("<(.*?)>", m["rcpts"][0]).group(1),
                 email.message_from_bytes(m["text"], policy=email.policy.default))
                for m in self.submit.taken() if m["mail"].startswith("MAIL FROM:<>")]

    def reports(self):
        return [(to, m) for to, m in self.letters() if m.get_content_type() == "multipart/report"]

    def parcels(self):
        """The batch of each parcel that went out."""
        return [email.message_from_bytes(m["text"]).get_payload(decode=True)
                for m in self.submit.taken() if "bsmtp+" in m["mail"]]

    def status(self, report):
        """The per-message and first per-recipient fields."""
        groups = report.get_payload()[1].get_payload()
        return groups[0], groups[1]


class Quota(Case):
    peer = "max-age = 7d\nmax-messages = 10000\nmax-bytes = 1G\nmax-queued = 10\n"

    def beat(self):
        with open(self.site.spool + "/heartbeat", encoding="ascii") as text:
            return text.read()

    def out(self, peer, size=0):
        done = subprocess.run(
            [PROGRAMS + "/bsmtp-out", "--config", self.site.config, "--peer", peer, "--sender",
             "ann@domain.com", "--", "bob%domain.co.uk@" + peer + ".bsmtp.invalid"],
            input=b"Subject: x\n\n" + b"text\n" * (size // 5), capture_output=True, timeout=20,
            check=False)
        return done.returncode, done.stdout.decode()

    def test_a_full_queue_refuses_its_own_mail_only_and_opens_again(self):
        self.site.start()
        for n in range(10):
            self.assertEqual(self.out("remote1")[0], 0, n)
        self.site.wait(lambda: "full.remote1" in self.beat())
        code, text = self.out("remote1")
        self.assertEqual(code, 75)
        self.assertRegex(text, r"^4\.2\.2 .*max-queued")
        self.assertEqual(self.out("remote2")[0], 0)
        self.assertIn("remote1: alarm", self.site.logged())
        lmtp = subprocess.run(
            [PROGRAMS + "/bsmtp-out", "--config", self.site.config, "--lmtp"],
            input=b"LHLO x\r\nMAIL FROM:<ann@domain.com>\r\n"
                  b"RCPT TO:<bob%domain.co.uk@remote1.bsmtp.invalid>\r\n"
                  b"RCPT TO:<bob%domain.co.uk@remote2.bsmtp.invalid>\r\n"
                  b"DATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n", capture_output=True, timeout=20,
            check=False).stdout.decode()
        self.assertRegex(lmtp, r"\r\n45\d 4\.2\.2 [^\r]*\r\n250 2\.1\.5[^\r]*\r\n354")
        os.unlink("%s/peers/remote1/incoming/%s" % (self.site.spool, self.waiting()[0]))
        self.site.wait(lambda: "full." not in self.beat())
        self.assertEqual(self.out("remote1")[0], 0)
        self.assertEqual(self.site.stop(), 0)

    def test_octets_count_too_and_a_restart_remembers(self):
        self.set_peer(self.peer.replace("max-queued = 10", "max-queued-bytes = 20K"))
        self.assertEqual(self.out("remote1", 30000)[0], 0)
        self.site.once()
        self.assertIn("full.remote1", self.beat())
        self.assertEqual(self.out("remote1")[0], 75)
        self.site.once("--flush")
        self.site.once()
        self.assertEqual(self.out("remote1")[0], 0)


class Alarm(Case):
    peer = "state = off\nalarm-age = 1h\n"
    settings = "heartbeat = 1s\n"

    def test_the_postmaster_hears_once_a_day_of_late_mail(self):
        self.put(2 * HOUR)
        self.put(30 * 60, peer="remote2")
        log = self.site.once()
        self.assertRegex(log, "remote1: alarm what=\"its mail is late since .*: 1 messages")
        self.assertNotIn("remote2: alarm", log)
        self.site.once()
        (to, letter), = self.letters()
        self.assertEqual(to, "postmaster@hub.domain.com")
        self.assertIn("remote1 is late", letter["Subject"])
        self.assertIn("peer bypass remote1", letter.get_content())

    def test_not_before_its_time(self):
        self.put(30 * 60)
        self.assertNotIn("alarm", self.site.once())
        self.assertEqual(self.letters(), [])

    def test_the_alarm_does_not_wait_for_a_restart(self):
        self.set_peer("state = off\nalarm-age = 60s\n")
        self.put(118)
        self.site.start()
        self.site.wait(lambda: "remote1: alarm" in self.site.logged())
        self.assertEqual(self.site.stop(), 0)


class Delay(Case):
    settings = "delay-warning = 4h\n"

    def test_each_sender_hears_once_if_he_wants_to(self):
        self.put(5 * HOUR)
        self.put(5 * HOUR, "<bea@domain.com> ENVID=Q1", "<b@x> NOTIFY=DELAY,SUCCESS "
                 "ORCPT=rfc822;Bob+40x")
        self.put(5 * HOUR, "<cid@domain.com>", "<b@x> NOTIFY=NEVER")
        self.put(5 * HOUR, "<dan@domain.com>", "<b@x> NOTIFY=FAILURE")
        self.put(5 * HOUR, "<>")
        self.put(3 * HOUR, "<eve@domain.com>")
        for _ in range(3):
            self.site.once()
        self.assertEqual(sorted(to for to, _ in self.reports()), ["ann@domain.com",
                                                                  "bea@domain.com"])
        self.assertEqual(len(self.waiting()), 6)
        report = dict(self.reports())["bea@domain.com"]
        message, recipient = self.status(report)
        self.assertEqual((recipient["Action"], recipient["Status"]), ("delayed", "4.4.1"))
        self.assertEqual(recipient["Original-Recipient"], "rfc822; Bob@x")
        self.assertEqual(message["Original-Envelope-Id"], "Q1")
        arrival = email.utils.parsedate_to_datetime(message["Arrival-Date"]).timestamp()
        until = email.utils.parsedate_to_datetime(recipient["Will-Retry-Until"]).timestamp()
        self.assertLess(abs(time.time() - 5 * HOUR - arrival), 60)
        self.assertEqual(until - arrival, 5 * DAY)

    def test_messages_in_a_parcel_that_the_mta_does_not_take(self):
        self.set_peer("")
        self.submit.script = lambda command, _: (
            "450 4.2.1 not now" if command.startswith("RCPT") and "athena" in command else None)
        self.put(5 * HOUR)
        self.site.once()
        self.site.once()
        self.assertEqual(len(self.site.names("peers", "remote1", "ready")), 1)
        (to, _), = self.reports()
        self.assertEqual(to, "ann@domain.com")

    def test_many_are_told_each_once_and_the_other_peer_goes_on(self):
        for n in range(1200):
            self.put(5 * HOUR, "<s%d@domain.com>" % n,
                     "<b@x> NOTIFY=%s" % ("NEVER" if n % 40 else "DELAY"))
        self.site.start()
        self.put(0, peer="remote2")
        self.site.wait(lambda: len(self.reports()) == 30, 60)
        self.site.wait(lambda: not self.site.names("notices", "ready"))
        self.assertEqual(self.site.stop(), 0)
        self.site.once("--flush")
        self.assertEqual(len({to for to, _ in self.reports()}), 30)
        self.assertEqual(len(self.reports()), 30)
        self.assertEqual(len(self.parcels()), 1)


class Deadline(Case):
    def refuse_parcels(self):
        self.submit.script = lambda command, _: (
            "450 4.2.1 not now" if command.startswith("RCPT") and "athena" in command else None)

    def test_mail_that_waited_too_long_fails_and_younger_mail_waits_on(self):
        self.put(6 * DAY)
        self.put(6 * DAY, "<>")
        young = self.put(2 * DAY, recipient="<bob@x> NOTIFY=FAILURE")
        log = self.site.once()
        self.site.once()
        self.assertEqual(self.waiting(), [young])
        (to, report), = self.reports()
        self.assertEqual(to, "ann@domain.com")
        _, recipient = self.status(report)
        self.assertEqual((recipient["Action"], recipient["Status"]), ("failed", "5.4.7"))
        self.assertEqual(log.count(": expired "), 2)
        self.assertEqual([to for to, m in self.letters() if "peer remote1" in m["Subject"] and
                          "Undeliverable" in m["Subject"]], ["postmaster@hub.domain.com"])
        self.assertEqual(self.site.names("peers", "remote1", "building"), [])

    def test_mail_whose_batch_is_about_to_be_closed_is_not_given_up(self):
        self.set_peer("max-age = 7d\n")
        self.put(6 * DAY, recipient="<bob@x> NOTIFY=FAILURE")
        self.site.once()
        self.assertEqual((len(self.waiting()), self.reports()), (1, []))

    def test_after_days_without_a_dispatcher_old_mail_has_its_chance(self):
        self.set_peer("")
        self.put(6 * DAY, recipient="<bob@x> NOTIFY=FAILURE")
        self.site.once()
        self.assertEqual(len(self.parcels()), 1)
        self.assertEqual(self.reports(), [])

    def test_what_the_mta_may_have_taken_is_not_called_undelivered(self):
        self.set_peer("")
        answers = iter(["CLOSE"])
        self.submit.script = lambda command, _: (
            next(answers, None) if command == "<taken>" else None)
        self.put(5 * DAY - 4, recipient="<bob@x> NOTIFY=FAILURE")
        log = self.site.once("--flush")
        self.assertIn("outcome=ambiguous", log)
        self.refuse_parcels()
        time.sleep(4.2)
        self.site.set_next(-1, "peers", "remote1", "ready")
        for _ in range(3):
            self.site.once()
        (to, report), = self.reports()
        _, recipient = self.status(report)
        self.assertEqual((to, recipient["Action"], recipient["Status"]),
                         ("ann@domain.com", "failed", "4.4.0"))
        self.assertIn("not known", report["Subject"])

    def test_what_no_peer_would_take_any_more_is_not_sent(self):
        self.set_peer("")
        self.put(15 * DAY)
        self.put(0, recipient="<carl@x>")
        self.site.once("--flush")
        self.assertIn(b"carl@x", self.parcels()[0])
        self.assertNotIn(b"bob@domain.co.uk", self.parcels()[0])
        self.assertEqual([to for to, _ in self.reports()], ["ann@domain.com"])

    def test_a_parcel_past_the_deadline_fails_old_mail_and_lets_young_mail_go(self):
        self.set_peer("")
        self.refuse_parcels()
        self.put(5 * DAY - 3, recipient="<old@x> NOTIFY=FAILURE")
        self.put(4 * DAY, recipient="<young@x> NOTIFY=FAILURE")
        self.site.once("--flush")
        parcel, = self.site.names("peers", "remote1", "ready")
        with open("%s/peers/remote1/ready/%s/state" % (self.site.spool, parcel),
                  encoding="ascii") as text:
            state = dict(line.split(": ", 1) for line in text.read().splitlines())
        expires = time.mktime(time.strptime(state["expires"], "%Y%m%dT%H%M%SZ")) - time.timezone
        self.assertLess(abs(expires - time.time() - 9 * DAY), 60, "from the oldest arrival")
        time.sleep(3)
        self.site.set_next(-1, "peers", "remote1", "ready")
        self.site.once()
        (to, report), = self.reports()
        self.assertEqual(self.status(report)[1]["Final-Recipient"], "rfc822; old@x")
        self.submit.script = lambda command, _: None
        self.site.once("--flush")
        self.site.once("--flush")
        sent = self.parcels()
        self.assertEqual(len(sent), 1)
        self.assertIn(b"young@x", sent[0])
        self.assertNotIn(b"old@x", sent[0])


if __name__ == "__main__":
    unittest.main()
