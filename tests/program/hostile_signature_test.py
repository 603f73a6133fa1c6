"""Hostile mail against the real bsmtp-in: what exactly was signed, and where it stands.
docs/security.md lists these tests attack by attack."""

import base64
import sys
import unittest
from email import policy
from email.message import EmailMessage
from email.mime.base import MIMEBase
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.parser import BytesParser

import gateway
import hostile_rig
from gateway import batch, batch_entity, crlf
from hostile_rig import (GOOD, SIGNATURE_HEAD, SIGNED, armour_of, compressed, multipart, outer,
                         packed, signed)

PROGRAMS = sys.argv.pop(1)
EVIL = gateway.batch([gateway.message("root@domain.com", ["victim@domain.co.uk"])])


class Hostile(hostile_rig.Hostile):
    programs = PROGRAMS

    def signature(self, part, key=None, *options):
        return SIGNATURE_HEAD + armour_of(self.site, part, key, *options)


def headed(parts):
    """A mail that Python's email composed, with the header a parcel has."""
    parts["From"], parts["To"] = "bsmtp@hub.domain.com", gateway.ADDRESS
    return crlf(parts.as_bytes(policy=policy.SMTP))


def good_mail(site):
    return BytesParser(policy=policy.SMTP).parsebytes(signed(site, packed(site)))


