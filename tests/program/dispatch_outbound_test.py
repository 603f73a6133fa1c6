"""bsmtp-dispatch batches, builds and submits; what happens to parcels on every answer."""

import base64
import email
import email.policy
import os
import re
import signal
import subprocess
import sys
import time
import unittest

from dispatch_rig import HOST, Gateway, Smtp, crlf, iso, item, new_id, text_of

PROGRAMS = sys.argv.pop(1)


def mail(number, size=0, sender="<ann@domain.com>"):
    return item(sender, ["<bob%s@domain.co.uk> NOTIFY=FAILURE" % number],
                text_of(number) + b"z" * 70 * 0 + (b"y" * 70 + b"\r\n") * (size // 72))


class Case(unittest.TestCase):
    settings = ""
    peer = ""

    def setUp(self):
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.site = Gateway(PROGRAMS, self.submit.url(), "smtp://127.0.0.1:9", self.settings,
                            {"remote1": "host = athena.domain.co.uk\nprofile = rfc2442\n"
                                        "recipient-domains = *\n" + self.peer})
        self.addCleanup(self.site.close)
        self.site.make_spool()

    def batches(self):
        """Message counts of the parcels that went out, through Python's parser."""
        counts = []
        for taken in self.submit.taken():
            message = email.message_from_bytes(taken["text"], policy=email.policy.default)
            if message.get_content_type().lower() == "application/batch-smtp":
                counts.append(message.get_payload(decode=True).count(b"\r\nDATA\r\n"))
        return counts

    def stages(self, peer="remote1"):
        return {stage: len(self.site.names("peers", peer, stage))
                for stage in ("incoming", "building", "ready", "sent", "failed")}


class Batches(Case):
    peer = "max-messages = 10\nmax-bytes = 20K\nmax-age = 1h\n"

    def test_full_batches_go_and_the_rest_waits(self):
        for n in range(25):
            self.site.put(mail(n))
        self.site.once()
        self.assertEqual(sorted(self.batches()), [10, 10])
        self.assertEqual(self.stages(), {"incoming": 5, "building": 0, "ready": 0, "sent": 2,
                                         "failed": 0})

    def test_flush_closes_the_rest(self):
        for n in range(3):
            self.site.put(mail(n))
        self.site.once("--flush")
        self.assertEqual(self.batches(), [3])

    def test_old_mail_closes_its_batch(self):
        self.site.put(mail(1), when=time.time() - 3700)
        self.site.put(mail(2))
        self.site.once()
        self.assertEqual(self.batches(), [2])

    def test_bytes_close_a_batch_and_a_large_message_travels_alone(self):
        now = time.time() - 1
        for n, size in enumerate((8000, 8000, 50000, 100)):
            self.site.put(mail(n, size), when=now + n / 100)
        self.site.once()
        self.assertEqual(sorted(self.batches()), [1, 2])
        self.assertEqual(self.stages()["incoming"], 1)

    def test_flush_request_file_reaches_a_running_dispatcher(self):
        self.site.put(mail(1))
        self.site.start()
        time.sleep(0.3)
        self.assertEqual(self.batches(), [])
        open(self.site.spool + "/peers/remote1/flush", "w", encoding="ascii").close()
        self.site.wait(lambda: self.batches() == [1])
        self.assertFalse(os.path.exists(self.site.spool + "/peers/remote1/flush"))
        self.assertEqual(self.site.stop(), 0)

    def test_peer_option_restricts(self):
        self.site.peers["remote2"] = self.site.peers["remote1"].replace("athena", "two")
        self.site.write_config(self.submit.url(), "smtp://127.0.0.1:9")
        self.site.once()
        self.site.put(mail(1), peer="remote1")
        self.site.put(mail(2), peer="remote2")
        self.site.once("--flush", "--peer", "remote2.bsmtp.invalid")
        self.assertEqual(self.stages("remote1")["incoming"], 1)
        self.assertEqual(self.stages("remote2")["incoming"], 0)


class Running(Case):
    peer = "max-messages = 5\nmax-age = 2s\n"

    def test_wakes_on_arrival_and_by_time(self):
        self.site.start()
        for n in range(5):
            self.site.put(mail(n))
        self.site.wait(lambda: self.batches() == [5], 5)
        begun = time.time()
        self.site.put(mail(9))
        self.site.wait(lambda: self.batches() == [5, 1], 10)
        self.assertGreater(time.time() - begun, 1.5)
        self.assertEqual(self.site.stop(), 0)

    def test_a_spool_of_another_version_or_none_ends_it(self):
        version = self.site.spool + "/VERSION"
        for changed in ("bsmtp-spool 2\n", None):
            with self.subTest(changed):
                self.site.start()
                if changed is None:
                    os.unlink(version)
                else:
                    with open(version, "w", encoding="ascii") as out:
                        out.write(changed)
                for n in range(5):
                    self.site.put(mail(n))
                self.assertEqual(self.site.process.wait(timeout=20), 75)
                self.site.process = None
                self.assertRegex(self.site.logged(), r"spool: alarm .*bsmtp-dispatch stops")
                self.assertEqual((self.batches(), self.stages()["incoming"]), ([], 5))
                with open(version, "w", encoding="ascii") as out:
                    out.write("bsmtp-spool 1\n")
                for name in self.site.names("peers", "remote1", "incoming"):
                    os.unlink("%s/peers/remote1/incoming/%s" % (self.site.spool, name))
                os.unlink(self.site.log)

    def test_idle_dispatcher_sleeps(self):
        process = self.site.start()
        time.sleep(1)

        def switches():
            total = 0
            for task in os.listdir("/proc/%d/task" % process.pid):
                with open("/proc/%d/task/%s/status" % (process.pid, task), encoding="ascii") as f:
                    total += sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
            return total
        before = switches()
        time.sleep(4)
        self.assertLessEqual(switches() - before, 6)

    def test_reload_keeps_old_values_when_the_new_are_bad(self):
        self.site.start()
        with open(self.site.config, "a", encoding="ascii") as out:
            out.write("no-such-key = 1\n")
        self.site.process.send_signal(signal.SIGHUP)
        self.site.wait(lambda: "no-such-key" in self.site.logged())
        for n in range(5):
            self.site.put(mail(n))
        self.site.wait(lambda: self.batches() == [5], 10)
        self.assertEqual(self.site.stop(), 0)

    def test_good_reload_takes_effect(self):
        self.site.start()
        self.site.peers["remote1"] = self.site.peers["remote1"].replace("max-messages = 5",
                                                                        "max-messages = 2")
        self.site.write_config(self.submit.url(), "smtp://127.0.0.1:9")
        self.site.process.send_signal(signal.SIGHUP)
        self.site.wait(lambda: "reloaded" in self.site.logged())
        for n in range(2):
            self.site.put(mail(n))
        self.site.wait(lambda: self.batches() == [2], 10)
        self.assertEqual(self.site.stop(), 0)

    def test_reload_keeps_the_old_service_when_the_new_cannot_be_opened(self):
        self.site.start()
        with open(self.site.config, encoding="ascii") as f:
            text = f.read()
        with open(self.site.config, "w", encoding="ascii") as f:
            f.write(text.replace(self.site.spool, "/proc/no-spool-here"))
        self.site.process.send_signal(signal.SIGHUP)
        self.site.wait(lambda: "reload-failed" in self.site.logged())
        for n in range(5):
            self.site.put(mail(n))
        self.site.wait(lambda: self.batches() == [5], 10)
        self.assertEqual(self.site.stop(), 0)

    def test_reload_waits_for_a_slow_final_reply(self):
        self.submit.script = lambda command, _: (
            time.sleep(12) if command == "<taken>" and not self.batches()[1:] else None)
        self.site.start()
        for n in range(5):
            self.site.put(mail(n))
        self.site.wait(lambda: self.batches() == [5], 10)
        self.site.process.send_signal(signal.SIGHUP)
        self.site.wait(lambda: self.stages()["sent"] == 1, 30)
        for n in range(5):
            self.site.put(mail(n))
        self.site.wait(lambda: self.stages()["sent"] == 2, 30)
        self.assertEqual(self.site.stop(), 0)
        self.assertEqual(self.batches(), [5, 5])
        self.assertNotIn("ambiguous", self.site.logged())

    def test_graceful_stop_in_mid_submission(self):
        self.submit.script = lambda command, _: (
            time.sleep(60) if command == "<text>" else None)
        self.site.start()
        for n in range(5):
            self.site.put(mail(n))
        self.site.wait(lambda: "DATA" in self.submit.commands, 10)
        begun = time.time()
        self.assertEqual(self.site.stop(), 0)
        self.assertGreater(time.time() - begun, 29)  # what a slow MTA may have
        self.assertLess(time.time() - begun, 45)
        self.assertEqual(self.stages()["ready"], 1)
        self.assertIn("ambiguous", self.site.logged())

    def test_two_dispatchers_do_not_hurt_each_other(self):
        self.site.start()
        first = self.site.process
        self.site.start()
        for n in range(200):
            self.site.put(mail(n))
        self.site.wait(lambda: sum(self.batches()) >= 200, 30)
        self.assertEqual(self.site.stop(), 0)
        self.site.process = first
        self.assertEqual(self.site.stop(), 0)
        self.assertEqual(sum(self.batches()), 200)


class Answers(Case):
    peer = "max-messages = 3\n"

    def put_three(self):
        return [self.site.put(mail(n, sender="<s%d@domain.com> RET=HDRS ENVID=E%d" % (n, n)))
                for n in range(3)]

    def reports(self):
        return [email.message_from_bytes(m["text"], policy=email.policy.default)
                for m in self.submit.taken() if m["mail"].startswith("MAIL FROM:<>")]

    def test_envelope_and_outer_message(self):
        self.put_three()
        self.site.once()
        taken, = self.submit.taken()
        self.assertRegex(taken["mail"], r"^MAIL FROM:<bsmtp\+[0-9a-f]{32}@hub\.domain\.com>")
        self.assertIn("RET=HDRS", taken["mail"])
        self.assertEqual(taken["rcpts"],
                         ["RCPT TO:<bsmtp@athena.domain.co.uk> NOTIFY=SUCCESS,FAILURE,DELAY "
                          "ORCPT=rfc822;bsmtp@athena.domain.co.uk"])
        message = email.message_from_bytes(taken["text"], policy=email.policy.default)
        self.assertEqual(message["Auto-Submitted"], "auto-generated")
        self.assertEqual(message["To"], "bsmtp@athena.domain.co.uk")
        self.assertTrue(taken["text"].isascii())
        self.assertLessEqual(max(map(len, taken["text"].split(b"\r\n"))), 100)
        self.assertLessEqual(max(map(len, taken["text"].split(b"\r\n\r\n", 1)[1]
                                     .split(b"\r\n"))), 76)

    def test_4xx_is_retried_with_the_same_parcel(self):
        answers = iter(["451 4.3.0 later"])
        self.submit.script = lambda command, _: (
            next(answers, None) if command == "<text>" else None)
        self.put_three()
        self.site.once()
        ready, = self.site.names("peers", "remote1", "ready")
        with open("%s/peers/remote1/ready/%s/entity" % (self.site.spool, ready), "rb") as f:
            entity = f.read()
        time.sleep(1.2)
        self.site.once()
        self.assertEqual(self.stages()["sent"], 1)
        self.assertTrue(self.submit.taken()[0]["text"].endswith(entity))

    def test_5xx_fails_the_parcel_and_tells_each_sender_once(self):
        self.submit.script = lambda command, _: (
            "550 5.1.2 no such host" if "RCPT TO:<bsmtp@" in command else None)
        self.put_three()
        self.site.once()
        self.site.once()
        self.assertEqual(self.stages()["failed"], 1)
        reports = self.reports()
        self.assertEqual(sorted(r["To"] for r in reports),
                         ["s0@domain.com", "s1@domain.com", "s2@domain.com"])
        status = reports[0].get_payload()[1].get_payload()
        self.assertIn("Original-Envelope-Id", status[0])
        self.assertEqual(status[1]["Status"], "5.1.2")
        self.assertEqual(status[1]["Action"], "failed")

    def test_unreachable_host_mta_keeps_everything(self):
        self.submit.close()
        self.put_three()
        self.site.once(expect=75)
        self.assertEqual(self.stages()["ready"], 1)
        self.assertEqual(len(self.site.names("notices", "ready")), 0)

    def test_lost_final_reply_is_ambiguous_and_sent_again(self):
        answers = iter(["CLOSE"])
        self.submit.script = lambda command, _: (
            next(answers, None) if command == "<taken>" else None)
        self.put_three()
        log = self.site.once()
        self.assertIn("outcome=ambiguous", log)
        time.sleep(1.2)
        self.site.once()
        self.assertEqual(self.batches(), [3, 3])

    def test_a_bounce_to_the_return_address_tells_the_senders(self):
        self.put_three()
        self.site.once()
        token = re.search(r"\+([0-9a-f]{32})@", self.submit.taken()[0]["mail"]).group(1)
        self.bounce(token, "delayed", "4.4.1")
        self.bounce("0" * 32, "failed", "5.0.0")
        log = self.site.once()
        self.assertIn("no-such-parcel", log)
        self.assertEqual(self.stages()["sent"], 1)
        self.bounce(token, "failed", "5.1.1")
        self.bounce(token, "failed", "5.1.1")
        self.site.once()
        self.assertEqual(self.stages()["failed"], 1)
        self.assertEqual(len(self.reports()), 3)
        self.assertEqual(self.reports()[0].get_payload()[1].get_payload()[1]["Status"], "5.1.1")
        self.assertEqual(self.site.names("inbound", "returns"), [])

    def test_a_bounce_that_is_no_report_is_shown_to_the_postmaster(self):
        self.put_three()
        self.site.once()
        token = re.search(r"\+([0-9a-f]{32})@", self.submit.taken()[0]["mail"]).group(1)
        for to in (token, "0" * 32):
            with open(self.site.spool + "/inbound/returns/" + new_id(), "wb") as out:
                out.write(item("<>", ["<bsmtp+%s@%s>" % (to, HOST)],
                               "Subject: failure notice\n\nHi. This is qmail-send.\n"))
        self.site.once()
        letter, = self.submit.taken()[1:]
        self.assertEqual(letter["mail"].split()[1], "FROM:<>")
        self.assertIn("postmaster@", letter["rcpts"][0])
        self.assertIn(b"> Hi. This is qmail-send.", letter["text"])
        self.assertEqual(self.site.names("inbound", "returns"), [])
        self.assertEqual(self.stages()["sent"], 1)

    def test_a_poison_notice_does_not_hold_up_the_others(self):
        self.site.once()
        names = sorted(new_id() for _ in range(4))
        for number, name in enumerate(names):
            with open(self.site.spool + "/notices/ready/" + name, "wb") as out:
                out.write(item("<>", ["<n%d@domain.com>" % number], text_of(number)))
        self.submit.script = lambda command, session: (
            "CLOSE" if command == "<text>" and "<n0@" in session["rcpts"][0] else
            "451 4.3.0 not now" if command == "<text>" and "<n1@" in session["rcpts"][0] else None)
        self.site.once(expect=75)
        self.assertEqual([m["rcpts"] for m in self.submit.taken()],
                         [["RCPT TO:<n2@domain.com>"], ["RCPT TO:<n3@domain.com>"]])
        self.assertEqual(self.site.names("notices", "ready"), names[:2])

    def bounce(self, token, action, status):
        text = crlf("From: MAILER-DAEMON\nTo: x\nMIME-Version: 1.0\nContent-Type: multipart/report;"
                    " report-type=delivery-status; boundary=\"b\"\n\n--b\n\nSorry.\n--b\n"
                    "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\n"
                    "Final-Recipient: rfc822; bsmtp@athena.domain.co.uk\nAction: %s\nStatus: %s\n"
                    "Diagnostic-Code: smtp; 550 %s\n no such user\n\n--b--\n"
                    % (action, status, status))
        name = new_id()
        with open(self.site.spool + "/inbound/returns/" + name, "wb") as out:
            out.write(item("<>", ["<bsmtp+%s@%s>" % (token, HOST)], text))


class Odd(Case):
    peer = "max-messages = 3\n"

    def test_a_corrupt_item_is_set_aside_and_the_rest_goes(self):
        self.site.put(mail(1))
        bad = self.site.put(b"MAIL FROM:<a@b>\r\nnonsense")
        self.site.put(mail(2))
        self.site.once()
        self.site.once("--flush")
        self.assertEqual(sum(self.batches()), 2)
        self.assertEqual(self.site.names("peers", "remote1", "held"), [bad + ".item"])
        letters = [m for m in self.submit.taken() if "postmaster" in m["rcpts"][0]]
        self.assertEqual(len(letters), 1)
        self.assertIn(b"unreadable  message " + bad.encode(), letters[0]["text"])

    def test_many_corrupt_items_make_one_letter(self):
        bad = [self.site.put(b"MAIL FROM:<a@b>\r\nnonsense %d" % n) for n in range(250)]
        self.site.put(mail(1))
        told, runs = 0, 0
        while told < len(bad) and runs < 6:
            self.site.once("--flush")  # sweeps, hence one letter at most
            runs += 1
            letters = [m["text"] for m in self.submit.taken() if "postmaster" in m["rcpts"][0]]
            told = sum(text.count(b"  unreadable  message ") for text in letters)
            told += sum(int(n) for text in letters
                        for n in re.findall(rb"(?m)^and (\d+) more", text))
        self.assertEqual(told, len(bad))
        self.assertLessEqual(len(letters), runs)
        self.assertEqual(self.site.names("peers", "remote1", "held"),
                         sorted(name + ".item" for name in bad))

    def test_what_the_profile_cannot_carry_goes_back_to_its_sender(self):
        self.site.put(item("<ann@domain.com> SMTPUTF8", ["<bób@domain.co.uk>"],
                           "Subject: x\n\ny\n"))
        self.site.put(mail(1))
        self.site.once("--flush")
        self.assertEqual(self.batches(), [1])
        report, = [m for m in self.submit.taken() if m["mail"].startswith("MAIL FROM:<>")]
        self.assertIn(b"Status: 5.6.7", report["text"])

    def test_abandoned_building_parcel_is_recovered(self):
        name = self.site.put(mail(1))
        building = "%s/peers/remote1/building/%s" % (self.site.spool, new_id())
        os.makedirs(building + "/items")
        os.rename("%s/peers/remote1/incoming/%s" % (self.site.spool, name),
                  building + "/items/" + name)
        self.site.once("--flush")
        self.assertEqual(self.batches(), [1])
        self.assertEqual(self.stages()["building"], 0)

    def ready_parcel_with(self, field, seconds):
        """A parcel that was refused for now; `field` of its state is set to now + `seconds`."""
        self.submit.script = lambda command, _: (
            "451 4.3.0 later" if command == "<text>" else None)
        self.site.put(mail(1))
        self.site.once("--flush")
        ready, = self.site.names("peers", "remote1", "ready")
        state = "%s/peers/remote1/ready/%s/state" % (self.site.spool, ready)
        with open(state, encoding="ascii") as f:
            text = f.read()
        changed = re.sub(r"(?m)^%s: \w+" % field, "%s: %s" % (field, iso(time.time() + seconds)),
                         text)
        self.assertNotEqual(changed, text)
        with open(state, "w", encoding="ascii") as f:
            f.write(changed)
        self.submit.script = lambda command, _: None
        time.sleep(1.1)
        self.site.once()

    def test_an_expired_parcel_is_not_sent_but_its_young_mail_in_another_one(self):
        self.ready_parcel_with("expires", -60)
        self.assertEqual(self.stages()["ready"], 0)
        self.site.once("--flush")
        self.assertEqual(self.batches(), [1])
        self.assertEqual(self.stages()["failed"], 0)

    def test_a_parcel_of_any_age_is_handed_over_while_its_mail_has_time(self):
        self.ready_parcel_with("created", -5 * 86400 - 60)
        self.assertEqual(self.batches(), [1])

    def test_mail_of_a_forgotten_peer_is_an_alarm(self):
        self.site.put(mail(1))
        self.site.peers = {"other": self.site.peers["remote1"].replace("athena", "zeus")}
        self.site.write_config(self.submit.url(), "smtp://127.0.0.1:9")
        log = self.site.once()
        self.assertRegex(log, r"remote1: alarm .*not configured any more")


class Limits(Case):
    peer = "max-messages = 1\nmax-unacked = 2\n"

    def test_beyond_max_unacked_messages_wait_unbuilt(self):
        self.submit.script = lambda command, _: (
            "451 4.3.0 later" if command == "<text>" else None)
        for n in range(6):
            self.site.put(mail(n))
        self.site.once()
        self.assertEqual(self.stages()["ready"], 2)
        self.assertEqual(self.stages()["incoming"], 4)

    def test_sent_and_failed_parcels_leave_after_keep_sent(self):
        self.site.put(mail(1))
        self.site.once()
        sent, = self.site.names("peers", "remote1", "sent")
        state = "%s/peers/remote1/sent/%s/state" % (self.site.spool, sent)
        with open(state, encoding="ascii") as f:
            text = f.read()
        with open(state, "w", encoding="ascii") as f:
            f.write(re.sub(r"finished: \w+", "finished: 20200101T000000Z", text))
        self.site.once()
        self.assertEqual(self.stages()["sent"], 0)


if __name__ == "__main__":
    unittest.main()
