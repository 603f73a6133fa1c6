#!/usr/bin/python3
"""random_proxy.py SEED PERCENT LOG PORT:NEXT-HOP:ORIGIN...: a mail relay on the path of the parcels, on 10.99.0.66.

It takes each mail for the next hop, keeps trying as an MTA does until that has it, and does something bad to PERCENT
of all: see FATES. Nothing bad any more once LOG.calm exists. LOG: one line per mail, "FATE FROM TO". What the next hop
refuses for good comes back to the sender as a report. Never killed itself: it stands for what lies between two hosts.
"""
import email
import email.encoders
import email.policy
import heapq
import itertools
import os
import random
import re
import smtplib
import socketserver
import sys
import threading
import time

SEED, PERCENT, LOG = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
FATES = ("drop", "double", "delay", "reorder", "truncate", "flip", "footer", "outer", "refold", "quoted", "subject",
         "bounce")


def truncate(data, rng):
    return data[:rng.randrange(len(data))].rsplit(b"\r\n", 1)[0] + b"\r\n"


def flip(data, rng):
    """One bit, so that it stays text that SMTP carries."""
    while True:
        at, bit = rng.randrange(len(data)), 1 << rng.randrange(7)
        changed = data[at] ^ bit
        if data[at] > 31 and 32 <= changed < 127:
            return data[:at] + bytes([changed]) + data[at + 1:]


def footer(data, _):
    return data + b"-- \r\nThis mail was scanned and is probably harmless.\r\n"


def outer(data, rng):
    return (b"Received: from a (b [192.0.2.1]) by relay.example.net with ESMTP id %d\r\nX-Scanned: yes\r\n"
            b"List-Id: <parcels.example.net>\r\nDKIM-Signature: v=1; a=rsa-sha256; d=example.net;\r\n\tb=%d\r\n"
            % (rng.randrange(10 ** 6), rng.randrange(10 ** 9))) + data


def refold(data, _):
    head, empty, body = data.partition(b"\r\n\r\n")
    head = re.sub(rb"\r\n[ \t]+", b" ", head)  # then each field anew, at every semicolon or in mid-line
    lines = [re.sub(rb"(;) ", b";\r\n\t", line) for line in head.split(b"\r\n")]
    return b"\r\n".join(lines) + empty + body


def quoted(data, _):
    message = email.message_from_bytes(data, policy=email.policy.SMTP)
    for part in message.walk():
        if not part.is_multipart():
            octets = part.get_payload(decode=True)
            del part["Content-Transfer-Encoding"]
            part.set_payload(octets)
            email.encoders.encode_quopri(part)
    return re.sub(rb"\r?\n", b"\r\n", message.as_bytes())


def subject(data, _):
    return re.sub(rb"(?mi)^Subject: ?", b"Subject: [SPAM?] ", data, count=1)


CHANGES = {"truncate": truncate, "flip": flip, "footer": footer, "outer": outer, "refold": refold, "quoted": quoted,
           "subject": subject}