class Wrapping(Hostile):
    """Mail whose layers say one thing to the verifier and another to the reader."""

    def test_good_parcel_is_accepted(self):
        self.welcome(signed(self.site, packed(self.site)))

    def test_signed_parcel_inside_multipart_mixed(self):
        mail = MIMEMultipart("mixed")
        mail.attach(good_mail(self.site))
        mail.attach(MIMEText("a footer"))
        self.attack(headed(mail), "unsupported")

    def test_signed_parcel_beside_an_unsigned_batch(self):
        mail, evil = MIMEMultipart("mixed"), MIMEBase("application", "batch-SMTP")
        evil.set_payload(EVIL)
        mail.attach(evil)
        mail.attach(good_mail(self.site))
        self.attack(headed(mail), "unsupported")

    def test_signed_parcel_as_attached_message(self):
        mail = MIMEMultipart("mixed")
        mail.attach(MIMEMessage(good_mail(self.site)))
        self.attack(headed(mail), "not-a-parcel", event="dropped")

    def test_signed_parcel_as_forwarded_message(self):
        mail = MIMEMessage(good_mail(self.site))
        self.attack(headed(mail), "not-a-parcel", event="dropped")

    def test_multipart_of_good_and_evil_batch_signed_as_one(self):
        inner = MIMEMultipart("mixed", boundary="=_in")
        for _ in range(2):
            part = MIMEBase("application", "batch-SMTP")
            part.set_payload(EVIL.decode())
            inner.attach(part)
        part = crlf(inner.as_bytes())
        self.attack(signed(self.site, part), "not-a-parcel", event="dropped")

    def test_nested_signed(self):
        inner = packed(self.site)
        inner = (b"Content-Type: " + SIGNED.replace(b"=_x", b"=_in") + b"\r\n\r\n"
                 + multipart(inner, self.signature(inner), boundary=b"=_in"))
        self.attack(signed(self.site, inner), "not-a-parcel", event="dropped")

    def test_signed_parcel_inside_gzip(self):
        self.attack(signed(self.site, compressed(signed(self.site, packed(self.site)))),
                    "unsupported")

    def test_third_part_with_a_batch(self):
        part = packed(self.site)
        evil = b"Content-Type: application/batch-SMTP\r\n\r\n" + EVIL
        for parts in ((part, self.signature(part), evil), (part, evil, self.signature(part)),
                      (evil, part, self.signature(part))):
            self.attack(outer(SIGNED, multipart(*parts)), "malformed")

    def test_two_signature_parts(self):
        part = packed(self.site)
        self.attack(outer(SIGNED, multipart(part, self.signature(part), self.signature(part))),
                    "malformed")

    def test_signature_part_first(self):
        part = packed(self.site)
        self.attack(outer(SIGNED, multipart(self.signature(part), part)), "not-a-parcel",
                    event="dropped")

    def test_signature_part_missing(self):
        self.attack(outer(SIGNED, multipart(packed(self.site))), "malformed")

    def test_two_content_types_on_top(self):
        good = signed(self.site, packed(self.site))
        for extra in (b"Content-Type: text/plain\r\n", b"content-type: multipart/mixed; boundary=y\r\n"):
            at = good.index(b"Content-Type: multipart")
            self.attack(good[:at] + extra + good[at:], "malformed")

    def test_two_content_types_on_the_signed_part(self):
        part = b"Content-Type: application/batch-SMTP\r\n" + packed(self.site)
        self.attack(signed(self.site, part), "malformed")

    def test_two_content_types_on_the_batch(self):
        entity = (b"Content-Type: text/plain\r\n" + batch_entity(batch(GOOD), self.site.manifest()))
        self.attack(signed(self.site, compressed(entity)), "malformed")

    def test_two_transfer_encodings(self):
        part = b"Content-Transfer-Encoding: quoted-printable\r\n" + packed(self.site)
        self.attack(signed(self.site, part), "malformed")

    def test_two_boundary_parameters(self):
        good = signed(self.site, packed(self.site))
        for extra in (b"; boundary=y", b'; BOUNDARY="=_x"'):
            self.attack(good.replace(b'boundary="=_x"', b'boundary="=_x"' + extra), "malformed")

    def test_boundary_in_rfc2231_pieces(self):
        good = signed(self.site, packed(self.site))
        for written in (b"boundary*0=\"=_\"; boundary*1=x", b"boundary*=us-ascii'en'=_x"):
            self.attack(good.replace(b'boundary="=_x"', written), "malformed")

    def test_boundary_that_is_the_start_of_another(self):
        good = signed(self.site, packed(self.site))
        self.attack(good.replace(b"\r\n--=_x\r\n", b"\r\n--=_xyz\r\n", 1), "malformed")

    def test_delimiters_inside_the_message_text(self):
        """A batch that is not encoded, whose text closes the signed part and opens another."""
        text = "--=_x\r\nContent-Type: application/batch-SMTP\r\n\r\n" + EVIL.decode()
        octets = batch([gateway.message("ann@domain.com", ["bob@domain.co.uk"], text)])
        part = batch_entity(octets, self.site.manifest()).replace(b"8bit", b"7bit")[:-2]
        self.attack(signed(self.site, part), "malformed")

    def test_preamble_and_epilogue_are_never_parsed(self):
        part = packed(self.site)
        evil = b"Content-Type: application/batch-SMTP\r\n\r\n" + EVIL
        mail = outer(SIGNED, multipart(part, self.signature(part), preamble=evil + b"\r\n",
                                       epilogue=b"--=_x\r\n" + evil + b"--=_x--\r\n"))
        self.welcome(mail)
        with open(self.site.log_file, encoding="utf-8") as log:
            self.assertRegex(log.readline(), r"accepted .*\bmessages=2\b")

    def test_close_delimiter_missing(self):
        good = signed(self.site, packed(self.site))
        self.attack(good.replace(b"\r\n--=_x--\r\n", b"\r\n"), "malformed")

    def test_multipart_is_transfer_encoded(self):
        part = packed(self.site)
        body = multipart(part, self.signature(part))
        self.attack(outer(SIGNED, gateway.base64_lines(body),
                          b"Content-Transfer-Encoding: base64\r\n"), "malformed")

    def test_encrypted_and_smime_forms(self):
        for content_type in (b'multipart/encrypted; protocol="application/pgp-encrypted"; boundary=x',
                             b"application/pkcs7-mime; smime-type=signed-data"):
            self.attack(outer(content_type, b"x\r\n"), "unsupported")

    def test_partial_and_external_messages(self):
        for content_type in (b"message/partial; id=x; number=1; total=1",
                             b"message/external-body; access-type=local-file; name=/etc/passwd"):
            self.attack(outer(content_type, packed(self.site)), "not-a-parcel", event="dropped")

    def test_unsigned_batch_from_a_stranger(self):
        mail = EmailMessage(policy=policy.SMTP)
        mail["From"], mail["To"] = "x@y.example", gateway.ADDRESS
        mail.set_content(EVIL, maintype="application", subtype="batch-SMTP", cte="base64")
        self.attack(mail.as_bytes(), "unsigned")
        self.attack(outer(b"application/batch-SMTP", EVIL), "unsigned")

    def test_field_hidden_by_a_bare_cr_or_nul(self):
        for octet in (b"\r", b"\0"):
            good = signed(self.site, packed(self.site))
            mail = good.replace(b"Subject: BSMTP", b"Subject: x" + octet + b"Content-Type: text/plain")
            done = self.site.run_in(mail)  # one field to everybody: nothing is hidden in it
            self.assertEqual(done.code, 0)
            self.assertRegex(done.log[0], r": (accepted|quarantined) ")


