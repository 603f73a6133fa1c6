"""The session with the host MTA breaks at every point in every way: 421, a dropped connection, half
a reply, silence. Each recipient gets each message once, or the log says why perhaps twice."""

import concurrent.futures
import sys
import threading
import time
import unittest

from dispatch_rig import Gateway, Smtp, text_of

PROGRAMS = sys.argv.pop(1)
POINTS = {"greeting": lambda command, session: command == "<connect>",
          "EHLO": lambda command, session: command.startswith("EHLO"),
          "MAIL": lambda command, session: command.startswith("MAIL") and "<s2@" in command,
          "first RCPT": lambda command, session: command.startswith("RCPT TO:<a2@"),
          "last RCPT": lambda command, session: command.startswith("RCPT TO:<b2@"),
          "DATA": lambda command, session: command == "DATA" and "<s2@" in session["mail"],
          "text": lambda command, session: command == "<text>" and "<s2@" in session["mail"],
          "final reply": lambda command, session: command == "<taken>" and "<s2@" in session["mail"]}
WAYS = {"421": "421 4.3.2 shutting down", "dropped": "CLOSE", "half a reply": "HALF 250-2.0.0 so f",
        "silence": "SILENCE"}
NO_PIPELINING = "250-test\r\n250-DSN\r\n250 8BITMIME"


class Broken:
    """One gateway whose host MTA breaks once at `point` in `way`."""

    def __init__(self, point, way, pipelining=True):
        self.hits = []
        lock = threading.Lock()

        def script(command, session):
            with lock:
                hit = not self.hits and POINTS[point](command, session)
                if hit:
                    self.hits.append(command)
            if hit and WAYS[way] == "SILENCE":
                time.sleep(2.5)
                return "CLOSE"
            if hit:
                return WAYS[way]
            return NO_PIPELINING if command.startswith("EHLO") and not pipelining else None

        self.resubmit = Smtp(script)
        self.submit = Smtp()
        self.site = Gateway(PROGRAMS, self.submit.url(), self.resubmit.url(),
                            "resubmit-connections = 1\nsmtp-timeout = 1s\n")

    def run(self):
        self.site.make_spool()
        self.site.accept([("<s%d@d.co.uk>" % n, ["<a%d@domain.com>" % n, "<b%d@domain.com>" % n],
                           text_of(n)) for n in range(1, 5)])
        for _ in range(4):
            self.site.once(expect=None)
            if self.left() == 0:
                break
            self.site.set_next(-1, "inbound", "deferred")
        got = {}
        for message in self.resubmit.taken():
            for recipient in message["rcpts"]:
                name = recipient[9:11]
                got[name] = got.get(name, 0) + 1
        return {"got": got, "left": self.left(), "hits": len(self.hits),
                "ambiguous": self.site.logged().count("outcome=ambiguous"),
                "letters": len(self.submit.taken()),
                "open attempts": self.site.ledger("select count(*) from attempt")[0][0]}

    def left(self):
        return sum(len(self.site.names("inbound", where)) for where in ("accepted", "deferred"))

    def close(self):
        self.site.close()
        self.resubmit.close()
        self.submit.close()


def outcome(case):
    broken = Broken(*case)
    try:
        return broken.run()
    finally:
        broken.close()


class Session(unittest.TestCase):
    def test_every_point_in_every_way(self):
        cases = [(point, way, True) for point in POINTS for way in WAYS
                 if (point, way) != ("final reply", "421")]  # it would mean: not taken
        cases += [(point, "dropped", False) for point in POINTS]
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            found = dict(zip(cases, pool.map(outcome, cases)))
        for (point, way, pipelining), result in found.items():
            with self.subTest(point=point, way=way, pipelining=pipelining):
                once = {side + str(n): 1 for n in range(1, 5) for side in "ab"}
                in_doubt = point in ("text", "final reply") and way != "421"
                if point == "final reply":
                    once["a2"] = once["b2"] = 2
                self.assertEqual(result, {"got": once, "left": 0, "hits": 1, "letters": 0,
                                          "ambiguous": int(in_doubt), "open attempts": 0})


class ManyRecipients(unittest.TestCase):
    def test_ten_thousand_where_the_mta_takes_2500_at_once(self):
        resubmit = Smtp(lambda command, session: (
            "452 4.5.3 too many recipients"
            if command.startswith("RCPT") and len(session["rcpts"]) >= 2500 else None))
        self.addCleanup(resubmit.close)
        submit = Smtp()
        self.addCleanup(submit.close)
        site = Gateway(PROGRAMS, submit.url(), resubmit.url())
        self.addCleanup(site.close)
        site.make_spool()
        site.accept([("<ann@d.co.uk>", ["<r%d@domain.com>" % n for n in range(10000)], text_of(1))])
        site.once()
        self.assertEqual([len(m["rcpts"]) for m in resubmit.taken()], [2500] * 4)
        self.assertEqual(len({r for m in resubmit.taken() for r in m["rcpts"]}), 10000)
        self.assertEqual(site.names("inbound", "accepted") + site.names("inbound", "deferred"), [])
        self.assertEqual(submit.taken(), [])


if __name__ == "__main__":
    unittest.main()
