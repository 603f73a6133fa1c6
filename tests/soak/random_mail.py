#!/usr/bin/python3
"""random_mail.py: the mail of tests/soak/random, and what became of it.

  send --count N --minutes M --seed S --list FILE --corpus DIR    (in wan) from both domains to the other, until N were
       taken; FILE: a JSON line for each attempt. One whose final reply never came may have arrived, and counts as such.
  local --host HOST --seed S --list FILE    (in HOST) one every two seconds by its sendmail command, until FILE.calm exists
  account --list FILE... --hub ROOT --athena ROOT [--pairing HUB-ATHENA] [--proxy LOG] [--kills LOG...]    (outside) every
       message once, or its sender told once. Prints totals as JSON, and what is wrong; exit 0 when nothing is.
A message's place in the world is its X-Rig-Id line; from there on it must arrive octet for octet, or where a sendmail had a
hand in it, but for the folding of its address fields.
"""
import argparse
import collections
import hashlib
import json
import pathlib
import random
import re
import smtplib
import subprocess
import sys
import threading
import time

from refold import refolded

# direction: source address, server, sender, recipients
DIRECTIONS = {"hub": ("10.99.0.67", "10.99.0.2", "alice@domain.com", ("user@domain.co.uk", "info@domain.co.uk")),
              "athena": ("10.99.0.68", "10.99.0.3", "carla@domain.co.uk", ("bob@domain.com", "user@domain.com"))}
UNKNOWN_PERCENT = 2  # recipients who do not exist: their senders must be told
HOSTS = ("hub", "athena")


def octets(data):
    return hashlib.sha256(data).hexdigest()


def small(identity, direction, recipient, rng):
    words = b" ".join(b"word%d" % rng.randrange(10 ** 6) for _ in range(rng.randrange(60)))
    return (b"From: %s\r\nTo: %s\r\nDate: Sun, 22 Nov 2026 01:10:00 +0000\r\nSubject: %s\r\nMessage-ID: <%s@soak>\r\n\r\n"
            b"%s\r\n.\r\n..\r\n" % (DIRECTIONS[direction][2].encode(), recipient.encode(), identity.encode(), identity.encode(), words))


def marked(identity, data):
    return b"X-Rig-Id: " + identity.encode() + b"\r\n" + data


def note(out, identity, direction, recipient, data, outcome):
    data = data.replace(b"\r\n", b"\n")
    out.write(json.dumps({"id": identity, "from": direction, "to": recipient, "outcome": outcome, "at": time.time(),
                          "octets": octets(data), "refolded": refolded(data)}) + "\n")


class Sender:
    def __init__(self, args):
        self.args, self.rng, self.lock = args, random.Random(args.seed), threading.Lock()
        self.began, self.taken, self.number = time.time(), 0, 0
        self.out = open(args.list, "w", encoding="ascii")
        self.corpus = sorted(pathlib.Path(args.corpus).glob("*.eml"))

    def next(self):
        """The next attempt, or None when enough were taken; holds to the pace."""
        with self.lock:
            if self.taken >= self.args.count or time.time() > self.began + self.args.minutes * 90:
                return None
            self.number += 1
            identity = "soak-%d-%06d" % (self.args.seed, self.number)
            direction = HOSTS[self.number % 2]
            recipient = self.rng.choice(DIRECTIONS[direction][3])
            if self.rng.random() * 100 < UNKNOWN_PERCENT:
                recipient = "nobody%d@%s" % (self.number, recipient.split("@")[1])
            if self.rng.random() < 0.2:
                body = self.rng.choice(self.corpus).read_bytes()
            else:
                body = small(identity, direction, recipient, self.rng)
            due = self.began + self.taken * self.args.minutes * 60 / self.args.count
        time.sleep(max(0, due - time.time()))
        return identity, direction, recipient, marked(identity, body)

    def note(self, identity, direction, recipient, data, outcome):
        with self.lock:
            self.taken += outcome == "taken"
            note(self.out, identity, direction, recipient, data, outcome)

    def work(self):
        sessions = {}
        while (job := self.next()) is not None:
            identity, direction, recipient, data = job
            source, server, sender, _ = DIRECTIONS[direction]
            outcome = "refused"
            try:
                smtp = sessions.pop(direction, None) or smtplib.SMTP(
                    server, timeout=60, source_address=(source, 0), local_hostname="client.example.net")
                smtp.ehlo_or_helo_if_needed()
                code, text = smtp.docmd("MAIL", "FROM:<%s> BODY=8BITMIME" % sender)
                if code == 250:
                    code, text = smtp.docmd("RCPT", "TO:<%s>" % recipient)
                if code == 250:
                    outcome = "unknown"
                    code, text = smtp.data(data)
                outcome = "taken" if code == 250 else "refused"
                if outcome == "taken":
                    sessions[direction] = smtp
                else:
                    smtp.close()
                    if code >= 500:
                        print("refused for good:", identity, code, text)
            except smtplib.SMTPDataError:
                outcome = "refused"
            except (smtplib.SMTPException, OSError):
                pass
            self.note(identity, direction, recipient, data, outcome)
            if outcome != "taken":
                time.sleep(0.3)


