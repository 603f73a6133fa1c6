#!/usr/bin/env python3
"""bsmtp-out --lmtp and bsmtp-in --lmtp as Postfix spawn(8) and sendmail (F=z) start them.

usage: lmtp_test.py DIRECTORY-OF-PROGRAMS [test names]
"""
import os
import signal
import socket
import sys
import threading
import time
import unittest

import gateway
from lmtp_support import LibraryClient, Session
from out_support import Site, is_sanitized, text_of

PROGRAMS = sys.argv.pop(1)
OUT = os.path.join(PROGRAMS, "bsmtp-out")
TEXT = b"Subject: test\r\n\r\nhello\r\n"


def tunneled(local, peer="remote1"):
    return f"<{local}%domain.co.uk@{peer}.bsmtp.invalid>"


class OutSite(Site):
    """Both peers have their directories."""

    def __init__(self, extra=""):
        super().__init__(OUT, extra)
        self.other = self.spool / "peers" / "remote2"
        for name in ("tmp", "incoming"):
            (self.other / name).mkdir(parents=True)

    def session(self, *options, **how):
        return Session([OUT, "--config", str(self.config), "--lmtp", *options], **how)

    def heads(self, peer):
        """Envelope lines of the peer's items."""
        return [text_of(item)[0].decode().split("\r\n")
                for item in sorted((peer / "incoming").iterdir())]


