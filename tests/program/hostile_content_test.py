"""Hostile mail against the real bsmtp-in: size, depth and number, and batches that a peer gone bad
signs with its good key. docs/security.md lists these tests attack by attack."""

import gzip
import re
import sys
import unittest
import zlib

import gateway
import hostile_rig
from gateway import batch, batch_entity, message
from hostile_rig import (GOOD, SIGNATURE_HEAD, SIGNED, compressed, multipart, outer, packed, part_of,
                         signed)

PROGRAMS = sys.argv.pop(1)
MEBIBYTE = 1 << 20


class Hostile(hostile_rig.Hostile):
    programs = PROGRAMS

    def signed_batch(self, octets, parameters=""):
        return signed(self.site, compressed(
            batch_entity(octets, self.site.manifest(), parameters)))


def repeat(writer, piece, times):
    """Many times the same octets, without holding them."""
    return b"".join(writer.compress(piece) for _ in range(times))


class Bombs(Hostile):
    """Memory stays flat and the limit (40 MiB here) ends it, whoever signed."""

    def bomb(self, mebibytes):
        writer = zlib.compressobj(1, zlib.DEFLATED, 31)
        head = batch_entity(b"EHLO x\r\nMAIL FROM:<ann@domain.com>\r\nRCPT TO:<b@domain.co.uk>\r\n"
                            b"DATA\r\n", self.site.manifest())
        return (writer.compress(head) + repeat(writer, b"0" * 62 + b"\r\n", mebibytes << 14)
                + writer.flush())

    def test_more_octets_than_the_limit(self):
        self.attack(signed(self.site, part_of(self.bomb(48))), "too-big")

    def test_strangers_bomb_is_not_even_inflated(self):
        done = self.attack(outer(b"application/compressed-bsmtp", gateway.base64_lines(self.bomb(30)),
                                 b"Content-Transfer-Encoding: base64\r\n"), "unsigned")
        self.assertLess(done.cpu, 0.2)

    def test_gzip_members_that_add_up_to_a_bomb(self):
        member = gzip.compress(b"0" * MEBIBYTE, mtime=0)
        octets = gzip.compress(batch_entity(b"", self.site.manifest()), mtime=0) + member * 45
        self.attack(signed(self.site, part_of(octets)), "malformed")  # no line of a batch
        text = (b"0" * 62 + b"\r\n") * (MEBIBYTE // 64)
        head = gzip.compress(batch_entity(
            b"EHLO x\r\nMAIL FROM:<a@domain.com>\r\nRCPT TO:<b@domain.co.uk>\r\nDATA\r\n",
            self.site.manifest()), mtime=0)
        self.attack(signed(self.site, part_of(head + gzip.compress(text, mtime=0) * 45)), "too-big")

    def test_gzip_members_are_one_stream(self):
        entity = batch_entity(batch(GOOD), self.site.manifest())
        middle = len(entity) // 2
        self.welcome(signed(self.site, part_of(gzip.compress(entity[:middle])
                                               + gzip.compress(entity[middle:]))))

    def test_hundred_thousand_empty_gzip_members(self):
        empty = gzip.compress(b"", mtime=0)
        octets = empty * 100000 + gzip.compress(batch_entity(batch(GOOD), self.site.manifest()))
        self.welcome(signed(self.site, part_of(octets)))

    def test_garbage_behind_the_gzip(self):
        good = gzip.compress(batch_entity(batch(GOOD), self.site.manifest()))
        for behind in (b"x", b"\0" * 512, b"\x1f\x8b", gzip.compress(b"x")[:-1]):
            self.attack(signed(self.site, part_of(good + behind)), "malformed")

    def test_damaged_gzip(self):
        good = gzip.compress(batch_entity(batch(GOOD), self.site.manifest()))
        for octets in (good[:-1], good[:-5] + b"xxxxx", good[:-8] + b"\0" * 8, b"", b"\x1f\x8b",
                       good[:2] + b"\x09" + good[3:], good[:3] + b"\xff" + good[4:]):
            self.attack(signed(self.site, part_of(octets)), "malformed")

    def test_endless_gzip_header(self):
        """A file name of 8 MB in front of the data."""
        good = gzip.compress(batch_entity(batch(GOOD), self.site.manifest()))
        octets = good[:3] + b"\x08" + good[4:10] + b"n" * 8000000 + b"\0" + good[10:]
        done = self.site.run_in(signed(self.site, part_of(octets)))
        self.assertEqual(done.code, 0)
        self.assert_cheap(done)

    def test_gzip_in_gzip(self):
        inner = compressed(batch_entity(batch(GOOD), self.site.manifest()))
        self.attack(signed(self.site, compressed(inner)), "unsupported")

    def test_base64_that_is_none(self):
        for body in (b"====\r\n", b"H4s\0", b"H4sI%%%%\r\n", b"A" * 900):
            part = (b"Content-Type: application/compressed-bsmtp\r\n"
                    b"Content-Transfer-Encoding: base64\r\n\r\n" + body)
            self.attack(signed(self.site, part), "malformed")


class Ratio(Hostile):
    """A peer that need not sign is held to a ratio as well."""

    settings = "max-inflate-ratio = 100\n"
    peer_settings = "require = transport\nprofile = rfc2442\n"

    def test_ratio(self):
        text = "0" * 60 + "\n"
        entity = batch_entity(batch([message("ann@domain.com", ["b@domain.co.uk"], text * 100000)]), "")
        mail = outer(b"application/compressed-bsmtp",
                     gateway.base64_lines(gzip.compress(entity, mtime=0)),
                     b"Content-Transfer-Encoding: base64\r\n")
        self.attack(mail, "too-big", "--peer", "remote1")


class Mime(Hostile):
    """Depth, number and size of what stands around a parcel; nobody has signed it."""

    def test_deep_nesting(self):
        mail = packed(self.site)
        for level in range(10000):
            mail = (b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
                    + mail)
            if level in (0, 1000, 9999):
                self.attack(outer(b"multipart/mixed; boundary=top",
                                  multipart(mail, boundary=b"top")), "not-a-parcel", event="dropped")

    def test_nesting_of_signed_layers(self):
        part, layer = packed(self.site), SIGNED.replace(b"=_x", b"=_%d")
        for level in range(300):
            part = (b"Content-Type: " + layer % level + b"\r\n\r\n"
                    + multipart(part, SIGNATURE_HEAD + b"x", boundary=b"=_%d" % level))
        self.attack(b"MIME-Version: 1.0\r\n" + part, "not-a-parcel", event="dropped")

    def test_a_million_empty_parts(self):
        body = b"--=_x\r\n\r\n" * 1000000 + b"--=_x--\r\n"
        self.attack(outer(SIGNED, body), "malformed")
        self.attack(outer(b'multipart/mixed; boundary="=_x"', body), "not-a-parcel", event="dropped")

    def test_a_million_lines_like_a_delimiter(self):
        part = packed(self.site)
        body = multipart(part, SIGNATURE_HEAD + b"--=_\r\n" * 1000000)
        self.attack(outer(SIGNED, body), "too-big")

    def test_a_hundred_thousand_header_fields(self):
        flood = b"X-A: b\r\n" * 100000
        self.attack(outer(SIGNED, b"", flood), "malformed")
        self.attack(outer(SIGNED, multipart(flood + packed(self.site), b"")), "malformed")

    def test_one_field_of_ten_megabytes(self):
        for field in (b"X-A: " + b"b" * 10000000 + b"\r\n",
                      b"X-A: " + b"b\r\n " * 2500000 + b"\r\n",
                      b"b" * 10000000 + b"\r\n"):
            self.attack(outer(SIGNED, b"", field), "malformed")
        self.attack(b"X" * 10000000, "malformed")

    def test_header_flood_inside_the_signature(self):
        """By a verified peer, in the part and in the gzip."""
        for flood in (b"X-A: b\r\n" * 1000, b"X-A: " + b"bb\r\n " * 20000 + b"b\r\n",
                      b"".join(b"X-%d: %s\r\n" % (n, b"b" * 900) for n in range(100))):
            part = flood + packed(self.site)
            entity = flood + batch_entity(batch(GOOD), self.site.manifest())
            self.attack(signed(self.site, part), "malformed")
            self.attack(signed(self.site, compressed(entity)), "malformed")
        bomb = b"X-A: " + b"b" * 30000000 + b"\r\n"
        self.attack(signed(self.site, compressed(bomb + batch_entity(batch(GOOD), ""))), "malformed")

    def test_content_type_floods(self):
        good = signed(self.site, packed(self.site))
        for flood in (b"; x=y" * 9000, b"(" * 50000, b"(" * 20000 + b")" * 20000 + b"(", b"\\" * 50000,
                      b"; x" * 15000, b"; boundary=" + b"x" * 50000,
                      b"".join(b"; p%d=1" % n for n in range(4000))):
            mail = good.replace(b' boundary="=_x"', b' boundary="=_x"' + flood, 1)
            mail = re.sub(rb"(.{900})", rb"\1", mail)
            done = self.attack(mail, "malformed")
            self.assertLess(done.cpu, 1)

    def test_boundary_that_is_too_long_or_odd(self):
        part = packed(self.site)
        for boundary in (b"x" * 71, b"a b ", b"a\tb", b"a\\\\b", b""):
            body = multipart(part, SIGNATURE_HEAD, boundary=boundary)
            self.attack(outer(SIGNED.replace(b"=_x", boundary), body), "malformed")

    def test_larger_than_any_parcel(self):
        """More than max-parcel-bytes ends the reading and is the one thing that is refused."""
        self.site.write_config("max-parcel-bytes = 1M\n")
        self.addCleanup(self.site.write_config, self.settings)
        done = self.attack(outer(SIGNED, b"x\r\n" * 1000000), "5.3.4 ", code=65)
        self.assertLess(done.cpu, 1)


class Extensions(Hostile):
    def test_unknown_required_extensions(self):
        for value in ("FOO", "8bitMIME,SIZE,NOTARY,FOO", "CHUNKING", "BINARYMIME", "REQUIRETLS",
                      "XCLIENT", "8bitMIME,SIZE,X" + "Y" * 50):
            self.attack(self.signed_batch(batch(GOOD), '; required-extensions="%s"' % value),
                        "unsupported")

    def test_required_extensions_that_are_no_list(self):
        for value in ('"8bitMIME;FOO"', '"8bit MIME"', '"\x01"', '"' + "A," * 20000 + 'B"',
                      "8bitMIME,FOO", '"SIZE'):
            done = self.site.run_in(self.signed_batch(batch(GOOD), "; required-extensions=" + value))
            self.assertEqual(done.code, 0)
            self.assertRegex(done.log[0], r'quarantined .*reason="(malformed|unsupported): ')

    def test_required_extensions_twice(self):
        self.attack(self.signed_batch(batch(GOOD), "; required-extensions=SIZE; "
                                                   "Required-Extensions=SIZE"), "malformed")

    def test_another_type_than_a_batch(self):
        for kind in ("text/plain", "message/rfc822", "application/octet-stream", "multipart/mixed"):
            entity = batch_entity(batch(GOOD), self.site.manifest(), media_type=kind)
            self.attack(signed(self.site, compressed(entity)), "unsupported")


MAIL, RCPT = b"MAIL FROM:<ann@domain.com>\r\n", b"RCPT TO:<bob@domain.co.uk>\r\n"
TEXT = b"DATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"
ONE = MAIL + RCPT + TEXT


class Verbs(Hostile):
    """Commands of a batch in an order, or of a kind, that no honest one has."""

    def refuse(self, *batches):
        for octets in batches:
            with self.subTest(octets=octets[:80]):
                self.attack(self.signed_batch(octets), "malformed")

    def allow(self, octets, messages):
        self.welcome(self.signed_batch(octets))
        with open(self.site.log_file, encoding="utf-8") as log:
            self.assertRegex(log.readline(), r"accepted .*\bmessages=%d\b" % messages)

    def test_rcpt_before_mail(self):
        self.refuse(b"EHLO x\r\n" + RCPT + MAIL + TEXT, b"EHLO x\r\n" + ONE + RCPT + TEXT)

    def test_two_mails(self):
        self.refuse(b"EHLO x\r\n" + MAIL + MAIL + RCPT + TEXT, b"EHLO x\r\n" + MAIL + RCPT + ONE)

    def test_data_without_mail(self):
        self.refuse(b"EHLO x\r\n" + TEXT, b"EHLO x\r\n" + ONE + TEXT, b"EHLO x\r\n" + MAIL + b"RSET\r\n"
                    + TEXT, b"EHLO x\r\n" + MAIL + b"EHLO y\r\n" + RCPT + TEXT)

    def test_data_without_recipient_is_consumed(self):
        self.allow(b"EHLO x\r\n" + MAIL + b"DATA\r\nQUIT\r\n.\r\n" + ONE + b"QUIT\r\n", 2)

    def test_mail_before_ehlo(self):
        self.refuse(ONE + b"QUIT\r\n", b"RSET\r\n" + ONE, b"NOOP\r\n" + ONE, b"EHLO\r\n" + ONE,
                    b"\r\n" + ONE)

    def test_text_behind_quit(self):
        self.refuse(b"EHLO x\r\n" + ONE + b"QUIT\r\n" + ONE, b"EHLO x\r\n" + ONE + b"QUIT\r\nQUIT\r\n",
                    b"EHLO x\r\n" + ONE + b"QUIT\r\nx")

    def test_end_in_mid_transaction(self):
        self.refuse(b"EHLO x\r\n" + ONE + MAIL, b"EHLO x\r\n" + ONE + MAIL + RCPT,
                    b"EHLO x\r\n" + ONE + MAIL + RCPT + b"DATA\r\nx\r\n",
                    b"EHLO x\r\n" + ONE + MAIL + RCPT + b"DATA\r\nx\r\n.", b"EHLO x\r\n" + ONE + b"MA",
                    b"", b"QUI")

    def test_rset_and_no_quit(self):
        self.allow(b"EHLO x\r\n" + MAIL + RCPT + b"RSET\r\n" + ONE, 1)
        self.allow(b"EHLO x\r\n" + ONE + b"RSET\r\nQUIT\r\n\r\n", 1)

    def test_verbs_of_a_dialogue_do_nothing(self):
        idle = b"VRFY root\r\nEXPN all\r\nHELP\r\nNOOP x\r\nVERB ON\r\nTICK 1\r\n"
        self.allow(b"EHLO x\r\n" + idle + MAIL + idle + RCPT + idle + TEXT + idle + b"QUIT\r\n", 1)

    def test_dangerous_and_unknown_verbs(self):
        self.refuse(*(b"EHLO x\r\n" + verb + b"\r\n" + ONE for verb in (
            b"TURN", b"ETRN x", b"SEND FROM:<a@b>", b"SOML FROM:<a@b>", b"AUTH PLAIN x", b"STARTTLS",
            b"BDAT 10 LAST", b"XCLIENT ADDR=127.0.0.1", b"XFORWARD NAME=x", b"LHLO x", b"DEBUG",
            b"WIZ", b"RSET x", b"QUIT x", b"DATA x", b"", b" MAIL FROM:<a@b>", b"GET / HTTP/1.0")))

    def test_ends_of_text_that_are_none(self):
        """SMTP smuggling: only CRLF.CRLF ends a message, and nothing else may look like it."""
        for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\r\n.\r\n", b"\n\n.\r\n",
                    b"\0\r\n.\r\n"):
            evil = MAIL + RCPT + b"DATA\r\nSubject: x\r\n\r\nx" + end + ONE.replace(b"bob", b"root")
            self.refuse(b"EHLO x\r\n" + evil + b"QUIT\r\n")

    def test_lines_that_end_in_lf(self):
        self.refuse((b"EHLO x\r\n" + ONE + b"QUIT\r\n").replace(b"\r\n", b"\n", 3),
                    b"EHLO x\r\n" + ONE.replace(b">\r\n", b">\n", 1) + b"QUIT\r\n",
                    b"EHLO x\r" + ONE)


