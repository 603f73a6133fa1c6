"""A damaged file, in any state of the spool, is set aside or stays where it is, is named in an
alarm and by `bsmtpctl status --check`, and holds up nothing else of its peer."""

import concurrent.futures
import copy
import email
import email.policy
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

from dispatch_rig import Gateway, Smtp, item, new_id, text_of

PROGRAMS = sys.argv.pop(1)


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


def empty(path):
    os.truncate(path, 0)


def garbage(path):
    with open(path, "wb") as out:
        out.write(os.urandom(3000))


def remove(path):
    os.unlink(path)


def directory(path):
    os.unlink(path)
    os.mkdir(path)


def link(path):
    os.rename(path, path + ".elsewhere")
    os.symlink(path + ".elsewhere", path)


def fifo(path):
    os.unlink(path)
    os.mkfifo(path)


def flip(path):
    """One bit."""
    with open(path, "r+b") as file:
        octet = file.read()[-20]
        file.seek(-20, os.SEEK_END)
        file.write(bytes([octet ^ 1]))


DAMAGE = (cut, empty, garbage, remove, directory, link, fifo)
ANY_BUT_GONE = tuple(damage for damage in DAMAGE if damage != remove)


class Case(unittest.TestCase):
    def each(self, scenario, damages):
        """Calls `scenario` with each damage, at the same time, each on a spool of its own: on a copy
        of this test case with a gateway and MTAs of its own."""
        def run(damage):
            case = copy.copy(self)
            case.submit, case.resubmit = Smtp(), Smtp()
            case.site = Gateway(PROGRAMS, case.submit.url(), case.resubmit.url())
            try:
                case.site.make_spool()
                scenario(case, damage)
            finally:
                case.site.close()
                case.submit.close()
                case.resubmit.close()

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            runs = [(damage, pool.submit(run, damage)) for damage in damages]
        for damage, done in runs:
            with self.subTest(damage=damage.__name__):
                done.result()

    def put(self, number):
        return self.site.put(item("<ann@domain.com>", ["<bob%d@domain.co.uk>" % number],
                                  text_of(number)), when=time.time() - 600 + number)

    def place(self, *path):
        return "/".join((self.site.spool,) + path)

    def sent(self):
        """The recipients of each parcel that went out."""
        out = []
        for taken in self.submit.taken():
            if "bsmtp+" in taken["mail"]:
                parcel = email.message_from_bytes(taken["text"], policy=email.policy.default)
                batch = parcel.get_payload(decode=True).decode("latin-1")
                out.append(re.findall(r"(?m)^RCPT TO:<(.*?)>", batch))
        return out

    def problems(self):
        done = subprocess.run([PROGRAMS + "/bsmtpctl", "--config", self.site.config, "status",
                               "--check"], capture_output=True, check=False, timeout=20)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return done.stdout.decode() if done.returncode else ""


class Outbound(Case):
    def test_an_item_in_incoming(self):
        def scenario(self, damage):
            bad = self.put(1)
            self.put(2)
            damage(self.place("peers", "remote1", "incoming", bad))
            log = self.site.once("--flush", expect=None)
            self.site.once("--flush", expect=None)
            self.assertEqual(self.sent(), [["bob2@domain.co.uk"]])
            self.assertIn(bad, log)
            self.assertIn("PROBLEM: peer remote1", self.problems())
        self.each(scenario, ANY_BUT_GONE)

    def ready(self, name):
        """Two parcels in ready/, the first one's file `name` damaged by the caller."""
        self.submit.script = lambda command, _: "450 4.2.1 no" if "RCPT" in command else None
        self.put(1)
        self.site.once("--flush")
        bad, = self.site.names("peers", "remote1", "ready")
        self.put(2)
        self.site.once("--flush")
        self.site.set_next(-1, "peers", "remote1", "ready")
        self.submit.script = lambda command, _: None
        return bad, self.place("peers", "remote1", "ready", bad, name)

    def assert_only_the_other_one_goes(self, bad):
        log = self.site.once(expect=None)
        self.assertEqual(self.sent(), [["bob2@domain.co.uk"]])
        self.assertEqual(len(self.site.names("peers", "remote1", "sent")), 1)
        self.assertIn(bad, log)
        self.assertIn("alarm", log)
        self.assertIn("PROBLEM: peer remote1", self.problems())

    def test_the_state_of_a_ready_parcel(self):
        def scenario(self, damage):
            bad, path = self.ready("state")
            damage(path)
            self.assert_only_the_other_one_goes(bad)
        self.each(scenario, DAMAGE)

    def test_a_ready_parcel_with_a_damaged_entity_is_built_again(self):
        def scenario(self, damage):
            bad, path = self.ready("entity")
            damage(path)
            log = self.site.once("--flush", expect=None)
            self.site.once("--flush")
            self.assertEqual(sorted(self.sent()), [["bob1@domain.co.uk"], ["bob2@domain.co.uk"]])
            self.assertIn(bad + ": alarm", log)
            self.assertEqual(self.site.names("peers", "remote1", "ready"), [])
        self.each(scenario, DAMAGE + (flip,))

    def test_what_a_dead_builder_left_in_building(self):
        def scenario(self, damage):
            self.put(1)
            place = self.place("peers", "remote1", "building", new_id())
            os.makedirs(place + "/items")
            kept = new_id(time.time() - 60)
            with open(place + "/items/" + kept, "wb") as out:
                out.write(item("<ann@domain.com>", ["<bob2@x>"], text_of(2)))
            garbage(place + "/entity")
            garbage(place + "/state.0123")
            if damage == remove:
                os.rename(place + "/items/" + kept, self.place("peers/remote1/incoming", kept))
                os.rmdir(place + "/items")
            self.site.once("--flush")
            self.assertEqual([sorted(r) for r in self.sent()], [["bob1@domain.co.uk", "bob2@x"]])
            self.assertEqual(self.site.names("peers", "remote1", "building"), [])
        self.each(scenario, (remove, garbage))


