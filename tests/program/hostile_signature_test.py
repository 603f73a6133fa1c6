"""Hostile mail against the real bsmtp-in: who signed, what exactly, and where the parcel stands.
docs/security.md lists these tests attack by attack."""

import base64
import sys
import time
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
from gateway import batch, batch_entity, crlf, iso
from hostile_rig import (GOOD, PEER2_HOST, SIGNATURE_HEAD, SIGNED, armour_of, compressed, multipart,
                         outer, packed, signed)

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


class Keys(Hostile):
    """Keys that are not the peer's, or are no longer."""

    @classmethod
    def prepare(cls):
        keys, site = cls.site.keys, cls.site
        cls.stranger = keys.make("BSMTP gateway <bsmtp@%s>" % gateway.PEER_HOST + "x")
        cls.in_ring = keys.make("in the ring, pinned for nobody")
        site.pin("remote1", cls.in_ring)
        site.pins["remote1"].pop()
        past = time.time() - 400 * 86400
        cls.then = iso(past + 86400).rstrip("Z")
        cls.expired = keys.make("expired", expire="seconds=%d" % (300 * 86400),
                                when=iso(past).rstrip("Z"))
        cls.revoked = keys.make("revoked")
        cls.by_revoked = signed(site, packed(site), cls.revoked)  # gpg would not do it later
        cls.main = keys.make("main")
        for _ in range(2):
            keys.gpg("--quick-add-key", cls.main, "ed25519", "sign", "never")
        cls.subkeys = cls.subkeys_of(cls.main)
        # The certificate that gpg made with the key; its armour is guarded by a colon.
        path = "%s/openpgp-revocs.d/%s.rev" % (keys.home, cls.revoked)
        with open(path, encoding="ascii") as text:
            keys.gpg("--import", data=text.read().replace("\n:-----", "\n-----").encode())
        cls.old = keys.make("old", when=iso(past).rstrip("Z"))
        cls.short_lived = signed(site, packed(site), cls.old, "--default-sig-expire", "1d",
                                 "--faked-system-time", cls.then)
        for key in (cls.expired, cls.revoked, cls.main, cls.old):
            site.pin("remote1", key)
        site.write_config(cls.settings)

    @classmethod
    def subkeys_of(cls, key):
        lines = cls.site.keys.gpg("--with-colons", "--list-keys", key).decode().splitlines()
        return [lines[i + 1].split(":")[9] for i, line in enumerate(lines)
                if line.startswith("sub:")]

    def test_key_of_a_stranger_with_the_peers_user_id(self):
        self.attack(signed(self.site, packed(self.site), self.stranger), "unknown-key")

    def test_key_in_the_ring_that_is_pinned_for_nobody(self):
        self.attack(signed(self.site, packed(self.site), self.in_ring), "unknown-key")

    def test_expired_key(self):
        mail = signed(self.site, packed(self.site), self.expired, "--faked-system-time", self.then)
        self.attack(mail, "expired-key")

    def test_expired_signature(self):
        self.attack(self.short_lived, "expired-key")

    def test_revoked_key(self):
        self.attack(self.by_revoked, "expired-key")

    def test_signing_subkey_counts_as_its_primary(self):
        self.welcome(signed(self.site, packed(self.site), self.subkeys[0] + "!"))

    def test_revoked_subkey(self):
        mail = signed(self.site, packed(self.site), self.subkeys[1] + "!")
        self.site.keys.gpg("--command-fd", "0", "--no-batch", "--yes", "--edit-key", self.main,
                           data=b"key 2\nrevkey\ny\n0\n\ny\nsave\n")
        self.site.pin("remote1", self.main)
        self.site.pins["remote1"].pop()
        self.attack(mail, "expired-key")

    def test_two_signatures_of_two_peers(self):
        part = packed(self.site)
        self.attack(signed(self.site, part, None, "--local-user", self.site.key2), "unknown-key")

    def test_second_signature_by_a_stranger(self):
        part = packed(self.site)
        self.attack(signed(self.site, part, None, "--local-user", self.stranger), "unknown-key")


