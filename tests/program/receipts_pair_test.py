"""Two real gateways and a network in between that this test is: what bsmtp-dispatch of one hands to its
MTA is carried to bsmtp-in of the other, or lost, doubled, altered. Every message arrives once, every parcel
is acknowledged by a signed receipt, and nothing else counts as one."""

import os
import re
import shutil
import subprocess
import sys
import time
import unittest

from dispatch_rig import Gateway, Smtp, item, text_of
from receipts_rig import DAY, OwnKey, Sender

PROGRAMS = sys.argv.pop(1)
NAMES = {"hub": "hub.domain.com", "athena": "athena.domain.co.uk"}
KEYS = {}


def trust(owner, other, key):
    """`owner` imports the public key of `other`."""
    public = KEYS[owner].root + "/" + key.fingerprint
    with open(public, "wb") as out:
        out.write(subprocess.run(["gpg", "--homedir", key.root + "/pgp/sign", "--batch", "--armor",
                                  "--export", key.fingerprint], capture_output=True,
                                 check=True).stdout)
    subprocess.run([PROGRAMS + "/bsmtpctl", "--config", KEYS[owner].root + "/c", "key", "import",
                    public, "--peer", other, "--fingerprint", key.fingerprint],
                   capture_output=True, check=True)


def setUpModule():
    for name, host in NAMES.items():
        KEYS[name] = OwnKey(PROGRAMS, host=host, peer={"hub": "athena", "athena": "hub"}[name],
                            peer_host=NAMES[{"hub": "athena", "athena": "hub"}[name]])
    KEYS["new"] = OwnKey(PROGRAMS)
    KEYS["stranger"] = OwnKey(PROGRAMS)
    trust("hub", "athena", KEYS["athena"])
    trust("athena", "hub", KEYS["hub"])
    trust("athena", "hub", KEYS["new"])


def tearDownModule():
    for key in KEYS.values():
        key.close()


class Half(Sender):
    """One gateway of the two."""

    def __init__(self, name, other, submit, resubmit, settings, pins):
        self.name, self.other = name, other
        self.resubmit_url = resubmit
        Gateway.__init__(self, PROGRAMS, submit, resubmit, settings, {
            other: "host = %s\nprofile = native\nrecipient-domains = *\nmax-messages = 3\n%s"
                   % (NAMES[other], "".join("openpgp-key = %s\n" % p for p in pins))})

    def write_config(self, submit, resubmit, settings=""):
        self.key = getattr(self, "own_key", KEYS[self.name])
        super().write_config(submit, self.resubmit_url, settings)
        with open(self.config, encoding="ascii") as f:
            text = f.read().replace("host = hub.domain.com\n", "host = %s\n" % NAMES[self.name], 1)
        text = re.sub(r"(?m)^openpgp-directory = .*$",
                      "openpgp-directory = %s/pgp" % KEYS[self.name].root, text)
        with open(self.config, "w", encoding="ascii") as f:
            f.write(text)

    def receive(self, message, recipient):
        sender = re.search("FROM:<(.*?)>", message["mail"]).group(1)
        subprocess.run([PROGRAMS + "/bsmtp-in", "--config", self.config, "--queue-id", "Q1",
                        "--sender", sender, "--client", "192.0.2.1", "--", recipient],
                       input=message["text"], capture_output=True, check=True)