class Inbound(Case):
    def accept(self, tag, age=0):
        return self.site.accept([("<ann@d.co.uk>", ["<%s%d@domain.com>" % (tag, n)],
                                  text_of(tag + str(n))) for n in range(3)],
                                accepted=time.time() - age)

    def recipients(self):
        return sorted(r.split("@")[0] for m in self.resubmit.taken() for r in m["rcpts"])

    def test_any_file_of_an_accepted_parcel(self):
        def scenario(self, damage):
            for number in range(len(self.probe())):
                self.resubmit.messages.clear()
                tag = "%s%d" % (damage.__name__, number)
                bad = self.accept("bad" + tag, age=6 * 86400)
                damage(self.files_of(bad)[number])
                self.accept("good" + tag)
                log = self.site.once(expect=None)
                self.assertEqual([r for r in self.recipients() if "good" in r],
                                 ["RCPT TO:<good%s%d" % (tag, n) for n in range(3)])
                self.assertIn(bad, log)
                self.assertIn("PROBLEM", self.problems())
                for where in ("accepted", "deferred"):
                    for name in self.site.names("inbound", where):
                        shutil.rmtree(self.place("inbound", where, name))
        self.each(scenario, DAMAGE)

    def test_a_text_with_one_flipped_bit_is_not_delivered(self):
        def a_bit(path, long):
            """In the header of a short text, and at the end of one that is not read at once."""
            with open(path, "r+b") as file:
                octets = file.read()
                for at in (octets.index(b"Subject: mail 2") + 3, octets.rindex(long[-7:]) + 2):
                    file.seek(at)
                    file.write(bytes([octets[at] ^ 1]))

        def scenario(self, damage):
            long = text_of("long") + b"x y z\r\n" * 50000
            parcel = self.site.accept([("<ann@d.co.uk>", ["<%s@domain.com>" % name], text)
                                       for name, text in (("one", text_of(1)), ("two", text_of(2)),
                                                          ("three", text_of(3)), ("long", long),
                                                          ("five", text_of(5)))])
            path = self.place("inbound", "accepted", "remote1." + parcel, "messages")
            damage(path, long)
            for _ in range(2):
                log = self.site.once(expect=None)
                self.site.set_next(-1, "inbound", "deferred")
                self.assertEqual(self.recipients(),
                                 ["RCPT TO:<%s" % name for name in ("five", "one", "three")])
                for number in (2, 4):
                    self.assertRegex(log, r"%s\.%d: alarm .*not as it was accepted"
                                     % (parcel, number))
                self.assertNotIn("ambiguous", log)
                self.assertIn("PROBLEM", self.problems())
        self.each(scenario, [a_bit])

    def probe(self):
        parcel = self.accept("probe")
        files = self.files_of(parcel)
        shutil.rmtree(os.path.dirname(files[0]))
        return files

    def files_of(self, parcel):
        base = self.place("inbound", "accepted", "remote1." + parcel)
        return [base + "/" + file for file in sorted(os.listdir(base))]

    def test_the_state_of_a_deferred_parcel_only_forgets_its_wait(self):
        def scenario(self, damage):
            self.resubmit.script = lambda command, _: "450 4.2.1 no" if "RCPT" in command else None
            self.accept("late")
            self.site.once()
            name, = self.site.names("inbound", "deferred")
            damage(self.place("inbound", "deferred", name, "state"))
            self.resubmit.script = lambda command, _: None
            self.accept("good")
            log = self.site.once(expect=None)
            got = self.recipients()
            self.assertEqual([r for r in got if "good" in r],
                             ["RCPT TO:<good%d" % n for n in range(3)])
            self.assertTrue(len(got) == 6 or name.split(".")[1] in log, (got, log))
        self.each(scenario, DAMAGE)


class Small(Case):
    def test_a_return(self):
        def scenario(self, damage):
            bad = new_id()
            path = self.place("inbound", "returns", bad)
            with open(path, "wb") as out:
                out.write(item("<>", ["<bsmtp+0123@hub.domain.com>"], text_of(1)))
            damage(path)
            good = new_id()
            with open(self.place("inbound", "returns", good), "wb") as out:
                out.write(item("<>", ["<bsmtp+0123@hub.domain.com>"], text_of(1)))
            log = self.site.once(expect=None)
            self.assertNotIn(good, self.site.names("inbound", "returns"))
            self.assertIn(bad, log)
        self.each(scenario, ANY_BUT_GONE)

    def test_a_notice(self):
        def scenario(self, damage):
            bad = new_id(1)
            path = self.place("notices", "ready", bad)
            with open(path, "wb") as out:
                out.write(item("<>", ["<n@domain.com>"], text_of(1)))
            damage(path)
            good = new_id()
            with open(self.place("notices", "ready", good), "wb") as out:
                out.write(item("<>", ["<n@domain.com>"], text_of(2)))
            log = self.site.once(expect=None)
            self.assertEqual(len(self.submit.taken()), 1)
            self.assertNotIn(good, self.site.names("notices", "ready"))
            self.assertIn(bad, log)
        self.each(scenario, ANY_BUT_GONE)


if __name__ == "__main__":
    unittest.main()
