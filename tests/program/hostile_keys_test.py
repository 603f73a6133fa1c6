"""Hostile mail against the real bsmtp-in: whose key it was, with which digest, and in whose name.
docs/security.md lists these tests attack by attack."""

import base64
import sys
import time
import unittest

import gateway
import hostile_rig
from gateway import batch, batch_entity, crlf, iso
from hostile_rig import (GOOD, PEER2_HOST, SIGNATURE_HEAD, SIGNED, compressed, multipart, outer, packed,
                         signed)

PROGRAMS = sys.argv.pop(1)


class Hostile(hostile_rig.Hostile):
    programs = PROGRAMS


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