class Pair(unittest.TestCase):
    settings = "receipt-delay = 1s\nreceipt-grace = 1h\n"

    def setUp(self):
        self.mtas, self.lists, self.halves = {}, {}, {}
        for name in NAMES:
            for mta in (self.mtas, self.lists):
                mta[name] = Smtp()
                self.addCleanup(mta[name].close)
        pins = {"hub": [KEYS["athena"].fingerprint],
                "athena": [KEYS["hub"].fingerprint, KEYS["new"].fingerprint]}
        for name, other in (("hub", "athena"), ("athena", "hub")):
            self.halves[name] = Half(name, other, self.mtas[name].url(), self.lists[name].url(),
                                     self.settings, pins[name])
            self.addCleanup(self.halves[name].close)
            self.halves[name].make_spool()
        self.hub, self.athena = self.halves["hub"], self.halves["athena"]
        self.carried = {name: 0 for name in NAMES}

    def send(self, mark="m"):
        for n in range(3):
            self.hub.put(item("<s%d@domain.com>" % n, ["<bob%d@domain.co.uk>" % n],
                              text_of("%s%d" % (mark, n))), peer="athena")
        self.hub.once("--flush")
        return self.hub.names("peers", "athena", "sent")[-1]

    def carry(self, name, change=lambda message: [message]):
        """What the gateway's MTA has taken since the last call goes to the other gateway."""
        taken = self.mtas[name].taken()
        other = self.halves[{"hub": "athena", "athena": "hub"}[name]]
        for message in taken[self.carried[name]:]:
            to = re.search("TO:<(.*?)>", message["rcpts"][0]).group(1)
            if to == "bsmtp@" + NAMES[other.name]:
                for copy in change(message):
                    other.receive(copy, to)
        self.carried[name] = len(taken)

    def answer(self):
        """athena delivers what it has and gives its receipt; hub takes it."""
        self.athena.once()
        time.sleep(1.1)
        self.athena.once()
        self.carry("athena")
        return self.hub.once()

    def arrived(self):
        return sorted(re.search(rb"Subject: mail (\w+)", m["text"]).group(1).decode()
                      for m in self.lists["athena"].taken())

    def assert_acknowledged(self, parcel, log):
        self.assertIn("%s: acknowledged peer=athena" % parcel, log)
        self.assertEqual(self.hub.place(parcel), "gone")
        self.assertEqual(self.arrived(), ["m0", "m1", "m2"])
        for name in NAMES:
            self.assertEqual([m for m in self.mtas[name].taken() if b"Status: 5." in m["text"]], [])
            self.assertEqual([n for n in self.halves[name].names("inbound", "quarantine")
                              if len(n) == 44], [])

    def test_sent_delivered_acknowledged(self):
        parcel = self.send()
        self.carry("hub")
        self.assert_acknowledged(parcel, self.answer())

    def test_lost_on_the_way_and_sent_again(self):
        parcel = self.send()
        self.carry("hub", lambda message: [])
        self.answer()
        self.assertEqual((self.hub.place(parcel), self.arrived()), ("sent", []))
        self.hub.later(parcel, 6 * 3600 + 60)
        self.hub.once()
        self.carry("hub")
        self.assert_acknowledged(parcel, self.answer())

    def test_doubled_on_the_way(self):
        parcel = self.send()
        self.carry("hub", lambda message: [message, message])
        self.assert_acknowledged(parcel, self.answer())

    def test_the_receipt_is_lost_and_the_last_question_is_answered(self):
        parcel = self.send()
        self.carry("hub")
        self.athena.once()
        time.sleep(1.1)
        self.athena.once()
        self.carried["athena"] = len(self.mtas["athena"].taken())  # lost
        self.hub.later(parcel, 14 * DAY + 60)
        self.hub.once()
        self.carry("hub")
        self.assertEqual(self.hub.place(parcel), "sent")
        # At most one receipt a minute and peer: the second one waits; it is made due here.
        self.athena.once()
        self.assertEqual(self.arrived(), ["m0", "m1", "m2"])

    def test_an_altered_receipt_and_a_strangers_change_nothing(self):
        parcel = self.send()
        self.carry("hub")
        self.athena.once()
        time.sleep(1.1)
        self.athena.once()
        receipt, = [m for m in self.mtas["athena"].taken() if b"X-BSMTP-Receipt" in m["text"]]
        for forged in (receipt["text"].replace(b"accepted", b"rejected"),
                       receipt["text"].replace(parcel.encode(), b"0" * 44),
                       re.sub(rb"--\S+\r\nContent-Type: application/pgp-signature.*", b"",
                              receipt["text"], flags=re.S)):
            self.assertNotEqual(forged, receipt["text"])
            self.hub.receive(dict(receipt, text=forged), "bsmtp@" + NAMES["hub"])
        self.hub.once()
        self.assertEqual(self.hub.place(parcel), "sent")
        self.assertEqual(self.hub.names("inbound", "receipts"), [])
        self.hub.receive(receipt, "bsmtp@" + NAMES["hub"])
        self.hub.receive(receipt, "bsmtp@" + NAMES["hub"])
        log = self.hub.once()
        self.assertEqual(log.count(": acknowledged "), 1)
        self.assertEqual(self.hub.place(parcel), "gone")

    def test_a_spool_restored_from_a_snapshot(self):
        parcel = self.send()
        shutil.copytree(self.hub.spool, self.hub.root + "/snapshot")
        self.carry("hub")
        self.assert_acknowledged(parcel, self.answer())
        shutil.rmtree(self.hub.spool)
        os.rename(self.hub.root + "/snapshot", self.hub.spool)
        self.hub.later(parcel, 6 * 3600 + 60)
        self.hub.once()
        self.carry("hub")
        self.athena.once()
        self.assertEqual(self.arrived(), ["m0", "m1", "m2"])

    def test_a_key_changed_while_a_parcel_was_under_way(self):
        parcel = self.send()
        self.hub.own_key = KEYS["new"]
        for path in ("private-keys-v1.d", "pubring.kbx"):
            self.assertTrue(os.path.exists(KEYS["new"].root + "/pgp/sign/" + path))
        self.hub.write_config(self.mtas["hub"].url(), "", self.settings)
        with open(self.hub.config, encoding="ascii") as f:
            text = f.read()
        with open(self.hub.config, "w", encoding="ascii") as f:
            f.write(text.replace(KEYS["hub"].root + "/pgp", KEYS["new"].root + "/pgp", 1))
        os.symlink(KEYS["hub"].root + "/pgp/verify", KEYS["new"].root + "/pgp/verify")
        second = self.send("n")
        self.assertNotEqual(parcel, second)
        self.carry("hub")
        log = self.answer()
        for name in (parcel, second):
            self.assertIn("%s: acknowledged" % name, log)
        self.assertEqual(self.arrived(), ["m0", "m1", "m2", "n0", "n1", "n2"])


if __name__ == "__main__":
    unittest.main()
