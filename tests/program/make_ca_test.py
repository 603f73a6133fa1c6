"""docs/examples/make-ca run for real, and what it makes judged by openssl."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

sys.argv.pop(1)  # The programs' directory, which every script here is given.
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = TOP + "/docs/examples/make-ca"
HUB, ATHENA = "hub.domain.com", "athena.domain.co.uk"


def openssl(*args, stdin=None):
    return subprocess.run(["openssl", *args], input=stdin, capture_output=True, text=True, check=False)


class Case(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="make-ca.")
        self.addCleanup(shutil.rmtree, self.root)
        self.ca = self.root + "/ca"

    def make(self, *args, code=0, ca=None):
        # A generous umask and a site's OpenSSL configuration must not show in the result.
        done = subprocess.run([SCRIPT, *args, "--ca", ca or self.ca], capture_output=True, text=True, check=False,
                              env={**os.environ, "OPENSSL_CONF": "/dev/null"}, umask=0)
        self.assertEqual(done.returncode, code, (args, done.stdout, done.stderr))
        return done.stdout + done.stderr

    def file(self, name, ca=None):
        return f"{ca or self.ca}/{name}"

    def read(self, name):
        with open(self.file(name), encoding="ascii") as source:
            return source.read()

    def verify(self, certificate, *more):
        done = openssl("verify", "-crl_check", "-x509_strict", "-CAfile", self.file("ca.pem"), "-CRLfile",
                       self.file("crl.pem"), *more, certificate)
        return done.returncode == 0, done.stdout + done.stderr

    def mode(self, name):
        return stat.S_IMODE(os.stat(self.file(name)).st_mode)

    def public_key(self, name):
        return openssl("x509", "-in", self.file(name), "-noout", "-pubkey").stdout


class Certificates(Case):
    def setUp(self):
        super().setUp()
        self.make("init", "Example Mail CA")

    def test_a_host_is_accepted_for_its_names_and_both_roles(self):
        self.make("host", HUB, "mail.domain.com")
        certificate = self.file(f"hosts/{HUB}.pem")
        for purpose in ("sslserver", "sslclient"):
            for name in (HUB, "mail.domain.com"):
                with self.subTest(purpose=purpose, name=name):
                    good, said = self.verify(certificate, "-purpose", purpose, "-verify_hostname", name)
                    self.assertTrue(good, said)
        good, said = self.verify(certificate, "-verify_hostname", ATHENA)
        self.assertFalse(good)
        self.assertIn("hostname mismatch", said)

    def test_what_stands_in_a_certificate(self):
        self.make("host", HUB, "mail.domain.com")
        text = openssl("x509", "-in", self.file(f"hosts/{HUB}.pem"), "-noout", "-text").stdout
        for part in (f"DNS:{HUB}, DNS:mail.domain.com", "CA:FALSE", "prime256v1", "Digital Signature",
                     "TLS Web Server Authentication, TLS Web Client Authentication", f"Subject: CN = {HUB}\n",
                     "Issuer: CN = Example Mail CA\n", "ecdsa-with-SHA256"):
            self.assertIn(part, text)
        for days, expected in ((824, 0), (826, 1)):
            ends = openssl("x509", "-in", self.file(f"hosts/{HUB}.pem"), "-noout", "-checkend", str(days * 86400))
            self.assertEqual(ends.returncode, expected, days)

    def test_rsa_keys_have_3072_bits(self):
        self.make("host", HUB, "--key", "rsa", "--days", "90")
        text = openssl("x509", "-in", self.file(f"hosts/{HUB}.pem"), "-noout", "-text").stdout
        self.assertIn("Public-Key: (3072 bit)", text)
        self.assertTrue(self.verify(self.file(f"hosts/{HUB}.pem"))[0])

    def test_modes_and_own_keys(self):
        self.make("host", HUB)
        self.make("host", ATHENA)
        for name in ("private/ca.key", f"hosts/{HUB}.key", f"hosts/{ATHENA}.key"):
            self.assertEqual(self.mode(name), 0o600, name)
        for name in ("ca.pem", "crl.pem", f"hosts/{HUB}.pem"):
            self.assertEqual(self.mode(name), 0o644, name)
        self.assertEqual(self.mode("private"), 0o700)
        keys = {self.public_key(name) for name in ("ca.pem", f"hosts/{HUB}.pem", f"hosts/{ATHENA}.pem")}
        self.assertEqual(len(keys), 3)
        self.assertEqual(openssl("pkey", "-in", self.file(f"hosts/{HUB}.key"), "-pubout").stdout,
                         self.public_key(f"hosts/{HUB}.pem"))
        self.assertEqual([name for name in os.listdir(self.ca) if name.startswith(".new")], [])

    def test_a_revoked_host_is_refused_and_may_get_a_new_certificate(self):
        self.make("host", HUB)
        self.make("host", ATHENA)
        old = self.root + "/old.pem"
        shutil.copy(self.file(f"hosts/{HUB}.pem"), old)
        self.assertTrue(self.verify(old)[0])
        self.make("revoke", HUB)
        good, said = self.verify(old)
        self.assertFalse(good)
        self.assertIn("certificate revoked", said)
        self.assertTrue(self.verify(self.file(f"hosts/{ATHENA}.pem"))[0])
        self.make("host", HUB)
        self.assertTrue(self.verify(self.file(f"hosts/{HUB}.pem"))[0])
        listed = self.make("list")
        self.assertEqual([line.split()[0] for line in listed.splitlines()], ["revoked", "valid", "valid"])
        self.make("revoke", "nobody.domain.com", code=1)

    def test_a_rogue_ca_is_refused_even_under_the_same_name(self):
        rogue = self.root + "/rogue"
        self.make("init", "Example Mail CA", ca=rogue)
        self.make("host", ATHENA, ca=rogue)
        good, said = self.verify(self.file(f"hosts/{ATHENA}.pem", rogue))
        self.assertFalse(good)
        self.assertRegex(said, "unable to get local issuer certificate|signature failure|unable to get certificate CRL")

    def test_nothing_is_overwritten(self):
        self.make("host", HUB)
        names = ("ca.pem", "private/ca.key", f"hosts/{HUB}.pem", f"hosts/{HUB}.key")
        before = [self.read(name) for name in names]
        self.assertIn("not overwritten", self.make("init", "Another", code=1))
        self.assertIn("not overwritten", self.make("host", HUB, code=1))
        self.assertEqual([self.read(name) for name in names], before)

    def test_a_request_is_signed_for_the_name_given_here_alone(self):
        request, key = self.root + "/r.csr", self.root + "/r.key"
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                "-subj", "/CN=elsewhere.example.org", "-addext", "basicConstraints=CA:TRUE", "-out", request)
        self.make("sign", ATHENA, request)
        text = openssl("x509", "-in", self.file(f"hosts/{ATHENA}.pem"), "-noout", "-text").stdout
        self.assertIn(f"DNS:{ATHENA}\n", text)
        self.assertNotIn("elsewhere", text)
        self.assertNotIn("CA:TRUE", text)
        self.assertFalse(os.path.exists(self.file(f"hosts/{ATHENA}.key")))

    def test_the_cas_own_key_becomes_no_host_key(self):
        request = self.root + "/ca.csr"
        openssl("req", "-new", "-key", self.file("private/ca.key"), "-subj", f"/CN={HUB}", "-out", request)
        self.assertIn("CA's own key", self.make("sign", HUB, request, code=1))
        self.assertFalse(os.path.exists(self.file(f"hosts/{HUB}.pem")))

    def test_the_list_is_renewed(self):
        def number():
            return openssl("crl", "-in", self.file("crl.pem"), "-noout", "-crlnumber").stdout

        first = number()
        self.make("crl", "--crl-days", "7")
        self.assertNotEqual(number(), first)


class Usage(Case):
    def test_help(self):
        said = self.make("--help")
        for word in ("init NAME", "host FQDN", "sign FQDN", "revoke FQDN", "crl", "list", "--crl-days"):
            self.assertIn(word, said)

    def test_nonsense_is_refused_before_anything_is_made(self):
        for words in ([], ["frob"], ["init"], ["init", "a/CN=b"], ["init", "x", "--key", "dsa"],
                      ["init", "x", "--days", "0"], ["host", "x" * 65 + ".domain.com"], ["--frob"]):
            with self.subTest(words=words):
                self.make(*words, code=1 if words[:1] == ["host"] else 2)
        self.assertFalse(os.path.exists(self.ca))

    def test_names_that_are_no_hosts(self):
        self.make("init", "Example Mail CA")
        for name in ("localhost", "../x.com", "a b.com", "-x.domain.com", "DNS:x.com", "x.com,DNS:y.com", "*.x.com"):
            with self.subTest(name=name):
                self.make("host", "--days", "1", name, code=2)
        self.assertEqual(os.listdir(self.file("hosts")), [])

    def test_a_passphrase_seals_the_cas_key_and_no_hosts_key(self):
        secret = self.root + "/secret"
        with open(secret, "w", encoding="ascii") as out:
            out.write("correct horse\n")
        self.make("init", "Example Mail CA", "--passphrase-file", secret)
        with open(self.file("private/ca.key"), encoding="ascii") as key:
            self.assertIn("ENCRYPTED", key.read())
        self.make("host", HUB, code=1)
        self.make("host", HUB, "--passphrase-file", secret)
        with open(self.file(f"hosts/{HUB}.key"), encoding="ascii") as key:
            self.assertNotIn("ENCRYPTED", key.read())

    @unittest.skipUnless(shutil.which("shellcheck"), "shellcheck is not installed")
    def test_shellcheck(self):
        done = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
