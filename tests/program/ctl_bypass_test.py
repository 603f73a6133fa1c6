#!/usr/bin/python3
"""bsmtpctl peer bypass: waiting mail goes to the host MTA with its own envelope, once, or the log
says why perhaps twice; and never where it would come straight back."""

import json
import os
import socketserver
import subprocess
import sys
import threading
import time
import unittest

from dispatch_rig import Gateway, Smtp, crlf, item, text_of
from processor_rig import dsns, status_fields

PROGRAMS = sys.argv.pop(1)
OK, NO, TROUBLE = 0, 1, 75
ENVELOPE = ("<ann@domain.com> RET=HDRS ENVID=QQ314159 BODY=8BITMIME",
            ["<bob@domain.co.uk> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+40domain.co.uk",
             "<carl@domain.co.uk> NOTIFY=NEVER"])


class Case(unittest.TestCase):
    state = "stopping"
    settings = ""

    def setUp(self):
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.site = Gateway(PROGRAMS, self.submit.url(), "smtp://127.0.0.1:9", self.settings)
        self.addCleanup(self.site.close)
        self.site.make_spool()
        self.set_state(self.state)

    def set_state(self, state, more=""):
        self.site.peers["remote1"] = ("host = athena.domain.co.uk\nprofile = rfc2442\n"
                                      "recipient-domains = *\nstate = %s\n%s" % (state, more))
        self.site.write_config(self.submit.url(), "smtp://127.0.0.1:9", self.settings)

    def argv(self, *args):
        return [PROGRAMS + "/bsmtpctl", "--config", self.site.config, "peer", "bypass", "remote1",
                *args]

    def bypass(self, *args, code=OK):
        """(what --json says, standard error)"""
        done = subprocess.run(self.argv("--json", *args), capture_output=True, timeout=30,
                              check=False)
        self.assertEqual(done.returncode, code, (done.stdout, done.stderr))
        return json.loads(done.stdout) if done.stdout else None, done.stderr.decode()

    def taken(self):
        return [(m["mail"], m["rcpts"]) for m in self.submit.taken()]

    def recipients(self):
        return sorted(r for m in self.submit.taken() for r in m["rcpts"])

    def waiting(self):
        return self.site.names("peers", "remote1", "incoming")

    def stage(self, name):
        return self.site.names("peers", "remote1", name)

    def put(self, count, first=0):
        """In this order: ids sort by their milliseconds."""
        now = time.time() - 60
        return [self.site.put(item("<ann@domain.com>", ["<bob%d@domain.co.uk>" % n], text_of(n)),
                              when=now + n / 100) for n in range(first, first + count)]

    def make_parcel(self, count):
        """In sent/, or in ready/ when the host MTA refuses it for now."""
        self.set_state("on")
        self.put(count)
        self.site.once("--flush", expect=None)
        self.set_state("stopping")

    def refuse(self, answers):
        self.submit.script = lambda command, _: next(
            (reply for word, reply in answers.items() if word in command), None)


