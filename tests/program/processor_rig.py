"""Both receiving programs in a row: parcels made without our code go into bsmtp-in, bsmtp-dispatch
hands their messages to a scripted SMTP server, and what that server and the spool hold is judged
by Python alone."""

import email
import email.policy
import os
import re
import time
import unittest

from dispatch_rig import Smtp
from gateway import Site, batch_entity


def dsns(smtp):
    """(envelope, report) of each delivery status notification that the server took."""
    found = []
    for taken in smtp.taken():
        report = email.message_from_bytes(taken["text"], policy=email.policy.default)
        if report.get_content_type() == "multipart/report":
            found.append((taken, report))
    return found


def status_fields(report):
    """Per-message fields, then those of each recipient."""
    status = report.get_payload()[1].get_payload()
    return status[0], status[1:]


class Processor(unittest.TestCase):
    """bsmtp-in and bsmtp-dispatch of athena; parcels come from hub."""

    settings = "retry-initial = 1s\nretry-maximum = 1s\n"
    peer_settings = ""
    programs = ""

    def setUp(self):
        self.submit, self.resubmit = Smtp(), Smtp()
        self.addCleanup(self.submit.close)
        self.addCleanup(self.resubmit.close)
        self.settings += "submit = %s\nresubmit = %s\n" % (self.submit.url(), self.resubmit.url())
        self.site = self.make_site()
        self.addCleanup(self.site.close)

    def make_site(self):
        return Site(self.programs, self.settings, self.peer_settings)

    def refuse(self, reply, *parts):
        self.resubmit.script = lambda command, _: (
            reply if any(part in command for part in parts) else None)

    def take(self, mail, *args):
        """bsmtp-in says success, whatever it thinks of the parcel."""
        done = self.site.receive(mail, *args)
        self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)
        self.assertEqual(self.site.leftovers(), [])

    def deliver(self):
        """Until nothing accepted is left; returns (sender, recipients) of what was handed over."""
        log = b""
        for _ in range(40):
            log += self.site.dispatch_once(check=False).stderr
            if not (self.site.accepted() or os.listdir(self.site.spool + "/inbound/deferred")):
                self.log = log.decode()
                return self.handed_over()
            time.sleep(0.3)
        self.fail("still waiting: " + log.decode())

    def handed_over(self):
        return [(re.match(r"MAIL FROM:<(.*?)>", m["mail"]).group(1),
                 [re.match(r"RCPT TO:<(.*?)>", r).group(1) for r in m["rcpts"]])
                for m in self.resubmit.taken()]

    def run_batch(self, octets, **changes):
        self.take(self.site.signed(batch_entity(octets, self.site.manifest(**changes))))
        return self.deliver()

    def assert_quarantined(self, mail, word, *args):
        """Nothing of it is executed, and it lies in quarantine with this reason; its entry."""
        before = {e["id"] for e in self.site.ctl_json("quarantine", "list")[0]}
        self.take(mail, *args)
        self.assertEqual(self.site.accepted(), [])
        new = [e for e in self.site.ctl_json("quarantine", "list")[0] if e["id"] not in before]
        self.assertEqual([e["reason"].split(":")[0] for e in new], [word])
        self.site.dispatch_once()
        self.assertEqual(self.resubmit.taken(), [], "a message of an untrusted parcel was executed")
        self.assertEqual(dsns(self.submit), [], "an untrusted parcel was answered")
        return new[0]