class Out(unittest.TestCase):
    def setUp(self):
        self.site = OutSite()
        self.addCleanup(self.site.__exit__)

    def test_library_client(self):
        with self.site.session() as session:
            client = LibraryClient(session)
            self.assertEqual(client.greeting[0], 220)
            client.ehlo_or_helo_if_needed()
            self.assertEqual(sorted(client.esmtp_features),
                             ["8bitmime", "dsn", "enhancedstatuscodes", "pipelining", "size",
                              "smtputf8"])
            refused = client.sendmail("alice@domain.com", [tunneled("user")], TEXT + b".dot\r\n",
                                      ["RET=HDRS", "ENVID=Q1"], ["NOTIFY=FAILURE"])
            self.assertEqual(refused, {})
            self.assertEqual(client.quit()[0], 221)
            self.assertEqual(session.process.wait(60), 0)
        (item,) = self.site.items()
        head, text = text_of(item)
        self.assertEqual(text, TEXT + b".dot\r\n")
        self.assertIn(b"RCPT TO:<user@domain.co.uk> NOTIFY=FAILURE", head)

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_as_sendmail_starts_it(self):
        """F=SmnuzP8: two pipes, real uid 0, leftover groups; its own spelling; RSET between the hosts of a message."""
        for path in (self.site.dir, *self.site.dir.rglob("*")):
            os.chown(path, 65534, 65534)

        def like_sendmail():
            os.setgroups([1002])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(0, 65534, 65534)

        with self.site.session(pipes=True, preexec=like_sendmail) as session:
            session.hello()
            for commands in (
                    ["MAIL From:<alice@domain.com> SIZE=22 ENVID=QQ1 RET=HDRS",
                     f"RCPT To:{tunneled('u')} NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;user@domain.co.uk",
                     "DATA"],
                    ["RSET", "MAIL From:<alice@domain.com>",
                     f"RCPT To:{tunneled('v', 'remote2')} NOTIFY=NEVER", "DATA"]):
                for command in commands:  # one by one: it does not pipeline here
                    self.assertRegex(session.say(command)[0], r"^(250|354) ")
                session.send(TEXT + b".\r\n")
                self.assertRegex(session.reply()[0], r"^250 2\.0\.0 ")
            self.assertEqual(session.say("QUIT"), ["221 2.0.0 closing"])
            self.assertEqual(session.end(), 0)
        (one,), (two,) = self.site.heads(self.site.peer), self.site.heads(self.site.other)
        self.assertIn("RET=HDRS", one[0].split())
        self.assertEqual(one[1:], ["RCPT TO:<u@domain.co.uk> NOTIFY=SUCCESS,FAILURE "
                                   "ORCPT=rfc822;user@domain.co.uk"])
        self.assertEqual(two[1:], ["RCPT TO:<v@domain.co.uk> NOTIFY=NEVER"])
        (item,) = self.site.items()
        self.assertEqual((item.stat().st_uid, item.stat().st_gid), (65534, 65534))

    def test_dsn_parameters_of_several_peers_in_one_transaction(self):
        with self.site.session() as session:
            session.hello()
            first, final = session.message(
                "<> SIZE=354 BODY=8BITMIME ENVID=QQ314159+2B RET=HDRS",
                [tunneled("User") + " ORCPT=rfc822;Orig+2Buser@domain.co.uk NOTIFY=SUCCESS,FAILURE",
                 tunneled("b", "remote2") + " NOTIFY=NEVER",
                 tunneled("never", "never.remote1") + " ORCPT=rfc822;x@y"], TEXT)
            self.assertEqual([line[:3] for line in first], ["250"] * 4 + ["354"])
            self.assertEqual([line[:3] for line in final], ["250"] * 3)
            self.assertEqual(session.say("QUIT"), ["221 2.0.0 closing"])
            self.assertEqual(session.end(), 0)
        (one,) = self.site.heads(self.site.peer)
        (two,) = self.site.heads(self.site.other)
        self.assertEqual(sorted(one[0].split()[1:]),
                         ["BODY=8BITMIME", "ENVID=QQ314159+2B", "FROM:<>", "RET=HDRS"])
        self.assertEqual(one[1:], ["RCPT TO:<User@domain.co.uk> NOTIFY=SUCCESS,FAILURE "
                                   "ORCPT=rfc822;Orig+2Buser@domain.co.uk",
                                   "RCPT TO:<never@domain.co.uk> NOTIFY=NEVER ORCPT=rfc822;x@y"])
        self.assertEqual(two[1:], ["RCPT TO:<b@domain.co.uk> NOTIFY=NEVER"])
        # The reply names the item: the way from the MTA's log to ours.
        names = [item.name for item in self.site.items()]
        self.assertIn(names[0], final[0])

    def test_an_original_recipient_beyond_ascii_is_written_once_and_without_the_tunnel(self):
        cases = {r"utf-8;\x{FC}ser@domain.co.uk": r"utf-8;\x{FC}ser@domain.co.uk",
                 r"utf-8;\x{5C}x{FC}ser@domain.co.uk": r"utf-8;\x{FC}ser@domain.co.uk",  # Postfix, for a milter
                 "utf-8;üser@bücher.co.uk": r"utf-8;\x{FC}ser@b\x{FC}cher.co.uk",
                 r"utf-8;\x{FC}ser%domain.co.uk@remote1.bsmtp.invalid": r"utf-8;\x{FC}ser@domain.co.uk",
                 "rfc822;user%domain.co.uk@remote1.bsmtp.invalid": "rfc822;user@domain.co.uk",
                 r"utf-8;\x{FFFFFF}@x": r"utf-8;\x{FFFFFF}@x"}
        with self.site.session() as session:
            session.hello()
            first, _ = session.message("<a@domain.com> SMTPUTF8", [tunneled("üser") + " ORCPT=" + orcpt for orcpt in cases], TEXT)
            self.assertEqual([line[:3] for line in first], ["250"] * (len(cases) + 1) + ["354"])
            self.assertEqual(session.say("QUIT"), ["221 2.0.0 closing"])
        (head,) = self.site.heads(self.site.peer)
        self.assertEqual([line.split("ORCPT=")[1] for line in head[1:]], list(cases.values()))

    def test_an_original_recipient_that_the_mta_made_too_long_costs_nothing(self):
        local = "ж" * 42
        twice = "".join(r"\x{5C}x{%X}" % ord(c) for c in local)  # Postfix, for a milter: 12 octets a character
        cases = [(f"utf-8;{twice}@domain.co.uk", "utf-8;" + r"\x{436}" * 42 + "@domain.co.uk"),
                 (f"utf-8;{'я' * 70}@domain.co.uk", None),
                 ("rfc822;" + "x" * 500 + "@domain.co.uk", None), ("x400;" + "x" * 500, None)]
        with self.site.session() as session:
            session.hello()
            first, final = session.message("<a@domain.com> SMTPUTF8", [tunneled(local) + " ORCPT=" + given for given, _ in cases], TEXT)
            self.assertEqual([line[:3] for line in first], ["250"] * (len(cases) + 1) + ["354"])
            self.assertEqual([line[:3] for line in final], ["250"] * len(cases))
            self.assertEqual(session.say("QUIT"), ["221 2.0.0 closing"])
        (head,) = self.site.heads(self.site.peer)
        self.assertEqual([line.partition("ORCPT=")[2] or None for line in head[1:]], [kept for _, kept in cases])

    def test_each_recipient_has_its_own_reply(self):
        (self.site.other / "incoming").rmdir()
        with self.site.session() as session:
            session.hello()
            first, final = session.message(
                "<a@b.org>", [tunneled("good"), tunneled("x", "nobody"), "<\"\"@x.org>",
                              tunneled("lost", "remote2"), tunneled("good2")], TEXT)
            self.assertEqual([line[:3] for line in first], ["250", "250", "451", "451", "250",
                                                            "250", "354"])
            self.assertEqual([line[:3] for line in final], ["250", "451", "250"])
        self.assertEqual(len(self.site.items()), 1)
        self.assertEqual(self.site.left_over(), [])
        self.assertEqual(os.listdir(self.site.other / "tmp"), [])

    def test_plain_recipient_with_peer(self):
        with self.site.session("--peer", "remote1.bsmtp.invalid") as session:
            session.hello()
            first, final = session.message("<a@b.org>", ["<u@x.org>", tunneled("v", "remote2")],
                                           TEXT)
            self.assertEqual([line[:3] for line in first], ["250", "250", "451", "354"])
            self.assertEqual(len(final), 1)
        self.assertEqual(self.site.heads(self.site.peer)[0][1:], ["RCPT TO:<u@x.org>"])

    def test_utf8(self):
        with self.site.session("--peer", "remote1") as session:
            session.hello()
            session.message("<a@b.org> SMTPUTF8", ["<j\u00f6rg@x.org>"], TEXT)
            session.message("<a@b.org>", ["<plain@x.org>"], TEXT)
        one, two = self.site.heads(self.site.peer)
        self.assertIn("SMTPUTF8", one[0].split())
        self.assertNotIn("SMTPUTF8", two[0].split())

    def test_loop_and_forbidden_octets_are_refused_for_good(self):
        with self.site.session() as session:
            session.hello()
            for text, code in ((b"Received: x\r\n" * 60 + TEXT, "554 5.4.6"),
                               (TEXT + b"a\0b\r\n", "554 5.6.1"), (TEXT + b"a\nb\r\n", "554 5.6.1"),
                               (TEXT + b"\n.\r\n", "554 5.6.1")):
                _, final = session.message("<a@b.org>", [tunneled("u")], text)
                self.assertEqual(final[0][:9], code)
            _, final = session.message("<a@b.org>", [tunneled("u")], TEXT)
            self.assertEqual(final[0][:3], "250")
        self.assertEqual(len(self.site.items()), 1)
        self.assertEqual(self.site.left_over(), [])

    def test_message_larger_than_the_disk(self):
        with self.site.session() as session:
            session.hello()
            first, _ = session.message(f"<a@b.org> SIZE={1 << 62}", [tunneled("u")], TEXT)
            self.assertEqual([line[:9] for line in first], ["452 4.3.1"] * 3)

    def test_end_of_input_in_the_text_leaves_nothing(self):
        with self.site.session() as session:
            session.hello()
            session.say("MAIL FROM:<a@b.org>", "RCPT TO:" + tunneled("u"), "DATA")
            session.send(TEXT * 1000)
            self.assertEqual(session.end(), 0)
        self.assertEqual(self.site.items(), [])
        self.assertEqual(self.site.left_over(), [])

    def test_hundred_megabytes_in_little_memory(self):
        block = (b".x" * 36 + b"\r\n") * 1000
        stuffed = block.replace(b"\r\n.", b"\r\n..")
        rounds = 100_000_000 // len(block) + 1
        with self.site.session() as session:
            session.hello()
            session.say("MAIL FROM:<a@b.org>", "RCPT TO:" + tunneled("u"), "DATA")
            for _ in range(rounds):
                session.send(b"." + stuffed)
            session.send(b".\r\n")
            self.assertEqual(session.reply()[0][:3], "250")
            peak = session.peak_kib()
        if not is_sanitized(OUT):
            self.assertLess(peak, 8 * 1024)
        (item,) = self.site.items()
        with open(item, "rb") as file:
            while file.readline() != b"DATA\r\n":
                pass
            for _ in range(rounds):
                self.assertEqual(file.read(len(stuffed) + 1), b"." + stuffed)
            self.assertEqual(file.read(), b".\r\n")

    def test_killed_agent(self):
        with self.site.session() as session:
            session.hello()
            session.say("MAIL FROM:<a@b.org>", "RCPT TO:" + tunneled("u"), "DATA")
            session.send(TEXT)
            session.process.send_signal(signal.SIGKILL)
            self.assertEqual(session.reply(), [])
        self.assertEqual(self.site.items(), [])

    def test_client_that_is_gone_when_the_answer_comes(self):
        """Taken once, as the MTA's log cannot say: RFC 1047. Nothing half-made stays."""
        with self.site.session() as session:
            session.hello()
            session.say("MAIL FROM:<a@b.org>", "RCPT TO:" + tunneled("u"), "DATA")
            session.send(TEXT + b".\r\nMAIL FROM:<second@b.org>\r\n")
            self.assertIn(session.end(), (0, 75))
        self.assertEqual(len(self.site.items()), 1)
        self.assertEqual(self.site.left_over(), [])

    def test_spool_that_cannot_be_written_defers_and_recovers(self):
        incoming = self.site.peer / "incoming"
        tmp = self.site.peer / "tmp"
        with self.site.session() as session:
            session.hello()
            tmp.rename(tmp.with_name("away"))
            _, final = session.message("<a@b.org>", [tunneled("u"), tunneled("v")], TEXT)
            self.assertEqual([line[:5] for line in final], ["451 4", "451 4"])
            tmp.with_name("away").rename(tmp)
            _, final = session.message("<a@b.org>", [tunneled("u"), tunneled("v")], TEXT)
            self.assertEqual([line[:3] for line in final], ["250", "250"])
        self.assertEqual(len(os.listdir(incoming)), 1)

    def test_ten_thousand_recipients(self):
        with self.site.session() as session:
            session.hello()
            commands = ["MAIL FROM:<a@b.org>"]
            commands += ["RCPT TO:" + tunneled(f"u{i}") for i in range(10000)] + ["DATA"]
            data = "".join(c + "\r\n" for c in commands).encode()
            sender = threading.Thread(target=session.socket.sendall, args=(data,))
            sender.start()
            replies = session.replies(len(commands))
            sender.join()
            self.assertEqual({reply[:3] for reply in replies[:-1]}, {"250"})
            session.send(TEXT + b".\r\n")
            self.assertEqual({reply[:3] for reply in session.replies(10000)}, {"250"})
        (head,) = self.site.heads(self.site.peer)
        self.assertEqual(len(head), 10001)

    def test_slow_client_gets_421_and_its_file_is_removed(self):
        with OutSite("agent-deadline = 1s\n") as site, site.session() as session:
            session.hello()
            session.say("MAIL FROM:<a@b.org>", "RCPT TO:" + tunneled("u"), "DATA")
            session.send(TEXT)
            self.assertRegex(session.reply()[0], r"^421 4\.3\.2 ")
            self.assertEqual(session.process.wait(60), 75)
            self.assertEqual((site.items(), site.left_over()), ([], []))

    def test_nothing_stretches_the_deadline(self):
        with OutSite("agent-deadline = 2s\n") as site:
            with site.session() as session:
                session.hello()
                session.socket.settimeout(0.4)
                began = time.monotonic()
                answer = b""
                while not answer and time.monotonic() - began < 30:  # a command, octet by octet
                    session.socket.send(b"N")
                    try:
                        answer = session.socket.recv(4096)
                    except TimeoutError:
                        pass
                self.assertRegex(answer, rb"^421 4\.3\.2 ")
            (site.peer / "tmp").rename(site.peer / "away")
            with site.session() as session:  # a text whose fate is known before it comes
                session.hello()
                session.say("MAIL FROM:<a@b.org>", "RCPT TO:" + tunneled("u"), "DATA")
                session.send(TEXT)
                self.assertRegex(session.reply()[0], r"^421 4\.3\.2 ")

    def test_half_closed(self):
        with self.site.session() as session:
            session.hello()
            session.say("MAIL FROM:<a@b.org>", "RCPT TO:" + tunneled("u"), "DATA")
            session.send(TEXT + b".\r\n")
            session.socket.shutdown(socket.SHUT_WR)
            self.assertRegex(session.reply()[0], r"^250 2\.0\.0 ")
            self.assertEqual(session.reply(), [])
            self.assertEqual(session.process.wait(60), 0)
        self.assertEqual(len(self.site.items()), 1)

    def test_many_messages_outlive_the_deadline_of_one(self):
        with OutSite("agent-deadline = 2s\n") as site, site.session() as session:
            session.hello()
            for _ in range(6):
                time.sleep(0.6)
                _, final = session.message("<a@b.org>", [tunneled("u")], TEXT)
                self.assertEqual(final[0][:3], "250")
            self.assertEqual(len(site.items()), 6)


