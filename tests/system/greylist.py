#!/usr/bin/python3
"""greylist.py ADDRESS:PORT SECONDS: a greylisting policy server for Postfix (SMTPD_POLICY_README).

Defers each (client, sender, recipient) that it has not known for so many seconds, whatever else is allowed; postgrey's
answers. One attribute "name=value" a line, an empty line ends a request; one "action=" line and an empty line answer it."""
import socketserver
import sys
import time


class Policy(socketserver.StreamRequestHandler):
    def handle(self):
        asked = {}
        for line in self.rfile:
            name, equals, value = line.rstrip(b"\n").partition(b"=")
            if equals:
                asked[name] = value
                continue
            triplet = tuple(asked.get(key) for key in (b"client_address", b"sender", b"recipient"))
            asked = {}
            waits = FIRST_SEEN.setdefault(triplet, time.monotonic()) + SECONDS - time.monotonic()
            self.wfile.write(b"action=DEFER_IF_PERMIT 4.2.0 Greylisted, see you later\n\n" if waits > 0 else b"action=DUNNO\n\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


FIRST_SEEN = {}
address, port = sys.argv[1].split(":")
SECONDS = float(sys.argv[2])
Server((address, int(port)), Policy).serve_forever()
