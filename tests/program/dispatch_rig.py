"""What the bsmtp-dispatch tests stand on: an SMTP server that answers as a script says and keeps
what it took, and a gateway whose spool is filled by hand. Nothing of the product is used to make
or judge anything: items, accepted parcels and notices are written and read here."""

import datetime
import hashlib
import os
import re
import secrets
import shutil
import signal
import socketserver
import sqlite3
import subprocess
import tempfile
import threading
import time

HOST = "hub.domain.com"


class Smtp:
    """`script(command, session)` returns a reply ("550 5.1.1 no"), None for the usual answer,
    "CLOSE", or "HALF TEXT" (TEXT without an end of line, then it closes). Commands are "<connect>",
    EHLO..., MAIL..., RCPT..., DATA, "<text>" (at the end dot) and "<taken>" (the message is kept,
    its reply not yet sent). Threads: one per connection."""

    def __init__(self, script=None, port=0):
        self.script = script or (lambda command, session: None)
        self.lock = threading.Lock()
        self.messages = []
        self.commands = []
        self.sessions = 0
        self.most_at_once = 0
        self.open = 0
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True  # replies to pipelined commands leave one by one

            def handle(self):
                with outer.lock:
                    outer.sessions += 1
                    outer.open += 1
                    outer.most_at_once = max(outer.most_at_once, outer.open)
                try:
                    outer.serve(self)
                except (ConnectionError, BrokenPipeError, ValueError):
                    pass
                finally:
                    with outer.lock:
                        outer.open -= 1

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 64

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.daemon = True
        self.thread.start()

    def url(self):
        return "smtp://127.0.0.1:%d" % self.port

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def serve(self, handler):
        session = {"mail": None, "rcpts": [], "refused": []}

        def say(command, usual):
            reply = self.script(command, session)
            self.close_if_told(handler, reply)
            reply = usual if reply is None else reply
            handler.wfile.write(reply.encode() + b"\r\n")
            handler.wfile.flush()
            if reply.startswith("421"):
                raise ConnectionError
            return reply

        say("<connect>", "220 test ESMTP")
        while True:
            line = handler.rfile.readline()
            if not line:
                return
            command = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            with self.lock:
                self.commands.append(command)
            verb = command[:4].upper()
            if verb in ("EHLO", "HELO"):
                say(command, "250-test\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250-8BITMIME\r\n"
                             "250-DSN\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES")
            elif verb == "MAIL":
                reply = say(command, "250 2.1.0 ok")
                session.update(mail=command if reply[0] == "2" else None, rcpts=[], refused=[])
            elif verb == "RCPT":
                reply = say(command, "250 2.1.5 ok" if session["mail"] else "503 5.5.1 no MAIL")
                (session["rcpts"] if reply[0] == "2" else session["refused"]).append(command)
            elif verb == "DATA":
                usual = "354 go" if session["rcpts"] else "554 5.5.1 no valid recipients"
                if say(command, usual)[0] != "3":
                    continue
                self.take_text(handler, session, say)
            elif verb == "RSET":
                session.update(mail=None, rcpts=[], refused=[])
                say(command, "250 ok")
            elif verb == "QUIT":
                say(command, "221 bye")
                return
            else:
                say(command, "250 ok")

    def take_text(self, handler, session, say):
        text = b""
        while True:
            line = handler.rfile.readline()
            if not line:
                raise ConnectionError
            if line == b".\r\n":
                break
            text += line[1:] if line.startswith(b".") else line
        session["octets"] = len(text)
        reply = self.script("<text>", session)
        if reply is None or reply.startswith("2"):
            with self.lock:
                self.messages.append({"mail": session["mail"], "rcpts": list(session["rcpts"]),
                                      "text": text})
            say("<taken>", reply or "250 2.0.0 Ok: queued as T%d" % len(self.messages))
        else:
            self.close_if_told(handler, reply)
            handler.wfile.write(reply.encode() + b"\r\n")
            if reply.startswith("421"):
                raise ConnectionError
        session.update(mail=None, rcpts=[], refused=[])

    @staticmethod
    def close_if_told(handler, reply):
        if reply is not None and reply.startswith("HALF "):
            handler.wfile.write(reply[5:].encode())
            handler.wfile.flush()
        if reply is not None and (reply == "CLOSE" or reply.startswith("HALF ")):
            raise ConnectionError

    def taken(self):
        with self.lock:
            return list(self.messages)


