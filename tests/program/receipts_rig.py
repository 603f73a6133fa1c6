"""A sending gateway whose peer gives receipts: native parcels signed with a key made here once, the
peer's receipts written as bsmtp-in leaves them, and the clock moved by editing a parcel's state."""

import collections
import email
import email.policy
import json
import os
import re
import subprocess
import tempfile
import time
import unittest

from dispatch_rig import HOST, Gateway, Smtp, crlf, iso, item, new_id, text_of

PEER_KEY = "A" * 40
DAY = 86400


class OwnKey:
    """One OpenPGP directory with a signing key, for all gateways of a test run."""

    def __init__(self, programs, valid_for="52w", host=HOST, peer="", peer_host=""):
        self.root = tempfile.mkdtemp(prefix="k", dir="/tmp")
        config = self.root + "/c"
        with open(config, "w", encoding="ascii") as out:
            out.write("host = %s\nspool-directory = %s/spool\nopenpgp-directory = %s/pgp\n"
                      "rewrite-rules = %s/r\n" % (host, self.root, self.root, self.root))
            if peer:
                out.write("[peer.%s]\nhost = %s\nrecipient-domains = *\n" % (peer, peer_host))
        os.makedirs(self.root + "/pgp")
        made = subprocess.run([programs + "/bsmtpctl", "--config", config, "key", "generate",
                               "--valid-for", valid_for, "--json"], capture_output=True, check=True)
        self.fingerprint = json.loads(made.stdout)["fingerprint"]

    def settings(self):
        return "openpgp-directory = %s/pgp\nsign-key = %s\n" % (self.root, self.fingerprint)

    def close(self):
        subprocess.run(["gpgconf", "--homedir", self.root + "/pgp/sign", "--kill", "gpg-agent"],
                       capture_output=True, check=False)
        subprocess.run(["rm", "-rf", self.root], check=False)