class Trouble(unittest.TestCase):
    """Before the greeting: one reply 421, status 75, and no wait for input."""

    def trouble(self, argv):
        with Session(argv) as session:
            lines = session.reply()
            self.assertEqual(len(lines), 1)
            self.assertRegex(lines[0], r"^421 4\.\d+\.\d+ ")
            self.assertEqual(session.process.wait(60), 75)

    def test_configuration(self):
        for program in ("bsmtp-out", "bsmtp-in"):
            with self.subTest(program=program):
                self.trouble([os.path.join(PROGRAMS, program), "--config", "/nonexistent",
                              "--lmtp"])

    def test_usage(self):
        with Site(OUT) as site:
            for program in ("bsmtp-out", "bsmtp-in"):
                argv = [os.path.join(PROGRAMS, program), "--config", str(site.config), "--lmtp"]
                with self.subTest(program=program):
                    self.trouble(argv + ["--bogus"])
                    self.trouble(argv + ["--", "someone@x.org"])

    def test_peer_that_does_not_exist_defers_mail(self):
        with OutSite() as site, site.session("--peer", "nobody") as session:
            session.hello()
            first, _ = session.message("<a@b.org>", [tunneled("u")], TEXT)
            self.assertEqual({line[:9] for line in first}, {"451 4.3.5"})