def crlf(text):
    return re.sub(rb"\r?\n", b"\r\n", text if isinstance(text, bytes) else text.encode())


def new_id(when=None):
    return "%012x" % int((time.time() if when is None else when) * 1000) + secrets.token_hex(16)


def iso(seconds):
    when = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return when.strftime("%Y%m%dT%H%M%SZ")


def item(mail, rcpts, text):
    """One transaction: `mail` and `rcpts` are what follows the colon."""
    out = "MAIL FROM:%s\r\n" % mail + "".join("RCPT TO:%s\r\n" % r for r in rcpts) + "DATA\r\n"
    return out.encode() + re.sub(rb"(?m)^\.", b"..", crlf(text)) + b".\r\n"


def text_of(number, extra=""):
    return crlf("Received: from a by b; now\nMessage-ID: <%s@x>\nSubject: mail %s\n%s\n"
                "body of %s\n.dot\n" % (number, number, extra, number))


class Gateway:
    def __init__(self, programs, submit, resubmit, settings="", peers=None):
        self.programs = programs
        self.root = tempfile.mkdtemp(prefix="d", dir="/tmp")
        self.spool = self.root + "/spool"
        self.config = self.root + "/bsmtp.conf"
        os.makedirs(self.root + "/pgp/sign", mode=0o700)
        os.mkdir(self.spool)
        with open(self.root + "/rewrite", "w", encoding="ascii") as out:
            out.write("domain.co.uk $U%$H@BSOUT-REMOTE1$Nbsout_remote1\n")
        self.peers = peers or {"remote1": "host = athena.domain.co.uk\nprofile = rfc2442\n"
                                          "recipient-domains = *\n"}
        self.write_config(submit, resubmit, settings)
        self.process = None
        self.log = self.root + "/log"

    def write_config(self, submit, resubmit, settings=""):
        text = ("host = %s\nspool-directory = %s\nopenpgp-directory = %s/pgp\n"
                "rewrite-rules = %s/rewrite\nexport-map = %s/transport\nretry-initial = 1s\n"
                "retry-maximum = 2s\nsubmit = %s\nresubmit = %s\n%s\n"
                % (HOST, self.spool, self.root, self.root, self.root, submit, resubmit, settings))
        for name, body in self.peers.items():
            text += "\n[peer.%s]\n%s" % (name, body)
        with open(self.config, "w", encoding="ascii") as out:
            out.write(text)

    def argv(self, *args):
        return [self.programs + "/bsmtp-dispatch", "--config", self.config, "--foreground", *args]

    def once(self, *args, expect=0):
        done = subprocess.run(self.argv("--once", *args), capture_output=True, timeout=20,
                              check=False)
        with open(self.log, "ab") as out:
            out.write(done.stderr)
        if expect is not None and done.returncode != expect:
            raise AssertionError("exit %d\n%s" % (done.returncode, done.stderr.decode()))
        return done.stderr.decode()

    def begin(self, *args, under=()):
        """Starts it; `under`: command line of a tracer."""
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen([*under, *self.argv(*args)], stderr=out, stdout=out)

    def start(self, *args, under=()):
        if os.path.exists(self.spool + "/heartbeat"):
            os.unlink(self.spool + "/heartbeat")
        self.begin(*args, under=under)
        self.wait(lambda: os.path.exists(self.spool + "/heartbeat"))
        return self.process

    def stop(self, how=signal.SIGTERM):
        if self.process:
            self.process.send_signal(how)
            code = self.process.wait(timeout=60)
            self.process = None
            return code
        return None

    def logged(self):
        with open(self.log, encoding="utf-8", errors="replace") as text:
            return text.read()

    def wait(self, condition, seconds=30):
        end = time.time() + seconds
        while not condition():
            if self.process and self.process.poll() is not None:
                raise AssertionError("dispatcher ended: " + self.logged())
            if time.time() > end:
                raise AssertionError("not in time; log:\n" + self.logged())
            time.sleep(0.02)

    def make_spool(self):
        self.once()

    def put(self, octets, peer="remote1", when=None):
        """Enqueues one item as bsmtp-out does."""
        name = new_id(when)
        base = "%s/peers/%s" % (self.spool, peer)
        with open(base + "/tmp/" + name, "wb") as out:
            out.write(octets)
        os.rename(base + "/tmp/" + name, base + "/incoming/" + name)
        return name

    def accept(self, messages, peer="remote1", parcel=None, digest=None, accepted=None, heads=True):
        """`messages`: (mail, rcpts, text[, refused lines]). As bsmtp-in leaves a parcel; without
        `heads` as it did before it noted the digests of envelopes."""
        parcel = parcel or new_id()
        now = time.time() if accepted is None else accepted
        tmp = "%s/inbound/tmp/%s" % (self.spool, parcel)
        os.makedirs(tmp)
        meta = ("version: 2\npeer: %s\nparcel: %s\ndigest: %s\ncreated: %s\nexpires: %s\n"
                "accepted: %s\npeer-host: athena.domain.co.uk\ncount: %d\n"
                % (peer, parcel, digest or hashlib.sha256(parcel.encode()).hexdigest(), iso(now),
                   iso(now + 86400), iso(now), len(messages)))
        with open(tmp + "/messages", "wb") as out:
            for number, (mail, rcpts, text, *refused) in enumerate(messages, 1):
                octets = item(mail, rcpts, text)
                out.write(octets)
                head = hashlib.sha256(octets[:octets.index(b"\r\nDATA\r\n") + 8]).hexdigest()
                meta += "message: %06d %s %d %d%s\n" % (
                    number, hashlib.sha256(crlf(text)).hexdigest(), len(crlf(text)), len(octets),
                    " " + head if heads else "")
                meta += "".join("refused: %06d %s\n" % (number, line) for line in refused)
        with open(tmp + "/meta", "w", encoding="ascii") as out:
            out.write(meta)
        os.rename(tmp, "%s/inbound/accepted/%s.%s" % (self.spool, peer, parcel))
        return parcel

    def set_next(self, seconds, *place):
        """The next attempt at each parcel there: now + `seconds`, whatever the back-off said."""
        base = "/".join((self.spool,) + place)
        for name in os.listdir(base):
            state = "%s/%s/state" % (base, name)
            if os.path.exists(state):
                with open(state, encoding="ascii") as f:
                    text = f.read()
                with open(state, "w", encoding="ascii") as f:
                    f.write(re.sub(r"(?m)^next: .*", "next: " + iso(time.time() + seconds), text))

    def accepted_before(self, seconds):
        """Deferred parcels are so old, and due."""
        self.set_next(-1, "inbound", "deferred")
        for name in self.names("inbound", "deferred"):
            meta = "%s/inbound/deferred/%s/meta" % (self.spool, name)
            with open(meta, encoding="ascii") as f:
                text = f.read()
            with open(meta, "w", encoding="ascii") as f:
                f.write(re.sub(r"(?m)^accepted: .*", "accepted: " + iso(time.time() - seconds),
                               text))

    def names(self, *path):
        return sorted(os.listdir("/".join((self.spool,) + path)))

    def ledger(self, query):
        base = sqlite3.connect("file:%s/ledger.sqlite?mode=ro" % self.spool, uri=True)
        try:
            return base.execute(query).fetchall()
        finally:
            base.close()

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.root, ignore_errors=True)