class Envelopes(Hostile):
    """What a peer may write between the brackets and behind them."""

    def refuse(self, *pairs):
        for mail, rcpt in pairs:
            with self.subTest(mail=mail[:60], rcpt=rcpt[:60]):
                self.attack(self.signed_batch(
                    b"EHLO x\r\nMAIL FROM:" + mail + b"\r\nRCPT TO:" + rcpt + b"\r\n" + TEXT), "malformed")

    SENDER, TO = b"<ann@domain.com>", b"<bob@domain.co.uk>"

    def test_line_ends_and_nul_in_addresses(self):
        for octet in (b"\r", b"\n", b"\0", b"\x0b", b"\x7f", b"\x1b[2J"):
            self.refuse((b"<a" + octet + b"@domain.com>", self.TO),
                        (self.SENDER, b"<b" + octet + b"@domain.co.uk>"))
        self.refuse((b'<"a\\\r"@domain.com>', self.TO), (self.SENDER, b'<"b\0"@domain.co.uk>'))

    def test_brackets_and_more_than_one_path(self):
        self.refuse((b"<a>b@domain.com>", self.TO), (b"<a@domain.com> <b@domain.com>", self.TO),
                    (b"a@domain.com", self.TO), (b"<a@domain.com", self.TO), (b"<<a@domain.com>>", self.TO),
                    (self.SENDER, b"<b@domain.co.uk>,<c@domain.co.uk>"), (self.SENDER, b"<>"),
                    (self.SENDER, b"<b@domain.co.uk>RCPT TO:<c@domain.co.uk>"),
                    (self.SENDER, b"<b c@domain.co.uk>"), (self.SENDER, b"<b@domain co.uk>"),
                    (self.SENDER, b'<"b@domain.co.uk>'))

    def test_xtext_that_is_none(self):
        for text in (b"+", b"+1", b"+zz", b"a=b", b"\xc3\xa9", b"x" * 501):
            self.refuse((self.SENDER, self.TO + b" ORCPT=rfc822;" + text))
        self.refuse((self.SENDER + b" ENVID=+2", self.TO), (self.SENDER + b" ENVID=", self.TO),
                    (self.SENDER, self.TO + b" ORCPT=x"), (self.SENDER, self.TO + b" ORCPT=;x"),
                    (self.SENDER, self.TO + b" ORCPT=a+0Ab;x"))

    def test_parameters_twice_unknown_or_false(self):
        self.refuse(*((self.SENDER + extra, self.TO) for extra in (
            b" BODY=8BITMIME BODY=7BIT", b" FOO=1", b" AUTH=<>", b" RET=SOME", b" BODY=BINARYMIME",
            b" SIZE=-1", b" SIZE=99999999999999999999999", b" REQUIRETLS", b" NOTIFY=NEVER")))
        self.refuse(*((self.SENDER, self.TO + extra) for extra in (
            b" NOTIFY=NEVER,FAILURE", b" NOTIFY=", b" NOTIFY=X", b" RET=FULL", b" FOO",
            b" ORCPT=rfc822;a ORCPT=rfc822;b")))

    def test_over_long(self):
        self.refuse((b"<" + b"a" * 5000 + b"@domain.com>", self.TO),
                    (b"<a@" + b"d." * 2000 + b"com>", self.TO),
                    (self.SENDER, b"<" + b"a" * 10000000 + b"@domain.co.uk>"))

    def test_shell_words_are_an_address_like_any_other(self):
        """No shell and no command line of ours ever sees them; the host's rules decide."""
        for local in (b"-oQ/tmp/x", b"|/bin/sh", b"`id`", b"$(id)", b"a%b", b"a!b", b"../../x", b"b@x"):
            done = self.site.run_in(self.signed_batch(
                b"EHLO x\r\nMAIL FROM:" + self.SENDER + b"\r\nRCPT TO:<" + local
                + b"@domain.co.uk>\r\n" + TEXT))
            self.assertEqual((done.code, done.stdout), (0, b""))
            self.assertRegex(done.log[0], r": (accepted|quarantined) ")