def send(args):
    sender = Sender(args)
    threads = [threading.Thread(target=sender.work) for _ in range(args.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sender.out.close()
    print("taken=%d attempts=%d" % (sender.taken, sender.number))


def local(args):
    rng, number = random.Random("%d %s" % (args.seed, args.host)), 0
    with open(args.list, "w", encoding="ascii") as out:
        while not pathlib.Path(args.list + ".calm").exists():
            time.sleep(rng.expovariate(1 / 2))
            number += 1
            identity = "soak-%d-%s-%06d" % (args.seed, args.host, number)
            _, _, sender, recipients = DIRECTIONS[args.host]
            recipient = rng.choice(recipients)
            data = marked(identity, small(identity, args.host, recipient, rng))
            done = subprocess.run(["/usr/sbin/sendmail", "-i", "-f", sender, "--", recipient], input=data.replace(b"\r\n", b"\n"),
                                  stderr=subprocess.DEVNULL, check=False)
            note(out, identity, args.host, recipient, data, "unknown" if done.returncode else "taken")
            out.flush()


RECEIVED = re.compile(rb"(?m)^Received: (?:[^\n]|\n[ \t])*? id ([0-9A-Za-z]+)")


class World:
    """What lies in the mailboxes and logs of both hosts."""

    def __init__(self, roots, digest):
        self.digest = digest
        self.copies = collections.defaultdict(list)   # id: (host, queue id, [parcel.index], digest)
        self.origins = collections.defaultdict(set)   # id: queue ids under which the sender's own MTA had it
        self.reports = collections.defaultdict(list)  # id: (host, queue id, names, outcome unknown)
        self.ambiguous = set()
        for host, root in roots.items():
            for path in sorted(pathlib.Path(root).glob("home/*/Maildir/new/*")):
                self.read(host, path.read_bytes())
            log = (pathlib.Path(root) / "var/log/mail.log").read_bytes().decode("utf-8", "replace")
            for line in log.splitlines():
                if "outcome=ambiguous" in line:
                    self.ambiguous.update(re.findall(r"[0-9a-f]{44}(?:\.\d+)?", line))

    def read(self, host, data):
        marks = list(re.finditer(rb"(?m)^X-Rig-Id: (soak-\S+)\n", data))
        if not marks:
            return
        identity, head = marks[0].group(1).decode(), data[:marks[0].start()]
        queue = RECEIVED.search(head)
        queue = queue.group(1).decode() if queue else ""
        ours = re.search(rb"\(with BSMTP parcel\s+([0-9a-f]{44})\s+message\s+(\d+)/", head)
        names = ["%s.%s" % (ours.group(1).decode(), ours.group(2).decode())] if ours else []
        beyond = RECEIVED.findall(head[ours.end():]) if ours else []
        if re.search(rb"(?mi)^Content-Type: multipart/report", head):
            action = re.search(rb"(?mi)^Action: (\S+)", data)
            if action and action.group(1).lower() == b"failed":
                notice = re.search(rb"(?mi)^Message-ID: <([0-9a-f]{44})@", head)
                names += [notice.group(1).decode()] if notice else []  # a report may come by the tunnel, too
                doubt = re.search(rb"(?i)outcome is unknown|not known", data)
                self.reports[identity].append((host, queue, names, bool(doubt)))
            return
        self.origins[identity].add(tuple(word.decode() for word in beyond))
        self.copies[identity].append((host, queue, names, self.digest(data[marks[0].start():])))

    def excused(self, names):
        """Does a line with outcome=ambiguous name the message, or the report?"""
        return any(name in self.ambiguous for name in names)


def judge(jobs, world, digest_name):
    """Totals, what is wrong, and what an MTA did by itself: its log must bear that out."""
    counts, wrong, noted = collections.Counter(), [], []
    for job in jobs:
        identity = job["id"]
        copies, reports = world.copies.get(identity, []), world.reports.get(identity, [])
        counts[job["outcome"]] += 1
        if job["outcome"] != "taken" and not copies and not reports:
            continue
        if job["outcome"] == "refused" and copies:
            counts["refused, but arrived"] += 1  # the MTA's word, before we had the message
        counts["delivered"] += bool(copies)
        counts["reported"] += bool(reports)
        if not copies and not reports:
            counts["lost"] += 1
            wrong.append("lost: %s" % json.dumps(job))
        if any(digest != job[digest_name] for *_, digest in copies):
            counts["changed"] += 1
            wrong.append("changed: %s %s" % (json.dumps(job), copies))
        # The same queue id twice: the MTA, killed in between, delivered once more what it had from us once.
        for what, found in (("double", copies), ("reported twice", reports)):
            distinct = {(host, queue): names for host, queue, names, _ in found}
            if len(found) > len(distinct):
                counts[what + ", by the MTA"] += len(found) - len(distinct)
                noted.append("%s, by the MTA: %s %s" % (what, identity, found))
            if len(distinct) > 1:
                if what == "double" and len(world.origins[identity]) >= len(distinct):
                    counts["double, taken twice by the sender's MTA"] += 1
                    noted.append("taken twice by the sender's MTA: %s %s %s" % (identity, sorted(world.origins[identity]), found))
                    continue
                kind = " with ambiguous" if world.excused(sum(distinct.values(), [])) else " without ambiguous"
                counts[what + kind] += 1
                if kind == " without ambiguous":
                    wrong.append("%s: %s %s" % (what, json.dumps(job), found))
        if copies and reports:
            doubt = all(unknown for *_, unknown in reports) or world.excused(sum((names for _, _, names, _ in copies), []))
            counts["delivered and reported" + ("" if doubt else " as failed")] += 1
            if not doubt:
                wrong.append("delivered and reported: %s %s %s" % (json.dumps(job), copies, reports))
    return counts, wrong, noted


def account(args):
    digest = refolded if "sendmail" in args.pairing else octets
    jobs = [json.loads(line) for name in args.list for line in pathlib.Path(name).read_text(encoding="ascii").splitlines()]
    counts, wrong, noted = judge(jobs, World({"hub": args.hub, "athena": args.athena}, digest), digest.__name__)
    result = {key: counts[key] for key in
              ("taken", "unknown", "refused", "delivered", "reported", "lost", "changed", "double with ambiguous",
               "double without ambiguous", "reported twice with ambiguous", "reported twice without ambiguous")}
    result.update({key: value for key, value in counts.items() if key not in result and value})
    if args.proxy:
        with open(args.proxy, encoding="utf-8", errors="replace") as log:
            fates = collections.Counter(line.split()[0] for line in log)
        result["parcels and receipts on the road"] = sum(fates.values())
        fates.pop("none", 0)
        result["faults"], result["fates"] = sum(fates.values()), dict(fates)
    kills = collections.Counter()
    for name in args.kills:
        if pathlib.Path(name).exists():
            kills.update(line.split()[1] for line in pathlib.Path(name).read_text(encoding="ascii").splitlines())
    result["kills"], result["killed"] = sum(kills.values()), dict(kills)
    print(json.dumps(result, indent=1))
    for line in wrong[:args.show] + noted[:args.show]:
        print(line)
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("send")
    sub.set_defaults(function=send)
    sub.add_argument("--count", type=int, required=True)
    sub.add_argument("--minutes", type=float, required=True)
    sub.add_argument("--seed", type=int, required=True)
    sub.add_argument("--corpus", required=True)
    sub.add_argument("--connections", type=int, default=6)
    sub.add_argument("--list", required=True)
    sub = commands.add_parser("local")
    sub.set_defaults(function=local)
    sub.add_argument("--host", choices=HOSTS, required=True)
    sub.add_argument("--seed", type=int, required=True)
    sub.add_argument("--list", required=True)
    sub = commands.add_parser("account")
    sub.set_defaults(function=account)
    for name in HOSTS:
        sub.add_argument("--" + name, required=True, help="the root directory of that host")
    sub.add_argument("--list", nargs="+", required=True)
    sub.add_argument("--pairing", default="postfix-postfix")
    sub.add_argument("--proxy", default="")
    sub.add_argument("--kills", nargs="*", default=[])
    sub.add_argument("--show", type=int, default=20)
    args = parser.parse_args()
    sys.exit(args.function(args))


main()