class SignaturePart(Hostile):
    """What may stand where the detached signature belongs."""

    def with_signature(self, octets, head=SIGNATURE_HEAD, part=None):
        return outer(SIGNED, multipart(part or packed(self.site), head + crlf(octets)))

    def gpg(self, *args, data):
        return self.site.keys.gpg("--local-user", self.site.peer_key, *args, data=data)

    def test_inline_signed_message_as_signature(self):
        part = packed(self.site)
        for how in ("--sign", "--clear-sign", "--store"):
            blob = self.gpg("--armor", how, data=part)
            for octets in (blob, blob.replace(b" MESSAGE-", b" SIGNATURE-")):
                self.attack(self.with_signature(octets, part=part), "bad-signature")

    def test_inline_signed_message_with_status_text_as_its_file_name(self):
        """CVE-2018-12020: the name in a literal packet was printed among gpg's status lines."""
        name = "x\n[GNUPG:] VALIDSIG %s 2026-11-22\n[GNUPG:] GOODSIG x" % self.site.peer_key
        blob = self.gpg("--armor", "--set-filename", name, "--sign", data=packed(self.site))
        self.attack(self.with_signature(blob), "bad-signature")

    def test_public_key_as_signature(self):
        self.attack(self.with_signature(self.site.keys.export(self.site.peer_key)), "bad-signature")

    def test_signature_of_something_else(self):
        self.attack(self.with_signature(self.site.keys.sign(self.site.peer_key, b"hello\r\n")),
                    "bad-signature")

    def test_signature_of_another_parcel(self):
        self.attack(self.with_signature(armour_of(self.site, packed(self.site))), "bad-signature")

    def test_two_armours(self):
        part = packed(self.site)
        armour = armour_of(self.site, part)
        self.attack(self.with_signature(armour + armour, part=part), "bad-signature")

    def test_text_behind_the_armour(self):
        part = packed(self.site)
        armour = armour_of(self.site, part)
        self.attack(self.with_signature(armour + b"EHLO x\r\n", part=part), "bad-signature")

    def test_empty_and_damaged_signatures(self):
        part = packed(self.site)
        armour = armour_of(self.site, part)
        for octets in (b"", b"x", armour[:100], armour.replace(b"\r\n\r\n", b"\r\n\r\n@@@@", 1),
                       b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"):
            self.attack(self.with_signature(octets, part=part), "bad-signature")

    def test_packets_cut_or_lengthened(self):
        part = packed(self.site)
        packets = self.site.keys.gpg("--dearmor", data=armour_of(self.site, part))
        for octets in (packets[:-1], packets + b"\0", packets[:2], b"\x88\xff" + packets[2:],
                       b"\xc2\xff\xff\xff\xff\xff" + packets[2:]):
            armour = (b"-----BEGIN PGP SIGNATURE-----\n\n" + base64.encodebytes(octets)
                      + b"-----END PGP SIGNATURE-----\n")
            self.attack(self.with_signature(armour, part=part), "bad-signature")

    def test_more_signatures_than_four(self):
        part = packed(self.site)
        packets = self.site.keys.gpg("--dearmor", data=armour_of(self.site, part))
        for count in (5, 65, 300):
            armour = (b"-----BEGIN PGP SIGNATURE-----\n\n" + base64.encodebytes(packets * count)
                      + b"-----END PGP SIGNATURE-----\n")
            done = self.attack(self.with_signature(armour, part=part),
                               "too-big" if len(armour) > 65536 else "bad-signature")
            self.assertLess(done.cpu, 1)

    def test_wrong_protocol(self):
        good = signed(self.site, packed(self.site))
        for protocol in (b'protocol="application/pkcs7-signature"', b'protocol="x"', b"x=y"):
            self.attack(good.replace(b'protocol="application/pgp-signature"', protocol),
                        "unsupported")

    def test_signature_part_of_another_type(self):
        part = packed(self.site)
        for kind in (b"application/octet-stream", b"application/pkcs7-signature", b"text/plain"):
            head = b"Content-Type: " + kind + b"\r\n\r\n"
            self.attack(self.with_signature(armour_of(self.site, part), head, part), "malformed")

    def test_signature_part_transfer_encoded(self):
        part = packed(self.site)
        head = SIGNATURE_HEAD[:-2] + b"Content-Transfer-Encoding: base64\r\n\r\n"
        self.attack(self.with_signature(base64.encodebytes(armour_of(self.site, part)), head, part),
                    "malformed")

    def test_micalg_that_lies_counts_for_nothing(self):
        """The digest is what the signature's packet says, never what the header claims."""
        good = signed(self.site, packed(self.site))
        part = packed(self.site)
        weak = SIGNATURE_HEAD + crlf(self.site.keys.gpg(
            "--armor", "--textmode", "--allow-weak-digest-algos", "--digest-algo", "SHA1",
            "--local-user", self.site.peer_key, "--detach-sign", data=part))
        self.attack(outer(SIGNED, multipart(part, weak)), "weak-digest")
        self.welcome(good.replace(b"micalg=pgp-sha256", b"micalg=pgp-md5"))
        self.attack(good.replace(b"micalg=", b"micalg=x; micalg="), "malformed")


class SignedOctets(Hostile):
    """Octets changed behind the signer's back."""

    def test_changed_part_header(self):
        good = signed(self.site, packed(self.site))
        self.attack(good.replace(b"--=_x\r\nContent-Type", b"--=_x\r\nContent-type", 1),
                    "bad-signature")

    def test_field_added_to_the_part_header(self):
        good = signed(self.site, packed(self.site))
        self.attack(good.replace(b"--=_x\r\n", b"--=_x\r\nX-Seen: 1\r\n", 1), "bad-signature")

    def test_changed_body(self):
        good = signed(self.site, packed(self.site))
        at = good.index(b"H4sI") + 40
        self.attack(good[:at] + (b"A" if good[at:at + 1] != b"A" else b"B") + good[at + 1:],
                    "bad-signature")

    def test_blanks_at_line_ends(self):
        good = signed(self.site, packed(self.site))
        at = good.index(b"H4sI") + 76
        self.attack(good[:at] + b" \t" + good[at:], "bad-signature")

    def test_octets_that_gpg_does_not_hash(self):
        """NUL and CR at line ends, and what stands behind column 19995."""
        good = signed(self.site, packed(self.site))
        at = good.index(b"H4sI") + 76
        for octets in (b"\0", b"\r", b"A" * 20100):
            done = self.site.run_in(good[:at] + octets + good[at:])
            self.assertEqual((done.code, len(done.log)), (0, 1))
            self.assertRegex(done.log[0], r'quarantined .*reason="(malformed|bad-signature): ')
        self.assertFalse(self.site.accepted())

    def test_cut_parcel(self):
        good = signed(self.site, packed(self.site))
        for cut in range(300, len(good) - 30, len(good) // 8):
            done = self.site.run_in(good[:cut])
            self.assertEqual((done.code, self.site.accepted()), (0, []), cut)


if __name__ == "__main__":
    unittest.main(verbosity=2)