class Numbers(Hostile):
    def test_a_million_recipients_of_one_message(self):
        octets = b"EHLO x\r\n" + MAIL + b"".join(
            b"RCPT TO:<r%d@domain.co.uk>\r\n" % n for n in range(1000000)) + TEXT
        self.attack(self.signed_batch(octets), "malformed")

    def test_more_messages_than_ten_thousand(self):
        self.attack(self.signed_batch(b"EHLO x\r\n" + ONE * 10001 + b"QUIT\r\n"), "malformed")

    def test_a_million_idle_commands(self):
        self.welcome(self.signed_batch(b"EHLO x\r\n" + b"NOOP\r\n" * 1000000 + ONE + b"QUIT\r\n"))

    def test_a_million_mails_without_text(self):
        self.welcome(self.signed_batch(b"EHLO x\r\n" + (MAIL + b"RSET\r\n") * 1000000 + ONE))

    def test_every_recipient_refused(self):
        """The most that one parcel can make us write about refusals, per recipient."""
        many = MAIL + b"".join(b"RCPT TO:<r%d@elsewhere.example>\r\n" % n for n in range(1000)) + TEXT
        self.welcome(self.signed_batch(b"EHLO x\r\n" + many * 30))


if __name__ == "__main__":
    unittest.main(verbosity=2)