class Queue(Case):
    def test_envelope_and_text_are_the_original_ones(self):
        self.site.put(item(*ENVELOPE, text_of(1)), when=time.time() - 1)
        self.site.put(item("<jörg@domain.com> BODY=8BITMIME SMTPUTF8", ["<ünal@domain.co.uk>"],
                           "Subject: grün\n\n.b\n".encode()))
        found, _ = self.bypass()
        first, second = self.submit.taken()
        self.assertEqual(first["mail"].split()[1:],
                         ["FROM:<ann@domain.com>", "BODY=8BITMIME", "RET=HDRS", "ENVID=QQ314159"])
        self.assertEqual(first["rcpts"], ["RCPT TO:" + r for r in ENVELOPE[1]])
        self.assertEqual(first["text"], text_of(1))
        self.assertIn("SMTPUTF8", second["mail"])
        self.assertEqual(second["text"], crlf("Subject: grün\n\n.b\n".encode()))
        self.assertEqual((found["messages"], found["recipients"]), (2, 3))
        self.assertEqual((found["left"], found["maybe_arrived"], found["busy"]), ([], [], []))
        self.assertEqual((self.waiting(), self.stage("building"), self.stage("tmp")), ([], [], []))

    def test_dry_run_changes_nothing(self):
        names = sorted(self.put(3))
        found, _ = self.bypass("--dry-run")
        self.assertEqual((found["messages"], found["dry_run"]), (3, True))
        self.assertEqual((self.waiting(), self.submit.taken()), (names, []))

    def test_what_the_mta_refuses_waits_on_with_the_recipients_it_refused(self):
        self.refuse({"later@": "450 4.2.1 later", "nobody@": "550 5.1.1 no such user"})
        name = self.site.put(item(ENVELOPE[0], ["<bob@x>", "<later@x> NOTIFY=DELAY", "<nobody@x>"],
                                  text_of(1)))
        found, _ = self.bypass(code=NO)
        self.assertEqual(self.recipients(), ["RCPT TO:<bob@x>"])
        (left,) = found["left"]
        self.assertEqual((left["item"], left["recipients"]), (name, ["later@x", "nobody@x"]))
        self.assertIn("550 5.1.1", left["why"])
        self.assertEqual(self.waiting(), [name])
        self.refuse({})
        self.bypass()
        self.assertEqual(self.taken()[1][1], ["RCPT TO:<later@x> NOTIFY=DELAY", "RCPT TO:<nobody@x>"])
        self.assertEqual(self.submit.taken()[1]["text"], text_of(1))
        self.assertEqual(self.waiting(), [])

    def test_the_sender_is_told_relayed_when_the_mta_cannot_report_success(self):
        self.refuse({"EHLO": "250-localhost\r\n250-PIPELINING\r\n250 8BITMIME",
                     "later@": "450 4.2.1 later"})
        self.site.put(item(ENVELOPE[0], ENVELOPE[1] + ["<dora@domain.co.uk>",
                                                       "<later@domain.co.uk> NOTIFY=SUCCESS"], text_of(1)))
        self.site.put(item("<> ENVID=x", ["<bob@domain.co.uk> NOTIFY=SUCCESS"], text_of(2)))
        found, log = self.bypass(code=NO)
        self.assertEqual((found["messages"], found["recipients"]), (1, 4))
        self.assertNotIn("ambiguous", log)
        self.assertEqual(len(self.site.names("notices", "ready")), 1)
        self.refuse({})
        self.site.once()
        ((_, report),) = dsns(self.submit)
        message, (recipient,) = status_fields(report)
        self.assertEqual(message["Original-Envelope-Id"], "QQ314159")
        self.assertEqual((recipient["Action"], recipient["Status"]), ("relayed", "2.0.0"))
        self.assertEqual(recipient["Final-Recipient"], "rfc822; bob@domain.co.uk")
        self.assertEqual(recipient["Original-Recipient"], "rfc822; Bob@domain.co.uk")
        self.assertRegex(recipient["Diagnostic-Code"], "smtp; 250")
        self.bypass()  # now to an MTA that does DSN: it reports itself
        self.site.once()
        self.assertEqual(len(dsns(self.submit)), 1)
        self.assertEqual(self.waiting(), [])

    def test_a_report_that_cannot_be_written_keeps_its_message(self):
        self.refuse({"EHLO": "250-localhost\r\n250 8BITMIME"})
        name = self.site.put(item(*ENVELOPE, text_of(1)))
        ready = self.site.spool + "/notices/ready"
        os.rename(ready, ready + "_")
        _, log = self.bypass(code=TROUBLE)
        self.assertIn("%s: final-reply-lost outcome=ambiguous" % name, log)
        self.assertEqual(self.waiting(), [name])
        os.rename(ready + "_", ready)
        self.bypass()
        self.assertEqual((self.waiting(), len(self.site.names("notices", "ready"))), ([], 1))

    def test_too_many_recipients_go_in_several_transactions(self):
        self.submit.script = lambda command, session: (
            "452 4.5.3 too many" if command.startswith("RCPT") and len(session["rcpts"]) >= 20
            else None)
        self.site.put(item("<a@domain.com>", ["<r%d@x>" % n for n in range(70)], text_of(1)))
        found, _ = self.bypass()
        self.assertEqual([len(m["rcpts"]) for m in self.submit.taken()], [20, 20, 20, 10])
        self.assertEqual((found["messages"], found["recipients"]), (1, 70))

    def test_a_lost_final_reply_is_ambiguous_and_the_message_waits_on(self):
        answers = iter(["CLOSE"])
        self.submit.script = lambda command, _: next(answers, None) if command == "<taken>" else None
        names = self.put(3)
        found, log = self.bypass(code=NO)
        self.assertIn("%s: final-reply-lost outcome=ambiguous" % names[0], log)
        self.assertEqual(log.count("ambiguous"), 1)
        self.assertEqual(len(found["left"]), 1)
        self.assertEqual(self.waiting(), names[:1])
        self.assertEqual(self.recipients(), ["RCPT TO:<bob%d@domain.co.uk>" % n for n in range(3)])

    def test_a_broken_item_is_set_aside_and_the_others_go(self):
        name = self.site.put(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\ncut off")
        self.put(2)
        found, log = self.bypass(code=NO)
        self.assertEqual(len(self.submit.taken()), 2)
        self.assertEqual(self.stage("held"), [name + ".item"])
        self.assertIn("held", found["left"][0]["why"])
        self.assertIn(name, log)

    def test_no_mta_no_change(self):
        names = sorted(self.put(2))
        self.submit.close()
        self.bypass(code=TROUBLE)
        self.assertEqual((self.waiting(), self.stage("building")), (names, []))
        self.submit = Smtp()


class Loops(Case):
    state = "on"

    def assert_refused(self, *words):
        names = sorted(self.put(1))
        _, log = self.bypass(code=NO)
        for word in words + ("state = stopping", "reload bsmtp-milter"):
            self.assertIn(word, log)
        self.assertEqual((self.waiting(), self.submit.taken()), (names, []))

    def test_not_while_the_peer_is_on(self):
        self.assert_refused("its state is `on`")

    def test_a_peer_that_is_on_but_to_which_no_rule_leads(self):
        with open(self.site.root + "/rewrite", "w", encoding="ascii"):
            pass
        self.put(1)
        self.bypass()
        self.assertEqual((self.waiting(), len(self.submit.taken())), ([], 1))

    def test_not_while_the_exported_map_leads_there(self):
        export = [PROGRAMS + "/bsmtpctl", "--config", self.site.config, "rules", "export",
                  "--postfix", "--write"]
        subprocess.run(export, check=True, capture_output=True)
        self.set_state("off")
        self.assert_refused("still leads domain.co.uk there")
        subprocess.run(export, check=True, capture_output=True)
        self.bypass()
        self.assertEqual(len(self.submit.taken()), 1)

    def test_not_while_the_milter_that_runs_diverts(self):
        answer = [b"OK bob0%domain.co.uk@remote1.bsmtp.invalid"]

        class Map(socketserver.StreamRequestHandler):
            def handle(self):
                self.request.recv(4096)
                self.wfile.write(b"%d:%s," % (len(answer[0]), answer[0]))

        path = self.site.root + "/map.sock"
        with socketserver.UnixStreamServer(path, Map) as server:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            self.settings = "socketmap-socket = unix:%s\n" % path
            self.set_state("stopping")
            self.assert_refused("the bsmtp-milter that runs still diverts bob0@domain.co.uk")
            answer[0] = b"OK direct"
            self.bypass()
            server.shutdown()
        self.assertEqual(len(self.submit.taken()), 1)


class Unacknowledged(Case):
    def test_a_parcel_that_was_sent_is_listed_and_logged(self):
        self.make_parcel(2)
        parcel, = self.stage("sent")
        self.put(1, first=7)
        found, _ = self.bypass()
        self.assertEqual((found["messages"], found["maybe_arrived"]), (1, []))
        self.assertEqual(self.stage("sent"), [parcel])
        listed, _ = self.bypass("--unacknowledged", "--dry-run")
        found, log = self.bypass("--unacknowledged")
        for report in (listed, found):
            self.assertEqual(report["messages"], 2)
            self.assertEqual([line["parcel"] for line in report["maybe_arrived"]], [parcel] * 2)
            self.assertRegex(report["maybe_arrived"][0]["why"], "handed over .* not acknowledged")
            self.assertEqual(report["maybe_arrived"][0]["recipients"], ["bob0@domain.co.uk"])
        self.assertEqual(log.count("outcome=ambiguous"), 2)
        self.assertEqual(self.recipients()[:3], ["RCPT TO:<bob%d@domain.co.uk>" % n
                                                 for n in (0, 1, 7)])
        self.assertEqual((self.stage("sent"), self.stage("building"), self.waiting()), ([], [], []))

    def test_a_parcel_that_the_mta_never_took_is_in_no_doubt(self):
        self.refuse({"RCPT": "450 4.2.1 not now"})
        self.make_parcel(2)
        self.assertEqual(len(self.stage("ready")), 1)
        self.refuse({})
        found, log = self.bypass("--unacknowledged")
        self.assertEqual((found["messages"], found["maybe_arrived"]), (2, []))
        self.assertNotIn("ambiguous", log)
        self.assertEqual(self.stage("ready"), [])
        self.site.once()
        self.assertEqual(len(self.submit.taken()), 2, "the parcel is gone")

    def test_a_parcel_whose_final_reply_was_lost_is_in_doubt_though_it_was_refused_since(self):
        self.refuse({"<taken>": "CLOSE"})
        self.make_parcel(2)
        parcel, = self.stage("ready")
        self.refuse({"RCPT": "450 4.2.1 not now"})
        self.site.set_next(-1, "peers", "remote1", "ready")
        self.site.once(expect=None)
        self.assertEqual(self.stage("ready"), [parcel])
        self.refuse({})
        found, log = self.bypass("--unacknowledged")
        self.assertEqual([line["parcel"] for line in found["maybe_arrived"]], [parcel] * 2)
        self.assertEqual(log.count("outcome=ambiguous"), 2)

    def test_what_its_senders_are_told_of_is_not_touched(self):
        self.refuse({"RCPT": "450 4.2.1 not now"})
        self.make_parcel(1)
        parcel, = self.stage("ready")
        with open("%s/peers/remote1/ready/%s/state" % (self.site.spool, parcel), "a",
                  encoding="ascii") as state:
            state.write("failing: 5.1.1\nfailing-reason: no\n")
        self.refuse({})
        found, _ = self.bypass("--unacknowledged")
        self.assertEqual((found["messages"], self.stage("ready")), (0, [parcel]))


class Beside(Case):
    """Other processes."""

    def test_a_running_dispatcher_keeps_the_parcel_at_hand(self):
        go = threading.Event()

        def script(command, session):
            if command == "<text>" and "bsmtp+" in session["mail"]:
                go.wait(20)
        self.submit.script = script
        self.put(4)
        self.set_state("stopping", "max-age = 1h\nmax-messages = 4\n")
        self.site.start()
        self.site.wait(lambda: any("bsmtp+" in c for c in self.submit.commands))
        parcel, = self.stage("ready")
        self.put(3, first=5)
        found, _ = self.bypass("--unacknowledged", code=NO)
        self.assertEqual((found["messages"], found["busy"]), (3, [parcel]))
        go.set()
        self.site.wait(lambda: self.stage("sent") == [parcel])
        self.assertEqual(self.site.stop(), 0)
        self.assertEqual(len(self.submit.taken()), 4)

    def test_two_at_once_hand_over_each_message_once(self):
        self.submit.script = lambda command, _: time.sleep(0.002) if command == "<text>" else None
        self.put(250)
        runs = [subprocess.Popen(self.argv("--json"), stdout=subprocess.PIPE) for _ in range(2)]
        reports = [json.loads(run.communicate(timeout=30)[0]) for run in runs]
        self.assertEqual(sum(report["messages"] for report in reports), 250)
        self.assertEqual(len(self.recipients()), len(set(self.recipients())))
        self.assertEqual((self.waiting(), self.stage("building")), ([], []))

    def kill_at_final_reply(self):
        reached = threading.Event()
        release = threading.Event()
        self.addCleanup(release.set)

        def script(command, _):
            if command == "<taken>" and not reached.is_set():
                reached.set()
                release.wait(20)
        self.submit.script = script
        names = self.put(3)
        run = subprocess.Popen(self.argv(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertTrue(reached.wait(20))
        run.kill()
        run.wait()
        release.set()
        self.assertEqual(self.waiting(), [])
        return names

    def test_killed_at_the_final_reply_the_next_run_says_so(self):
        names = self.kill_at_final_reply()
        found, log = self.bypass()
        self.assertEqual(log.count("outcome=ambiguous"), 1)
        self.assertIn(names[0] + ": final-reply-lost outcome=ambiguous", log)
        self.assertEqual([line["item"] for line in found["maybe_arrived"]], [names[0]])
        self.assertEqual(found["messages"], 3)
        self.assertEqual(len(self.submit.taken()), 4)

    def test_killed_at_the_final_reply_the_dispatcher_gives_it_back(self):
        names = self.kill_at_final_reply()
        self.set_state("off")
        log = self.site.once()
        self.assertIn(names[0] + ": final-reply-lost outcome=ambiguous", log)
        self.assertEqual((self.waiting(), self.stage("building")), (names, []))


if __name__ == "__main__":
    unittest.main()