class Sender(Gateway):
    other = "remote1"

    def __init__(self, programs, key, submit, settings="", peer="", messages=3):
        self.key = key
        self.own_settings = settings
        super().__init__(programs, submit, "smtp://127.0.0.1:9", settings,
                         {self.other: "host = athena.domain.co.uk\nprofile = native\n"
                                     "recipient-domains = *\nmax-messages = %d\n%s" % (messages, peer)})

    def write_config(self, submit, resubmit, settings=""):
        super().write_config(submit, resubmit, settings + "\n")
        with open(self.config, encoding="ascii") as f:
            text = re.sub(r"(?m)^openpgp-directory = .*\n", self.key.settings(), f.read(), count=1)
        with open(self.config, "w", encoding="ascii") as f:
            f.write(text)

    def ctl(self, *args):
        done = subprocess.run([self.programs + "/bsmtpctl", "--config", self.config, *args,
                               "--json"], capture_output=True, check=False)
        return (json.loads(done.stdout) if done.stdout else done.stderr.decode()), done.returncode

    def put_three(self, mark="m", size=0):
        return [self.put(item("<s%d@domain.com> RET=HDRS ENVID=E%s%d" % (n, mark, n),
                              ["<bob%d@domain.co.uk>" % n],
                              text_of("%s%d" % (mark, n)) + (b"y" * 70 + b"\r\n") * (size // 72)))
                for n in range(3)]

    def place(self, parcel):
        for stage in ("building", "ready", "sent", "failed"):
            if parcel in self.names("peers", self.other, stage):
                return stage
        return "gone"

    def parcels(self, stage):
        return self.names("peers", self.other, stage)

    def state_file(self, parcel):
        return "%s/peers/%s/%s/%s/state" % (self.spool, self.other, self.place(parcel), parcel)

    def state(self, parcel):
        with open(self.state_file(parcel), encoding="ascii") as f:
            return dict(line.rstrip("\n").split(": ", 1) for line in f if ": " in line)

    def set_state(self, parcel, **values):
        """None removes a key; numbers are seconds from now."""
        path = self.state_file(parcel)
        with open(path, encoding="ascii") as f:
            text = f.read()
        for key, value in values.items():
            key = key.replace("_", "-")
            text = re.sub(r"(?m)^%s: .*\n" % key, "", text)
            if value is not None:
                text += "%s: %s\n" % (key, iso(time.time() + value)
                                      if isinstance(value, (int, float)) else value)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)

    def later(self, parcel, seconds):
        """As if so much time had passed for that parcel."""
        state = self.state(parcel)
        for key in ("handed", "created", "expires", "finished", "asked", "bounced", "next"):
            if key in state:
                when = time.mktime(time.strptime(state[key], "%Y%m%dT%H%M%SZ")) - time.timezone
                self.set_state(parcel, **{key: iso(when - seconds)})

    def receipt(self, *parcels, peer="remote1", to=HOST, digest=None):
        """`parcels`: (id, fate, code, text) or ids that were accepted."""
        now = iso(time.time())
        text = ("version: 1\npeer: %s\nkey: %s\nfrom: athena.domain.co.uk\nto: %s\ntime: %s\n"
                "received: %s\nqueue-id: Q1\n" % (peer, PEER_KEY, to, now, now))
        for number, parcel in enumerate(parcels, 1):
            ident, fate, code, why = ((parcel, "accepted", "2.0.0", "") if isinstance(parcel, str)
                                      else parcel)
            known = digest or (self.state(ident)["digest"] if self.place(ident) != "gone"
                               else "d" * 64)
            text += "parcel.%d: %s %s %s %s %s\n" % (number, ident, known, fate, code, why)
        name = new_id()
        base = self.spool + "/inbound/"
        with open(base + "tmp/" + name, "w", encoding="ascii") as out:
            out.write(text)
        os.rename(base + "tmp/" + name, base + "receipts/" + name)

    def returned(self, token, report, sender="<>"):
        """Mail to a parcel's return address, as bsmtp-in keeps it."""
        with open(self.spool + "/inbound/returns/" + new_id(), "wb") as out:
            out.write(item(sender, ["<bsmtp+%s@%s>" % (token, HOST)], crlf(report)))


def bounce(action="failed", status="5.1.1", diagnostic="550 5.1.1 no such user", human="Sorry.",
           remote="", reporting="mx", kind="smtp"):
    return ("From: MAILER-DAEMON\nTo: x\nMIME-Version: 1.0\nContent-Type: multipart/report;"
            " report-type=delivery-status; boundary=\"b\"\n\n--b\n\n%s\n--b\n"
            "Content-Type: message/delivery-status\n\nReporting-MTA: dns; %s\n\n"
            "Final-Recipient: rfc822; bsmtp@athena.domain.co.uk\nAction: %s\nStatus: %s\n%s"
            "Diagnostic-Code: %s; %s\n\n--b--\n"
            % (human, reporting, action, status, "Remote-MTA: dns; %s\n" % remote if remote else "",
               kind, diagnostic))


class Case(unittest.TestCase):
    """A sender against a scripted host MTA; begin() and end() once for all of a module's cases."""

    settings = ""
    peer = ""
    messages_at_once = 3

    @staticmethod
    def begin(programs):
        Case.programs = programs
        Case.key = OwnKey(programs)

    @staticmethod
    def end():
        Case.key.close()

    def setUp(self):
        self.submit = Smtp()
        self.addCleanup(self.submit.close)
        self.site = Sender(self.programs, self.key, self.submit.url(), self.settings, self.peer,
                           self.messages_at_once)
        self.addCleanup(self.site.close)
        self.site.make_spool()

    def send(self, **how):
        """One parcel of three messages, in sent/; its id."""
        before = set(self.site.parcels("sent"))
        self.site.put_three(**how)
        self.site.once("--flush")
        sent, = set(self.site.parcels("sent")) - before
        return sent

    def parsed(self):
        return [(m, email.message_from_bytes(m["text"], policy=email.policy.default))
                for m in self.submit.taken()]

    def copies(self, parcel=None):
        """The parcels that went out, by id."""
        return [t for _, t in self.parsed() if t.get_content_type() == "multipart/signed"
                and (parcel is None or parcel in t["Subject"])]

    def reports(self):
        return [t for _, t in self.parsed() if t.get_content_type() == "multipart/report"]

    def groups(self, report):
        """The fields of the DSN's recipients."""
        status = report.get_payload()[1]
        self.assertEqual(status.get_content_type(), "message/delivery-status")
        return status.get_payload()[1:]

    def token(self):
        return re.search(r"\+([0-9a-f]{32})@", self.submit.taken()[-1]["mail"]).group(1)

    def ever_answered(self):
        """The peer has acknowledged something before."""
        first = self.send(mark="first")
        self.site.receipt(first)
        self.site.once()
        self.assertEqual(self.site.place(first), "gone")

    def assert_said(self, mta, diagnostic):
        """By whom, and in which words, as each report has it; None: the field is not there."""
        for report in self.reports():
            group, = self.groups(report)
            self.assertEqual((group["Remote-MTA"], group["Diagnostic-Code"]),
                             (mta and "dns; " + mta, diagnostic))

    def assert_told_once(self, status, words):
        told = collections.Counter(r["To"] for r in self.reports())
        self.assertEqual(told, {"s%d@domain.com" % n: 1 for n in range(3)})
        for report in self.reports():
            group, = self.groups(report)
            self.assertEqual(group["Action"], "failed")
            self.assertEqual(group["Status"], status)
            self.assertRegex(group["Final-Recipient"], r"^rfc822; bob\d@domain\.co\.uk$")
            self.assertIn(words, " ".join(report.get_payload()[0].get_content().split()))


__all__ = ["DAY", "HOST", "Case", "OwnKey", "Sender", "Smtp", "bounce", "item", "new_id",
           "text_of"]
