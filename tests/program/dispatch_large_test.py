#!/usr/bin/python3
"""bsmtp-dispatch with mail that one parcel cannot hold: it is spread over several parcels, or, when
even a parcel of its own is refused, returned. Usage: dispatch_large_test.py BIN-DIRECTORY"""
import email
import email.policy
import gzip
import sys
import unittest

from dispatch_rig import Gateway, Smtp, item, text_of

PROGRAMS = sys.argv.pop(1)


class Large(unittest.TestCase):
    def setUp(self):
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.site = Gateway(PROGRAMS, self.submit.url(), "smtp://127.0.0.1:9", "",
                            {"remote1": "host = athena.domain.co.uk\nprofile = pmdf-gzip\n"
                                        "recipient-domains = *\nmax-bytes = 1G\nmax-age = 0\n"})
        self.addCleanup(self.site.close)
        self.site.make_spool()

    def parcels(self):
        """Names of the messages of each parcel that went out, through Python's parser and gzip."""
        found = []
        for taken in self.submit.taken():
            message = email.message_from_bytes(taken["text"], policy=email.policy.default)
            if message.get_content_type().lower() == "application/compressed-bsmtp":
                lines = gzip.decompress(message.get_payload(decode=True)).split(b"\n")
                found.append([line for line in lines if line.startswith(b"Message-ID: <")])
        return found

    def test_what_one_parcel_cannot_hold_goes_with_the_next(self):
        body = (b"y" * 70 + b"\r\n") * (27_000_000 // 72)
        for n in range(3):
            self.site.put(item("<ann@domain.com>", ["<bob@domain.co.uk>"], text_of(n) + body))
        for _ in range(4):
            self.site.once()
        self.assertEqual(sorted(name for parcel in self.parcels() for name in parcel),
                         [b"Message-ID: <%d@x>" % n for n in range(3)])
        self.assertEqual([len(parcel) for parcel in self.parcels()], [1, 1, 1])
        self.assertEqual(self.site.names("peers", "remote1", "incoming"), [])

    def test_many_recipients_travel_as_transactions_of_a_hundred(self):
        recipients = ["<u%d@domain.co.uk>" % n for n in range(250)]
        self.site.put(item("<ann@domain.com>", recipients, text_of(1)))
        self.site.once()
        self.assertEqual([len(parcel) for parcel in self.parcels()], [3])


if __name__ == "__main__":
    unittest.main()