class Road:
    """One direction: a queue of mails with the times when they are due, and threads that hand them on."""

    def __init__(self, port, next_hop, origin):
        self.next_hop, self.origin = next_hop, origin
        self.rng = random.Random("%d %s" % (SEED, next_hop))
        self.queue, self.numbers = [], itertools.count()
        self.changed = threading.Condition()
        road = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    road.serve(self)
                except OSError:
                    pass

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 64

        self.server = Server(("10.99.0.66", port), Handler)
        for target in (self.server.serve_forever, self.work, self.work, self.work):
            threading.Thread(target=target, daemon=True).start()

    def serve(self, handler):
        sender, recipients = "", []

        def say(text):
            handler.wfile.write(text.encode() + b"\r\n")

        say("220 relay.example.net ESMTP")
        while line := handler.rfile.readline():
            verb, text = line[:4].upper(), line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            if verb == b"EHLO":
                say("250-relay.example.net\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250-8BITMIME\r\n250 DSN")
            elif verb == b"MAIL":
                sender, recipients = text[10:], []
                say("250 2.1.0 ok")
            elif verb == b"RCPT":
                recipients.append(text[8:])
                say("250 2.1.5 ok")
            elif verb == b"DATA":
                say("354 go on")
                lines = []
                while (data := handler.rfile.readline()) != b".\r\n":
                    if not data.endswith(b"\n"):
                        return
                    lines.append(data[1:] if data.startswith(b".") else data)
                self.decide(sender, recipients, b"".join(lines))
                say("250 2.0.0 taken")
            elif verb == b"QUIT":
                say("221 2.0.0 bye")
                return
            else:
                say("250 2.0.0 ok")

    def put(self, due, sender, recipients, data):
        with self.changed:
            heapq.heappush(self.queue, (due, next(self.numbers), sender, recipients, data))
            self.changed.notify()

    def decide(self, sender, recipients, data):
        with self.changed:  # the order of the random numbers is that of the mails
            calm = os.path.exists(LOG + ".calm")
            fate = self.rng.choice(FATES) if self.rng.random() * 100 < PERCENT and not calm else "none"
            if fate == "bounce" and sender.startswith("<>"):
                fate = "drop"
            data = CHANGES[fate](data, self.rng) if fate in CHANGES else data
            wait = {"delay": self.rng.uniform(5, 20), "reorder": self.rng.uniform(1, 4)}.get(fate, 0)
            with open(LOG, "a", encoding="utf-8", errors="surrogateescape") as log:
                log.write("%s %s %s\n" % (fate, sender.split()[0], recipients[0].split()[0]))
        now = time.time()
        if fate == "bounce":
            self.bounce(sender, recipients, data, "554 5.6.0 the relay does not like it")
        elif fate != "drop":
            self.put(now + wait, sender, recipients, data)
        if fate == "double":
            self.put(now + self.rng.uniform(0, 5), sender, recipients, data)

    def bounce(self, sender, recipients, data, why):
        address = sender.split()[0]
        if address == "<>":
            return
        text = ("From: <MAILER-DAEMON@relay.example.net>\r\nTo: %s\r\nSubject: Undelivered Mail\r\nMIME-Version: 1.0\r\n"
                "Auto-Submitted: auto-replied\r\n"
                "Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n--b\r\n\r\n%s\r\n"
                "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; relay.example.net\r\n\r\n"
                "Final-Recipient: rfc822; %s\r\nAction: failed\r\nStatus: 5.6.0\r\nDiagnostic-Code: smtp; %s\r\n\r\n"
                "--b\r\nContent-Type: text/rfc822-headers\r\n\r\n%s\r\n--b--\r\n"
                % (address, why, recipients[0].split()[0].strip("<>"), why,
                   data.split(b"\r\n\r\n")[0].decode("latin-1"))).encode("latin-1")
        ROADS[self.origin].put(time.time(), "<>", [address], text)

    def work(self):
        while True:
            with self.changed:
                while not self.queue or self.queue[0][0] > time.time():
                    self.changed.wait(min(1, self.queue[0][0] - time.time()) if self.queue else 1)
                _, _, sender, recipients, data = heapq.heappop(self.queue)
            try:
                with smtplib.SMTP(self.next_hop, timeout=30, local_hostname="relay.example.net") as smtp:
                    smtp.ehlo()
                    code, text = smtp.docmd("MAIL", "FROM:" + sender)
                    if code == 250:
                        for recipient in recipients:
                            code, text = smtp.docmd("RCPT", "TO:" + recipient)
                    if code == 250:
                        code, text = smtp.data(data)
            except (smtplib.SMTPException, OSError):
                code, text = 451, b""
            if 400 <= code < 500 or code < 200:
                self.put(time.time() + 1, sender, recipients, data)
            elif code >= 500:
                self.bounce(sender, recipients, data, "%d %s" % (code, text.decode("latin-1").replace("\n", " ")))


ROADS = {}
for road_argument in sys.argv[4:]:
    road_port, hop, back = road_argument.split(":")
    ROADS[hop] = Road(int(road_port), hop, back)
threading.Event().wait()