class In(unittest.TestCase):
    def setUp(self):
        self.site = gateway.Site(PROGRAMS)
        self.addCleanup(self.site.close)
        self.parcel = self.site.parcel(
            [gateway.message("ann@domain.com", ["bob@domain.co.uk"], "hi\r\n")])

    def session(self):
        return Session([os.path.join(PROGRAMS, "bsmtp-in"), "--config", self.site.config,
                        "--lmtp"])

    def test_parcel_copy_stranger_and_bounce_in_one_session(self):
        to = f"<{gateway.ADDRESS}>"
        bounce = to.replace("@", "+token@")
        with self.session() as session:
            self.assertNotIn("250-DSN", session.hello())
            for recipient, text, word in ((to, self.parcel, "accepted"),
                                          (to, self.parcel, "duplicate"), (to, TEXT, "dropped"),
                                          (bounce, TEXT + b"nul \0\r\n", "return")):
                _, final = session.message("<bsmtp+t@hub.domain.com>", [recipient], text)
                self.assertEqual(len(final), 1)
                self.assertIn(word, final[0])
                self.assertEqual(final[0][:3], "250")
            session.say("QUIT")
            self.assertEqual(session.end(), 0)
        self.assertEqual(len(self.site.accepted()), 1)
        self.assertEqual(len(os.listdir(self.site.spool + "/inbound/returns")), 1)
        self.assertEqual(self.site.leftovers(), [])

    def test_one_recipient_and_only_ours(self):
        to = f"<{gateway.ADDRESS}>"
        with self.session() as session:
            session.hello()
            first, final = session.message("<>", ["<bob@domain.co.uk>", to, to], self.parcel)
            self.assertEqual([line[:9] for line in first[1:4]],
                             ["451 4.3.5", "250 2.1.5", "452 4.5.3"])
            self.assertEqual(len(final), 1)
        self.assertEqual(len(self.site.accepted()), 1)

    def test_cut_anywhere_in_the_session_accepts_nothing(self):
        with self.session() as session:
            session.hello()
            session.say("MAIL FROM:<>", f"RCPT TO:<{gateway.ADDRESS}>", "DATA")
            session.send(self.parcel)
            self.assertEqual(session.end(), 0)
        self.assertEqual((self.site.accepted(), self.site.leftovers()), ([], []))


if __name__ == "__main__":
    unittest.main(verbosity=1)