class Digests(Hostile):
    @classmethod
    def prepare(cls):
        cls.site.keys.gpg("--quick-gen-key", "rsa", "rsa2048", "sign", "never")
        cls.rsa = cls.site.keys.fingerprints("rsa")[-1]
        cls.site.pin("remote1", cls.rsa)
        cls.site.write_config(cls.settings)

    def by(self, digest, part=None):
        part = part or packed(self.site)
        return outer(SIGNED, multipart(part, SIGNATURE_HEAD + crlf(self.site.keys.gpg(
            "--armor", "--textmode", "--allow-weak-digest-algos", "--digest-algo", digest,
            "--local-user", self.rsa, "--detach-sign", data=part))))

    def test_md5(self):
        self.attack(self.by("MD5"), "weak-digest")

    def test_sha1(self):
        self.attack(self.by("SHA1"), "weak-digest")

    def test_ripemd160_and_sha224(self):
        self.attack(self.by("RIPEMD160"), "weak-digest")
        self.attack(self.by("SHA224"), "weak-digest")

    def test_stronger_digests_are_welcome(self):
        self.welcome(self.by("SHA384"))
        self.welcome(self.by("SHA512"))

    def test_weak_signature_beside_a_strong_one(self):
        part = packed(self.site)
        packets = b"".join(
            self.site.keys.gpg("--dearmor", data=self.site.keys.gpg(
                "--armor", "--textmode", "--allow-weak-digest-algos", "--digest-algo", digest,
                "--local-user", self.rsa, "--detach-sign", data=part))
            for digest in ("SHA256", "SHA1"))
        armour = (b"-----BEGIN PGP SIGNATURE-----\n\n" + base64.encodebytes(packets)
                  + b"-----END PGP SIGNATURE-----\n")
        self.attack(outer(SIGNED, multipart(part, SIGNATURE_HEAD + crlf(armour))), "weak-digest")


class Identity(Hostile):
    """The right key for the wrong name, and the other way round."""

    def test_own_key_with_the_name_of_another_peer(self):
        self.attack(signed(self.site, packed(self.site, **{"from": PEER2_HOST})), "wrong-sender")

    def test_key_of_another_peer_with_this_peers_name(self):
        self.attack(signed(self.site, packed(self.site), self.site.key2), "wrong-sender")

    def test_key_of_another_peer_with_its_own_name_is_that_peer(self):
        new, = self.welcome(signed(self.site, packed(self.site, **{"from": PEER2_HOST}),
                                   self.site.key2))
        self.assertTrue(new.startswith("remote2."), new)

    def test_parcel_for_another_host(self):
        for host in (PEER2_HOST, "x" + gateway.HOST, gateway.HOST + ".example"):
            self.attack(signed(self.site, packed(self.site, to=host)), "not-for-me")

    def test_parcel_by_the_transport_of_another_peer(self):
        self.attack(signed(self.site, packed(self.site)), "unknown-key", "--peer", "remote2")

    def test_manifest_outside_the_signature(self):
        part = compressed(batch_entity(batch(GOOD), None))
        mail = signed(self.site, part)
        self.attack(b"BSMTP-Parcel: " + self.site.manifest().encode() + b"\r\n" + mail, "no-manifest")

    def test_two_manifests(self):
        entity = batch_entity(batch(GOOD), self.site.manifest())
        entity = b"BSMTP-Parcel: " + self.site.manifest().encode() + b"\r\n" + entity
        self.attack(signed(self.site, compressed(entity)), "malformed")

    def test_tag_twice_and_unknown_critical_tag(self):
        for more in ("; to=" + PEER2_HOST, "; zz=1; crit=zz", "; v=2"):
            entity = batch_entity(batch(GOOD), self.site.manifest() + more)
            self.attack(signed(self.site, compressed(entity)), "malformed")

    def test_ids_that_are_no_ids(self):
        """A parcel's id becomes a file name."""
        for wrong in ("../../../etc/passwd", "a", "0" * 43, "0" * 45, "Z" * 44, "A" * 44,
                      "." * 44, "/" * 44, ""):
            self.attack(signed(self.site, packed(self.site, id=wrong)), "malformed")

    def test_life_of_more_than_thirty_days(self):
        now = time.time()
        self.attack(signed(self.site, packed(self.site, x=iso(now + 31 * 86400))), "malformed")
        self.attack(signed(self.site, packed(self.site, t=iso(now), x=iso(now - 1))), "malformed")

    def test_made_in_the_future(self):
        now = time.time()
        self.attack(signed(self.site, packed(self.site, t=iso(now + 7200), x=iso(now + 9000))),
                    "future", code=75)


if __name__ == "__main__":
    unittest.main(verbosity=2)
